"""The hidden offset of a blinded fit, and what is left out of its record: by hand, without a fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade import record

from inferno_cli.errors import FitFailedError, WorkspaceError
from inferno_cli.fit.blinding import blinded, errors_without_numbers, without_numbers
from inferno_cli.fit.quantities.limit import Limit
from inferno_cli.fit.quantities.scans import Scan
from inferno_cli.fit.quantities.significance import Significance
from inferno_cli.fit.result import Entry, Outcome, Parameter
from inferno_cli.runs.record import Results

KEY, OTHER = "c0ffee", "decaf"


def fitted(mu: float = 1.25, width: float = 0.4, **changes: Any) -> Results:
    """A fit of observed data with a free parameter, a nuisance parameter and a gamma."""
    results = Results.model_validate(record(width, data="observed", twice_nll=321.0))
    others = {
        "mu": replace(results.mu, bestfit=mu),
        "rate": Parameter(1.5, 0.2, kind="normfactor", is_constrained=False),
        "constant": Parameter(1.0, 0.0, kind="normfactor", is_constrained=False),
        "gamma[0]": Parameter(1.1, 0.1, pull=1.0, kind="staterror", is_constrained=True, entry=Entry("gamma", 0, None)),
    }
    everything = dict(results.parameters) | others
    rows = dict.fromkeys(everything, 0.0)
    correlation = {name: rows | {name: 1.0} for name in everything}
    return results.model_copy(update={"parameters": everything, "correlation": correlation} | changes)


def offset(fit: Results, key: str = KEY, name: str = "mu") -> float:
    return blinded(fit, key).parameters[name].bestfit - fit.parameters[name].bestfit


def test_the_same_data_have_the_same_offset_in_every_fit() -> None:
    first = offset(fitted(1.25, 0.4))
    assert offset(fitted(-0.5, 0.9)) == pytest.approx(first, rel=1e-12)  # another network, another error
    assert offset(fitted(), OTHER) != pytest.approx(first, abs=1e-3)
    assert offset(fitted(), name="rate") != pytest.approx(first, abs=1e-3)


def test_offsets_are_normal_with_a_width_of_ten_errors_or_more() -> None:
    fit = fitted(width=0.4)
    drawn = np.array([offset(fit, str(key)) for key in range(300)])
    assert abs(drawn.mean()) < 4 * 10 / np.sqrt(300)
    assert drawn.std() == pytest.approx(10, rel=0.15)
    wide = np.array([offset(fitted(width=40.0), str(key)) for key in range(300)])  # an error of 20
    assert wide.std() == pytest.approx(1000, rel=0.15)
    # Not the same draw in another unit: two multiples of it would tell what it is.
    assert abs(np.corrcoef(drawn, wide)[0, 1]) < 0.25


def test_errors_and_pulls_stay_and_what_tells_counts_is_left_out() -> None:
    fit = fitted()
    hidden = blinded(fit, KEY)
    assert (hidden.blinded, hidden.hidden, hidden.twice_nll) == (True, ("mu", "rate"), None)
    assert (fit.blinded, fit.hidden) == (False, ())
    assert (hidden.mu.hesse, hidden.mu.minos) == (fit.mu.hesse, fit.mu.minos)
    assert hidden.parameters["jes"] == fit.parameters["jes"]
    assert hidden.parameters["constant"] == fit.parameters["constant"]
    assert set(hidden.parameters) == set(hidden.correlation) == {"mu", "jes", "rate", "constant"}
    assert set(hidden.correlation["jes"]) == set(hidden.parameters)
    assert "hidden offset" in hidden.notes[0]
    assert "mu, rate" in hidden.notes[0]
    again = Results.model_validate_json(hidden.model_dump_json(by_alias=True))
    assert again == hidden


def test_data_that_are_the_asimov_data_are_not_called_so() -> None:
    assert blinded(fitted(data="asimov"), KEY).data == "observed"


def test_a_quantity_that_says_nothing_of_blinding_is_left_out() -> None:
    limit = Limit(0.95, 1.0, (1.0,) * 5, None, (0.0, 2.0), 0.01, (0.5,), (0.1,), ((0.1,) * 5,))
    hidden = blinded(fitted(quantities={"limit": Outcome("limit", limit)}), KEY)
    assert hidden.quantities == {}
    assert "upper limit" in hidden.notes[1]


def test_of_the_significance_stays_what_no_data_are_in() -> None:
    value = Significance(2.5, 3.5, 0.006, 0.0002, 2.0, 0.02)
    hidden = blinded(fitted(quantities={"significance": Outcome("significance", value)}), KEY)
    assert hidden["significance"] == Significance(None, None, None, None, 2.0, 0.02)
    (row,) = [dict(kind.rows(name, found, hidden)) for name, kind, found in hidden.outcomes()]
    assert row == {"significance": "observed blinded; expected 2 sigma from nominal parameters"}
    assert hidden.metrics()["significance/a_priori"] == 2.0
    assert "significance/observed" not in hidden.metrics()
    without = Significance(2.5, 3.5, 0.006, 0.0002)
    assert blinded(fitted(quantities={"significance": Outcome("significance", without)}), KEY)["significance"] is None


def test_a_scan_that_a_bound_cuts_would_tell_the_offset() -> None:
    rise = (1.0, 0.0, 1.0)
    centred, cut = Scan("mu", (0.75, 1.25, 1.75), rise), Scan("rate", (0.0, 1.5, 3.5), rise)
    other, of_a_bin = Scan("jes", (-1.0, 0.0, 5.0), rise), Scan("gamma[0]", (0.9, 1.1, 1.3), rise)
    scans = {scan.parameter: scan for scan in (centred, cut, other, of_a_bin)}
    fit = fitted(quantities={"scans": Outcome("scans", scans)})
    found = blinded(fit, KEY)["scans"]
    assert set(found) == {"mu", "jes"}
    assert found["mu"].values == pytest.approx([value + offset(fit) for value in centred.values])
    assert found["jes"] == other


def test_a_parameter_at_its_limit_cannot_be_hidden() -> None:
    fit = fitted()
    at_limit = dict(fit.parameters) | {"mu": replace(fit.mu, at_limit=0.0)}
    with pytest.raises(FitFailedError, match=r"mu is at its limit, .*hidden offset.*unblind=true"):
        blinded(fit.model_copy(update={"parameters": at_limit}), KEY)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bin 1 of channel 'SR' has 3 observed events", "bin (hidden) of channel 'SR' has (hidden) observed events"),
        ("mu = -1.25e-05, staterror_SR[3] and jes_13TeV", "mu = (hidden), staterror_SR[3] and jes_13TeV"),
        ("between 0.3 and 2.4.", "between (hidden) and (hidden)."),
        ("are [12.0, 7.0]: no", "are [(hidden), (hidden)]: no"),
        ("0.31 above 2; 5% of 1.", "(hidden) above (hidden); (hidden)% of (hidden)."),
    ],
)
def test_notes_and_errors_have_no_numbers(text: str, shown: str) -> None:
    assert without_numbers(text) == shown
    with pytest.raises(WorkspaceError) as raised, errors_without_numbers():
        raise WorkspaceError(text)
    assert str(raised.value) == shown
    assert raised.value.__suppress_context__
    assert blinded(fitted(notes=(text,)), KEY).notes[-1] == shown
