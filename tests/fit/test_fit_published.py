"""Workspaces that others published, or like theirs: best fit, -2 ln L, covariance and MINOS are pyhf's.

tests/data/pyhf holds the models of pyhf's own validation and a patch set (tests/data/README.md). pyhf's numbers come
from its own fit with MINUIT, from differences of its likelihood, and from its own fits at the ends of an interval.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from conftest import compose, covariance_by_differences
from workspaces import SETTINGS, published

from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.result import FitResult
from inferno_cli.likelihood.readers.pyhf import read_workspace

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "data" / "pyhf"
VALIDATION = json.loads((FOLDER / "validation.json").read_text())
ALONE = compose("fit=data", "fit.scan_points=null", "fit.significance=false", "fit.stat_only=false").fit.model_copy(
    update={"breakdown": False, "goodness_of_fit": False, "yields": False, "progress": "none"}
)


# ------------------------------------------------------------------------------------------------ the workspaces
def _modifier(kind: str, name: str, data: Any = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "data": data}


def _background(channel: int, name: str, data: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """A process of a search: rates and shapes of twenty sources, the error of the simulation, the luminosity."""
    modifiers = [_modifier("lumi", "lumi"), _modifier("staterror", f"staterror_{channel}", list(0.04 * data))]
    for source in range(20):
        up, down = 1 + rng.normal(0, 0.04, 2)
        modifiers.append(_modifier("normsys", f"source_{source}", {"hi": up, "lo": down}))
        if source % 2 == 0:
            up, down = data * (1 + rng.normal(0, 0.05, (2, len(data))))
            modifiers.append(_modifier("histosys", f"source_{source}", {"hi_data": list(up), "lo_data": list(down)}))
    return {"name": name, "data": list(data), "modifiers": modifiers}


def search() -> dict[str, Any]:
    """Eight channels of six bins, with rates of the backgrounds from control regions: 72 parameters."""
    rng = np.random.default_rng(5)
    channels, observations = [], []
    for channel in range(8):
        is_control = channel >= 6
        shape = np.exp(-0.4 * np.arange(6))
        top, boson = (200 if is_control else 60) * shape, (150 if channel == 7 else 30) * shape**0.7
        samples = [_background(channel, "top", top, rng), _background(channel, "boson", boson, rng)]
        samples[0]["modifiers"].append(_modifier("normfactor", "norm_top"))
        samples[1]["modifiers"].append(_modifier("normfactor", "norm_boson"))
        total = top + boson
        if not is_control:
            signal = (2 + channel) * np.linspace(0.3, 1.5, 6)
            samples.append(_background(channel, "signal", signal, rng))
            samples[2]["modifiers"].append(_modifier("normfactor", "mu"))
            total = total + signal
        channels.append({"name": f"region_{channel}", "samples": samples})
        observations.append({"name": f"region_{channel}", "data": rng.poisson(total).tolist()})
    parameters = [
        {"name": "lumi", "inits": [1.0], "bounds": [[0.8, 1.2]], "auxdata": [1.0], "sigmas": [0.02]},
        {"name": "mu", "inits": [0.7], "bounds": [[-2.0, 8.0]]},
    ]
    measurement = {"name": "search", "config": {"poi": "mu", "parameters": parameters}}
    return {"version": "1.0.0", "channels": channels, "observations": observations, "measurements": [measurement]}


def peculiar() -> dict[str, Any]:
    """What workspaces may have besides, in 15 parameters.

    A shapefactor of two channels, auxiliary measurements and bounds of the measurement's own, a constant away from its
    nominal value, a shapesys that is 0 in a bin, a sample with negative events in a bin, an empty bin of a staterror.
    """
    shape = _modifier("shapefactor", "multijet_shape")
    norm, jes = (
        _modifier("normsys", "k", {"hi": 1.2, "lo": 0.9}),
        {"hi_data": [44.0, 27.0, 12.5], "lo_data": [37, 30, 13]},
    )
    samples = [
        {"name": "signal", "data": [3.0, 9.0, 12.0], "modifiers": [_modifier("normfactor", "mu"), norm]},
        {"name": "multijet", "data": [50.0, 30.0, 20.0], "modifiers": [shape]},
        {
            "name": "top",
            "data": [40.0, 28.0, 13.0],
            "modifiers": [
                norm,
                _modifier("histosys", "jes", jes),
                _modifier("shapesys", "top_error", [4.0, 0.0, 2.0]),
                _modifier("lumi", "lumi"),
            ],
        },
        {
            "name": "interference",
            "data": [1.0, -0.8, 0.4],
            "modifiers": [_modifier("normsys", "held", {"hi": 1.3, "lo": 0.7})],
        },
    ]
    control = [
        {"name": "multijet", "data": [500.0, 300.0, 200.0], "modifiers": [shape, _modifier("normfactor", "transfer")]},
        {"name": "top", "data": [20.0, 10.0, 0.0], "modifiers": [norm, _modifier("staterror", "mc", [2.0, 1.5, 0.0])]},
    ]
    tags = [{"name": "top", "data": [400.0], "modifiers": [norm, _modifier("normfactor", "transfer")]}]
    parameters = [
        {"name": "mu", "inits": [0.5], "bounds": [[-3.0, 7.0]]},
        {"name": "lumi", "inits": [1.01], "bounds": [[0.9, 1.1]], "auxdata": [1.02], "sigmas": [0.03]},
        {"name": "k", "inits": [0.3], "bounds": [[-3.0, 3.0]], "auxdata": [0.4]},
        {"name": "jes", "auxdata": [-0.5], "bounds": [[-4.0, 4.0]]},
        {"name": "held", "inits": [0.8], "fixed": True},
        {"name": "transfer", "inits": [1.1], "bounds": [[0.2, 3.0]]},
    ]
    return {
        "version": "1.0.0",
        "channels": [
            {"name": "signal", "samples": samples},
            {"name": "control", "samples": control},
            {"name": "tags", "samples": tags},
        ],
        "observations": [
            {"name": "tags", "data": [431]},
            {"name": "signal", "data": [97, 71, 44]},
            {"name": "control", "data": [513, 290, 190]},
        ],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
    }


def patched() -> dict[str, Any]:
    """Return the example of pyhf's tests with the patch of its patch set, which is for that workspace only."""
    return read_workspace(
        FOLDER / "example_bkgonly.json",
        patchset=str(FOLDER / "example_patchset.json"),
        patch="patch_channel1_signal_syst1",
    )


