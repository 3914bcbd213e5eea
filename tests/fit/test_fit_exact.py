"""Errors that are those of the likelihood, at any statistics and near limits, and a fit that keeps what it can give."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from conftest import compose, covariance_by_differences
from scipy.optimize import minimize
from scipy.stats import chi2, poisson

from inferno_cli.errors import FitFailedError, WorkspaceError
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import numpy_backend, open_problem
from inferno_cli.fit.quantities.global_impacts import GlobalImpactsQuantity
from inferno_cli.fit.result import FitResult
from inferno_cli.likelihood.data import Likelihood
from inferno_cli.likelihood.readers.pyhf import read_workspace, require_valid

PLAIN = compose(
    "fit=data", "fit.scan_points=null", "fit.significance=false", "fit.stat_only=false", "fit.progress=none"
).fit.model_copy(update={"breakdown": False})
DATA = Path(__file__).parents[1] / "data"
INTERPOLATION = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}


def normfactor(name: str = "mu") -> dict[str, Any]:
    return {"name": name, "type": "normfactor", "data": None}


def normsys(name: str, high: float, low: float) -> dict[str, Any]:
    return {"name": name, "type": "normsys", "data": {"hi": high, "lo": low}}


def sample(name: str, data: list[float], *modifiers: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "data": data, "modifiers": list(modifiers)}


def workspace(*samples: dict[str, Any], data: list[float], **parameters: dict[str, Any]) -> dict[str, Any]:
    """One channel, mu its parameter of interest."""
    settings = [{"name": name, **values} for name, values in parameters.items()]
    return {
        "channels": [{"name": "SR", "samples": list(samples)}],
        "observations": [{"name": "SR", "data": data}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": settings}}],
        "version": "1.0.0",
    }


def fit(spec: dict[str, Any], **changes: Any) -> FitResult:
    require_valid(spec, "here")
    return fit_workspace(spec, PLAIN.model_copy(update=changes), where="here")


def model_of(spec: dict[str, Any]) -> tuple[Any, list[float]]:
    found = pyhf.Workspace(spec)
    model = found.model(modifier_settings=INTERPOLATION)
    return model, found.data(model)


# ------------------------------------------------------------------------------------------- errors: statistics
@pytest.mark.parametrize("events", [1e3, 1e5, 1e7, 1e8])
@pytest.mark.parametrize("fluctuated", [False, True])
def test_errors_with_rate_nuisances_are_right_at_any_statistics(events, fluctuated):
    """At 1e7 events MINUIT's HESSE said 0.016 where the rates leave 0.056."""
    shape = np.array([[0.1, 0.2, 0.3], [0.5, 0.3, 0.2]]) * events / 2
    spec = workspace(
        sample("signal", shape[0].tolist(), normfactor(), normsys("lumi", 1.025, 0.975), normsys("eff", 1.05, 0.95)),
        sample("background", shape[1].tolist(), normsys("lumi", 1.025, 0.975), normsys("rate", 1.1, 0.9)),
        data=(np.random.default_rng(1).poisson(shape.sum(axis=0)) if fluctuated else shape.sum(axis=0)).tolist(),
    )
    result = fit(spec)
    # By hand: d nu / d theta at the nominal point, code4 has the slope (hi - lo) / 2 there to 1e-3 of itself.
    slopes = {"mu": shape[0], "lumi": 0.025 * shape.sum(axis=0), "eff": 0.05 * shape[0], "rate": 0.1 * shape[1]}
    jacobian = np.stack([slopes[name] for name in result.parameters], axis=1)
    prior = np.diag([float(name != "mu") for name in result.parameters])
    right = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ (jacobian / shape.sum(axis=0)[:, None]) + prior)))
    for name, error in zip(result.parameters, right, strict=True):
        assert result.parameters[name].hesse == pytest.approx(error, rel=0.03 if fluctuated else 5e-3)
    down, up = result.parameters["mu"].minos
    assert (up - down) / 2 == pytest.approx(result.parameters["mu"].hesse, rel=0.02)
    assert result.notes == ()


def test_the_likelihood_is_pyhfs_where_the_sum_of_its_terms_has_no_digits_left():
    spec = workspace(sample("signal", [1e7], normfactor()), sample("background", [9e7]), data=[1.0002e8])
    result = fit(spec)
    assert result.parameters["mu"].bestfit == pytest.approx(1.002, abs=1e-9)
    assert result.parameters["mu"].hesse == pytest.approx(math.sqrt(1.0002e8) / 1e7, rel=1e-6)


