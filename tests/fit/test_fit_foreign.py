"""A workspace as experiments publish them: the numbers of pyhf with MINUIT, and no others.

MINUIT's tolerance is a thousandth of the usual one here: with that its best fit is off by 1% of an error.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pyhf
import pytest
from conftest import compose, covariance_by_differences
from workspaces import SETTINGS, published

from inferno_cli.errors import FitFailedError, WorkspaceError
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.result import FitResult

pytestmark = pytest.mark.slow

QUICK = compose("fit=data", "fit.scan_points=null", "fit.significance=false", "fit.stat_only=false").fit.model_copy(
    update={"breakdown": False, "progress": "none"}
)
SEARCH = {"limit_bracket": (0.05, 3.0), "limit_tolerance": 0.03}
CLOSE = {"rel": 2e-4, "abs": 1e-6}


@pytest.fixture(scope="module")
def minuit():
    """pyhf with MINUIT, put back afterwards."""
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4, strategy=2))
    yield
    pyhf.set_backend(*before)


@pytest.fixture(scope="module")
def fitted() -> FitResult:
    settings = QUICK.model_copy(
        update={"minos": ("mu", "JES", "lumi", "staterror_SR1[0]", "shape_VR"), "significance": True, "limit": True}
        | SEARCH
    )
    return fit_workspace(published(), settings, measurement="signal", where="published")


@pytest.fixture(scope="module")
def direct(minuit):
    """pyhf alone: model, data, and its fit."""
    workspace = pyhf.Workspace(published())
    model = workspace.model(measurement_name="signal", modifier_settings=SETTINGS)
    data = workspace.data(model)
    return model, data, pyhf.infer.mle.fit(data, model, return_uncertainties=True, return_result_obj=True)


def test_it_is_such_a_workspace(direct):
    kinds = {kind for _, kind in direct[0].config.modifiers}
    assert kinds == {"normfactor", "normsys", "histosys", "lumi", "staterror", "shapesys", "shapefactor"}
    assert direct[0].config.npars >= 30


def test_best_fit_and_hesse(fitted, direct):
    model, _, (found, _) = direct
    assert fitted.data == "observed"
    assert fitted.poi == "mu_SIG"
    assert list(fitted.parameters) == ["mu" if name == fitted.poi else name for name in model.config.par_names]
    values = np.array([fitted.parameters[name].bestfit for name in fitted.parameters])
    covariance = covariance_by_differences(model, direct[1], values, 0.02 * found[:, 1])
    for i, (name, (value, error)) in enumerate(zip(fitted.parameters, found, strict=True)):
        assert fitted.parameters[name].bestfit == pytest.approx(value, abs=1e-3 * error)
        assert fitted.parameters[name].hesse == pytest.approx(np.sqrt(covariance[i, i]), rel=1e-3)
    assert fitted.parameters["dead"].hesse == 0
    assert fitted.notes == ()


def test_minos(fitted, direct):
    minuit = direct[2][1].minuit
    asked = {"mu", "JES", "lumi", "staterror_SR1[0]", "shape_VR[0]", "shape_VR[1]"}
    assert {name for name, estimate in fitted.parameters.items() if estimate.minos is not None} == asked
    for name in asked:
        label = fitted.poi if name == "mu" else name
        minuit.minos(label)
        interval = minuit.merrors[label]
        error = fitted.parameters[name].hesse
        assert fitted.parameters[name].minos == pytest.approx((interval.lower, interval.upper), abs=2e-3 * error)


@pytest.mark.usefixtures("minuit")
def test_significance(fitted, direct):
    from scipy.stats import norm

    observed, expected = pyhf.infer.hypotest(0.0, direct[1], direct[0], test_stat="q0", return_expected=True)
    assert fitted["significance"].observed == pytest.approx(norm.isf(float(observed)), **CLOSE)
    assert fitted["significance"].expected == pytest.approx(norm.isf(float(expected)), **CLOSE)


@pytest.mark.usefixtures("minuit")
def test_limit(fitted, direct):
    """CLs of pyhf at the values that were tested, and 5% at the limits."""
    limit = fitted["limit"]
    for i in np.argsort(np.abs(np.array(limit.poi_values) - limit.observed))[:2]:
        observed, expected = pyhf.infer.hypotest(
            limit.poi_values[i], direct[1], direct[0], test_stat="qtilde", return_expected_set=True
        )
        assert limit.observed_cls[i] == pytest.approx(float(observed), **CLOSE)
        assert limit.expected_cls[i] == pytest.approx([float(x) for x in expected], **CLOSE)
    assert np.interp(limit.observed, limit.poi_values, limit.observed_cls) == pytest.approx(0.05, abs=5e-3)
    for number, value in enumerate(limit.expected):
        cls = [row[number] for row in limit.expected_cls]
        assert np.interp(value, limit.poi_values, cls) == pytest.approx(0.05, abs=5e-3)


def test_pulls_are_in_units_of_each_constraint(fitted, direct):
    model = direct[0]
    for name, width in (("lumi", 0.017), ("JES", 1.0), ("fakes_SR1[0]", None)):
        estimate = fitted.parameters[name]
        if width is None:
            # Poisson: 20% of 20 events are 25 auxiliary ones.
            width = 25**-0.5
        nominal = 0.0 if name == "JES" else 1.0
        assert estimate.pull == pytest.approx((estimate.bestfit - nominal) / width)
        assert estimate.constraint == pytest.approx(estimate.hesse / width)
    without = {name for name, estimate in fitted.parameters.items() if estimate.pull is None}
    assert without == {"mu", "norm_top", "dead", "shape_VR[0]", "shape_VR[1]"}
    assert len(fitted.parameters) == model.config.npars


# --------------------------------------------------------------------------------------------------- measurements
def test_the_measurement_chooses_the_parameter_of_interest():
    result = fit_workspace(published(), QUICK, measurement="background", where="published")
    assert result.poi == "norm_top"
    assert result.parameters["mu"].minos is not None
    assert result.parameters["mu_SIG"].minos is None


def test_asimov_data_hold_a_constant_at_its_constant():
    spec = published()
    spec["measurements"][1]["config"]["parameters"][3]["inits"] = [1.5]
    settings = QUICK.model_copy(update={"data": "asimov", "yields": True})
    result = fit_workspace(spec, settings, measurement="signal", where="published")
    assert result.parameters["dead"].bestfit == 1.5
    assert result.parameters["mu"].bestfit == pytest.approx(1, abs=1e-3)
    before = {entry.channel: entry for entry in result["yields"] if entry.when == "pre-fit"}
    assert before["SR1"].total[0] == pytest.approx(sum(before["SR1"].data))


def test_asimov_data_do_not_depend_on_where_a_minimiser_starts():
    spec = published()
    spec["measurements"][1]["config"]["parameters"].append({"name": "JES", "inits": [0.4]})
    result = fit_workspace(spec, QUICK.model_copy(update={"data": "asimov"}), measurement="signal", where="published")
    assert result.parameters["JES"].bestfit == pytest.approx(0, abs=0.02)


def test_a_constant_parameter_of_interest_is_an_error():
    spec = published()
    spec["measurements"][1]["config"]["parameters"][0]["fixed"] = True
    with pytest.raises(WorkspaceError, match="holds its parameter of interest constant"):
        fit_workspace(spec, QUICK, measurement="signal", where="published")


# --------------------------------------------------------------------------------------------------------- limits
def deficit(signal_region: float) -> dict:
    """The same with few events in SR1 and SR2: the data prefer a negative signal."""
    spec = deepcopy(published())
    for entry in spec["observations"]:
        if entry["name"].startswith("SR"):
            entry["data"] = [round(signal_region * x) for x in entry["data"]]
    return spec


def test_a_signal_at_zero_is_legitimate_and_said():
    settings = QUICK.model_copy(update={"breakdown": True})
    result = fit_workspace(deficit(0.75), settings, measurement="signal", where="published")
    mu = result.parameters["mu"]
    assert mu.bestfit == pytest.approx(0, abs=1e-3)
    assert mu.at_limit == 0
    assert mu.minos is None
    assert result["breakdown"] is None
    text = "\n".join(result.notes)
    assert "MINOS of mu_SIG: no lower side, it ends at the limit 0; the upper side is +" in text
    assert "mu_SIG is at its limit 0: its HESSE error means nothing" in text
    assert "no breakdown by groups" in text
    assert {name for name, estimate in result.parameters.items() if estimate.at_limit is not None} == {"mu"}


def test_minos_that_ends_at_zero_is_null_with_the_reason():
    result = fit_workspace(deficit(0.82), QUICK, measurement="signal", where="published")
    mu = result.parameters["mu"]
    assert 0.05 < mu.bestfit < mu.hesse
    assert (mu.at_limit, mu.minos) == (None, None)
    assert [note for note in result.notes if note.startswith("MINOS of mu_SIG: no lower side")]


def test_minos_from_a_best_fit_at_zero_has_an_upper_side():
    """MINOS calls the lower side of this one invalid without saying that it is at a limit (tests/data/README.md)."""
    spec = json.loads((Path(__file__).parents[1] / "data" / "minos_from_the_limit.json").read_text())

    result = fit_workspace(spec, QUICK.model_copy(update={"minos": ("mu",), "stat_only": True}), where="here")

    assert result.parameters["mu"].at_limit == 0
    (note,) = [note for note in result.notes if note.startswith("MINOS of mu: no lower side")]
    upper = float(note.rpartition("+")[2])
    # Where pyhf's profile likelihood, which the other tests compare with, is 1 above its minimum at 0.
    model = pyhf.Workspace(spec).model(modifier_settings=SETTINGS)
    data = pyhf.Workspace(spec).data(model)

    def nll(mu: float) -> float:
        start, held = model.config.suggested_init(), model.config.suggested_fixed()
        start[model.config.poi_index], held[model.config.poi_index] = mu, True
        return float(pyhf.infer.mle.fit(data, model, start, None, held, return_fitted_val=True)[1])

    assert nll(upper) - nll(0.0) == pytest.approx(1, abs=0.005)


def test_a_limit_that_somebody_chose_is_an_error():
    spec = deficit(0.75)
    spec["measurements"][1]["config"]["parameters"][0]["bounds"] = [[0.5, 10.0]]
    with pytest.raises(FitFailedError, match=r"mu_SIG is at its limit 0\.5"):
        fit_workspace(spec, QUICK, measurement="signal", where="published")


def test_the_limit_of_a_deficit_is_found():
    settings = QUICK.model_copy(update={"limit": True, "minos": ()} | SEARCH)
    spec = deficit(0.75)
    for key in ("channels", "observations"):
        spec[key] = [entry for entry in spec[key] if entry["name"] in ("SR1", "CR")]
    result = fit_workspace(spec, settings, measurement="signal", where="published")
    assert 0 < result["limit"].observed < result["limit"].expected[2]