CASES = {name: (lambda spec=spec: spec, None) for name, spec in VALIDATION["workspaces"].items()}
CASES |= {
    "patched": (patched, "GammaExample"),
    "signal": (published, "signal"),
    "background": (published, "background"),
    "peculiar": (peculiar, None),
    "search": (search, None),
}
MINOS = {
    "signal": ("mu", "JES", "lumi", "fakes_SR1[0]", "shape_VR[1]"),
    "background": ("mu_SIG", "norm_top"),
    "peculiar": ("all",),
    "search": ("mu", "source_4"),
}


# ------------------------------------------------------------------------------------------------------- pyhf's
@dataclass(frozen=True)
class Pair:
    """A workspace, its fit, and pyhf's model and data."""

    name: str
    result: FitResult
    model: Any
    data: list[float]

    @property
    def values(self) -> np.ndarray:
        return np.array([estimate.bestfit for estimate in self.result.parameters.values()])

    @property
    def errors(self) -> np.ndarray:
        """Of HESSE; 0 of what is constant, or held at a limit."""
        estimates = self.result.parameters.values()
        return np.array([0.0 if estimate.at_limit is not None else estimate.hesse for estimate in estimates])

    def twice_nll(self, point: np.ndarray) -> float:
        return -2 * float(np.squeeze(self.model.logpdf(point, self.data)))

    def minimum(self, held: dict[int, float], start: np.ndarray) -> tuple[np.ndarray, float]:
        """Minimise pyhf's likelihood with MINUIT, where parameters are held; return the minimum, and -2 ln L there."""
        low, high = np.array(self.model.config.suggested_bounds(), dtype=float).T
        start, fixed = np.clip(start, low, high), np.array(self.model.config.suggested_fixed())
        for index, value in held.items():
            start[index], fixed[index] = value, True
        with precise_minuit():
            found, rise = pyhf.infer.mle.fit(
                self.data, self.model, list(start), None, list(fixed), return_fitted_val=True
            )
        return np.asarray(found), float(rise)


@contextmanager
def precise_minuit() -> Iterator[None]:
    """Let pyhf minimise with MINUIT far below the usual tolerance, to 1e-6 in -2 ln L; what was there is put back."""
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4, strategy=1))
    yield
    pyhf.set_backend(*before)