@pytest.mark.parametrize(
    ("modifier", "bounds"),
    [
        ({"name": "g", "type": "staterror", "data": [1e-12, 1e-9]}, [0.0, 10.0]),
        (None, [0.0, 1e308]),
        (None, [0.0, 1e6]),
    ],
)
def test_parameters_of_any_size_converge(modifier, bounds):
    """MINUIT's own steps lose their digits there."""
    expected = fit(near_zero(57.0, 48.0), minos=("mu",)).parameters["mu"]
    spec = near_zero(57.0, 48.0)
    spec["measurements"][0]["config"]["parameters"] = [{"name": "mu", "inits": [1.0], "bounds": [bounds]}]
    if modifier is not None:
        spec["channels"][0]["samples"][1]["modifiers"].append(modifier)
    found = fit(spec, minos=("mu",)).parameters["mu"]
    assert found.bestfit == pytest.approx(expected.bestfit, abs=1e-5)
    assert found.hesse == pytest.approx(expected.hesse, rel=1e-5)
    assert found.minos == pytest.approx(expected.minos, rel=5e-3)


def test_a_fit_hundreds_of_standard_deviations_away_converges():
    """By hand, without the rate: q0 = 2 (b - n + n ln(n / b)) summed over the bins."""
    spec = workspace(sample("signal", [1e5, 1e5], normfactor()), sample("b", [1e5, 2e5]), data=[2.1e5, 3e5])
    events, background = np.array([2.1e5, 3e5]), np.array([1e5, 2e5])
    best = fit(spec, significance=True)
    signal = best.parameters["mu"].bestfit * 1e5
    free = 2 * (background + signal - events + events * np.log(events / (background + signal))).sum()
    held = 2 * (background - events + events * np.log(events / background)).sum()
    assert best["significance"].observed == pytest.approx(math.sqrt(held - free), rel=1e-6)
    assert best["significance"].observed > 300


# ------------------------------------------------------------------------------------------------ errors: limits
def near_zero(*data: float) -> dict[str, Any]:
    """pyhf's default bounds of mu are [0, 10]."""
    return workspace(
        sample("signal", [6.0, 9.0], normfactor()),
        sample("background", [50.0, 40.0], normsys("rate", 1.1, 0.9)),
        data=list(data),
    )


@pytest.mark.parametrize("data", [(51.0, 40.0), (50.0, 40.5), (53.0, 44.0), (50.0, 40.0)])
def test_an_error_next_to_a_limit_is_that_of_the_likelihood(data):
    spec = near_zero(*data)
    result = fit(spec)
    model, values = model_of(spec)
    best = np.array([result.parameters[name].bestfit for name in result.parameters])
    covariance = covariance_by_differences(model, values, best, np.full(len(best), 0.01))
    index = list(result.parameters).index("mu")
    assert result.parameters["mu"].hesse == pytest.approx(np.sqrt(covariance[index, index]), rel=1e-3)


def test_at_a_limit_the_others_have_the_errors_that_they_have_without_it():
    """Found before: 145 +- 120 events, 143 observed."""
    result = fit(near_zero(44.0, 30.0), yields=True)
    assert result.parameters["mu"].bestfit == 0
    assert result.parameters["mu"].at_limit == 0
    background = 90 * 1.1 ** result.parameters["rate"].bestfit
    # By hand, for mu = 0: V = 1 / (1 + slope^2 n / nu^2 + ...), slope = d nu / d rate.
    after = next(entry for entry in result["yields"] if entry.when == "post-fit")
    assert after.total[0] == pytest.approx(background, rel=0.015)
    rate = result.parameters["rate"].hesse
    assert after.total[1] == pytest.approx(0.1 * background * rate, rel=0.05)
    assert rate == pytest.approx(1 / math.sqrt(1 + (0.1 * 90) ** 2 / 90), rel=0.08)
    assert set(result.correlation["mu"].values()) == {0.0}


def test_post_fit_events_of_a_good_fit_have_an_error_below_that_of_the_data():
    after = fit(near_zero(44.0, 30.0), yields=True)["yields"][1]
    assert after.total[1] < math.sqrt(74)


def test_bounds_can_be_widened():
    spec = near_zero(40.0, 28.0)
    spec["measurements"][0]["config"]["parameters"] = [{"name": "mu", "bounds": [[0.0, 10.0]]}]
    assert fit(spec).parameters["mu"].bestfit == 0
    result = fit(spec, bounds={"mu": (-5.0, 10.0)})
    assert result.parameters["mu"].bestfit < -0.1
    assert result.parameters["mu"].minos is not None
    with pytest.raises(WorkspaceError, match=r"fit\.bounds\.mu is \[2, 5\], and here starts mu at 1"):
        fit(spec, bounds={"mu": (2.0, 5.0)})
    with pytest.raises(WorkspaceError, match=r"fit\.bounds\.nu: here has no parameter 'nu'"):
        fit(spec, bounds={"nu": (2.0, 5.0)})


