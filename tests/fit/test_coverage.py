"""Coverage against numbers worked out by hand: one bin is a counting experiment, which can be enumerated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import compose
from scipy.stats import poisson

from inferno_cli.fit.auxiliary import Auxiliary
from inferno_cli.fit.coverage import Ensemble, Fits, Outcome, challenge_score

SIGNAL, BACKGROUND = 20.0, 30.0
SETTINGS = compose("fit.progress=none").fit


def silent(steps: float = 1, said: str = "", *, is_line: bool | None = None) -> None:
    """Show no progress."""


def workspace(*modifiers: dict[str, Any]) -> dict[str, Any]:
    """A counting experiment; ``modifiers`` are the background's."""
    mu = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": [SIGNAL], "modifiers": [mu]},
        {"name": "background", "data": [BACKGROUND], "modifiers": list(modifiers)},
    ]
    parameters = [{"name": "mu", "bounds": [[-10.0, 20.0]]}]
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [50.0]}],
        "measurements": [{"name": "counting", "config": {"poi": "mu", "parameters": parameters}}],
    }


def fits(*modifiers: dict[str, Any]) -> Fits:
    return Fits(workspace(*modifiers), SETTINGS, "the test")


def test_every_count_of_a_counting_experiment_is_covered_as_worked_out_by_hand() -> None:
    """mu = (n - b) / s, its error is sqrt(n) / s, and -2 ln L rises by 2 (nu - n) - 2 n ln(nu / n) to nu = s mu + b."""
    true = 1.5
    n = np.arange(25, 105)
    (found,) = fits().outcomes([(n[:, None].astype(float), true)], 1, silent)

    nu = SIGNAL * true + BACKGROUND
    values, errors, rises = np.array(found).T
    np.testing.assert_allclose(values, (n - BACKGROUND) / SIGNAL, atol=2e-5)
    np.testing.assert_allclose(errors, np.sqrt(n) / SIGNAL, rtol=1e-4)
    np.testing.assert_allclose(rises, 2 * (nu - n) - 2 * n * np.log(nu / n), atol=1e-5)

    # The coverage is the sum of the Poisson probabilities of the counts whose interval holds the truth.
    exact = poisson.pmf(n, nu)[2 * (nu - n) - 2 * n * np.log(nu / n) <= 1].sum()
    drawn = np.random.default_rng(1).poisson(nu, 20000)
    ensemble = Ensemble.of([found[i - 25] for i in drawn], true)
    share, error = ensemble.coverage_minos
    assert share == pytest.approx(exact, abs=4 * error)
    assert error == pytest.approx(math.sqrt(share * (1 - share) / 20000), rel=1e-3)
    hesse = poisson.pmf(n, nu)[np.abs(n - nu) <= np.sqrt(n)].sum()
    assert ensemble.coverage_hesse[0] == pytest.approx(hesse, abs=4 * error)


def test_a_fit_that_fails_is_counted_and_left_out() -> None:
    """140 events more than the background are mu = 23, above its bound: the limit would be measured, not mu."""
    (found,) = fits().outcomes([(np.array([[50.0], [490.0], [60.0]]), 1.0)], 1, silent)

    ensemble = Ensemble.of(found, 1.0)
    assert (len(ensemble), ensemble.failed) == (2, 1)
    assert ensemble.bias[0] == pytest.approx(0.25, abs=1e-4)


def test_numbers_of_an_ensemble_worked_out_by_hand() -> None:
    outcomes = [Outcome(1.5, 0.5, 1.0), Outcome(0.0, 0.5, 3.0), Outcome(1.0, 1.0, 0.0), Outcome(1.1, 0.4, 0.1)]
    ensemble = Ensemble.of([*outcomes, Outcome(math.nan, math.nan, math.nan)], 1.0)

    spread = math.sqrt((0.6**2 + 0.9**2 + 0.1**2 + 0.2**2) / 3)
    assert ensemble.bias == pytest.approx((-0.1, spread / 2))
    assert ensemble.spread == pytest.approx((spread, spread / math.sqrt(6)))
    assert ensemble.hesse == pytest.approx(0.6)
    assert ensemble.pull[0][0] == pytest.approx((1.0 - 2.0 + 0.0 + 0.25) / 4)
    assert ensemble.coverage_hesse == pytest.approx((0.75, 0.2))  # sqrt(0.75 * 0.25 / 4 + 1 / 64) / 1.25
    assert ensemble.coverage_minos == pytest.approx((0.75, 0.2))
    assert ensemble.failed == 1
    joined = Ensemble.joined([ensemble, Ensemble.of([Outcome(3.0, 0.5, 4.0)], 2.0)])
    assert len(joined) == 5
    assert joined.bias[0] == pytest.approx((-0.4 + 1.0) / 5)
    assert joined.failed == 1


@pytest.mark.parametrize(
    ("coverage", "n", "penalty"),
    [
        # sigma is sqrt(0.6827 * 0.3173 / 100) = 0.046543: right from 0.589614 to 0.775786.
        (0.68, 100, 1.0),
        (0.5897, 100, 1.0),
        (0.7757, 100, 1.0),
        (0.5, 100, 1 + 1.92541**4),
        (0.9, 100, 1 + 2.66880**3),
        # A hundred times the experiments forgive a tenth: sigma is 0.0046543.
        (0.66, 10000, 1 + ((0.6827 - 0.0093086 - 0.66) / 0.0046543) ** 4),
    ],
)
def test_the_score_is_that_of_the_challenge(coverage: float, n: int, penalty: float) -> None:
    assert challenge_score(0.6, coverage, n) == pytest.approx(-math.log(0.601 * penalty), abs=1e-4)


def test_auxiliary_measurements_fluctuate_around_the_truth() -> None:
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    simulated = {"name": "sideband", "type": "shapesys", "data": [3.0]}
    other = {"name": "other", "type": "normsys", "data": {"hi": 1.2, "lo": 0.8}}
    auxiliary: Auxiliary = fits(rate, simulated, other).auxiliary
    place = {label: i for i, label in enumerate(auxiliary.labels)}
    events = (BACKGROUND / 3.0) ** 2  # of the sideband

    rng = np.random.default_rng(3)
    truth = {"rate": 1.0, "sideband[0]": 1.2, "mu": 2.0}
    measured = np.array([auxiliary.measured(truth, rng) for _ in range(4000)])
    rates, sidebands, others = (measured[:, place[name]] for name in ("rate", "sideband[0]", "other"))
    assert rates.mean() == pytest.approx(1.0, abs=4 / 4000**0.5)
    assert rates.std() == pytest.approx(1.0, rel=0.05)
    assert sidebands.mean() == pytest.approx(1.2 * events, abs=4 * (1.2 * events / 4000) ** 0.5)
    assert sidebands.var() == pytest.approx(1.2 * events, rel=0.1)
    assert set(others) == {0.0}


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing() -> None:
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    rng = np.random.default_rng(2)
    data = np.column_stack([rng.poisson(50, 120), rng.normal(size=120)]).astype(float)
    one, two = (fits(rate).outcomes([(data, 1.0), (data[:7], 2.0)], n, silent) for n in (1, 2))

    assert one == two
    assert [len(found) for found in one] == [120, 7]