@cache
def pair(name: str) -> Pair:
    make, measurement = CASES[name]
    spec = make()
    settings = ALONE.model_copy(update={"minos": MINOS.get(name, ("all",))})
    result = fit_workspace(spec, settings, measurement=measurement, where=name)
    workspace = pyhf.Workspace(spec)
    model = workspace.model(measurement_name=measurement, modifier_settings=SETTINGS)
    return Pair(name, result, model, workspace.data(model))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Pair]:
    return pair(request.param)


# --------------------------------------------------------------------------------------------------- the tests
def test_there_is_every_kind_of_modifier_and_many_parameters():
    models = [pair(name).model for name in ("signal", "peculiar", "search")]
    for model in models[:2]:
        assert {kind for _, kind in model.config.modifiers} >= {
            "histosys",
            "lumi",
            "shapefactor",
            "shapesys",
            "staterror",
        }
    assert models[2].config.npars >= 66


def test_the_minimum_is_pyhfs(case):
    """By pyhf's own fit, and by the step to its minimum that the differences of its likelihood give."""
    values, errors = case.values, case.errors
    found, lowest = min((case.minimum({}, start) for start in starts(case)), key=lambda minimum: minimum[1])
    assert case.result.twice_nll == pytest.approx(case.twice_nll(values), abs=1e-6)
    assert case.result.twice_nll == pytest.approx(lowest, abs=1e-6)
    free = errors > 0
    assert np.abs((values - found)[free] / errors[free]).max() < 1e-3  # MINUIT's own precision
    gradient = np.zeros_like(values)
    for index in np.flatnonzero(free):
        step = np.zeros_like(values)
        step[index] = 1e-3 * errors[index]
        gradient[index] = (case.twice_nll(values + step) - case.twice_nll(values - step)) / (4 * step[index])
    shift = covariance(case) @ gradient
    assert np.abs(shift[free] / errors[free]).max() < 1e-4


def starts(case: Pair) -> list[np.ndarray]:
    """The start of the workspace; of models with one shape, which may have two minima, also both sides of it."""
    config = case.model.config
    start = np.array(config.suggested_init(), dtype=float)
    shapes = [name for name, kind in config.modifiers if kind == "histosys"]
    moves = [np.zeros_like(start)]
    if len(shapes) == 1:
        moves += [sign * np.eye(len(start))[config.par_slice(shapes[0]).start] for sign in (1, -1)]
    return [start + move for move in moves]


def covariance(case: Pair) -> np.ndarray:
    """Ours, shape (n_parameters, n_parameters)."""
    correlation = np.array([list(row.values()) for row in case.result.correlation.values()])
    return correlation * np.outer(case.errors, case.errors)


def test_the_covariance_is_the_inverse_of_pyhfs_hessian(case):
    errors = case.errors
    expected = covariance_by_differences(case.model, case.data, case.values, 0.02 * errors, fine=True)
    scale = np.outer(errors, errors)
    difference = np.divide(covariance(case) - expected, scale, out=np.zeros_like(scale), where=scale > 0)
    assert np.abs(difference).max() < 1e-5


def test_pyhfs_profile_has_risen_by_one_at_the_ends_of_minos(case):
    """By 1 within 1e-4, which is half of that of an error."""
    labels = case.model.config.par_names
    intervals = {}
    for label, (name, estimate) in zip(labels, case.result.parameters.items(), strict=True):
        assert name in (label, "mu")
        if estimate.minos is not None:
            intervals[label] = (estimate.bestfit, estimate.minos)
    at_limit = any(estimate.at_limit is not None for estimate in case.result.parameters.values())
    assert intervals or at_limit
    columns = covariance(case)
    for label, (value, interval) in intervals.items():
        index = labels.index(label)
        for length in interval:
            near = case.values + columns[:, index] * length / columns[index, index]
            _, height = case.minimum({index: value + length}, near)
            assert height - case.result.twice_nll == pytest.approx(1, abs=1e-4), (label, length)


@pytest.mark.parametrize("name", VALIDATION["cls"])
def test_cls_of_pyhfs_validation(name):
    """pyhf's tests hold CLs at mu = 1, some of them ROOT's; at the limit of that confidence level ours is 1."""
    published = VALIDATION["cls"][name]
    spec = VALIDATION["workspaces"][name]
    level = 1 - published["observed"]
    settings = ALONE.model_copy(update={"minos": (), "limit": True, "confidence_level": level, "limit_tolerance": 1e-5})
    result = fit_workspace(spec, settings, where=name)
    assert result["limit"].observed == pytest.approx(1, abs=2e-4)