def test_minos_that_ends_at_a_chosen_limit_is_a_note_with_the_side_that_is_good():
    spec = near_zero(51.0, 43.0)
    spec["measurements"][0]["config"]["parameters"] = [{"name": "mu", "bounds": [[-5.0, 1.05]]}]
    result = fit(spec, stat_only=True)
    assert result.parameters["mu"].minos is None
    assert any("MINOS of mu: the lower side is -" in note for note in result.notes), result.notes
    assert any("no upper side, it ends at the limit 1.05" in note for note in result.notes)
    assert result.parameters["mu"].hesse > 0.5


def test_a_side_that_minuit_does_not_find_is_that_of_the_profile():
    with numpy_backend():
        problem = open_problem(near_zero(61.0, 55.0), asimov=False, measurement=None, where="here")
        fitter = Fitter(problem.with_bounds({"mu": (-5.0, 10.0)}), PLAIN)
        best = fitter.fit(minos=("mu", "rate"))
        for name, sides in best.minos.items():
            index = best.labels.index(name)
            for sign, length in zip((-1, 1), sides, strict=True):
                assert fitter._crossing(best, index, sign, {}) == pytest.approx(length, rel=1e-3)
        index = best.labels.index("mu")
        narrow = Fitter(problem.with_bounds({"mu": (-5.0, best.values[index] + 0.3)}), PLAIN)
        assert narrow._crossing(best, index, 1, {}) is None
        assert narrow._crossing(best, index, -1, {}) == pytest.approx(best.minos["mu"][0], rel=1e-3)


# ----------------------------------------------------------------------------------------- tiny, empty, constant
@pytest.mark.parametrize("size", [1e-2, 1e-5, 1e-9])
def test_a_shapesys_of_next_to_nothing_changes_nothing(size):
    background = sample("background", [50.0, 60.0])
    plain = fit(workspace(sample("signal", [10.0, 5.0], normfactor()), background, data=[57.0, 63.0]))
    tiny = deepcopy(background)
    tiny["modifiers"] = [{"name": "bkg", "type": "shapesys", "data": [size, size]}]
    result = fit(workspace(sample("signal", [10.0, 5.0], normfactor()), tiny, data=[57.0, 63.0]))
    assert result.parameters["mu"].bestfit == pytest.approx(plain.parameters["mu"].bestfit, abs=1e-4)
    assert result.parameters["mu"].hesse == pytest.approx(plain.parameters["mu"].hesse, rel=1e-4)


def test_empty_bins_are_no_degrees_of_freedom():
    full = workspace(sample("signal", [10.0, 5.0], normfactor()), sample("b", [50.0, 60.0]), data=[70.0, 55.0])
    empty = workspace(
        sample("signal", [10.0, 0.0, 5.0], normfactor()), sample("b", [50.0, 0.0, 60.0]), data=[70.0, 0.0, 55.0]
    )
    one, other = fit(full), fit(empty)
    assert other["goodness_of_fit"].degrees_of_freedom == one["goodness_of_fit"].degrees_of_freedom == 1
    assert other["goodness_of_fit"].p_value == pytest.approx(one["goodness_of_fit"].p_value, rel=1e-9)
    assert other.notes == ("1 bins without any expected events are no degrees of freedom: bin 1 of channel 'SR'",)


def test_the_goodness_of_fit_is_that_of_the_saturated_model():
    data, signal, background = np.array([70.0, 55.0]), np.array([10.0, 5.0]), np.array([50.0, 60.0])
    result = fit(
        workspace(sample("signal", signal.tolist(), normfactor()), sample("b", background.tolist()), data=data.tolist())
    )
    nu = result.parameters["mu"].bestfit * signal + background
    distance = 2 * (poisson.logpmf(data, data) - poisson.logpmf(data, nu)).sum()
    assert result["goodness_of_fit"].p_value == pytest.approx(chi2.sf(distance, 1), rel=1e-6)


def test_a_constant_parameter_is_no_measurement():
    """Its constraint term is the same whatever the data are."""
    held = workspace(
        sample("signal", [10.0, 5.0], normfactor()),
        sample("b", [50.0, 60.0], normsys("rate", 1.1, 0.9)),
        data=[70.0, 55.0],
        rate={"inits": [2.0], "fixed": True},
    )
    written = workspace(sample("signal", [10.0, 5.0], normfactor()), sample("b", [60.5, 72.6]), data=[70.0, 55.0])
    assert fit(held)["goodness_of_fit"].p_value == pytest.approx(fit(written)["goodness_of_fit"].p_value, rel=1e-6)


# -------------------------------------------------------------------------------------------------- the signal
@pytest.mark.parametrize("start", [0.0, 0.5, 2.0])
def test_asimov_data_hold_the_nominal_signal_wherever_the_workspace_starts(start):
    spec = near_zero(51.0, 43.0)
    plain = fit(deepcopy(spec), data="asimov", significance=True)
    spec["measurements"][0]["config"]["parameters"] = [{"name": "mu", "inits": [start], "bounds": [[0.0, 10.0]]}]
    result = fit(spec, data="asimov", significance=True)
    assert result.parameters["mu"].bestfit == pytest.approx(1, abs=1e-4)
    assert result["significance"].expected == pytest.approx(plain["significance"].expected, rel=1e-6)
    assert result.notes == (f"the Asimov data are made with mu = 1; the workspace starts it at {start:g}",)
    observed = fit(spec, significance=True)["significance"]
    assert observed.a_priori == pytest.approx(plain["significance"].expected, rel=1e-6)


def test_a_significance_without_background_is_a_note():
    spec = workspace(sample("signal", [5.0], normfactor()), data=[4.0])
    result = fit(spec, significance=True)
    assert result["significance"] is None
    assert result.parameters["mu"].bestfit == pytest.approx(0.8, abs=1e-6)
    assert result.notes == (
        "no significance: without signal no events are expected in bin 0 of channel 'SR', and there are some",
        "no goodness of fit: there are no more bins than free parameters",
    )


@pytest.mark.parametrize("bounds", [[0.2, 10.0], [2.0, 5.0], [-5.0, 0.5]])
def test_bounds_without_0_or_1_leave_the_fit_alone(bounds):
    spec = near_zero(62.0, 58.0) if bounds[0] > 0 else near_zero(51.0, 38.0)
    inside = min(max(1.0, bounds[0] + 0.1), bounds[1] - 0.1)
    spec["measurements"][0]["config"]["parameters"] = [{"name": "mu", "inits": [inside], "bounds": [bounds]}]
    if bounds[0] == 2.0:
        spec["observations"][0]["data"] = [68.0, 70.0]
    result = fit(spec, significance=True, limit=True)
    assert result["significance"] is not None
    assert result["limit"].observed > max(result.parameters["mu"].bestfit, 0)


def test_a_limit_may_be_beyond_the_bounds():
    spec = near_zero(51.0, 43.0)
    wide = fit(deepcopy(spec), limit=True)["limit"]
    spec["measurements"][0]["config"]["parameters"] = [{"name": "mu", "bounds": [[0.0, 1.3]]}]
    narrow = fit(spec, limit=True, minos=())["limit"]
    assert wide.observed > 1.3
    assert narrow.observed == pytest.approx(wide.observed, abs=1e-2)
    assert narrow.expected == pytest.approx(wide.expected, abs=1e-2)


def test_the_limit_of_a_deficit_is_that_of_cls():
    """One bin without uncertainties: with n far below b, CLs = P(<= n | s + b) / P(<= n | b) in its asymptotic form."""
    spec = workspace(sample("signal", [10.0], normfactor()), sample("b", [100.0]), data=[85.0])
    limit = fit(spec, limit=True, limit_tolerance=1e-4)["limit"]
    from scipy.optimize import brentq
    from scipy.stats import norm

    def cls(mu: float, n: float) -> float:
        def nll(nu: float) -> float:
            return nu - n * math.log(nu)

        q = 2 * (nll(100 + 10 * mu) - nll(max(n, 100.0)))
        q_asimov = 2 * ((100 + 10 * mu) - 100 * math.log(100 + 10 * mu) - (100 - 100 * math.log(100)))
        root = math.sqrt(q_asimov)
        shift = math.sqrt(q) - root if q <= q_asimov else (q - q_asimov) / (2 * root)
        return float(norm.sf(shift + root) / norm.sf(shift))

    assert limit.observed == pytest.approx(brentq(lambda mu: cls(mu, 85.0) - 0.05, 0.01, 10), abs=1e-3)
    assert limit.expected[2] == pytest.approx(brentq(lambda mu: cls(mu, 100.0) - 0.05, 0.01, 10), abs=1e-3)


def test_a_limit_is_that_of_the_lower_branch_of_the_profile():
    """The rate has two minima from mu = 0.5 on, and the one without signal is on the branch that rises."""
    spec = near_zero(56.0, 49.0)
    spec["channels"][0]["samples"][1]["modifiers"] = [normsys("rate", 1.1, 1e-9)]
    result = fit(spec, limit=True)
    model, data = model_of(spec)
    poi = model.config.poi_index

    def profile(mu: float) -> float:
        starts = [[mu, rate] if poi == 0 else [rate, mu] for rate in (-1.0, 0.0, 1.0)]
        return min(
            float(pyhf.infer.mle.fixed_poi_fit(mu, data, model, start, return_fitted_val=True)[1]) for start in starts
        )

    # Without that q is above 5 at the limit that was found, and CLs far below 5%.
    assert profile(result["limit"].observed) - result.twice_nll == pytest.approx(3.3, abs=0.4)
    assert result["limit"].observed == pytest.approx(4.8, abs=0.4)


def test_impossible_data_are_named():
    spec = workspace(sample("signal", [5.0, 0.0], normfactor()), sample("b", [9.0, 0.0]), data=[12.0, 3.0])
    with pytest.raises(WorkspaceError, match="bin 1 of channel 'SR' has 3 observed events, and no sample expects any"):
        fit(spec)


def test_a_best_fit_with_negative_events_is_refused():
    """Without events in a bin -2 ln L falls for ever."""
    spec = workspace(
        sample("signal", [8.0, 3.0], normfactor()),
        sample("b", [0.5, 9.0]),
        data=[0.0, 9.0],
        mu={"bounds": [[-5.0, 10.0]]},
    )
    with pytest.raises(FitFailedError, match=r"bin 0 of channel 'SR' expects -\d.* a rate cannot be negative"):
        fit(spec)


# ------------------------------------------------------------------------------------------- what moves nothing
def test_parameters_that_the_data_do_not_constrain_are_named():
    signal, background = sample("signal", [6.0, 9.0], normfactor()), sample("b", [50.0, 40.0])
    nothing = sample("empty", [0.0, 0.0], normfactor("k"))
    with pytest.raises(FitFailedError, match="k has no effect on the expected events, and no constraint"):
        fit(workspace(signal, background, nothing, data=[57.0, 48.0]))
    both = sample("signal", [6.0, 9.0], normfactor(), normfactor("k"))
    with pytest.raises(FitFailedError, match=r"the data cannot tell (k and mu|mu and k) apart: they only act together"):
        fit(workspace(both, background, data=[57.0, 48.0]))


# ------------------------------------------------------------------------------------- workspaces that mislead
def _twice(key: str):
    def change(spec: dict[str, Any]) -> None:
        node = spec["channels"] if key == "channel" else spec["channels"][0]["samples"]
        node = spec["observations"] if key == "observation" else node
        node = spec["channels"][0]["samples"][1]["modifiers"] if key == "modifier" else node
        node.append(deepcopy(node[-1]))

    return change


def _set(*path: Any, value: Any):
    def change(spec: Any) -> None:
        for key in path[:-1]:
            spec = spec[key]
        spec[path[-1]] = value

    return change


RATE = ("channels", 0, "samples", 1, "modifiers", 0)


def _lumi(**parameter: Any):
    def change(spec: dict[str, Any]) -> None:
        spec["channels"][0]["samples"][1]["modifiers"] = [{"name": "lumi", "type": "lumi", "data": None}]
        spec["measurements"][0]["config"]["parameters"] = [{"name": "lumi", **parameter}]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_twice("channel"), "channel 'SR' is there twice"),
        (_twice("sample"), "channel 'SR': sample 'background' is there twice"),
        (_twice("modifier"), "channel 'SR', sample 'background': modifier 'normsys rate' is there twice"),
        (_twice("observation"), "the observation of channel 'SR' is there twice"),
        (_set("observations", 0, "data", value=[1.0, 2.0, 3.0]), "channel 'SR' has 3 bins, its samples have 2"),
        (_set("observations", 0, "data", value=[1.0]), "channel 'SR' has 1 bins, its samples have 2"),
        (_set("observations", 0, "data", value=[1.0, math.nan]), r"observations\['SR'\]\.data\[1\] is nan"),
        (
            _set("channels", 0, "samples", 1, "data", value=[1.0]),
            "sample 'background' has 1 bins, sample 'signal' has 2",
        ),
        (
            _set(*RATE, "data", "lo", value=0.0),
            "sample 'background', normsys 'rate': lo is 0, expected a factor above 0",
        ),
        (_set(*RATE, "data", "hi", value=-0.1), "normsys 'rate': hi is -0.1, expected a factor above 0"),
        (
            _set(*RATE, value={"name": "j", "type": "histosys", "data": {"hi_data": [1.0], "lo_data": [1.0, 2.0]}}),
            "histosys 'j': hi_data has 1 bins, its sample has 2",
        ),
        (
            _set(*RATE, value={"name": "g", "type": "staterror", "data": [1.0, -1.0]}),
            "staterror 'g': data has -1, expected uncertainties of at least 0",
        ),
        (_set(*RATE, value={"name": "lumi", "type": "lumi", "data": None}), "measurement 'm' has no auxdata for lumi"),
        (_lumi(auxdata=[1.0], sigmas=[0.02]), "measurement 'm' has no inits for lumi"),
        (_lumi(auxdata=[1.0], sigmas=[0.0], inits=[1.0], bounds=[[0.9, 1.1]]), r"sigmas of lumi are \[0.0\]"),
        (_set("channels", 0, "samples", value=[]), r"\[\] should be non-empty.*Path: channels\[0\].samples"),
        (
            _set(
                "measurements", 0, "config", "parameters", value=[{"name": "mu", "inits": [20.0], "bounds": [[0, 10]]}]
            ),
            r"'mu' begins at 20, outside of its bounds \[0, 10\]",
        ),
        (
            _set("measurements", 0, "config", "parameters", value=[{"name": "mu"}, {"name": "mu"}]),
            "measurement 'm': parameter 'mu' is there twice",
        ),
        (
            _set("measurements", 0, "config", "parameters", value=[{"name": "mu", "bounds": [[10, 0]]}]),
            r"the bounds of 'mu' are \[10, 0\], expected to rise",
        ),
    ],
)
def test_what_pyhf_would_read_as_something_else_is_refused(change, message):
    spec = near_zero(51.0, 40.0)
    require_valid(spec, "here")
    change(spec)
    with pytest.raises(WorkspaceError, match=f"workspace here is not valid: .*{message}"):
        require_valid(spec, "here")


# ------------------------------------------------------------------------------------------------------ patches
@pytest.fixture
def files(tmp_path):
    """A workspace without its signal, a patch that adds it, and a patch set with that one."""
    spec = near_zero(57.0, 48.0)
    signal = spec["channels"][0]["samples"].pop(0)
    spec["channels"][0]["samples"][0]["modifiers"].append(normfactor())
    patch = [{"op": "add", "path": "/channels/0/samples/0", "value": signal}]
    digest = pyhf.utils.digest(spec)
    whole = {
        "metadata": {
            "references": {"hepdata": "ins1234567"},
            "description": "signals",
            "digests": {"sha256": digest},
            "labels": ["mass"],
        },
        "patches": [{"metadata": {"name": "mass_125", "values": [125]}, "patch": patch}],
        "version": "1.0.0",
    }
    for name, content in (("w", spec), ("patch", patch), ("patchset", whole)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_a_patch_is_applied(files):
    plain, patch, patchset = (str(files / f"{name}.json") for name in ("w", "patch", "patchset"))
    one = read_workspace(files / "w.json", patch=patch)
    other = read_workspace(files / "w.json", patchset=patchset, patch="mass_125")
    assert one == other
    assert [item["name"] for item in one["channels"][0]["samples"]] == ["signal", "background"]
    assert len(read_workspace(files / "w.json")["channels"][0]["samples"]) == 1
    assert plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workspace": "patch.json"}, "is a JSON patch, not a workspace. .* this file as patch=FILE"),
        ({"workspace": "patchset.json"}, "is a patch set, not a workspace. .* as patchset=FILE, .* patch=NAME"),
        ({"patch": "patchset.json"}, "is a patch set: name it patchset=FILE"),
        ({"patchset": "patchset.json"}, "patch is missing; known: mass_125"),
        ({"patchset": "patchset.json", "name": "mass_126"}, "patch=mass_126 is not in .*; closest: 'mass_125'"),
        ({"patchset": "patch.json", "name": "mass_125"}, "is no patch set"),
        ({"patch": "nowhere.json"}, "cannot be read: No such file"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_in_words(files, arguments, message):
    patch = str(files / arguments["patch"]) if "patch" in arguments else arguments.get("name")
    patchset = str(files / arguments["patchset"]) if "patchset" in arguments else None
    with pytest.raises(WorkspaceError, match=message):
        read_workspace(files / arguments.get("workspace", "w.json"), patch=patch, patchset=patchset)


def test_a_patch_set_of_another_workspace_is_refused(files):
    spec = json.loads((files / "w.json").read_text())
    spec["observations"][0]["data"][0] += 1
    (files / "w.json").write_text(json.dumps(spec))
    with pytest.raises(WorkspaceError, match="is not for this workspace"):
        read_workspace(files / "w.json", patchset=str(files / "patchset.json"), patch="mass_125")


# --------------------------------------------------------------------------------------------------- two minima
def deepest(spec: dict[str, Any]) -> tuple[float, np.ndarray]:
    """-2 ln L and the parameters of the deepest of the minima from many starts, with pyhf and scipy alone."""
    model, data = model_of(spec)
    rng = np.random.default_rng(3)
    found = []
    for _ in range(40):
        start = [
            rng.uniform(0, 3) if name == model.config.poi_name else rng.normal() for name in model.config.par_names
        ]
        bounds = model.config.suggested_bounds()
        result = minimize(lambda x: -2 * model.logpdf(x, data)[0], start, bounds=bounds, method="L-BFGS-B", tol=1e-12)
        if math.isfinite(result.fun):  # not where it stepped to negative rates
            found.append((float(result.fun), result.x))
    return min(found, key=lambda item: item[0])


@pytest.mark.parametrize(
    ("up", "down", "minos"),
    [([55.0, 33.0], [56.0, 34.0], ["mu"]), ([70.0, 10.0], [45.0, -5.0], ["mu"]), ([70.0, 10.0], [45.0, -5.0], [])],
)
def test_the_deeper_of_two_minima_is_found(up, down, minos):
    """A shape that goes to one side, up as well as down, has one on either side of its centre."""
    shape = {"name": "h", "type": "histosys", "data": {"hi_data": up, "lo_data": down}}
    spec = workspace(sample("s", [5.0, 10.0], normfactor()), sample("b", [50.0, 30.0], shape), data=[58.0, 37.0])
    result = fit(spec, minos=minos)
    depth, values = deepest(spec)
    assert result.twice_nll == pytest.approx(depth, abs=1e-5)
    assert [result.parameters[name].bestfit for name in result.parameters] == pytest.approx(values.tolist(), abs=0.01)


def test_without_signal_the_deeper_of_two_minima_counts():
    """A discovery with a minimum next to the nominal parameters, and a deeper one where the shape makes up for mu."""
    up, down = [45.602, 43.941, 9.154, 0.944, 0.359], [14.436, 79.748, 4.698, 0.799, 0.319]
    shape = {"name": "h", "type": "histosys", "data": {"hi_data": up, "lo_data": down}}
    background = sample("b", [94.648, 2.703, 2.246, 0.302, 0.101], shape)
    spec = workspace(sample("s", [2.3768, 2.184, 5.2362, 3.711, 6.492], normfactor()), background, data=[1.0] * 5)
    model, _ = model_of(spec)
    point = np.array(model.config.suggested_init())
    data = model.expected_data(point)
    at_best = -2 * model.logpdf(point, data)[0]
    point[model.config.poi_index] = 0.0
    index, rises = model.config.par_names.index("h"), []
    for value in np.linspace(-0.6, 1.2, 1801):
        point[index] = value
        rises.append(-2 * float(model.logpdf(point, data)[0]) - at_best)
    result = fit(spec, data="asimov", significance=True)
    assert result["significance"].expected == pytest.approx(math.sqrt(min(rises)), rel=1e-5)


@pytest.mark.parametrize("engine", ["exact", "pyhf"])
def test_two_factors_of_one_sample_are_named_also_where_one_is_zero(engine):
    """Along their valley one of them may reach 0, where the other has no effect."""
    spec = workspace(
        sample("s", [5.0, 10.0], normfactor(), normfactor("k")),
        sample("b", [50.0, 40.0]),
        data=[60.0, 45.0],
        mu={"bounds": [[-10.0, 20.0]]},
    )
    with pytest.raises(FitFailedError, match=r"the data cannot tell (mu and k|k and mu) apart: they only act together"):
        fit(spec, engine=engine)


@pytest.mark.parametrize("engine", ["exact", "pyhf"])
def test_parameters_that_only_act_together_are_refused_also_at_a_limit(engine):
    """A random workspace: along its valley one factor reaches 0, where the others have a minimum that means nothing."""
    spec = json.loads((DATA / "degenerate_at_limit.json").read_text(encoding="utf-8"))
    with pytest.raises(FitFailedError, match=r"the data cannot tell mu and .* apart: they only act together"):
        fit(spec, engine=engine)


def test_asimov_data_are_made_within_the_bounds_of_the_fit():
    spec = workspace(
        sample("s", [10.0], normfactor()),
        sample("b", [50.0], normsys("k", 1.1, 0.9)),
        data=[60.0],
        mu={"inits": [3.0], "bounds": [[2.0, 10.0]]},
    )
    result = fit(spec, data="asimov", bounds={"mu": (-5.0, 20.0)}, yields=True)
    assert result.parameters["mu"].bestfit == pytest.approx(1.0, abs=1e-6)
    assert [table.total[0] for table in result["yields"]] == pytest.approx([60.0, 60.0], abs=1e-4)
    assert "the Asimov data are made with mu = 1; the workspace starts it at 3" in result.notes


def test_a_straight_line_at_a_limit_has_the_expected_curvature():
    """Nothing is seen where next to nothing is expected: the second derivative is rounding, of either sign."""
    spec = workspace(sample("s", [3.0], normfactor()), sample("b", [0.01], normsys("k", 1.1, 0.9)), data=[0.0])
    result = fit(spec)
    assert result.parameters["mu"].at_limit == 0.0
    assert result.parameters["mu"].hesse == pytest.approx(math.sqrt(0.01) / 3, rel=0.01)


# ------------------------------------------------------------------------------------- what only breakers write
def together(n: int) -> dict[str, Any]:
    """Uncertainties of 2% that all move the background alike, and data that are one of them off."""
    rng = np.random.default_rng(2)
    signal, background = rng.uniform(20, 100, 20), rng.uniform(500, 1500, 20)
    effects = [normsys(f"n{index}", 1.02, 0.98) for index in range(n)]
    samples = sample("s", signal.tolist(), normfactor()), sample("b", background.tolist(), *effects)
    return workspace(*samples, data=rng.poisson(signal + 1.02 * background).astype(float).tolist())


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what has an entry for each time that the likelihood is asked for."""
    calls: list[int] = []
    rise = Likelihood.rise

    def counted(self: Likelihood, theta: Any) -> float:
        calls.append(1)
        return rise(self, theta)

    monkeypatch.setattr(Likelihood, "rise", counted)
    return calls


def test_a_fit_of_hundreds_of_systematics_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(monkeypatch)
    found = fit(together(280), minos=())
    assert found.minuit is not None
    assert found.minuit.is_valid
    assert len(calls) < 1000


@pytest.mark.slow
def test_many_parameters_that_go_together_need_no_numerical_hessian(monkeypatch: pytest.MonkeyPatch) -> None:
    """MINUIT's first step, with the parameters' own curvatures, is too long there, and its repetition has n^2 calls."""
    calls = counting(monkeypatch)
    spec = together(100)
    found = fit(spec, minos=())
    assert len(calls) < 1000  # 20 000 and more
    assert found.minuit is not None
    assert found.minuit.is_valid
    model, data = model_of(spec)
    values = np.array([found.parameters[name].bestfit for name in model.config.par_names])
    steps = np.array([0.02 * found.parameters[name].hesse for name in model.config.par_names])
    covariance = covariance_by_differences(model, data, values, steps)
    poi = model.config.poi_index
    assert found.parameters["mu"].hesse == pytest.approx(covariance[poi, poi] ** 0.5, rel=1e-3)


def test_a_factor_of_the_signal_alone_has_no_effect_without_signal() -> None:
    """Held at mu = 0 the fit leaves it alone (significance, limits); with mu at its limit it has no error, as said."""
    only = sample("signal", [15.0, 25.0], normfactor(), normfactor("k")), sample("background", [110.0, 50.0])
    spec = workspace(*only, data=[112.0, 108.0], k={"inits": [1.0], "bounds": [[0.0, 1e6]]})
    spec["channels"].append({"name": "CR", "samples": [sample("signal", [10.0, 20.0], normfactor()), only[1]]})
    spec["observations"].append({"name": "CR", "data": [121.0, 62.0]})
    for engine in ("exact", "pyhf"):
        found = fit(spec, significance=True, engine=engine)
        q0 = 2 * (nll_without_signal(spec) - found.twice_nll / 2)
        assert found.quantities["significance"].value.observed == pytest.approx(q0**0.5, rel=1e-6)
    spec["observations"] = [{"name": "SR", "data": [80.0, 30.0]}, {"name": "CR", "data": [80.0, 30.0]}]
    with pytest.raises(FitFailedError, match="k has no effect on the expected events, and no constraint"):
        fit(spec)


def nll_without_signal(spec: dict[str, Any]) -> float:
    """Of backgrounds without parameters."""
    total = 0.0
    for entry in spec["observations"]:
        total -= poisson.logpmf(entry["data"], [110.0, 50.0]).sum()
    return float(total)


def test_a_profile_that_jumps_between_two_branches_ends_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile may give another number for the same value, from another start: its first one counts."""
    spec = workspace(sample("signal", [10.0], normfactor()), sample("background", [50.0]), data=[60.0])
    with numpy_backend():
        problem = open_problem(spec, asimov=False, measurement=None, where="here")
        fitter = Fitter(problem, PLAIN)
        best = fitter.fit()
        index, minimum, asked = problem.poi, fitter.minimum, set[float]()

        def moody(what: str, held: Any = None, start: Any = None) -> Any:
            found, value = minimum(what, held, start), held[index]
            again = value in asked
            asked.add(value)
            return replace(found, rise=2.0) if again or value == best.values[index] else found

        monkeypatch.setattr(fitter, "minimum", moody)
        upper = fitter._crossing(best, index, 1, {})
    assert upper == pytest.approx(0.8, abs=0.05)


def test_global_impacts_that_do_not_add_up_to_the_error_say_to_what() -> None:
    """A shape that moves all bins up on either side: its bend, times what the data are off, is in HESSE alone."""
    data = {"hi_data": [60.0, 99.0], "lo_data": [58.0, 97.0]}
    background = sample("background", [50.0, 90.0], {"name": "h", "type": "histosys", "data": data})
    found = fit(workspace(sample("signal", [30.0, 10.0], normfactor()), background, data=[90.0, 110.0]))
    split = found.quantities["global_impacts"].value
    total = math.hypot(split.statistical, *(item.impact for item in split.impacts))
    assert total / found.parameters["mu"].hesse == pytest.approx(1.388, abs=0.001)
    ((_, text),) = GlobalImpactsQuantity.rows("global_impacts", split, found)
    assert f"(add up in quadrature to {total:.3g}: these data make the likelihood bend another way)" in text
