"""Toys: against experiments whose repetitions are known exactly, repeatable, and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from conftest import compose
from scipy.optimize import brentq
from scipy.special import xlogy
from scipy.stats import poisson

from inferno_cli.errors import Stopped
from inferno_cli.files import read_json
from inferno_cli.fit import throwing
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import numpy_backend, open_problem
from inferno_cli.fit.quantities.toys import ToyFits
from inferno_cli.fit.result import FitResult
from inferno_cli.fit.share import Share
from inferno_cli.fit.toys import Distribution, Estimates, Measurement, Throw, counted, repeated, thrown

ALONE = ("fit.scan_points=null", "fit.significance=false", "fit.stat_only=false", "fit.progress=none", "fit.minos=[]")
PLAIN = compose(*ALONE).fit.model_copy(update={"breakdown": False, "yields": False})
SEED = 7


def mu() -> dict[str, Any]:
    return {"name": "mu", "type": "normfactor", "data": None}


def workspace(
    signal_yields: list[float],
    background: list[float],
    observed: list[float],
    *modifiers: dict[str, Any],
    **bounds: Any,
) -> dict[str, Any]:
    """A signal and a background, which ``modifiers`` change."""
    samples = [
        {"name": "signal", "data": signal_yields, "modifiers": [mu()]},
        {"name": "background", "data": background, "modifiers": list(modifiers)},
    ]
    parameters = [{"name": name, "bounds": [value], "inits": [1.0]} for name, value in bounds.items()]
    return {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": observed}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


def counting(observed: float = 150.0, **bounds: Any) -> dict[str, Any]:
    """One bin with 50 events of signal over 100 of background, known exactly: mu-hat is (n - 100) / 50."""
    return workspace([50.0], [100.0], [observed], **{"mu": [-10, 20], **bounds})


def fit(spec: dict[str, Any], toys: int, folder: Path | None = None, **changes: Any) -> FitResult:
    settings = PLAIN.model_copy(update={"toys": toys, "toys_seed": SEED, **changes})
    return fit_workspace(spec, settings, where="here", partial=folder)


def drawn(rates: list[float], key: int, number: int) -> np.ndarray:
    """The events of all toys, shape (number, n_bins), drawn here as they have to be."""
    sequences = [np.random.SeedSequence(SEED, spawn_key=(key, toy)) for toy in range(number)]
    return np.array([np.random.default_rng(sequence).poisson(rates) for sequence in sequences])


def is_near(share: Share, exact: float) -> bool:
    return abs(share.value - exact) < 4 * (exact * (1 - exact) / share.total) ** 0.5


# ------------------------------------------------------------------------------------------- a counting experiment
def test_a_counting_experiment_is_known_exactly() -> None:
    found: ToyFits = fit(counting(), 500)["toys"]
    events = drawn([150.0], 0, 500)[:, 0]
    estimates, errors = (events - 100) / 50, np.sqrt(events) / 50
    rise = 2 * (150 - events + events * np.log(events / 150))

    assert found.truth == pytest.approx(1, abs=1e-9)
    assert found.mean == pytest.approx(estimates.mean(), abs=1e-6)
    assert found.spread == pytest.approx(estimates.std(ddof=1), abs=1e-6)
    assert found.bias == pytest.approx(estimates.mean() - 1, abs=1e-6)
    assert found.bias_error == pytest.approx(estimates.std(ddof=1) / 500**0.5, abs=1e-6)
    assert found.hesse == pytest.approx(errors.mean(), abs=1e-6)
    assert found.pulls["mu"].width == pytest.approx(((estimates - 1) / errors).std(ddof=1), abs=1e-5)
    assert found.coverage == Share(int((np.abs(estimates - 1) <= errors).sum()), 500)
    assert found.coverage_minos == Share(int((rise <= 1).sum()), 500)
    assert sum(found.estimates.counts) == sum(found.pull.counts) == 500
    assert (found.number, found.failed, found.at_limit) == (500, 0, 0)


def test_coverage_is_that_of_the_sum_over_all_outcomes() -> None:
    found: ToyFits = fit(counting(), 1000)["toys"]
    events = np.arange(1, 400)
    inside_hesse = np.abs(events - 150) <= np.sqrt(events)
    inside_minos = 2 * (150 - events + events * np.log(events / 150)) <= 1

    assert is_near(found.coverage, poisson.pmf(events[inside_hesse], 150).sum())
    assert is_near(found.coverage_minos, poisson.pmf(events[inside_minos], 150).sum())


def test_a_toy_without_a_valid_fit_is_counted() -> None:
    """A limit of 1.21 that is measured is refused, in the toys as in the data."""
    result = fit(counting(mu=[-10, 1.21]), 200)
    found: ToyFits = result["toys"]
    refused = int((drawn([150.0], 0, 200) >= 161).sum())

    assert refused > 0
    assert (found.failed, found.number) == (refused, 200)
    assert found.coverage.total == sum(found.estimates.counts) == 200 - refused
    assert any(f"{refused} of 200 have no valid fit" in note for note in result.notes)


def test_toys_at_a_physical_limit_count_as_all_others() -> None:
    found: ToyFits = fit(workspace([5.0], [100.0], [105.0], mu=[0, 20]), 100)["toys"]
    events = drawn([105.0], 0, 100)[:, 0]

    assert found.at_limit == int((events < 100).sum()) > 0
    assert found.mean == pytest.approx(np.maximum((events - 100) / 5, 0).mean(), abs=1e-5)


def test_all_toys_without_a_valid_fit_are_a_note() -> None:
    result = fit(workspace([5e4], [1e5], [1.5e5], mu=[0.99999, 1.00001]), 10)

    assert "toys" not in result.quantities
    assert any(note.startswith("no toys: no toy of the best fit has a valid fit") for note in result.notes)


# ----------------------------------------------------------------------------------------------- auxiliary measurements
def modifiers() -> tuple[dict[str, Any], ...]:
    return (
        {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        {"name": "lumi", "type": "lumi", "data": None},
        {"name": "noise", "type": "staterror", "data": [1.0, 2.0]},
        {"name": "control", "type": "shapesys", "data": [20.0, 10.0]},
    )


def with_all() -> dict[str, Any]:
    spec = workspace([20.0, 60.0], [100.0, 80.0], [120.0, 140.0], *modifiers(), mu=[-10, 20])
    sigma = {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "inits": [1.0], "bounds": [[0.5, 1.5]]}
    spec["measurements"][0]["config"]["parameters"].append(sigma)
    return spec


def test_data_are_drawn_as_by_pyhf() -> None:
    """pyhf samples its own distribution: the same means and spreads, of the data and of every auxiliary one."""
    with numpy_backend():
        problem = open_problem(with_all(), asimov=True, measurement=None, where="here")
        values = np.array(problem.model.config.suggested_init()) + 0.02
        ours = Distribution(problem, values)
        found = np.array([ours.draw(np.random.default_rng(toy)) for toy in range(4000)])
        np.random.seed(1)  # noqa: NPY002  (pyhf draws with the global generator)
        theirs = np.asarray(problem.model.make_pdf(pyhf.tensorlib.astensor(values)).sample((4000,)))

    widths = theirs.std(axis=0)
    assert found.shape == theirs.shape
    assert (np.abs(found.mean(axis=0) - theirs.mean(axis=0)) < 4 * widths * (2 / 4000) ** 0.5).all()
    np.testing.assert_allclose(found.std(axis=0), widths, rtol=0.06)


def test_auxiliary_measurements_fluctuate() -> None:
    """Nothing but its constraint knows of the rate: were that not drawn, its pull would have no width."""
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.001, "lo": 0.999}}
    control = {"name": "control", "type": "shapesys", "data": [2.0]}
    spec = workspace([50.0], [100.0], [150.0], rate, control, mu=[-10, 20])
    pulls = fit(spec, 300)["toys"].pulls

    for name in ("rate", "control[0]", "mu"):
        assert pulls[name].width == pytest.approx(1, abs=4 / 600**0.5)
        assert pulls[name].mean == pytest.approx(0, abs=4 / 300**0.5)


def test_a_toy_may_have_nothing_in_a_control_region() -> None:
    """Where the auxiliary count of a toy is 0, its term of the saturated model is 2 tau gamma."""
    control = {"name": "control", "type": "shapesys", "data": [100.0]}
    with numpy_backend():
        problem = open_problem(workspace([50.0], [100.0], [150.0], control), asimov=True, measurement=None, where="x")
        other = Fitter(problem, PLAIN).on([150.0, 0.0])
        found = other.likelihood.distance_to_saturated(np.array([1.0, 1.0]), np.array([True, True]))

    assert found == pytest.approx(2)
    toys: ToyFits = fit(workspace([50.0], [100.0], [150.0], control, mu=[-10, 20]), 100)["toys"]
    assert toys.failed == 0
    assert toys.at_limit > 0


def test_a_toy_has_the_deeper_of_two_minima() -> None:
    """A shape that moves the events to one side either way: the fit of the data looks on both sides, and so do toys."""
    both = {"name": "bent", "type": "histosys", "data": {"hi_data": [130.0, 112.0], "lo_data": [126.0, 116.0]}}
    spec = workspace([20.0, 60.0], [100.0, 80.0], [120.0, 140.0], both, mu=[-10, 20])
    with numpy_backend():
        fitter = Fitter(open_problem(spec, asimov=True, measurement=None, where="here"), PLAIN)
        throw = repeated(fitter, replace(fitter.fit(), values=np.array([1.0, 1.0])))
        index = fitter.problem.labels.index("bent")
        assert throw.measure == Measurement((index,))
        ours = Estimates.of(thrown(fitter, throw, SEED, range(20)).rows)
        distribution = Distribution(fitter.problem, throw.truth.values)
        for toy in range(20):
            generator = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(0, toy)))
            other = fitter.on(distribution.draw(generator).tolist())
            deepest = np.inf
            for side in (-2.0, -1.0, 1.0, 2.0):
                start = np.ones(2)
                start[index] = side
                deepest = min(deepest, other.minimum("the fit", None, other.at(start)).rise)
            assert other.likelihood.rise(ours.values[toy]) == pytest.approx(deepest, abs=1e-3)


def test_a_toy_is_measured_as_data_are() -> None:
    """The fit by itself, from the workspace's start, with MINOS: the same best fit and error, and the same verdict."""
    with numpy_backend():
        fitter = Fitter(open_problem(with_all(), asimov=True, measurement=None, where="here"), PLAIN)
        throw = repeated(fitter, fitter.fit())
        poi, true = fitter.problem.poi, float(throw.truth.values[fitter.problem.poi])
        found = Estimates.of(thrown(fitter, throw, SEED, range(25)).rows)
        distribution = Distribution(fitter.problem, throw.truth.values)
        inside = []
        for toy in range(25):
            generator = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(0, toy)))
            alone = fitter.on(distribution.draw(generator).tolist()).fit(minos=("mu",))
            down, up = alone.minos["mu"]
            inside.append(down <= true - alone.values[poi] <= up)
            assert (np.abs(found.values[toy] - alone.values) < 1e-4 * alone.hesse).all()
            np.testing.assert_allclose(found.hesse[toy], alone.hesse, rtol=1e-4)

    assert (found.rise <= 1).tolist() == inside
    assert 0 < sum(inside) < 25


# ---------------------------------------------------------------------------------------------------------- p-values
@pytest.mark.slow
def test_the_significance_by_toys_is_the_tail() -> None:
    found = fit(workspace([10.0], [10.0], [15.0], mu=[0, 20]), 1000, data="observed", significance=True)["significance"]

    assert found.toys == Share(int((drawn([10.0], 1, 1000) >= 15).sum()), 1000)
    assert is_near(found.toys, float(poisson.sf(14, 10)))


def test_toys_without_events_count_where_their_statistic_is_known() -> None:
    """No events have no best fit of a mu that may be negative: q0 is 0, and the p-value is of all toys."""
    result = fit(workspace([10.0], [2.0], [4.0], mu=[-10, 20]), 200, data="observed", significance=True)
    events = drawn([2.0], 1, 200)

    assert (events == 0).any()
    assert result["significance"].toys == Share(int((events >= 4).sum()), 200)


@pytest.mark.slow
def test_the_limit_by_toys_is_that_of_the_sums() -> None:
    observed, signal_events, background = 8, 5.0, 6.0
    spec = workspace([signal_events], [background], [float(observed)], mu=[0, 20])
    found = fit(spec, 500, data="observed", limit=True)["limit"]

    def above(value: float) -> float:
        # The test statistic falls with the events: at least that of the data are at most as many events.
        with_signal = poisson.cdf(observed, value * signal_events + background)
        return float(with_signal / poisson.cdf(observed, background)) - 0.05

    exact = brentq(above, 0, 10)
    assert abs(found.toys.limit - exact) < 4 * found.toys.error
    assert found.toys.error < 0.1 * exact
    assert found.toys.asymptotic == found.observed
    for value, share in zip(found.toys.poi_values, found.toys.signal, strict=True):
        assert is_near(share, float(poisson.cdf(observed, value * signal_events + background)))


def test_a_limit_without_enough_toys_is_a_note() -> None:
    """No toy without signal has as few events as these data."""
    result = fit(workspace([20.0], [100.0], [60.0], mu=[-5, 20]), 50, data="observed", limit=True)

    assert result["limit"].toys is None
    assert any(note.startswith("no limit by toys: of 50 toys without signal none") for note in result.notes)


def test_asimov_data_have_the_limit_without_signal_by_toys() -> None:
    found = fit(workspace([20.0], [100.0], [100.0], mu=[-5, 20]), 300, limit=True)["limit"]

    assert found.toys.asymptotic == pytest.approx(found.a_priori[2], abs=0.01)
    assert abs(found.toys.limit - found.toys.asymptotic) < 4 * found.toys.error + 0.05 * found.toys.asymptotic


def test_goodness_of_fit_by_toys_is_that_of_the_saturated_model() -> None:
    """Without background mu-hat is the number of events: the statistic of every toy is written down."""
    spec = workspace([30.0, 70.0], [0.0, 0.0], [40.0, 55.0], mu=[0, 20])
    spec["channels"][0]["samples"].pop()
    found = fit(spec, 200, data="observed", goodness_of_fit=True)["goodness_of_fit"]

    def distance(events: np.ndarray) -> np.ndarray:
        expected = np.outer(events.sum(axis=1) / 100, [30.0, 70.0])
        return 2 * xlogy(events, events / expected).sum(axis=1)

    of_data = float(distance(np.array([[40.0, 55.0]]))[0])
    assert found.toys == Share(int((distance(drawn([28.5, 66.5], 0, 200)) >= of_data).sum()), 200)


def test_a_share_has_the_error_of_the_counting() -> None:
    assert Share(683, 1000).error == pytest.approx((0.683 * 0.317 / 1000) ** 0.5, rel=1e-2)
    assert Share(0, 1000).error == pytest.approx(1 / 2002, rel=1e-9)


# --------------------------------------------------------------------------------------------- workers, and resumed
def test_toys_do_not_depend_on_their_chunk() -> None:
    with numpy_backend():
        fitter = Fitter(open_problem(with_all(), asimov=True, measurement=None, where="here"), PLAIN)
        throw = Throw("the best fit", (0,), fitter.fit(), Measurement(()))
        together, alone = thrown(fitter, throw, SEED, range(4, 8)), thrown(fitter, throw, SEED, range(6, 7))

    np.testing.assert_array_equal(together.rows[2], alone.rows[0])
    assert not np.array_equal(together.rows[1], alone.rows[0])


@pytest.mark.slow
def test_any_number_of_workers_throws_the_same() -> None:
    one, two = (fit(counting(), 120, significance=True, toys_workers=workers) for workers in (1, 2))

    assert one.quantities == two.quantities
    assert one["toys"] != fit(counting(), 120, toys_seed=8)["toys"]


def test_a_fit_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[range] = []
    work = throwing.thrown

    def counted(fitter: Any, throw: Any, seed: int, toys: range) -> Any:
        if len(calls) == 2:
            calls.clear()
            raise Stopped(signal.SIGTERM)
        calls.append(toys)
        return work(fitter, throw, seed, toys)

    monkeypatch.setattr(throwing, "thrown", counted)
    with pytest.raises(Stopped):
        fit(counting(mu=[-10, 1.2]), 180, tmp_path)
    kept = sorted(tmp_path.rglob("*.npz"))
    assert len(kept) == 2
    kept[1].write_bytes(kept[1].read_bytes()[:100])  # a damaged file is thrown again
    monkeypatch.setattr(throwing, "thrown", lambda *arguments: calls.append(arguments[3]) or work(*arguments))
    resumed = fit(counting(mu=[-10, 1.2]), 180, tmp_path)

    assert calls == [range(50, 100), range(100, 150), range(150, 180)]
    assert resumed == fit(counting(mu=[-10, 1.2]), 180)
    calls.clear()
    fit(counting(mu=[-10, 1.2], observed=151.0), 180, tmp_path, data="observed")
    assert len(calls) == 4  # of other data nothing is taken


def test_the_seed_of_a_run_is_that_of_its_toys() -> None:
    assert compose("seed=5").grouped_fit.toys_seed == 5
    assert compose("seed=5", "fit.toys_seed=6").grouped_fit.toys_seed == 6


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    import json

    path = tmp_path / "w.json"
    path.write_text(json.dumps(counting()), encoding="utf-8")
    settings = ["fit.toys=1000", "tracking=none", "report.plots=false", "fit.significance=false"]

    def started(name: str, workers: int = 2) -> subprocess.Popen[bytes]:
        places = [
            f"fit.toys_workers={workers}",
            f"workspace={path}",
            f"output_dir={tmp_path}",
            f"hydra.run.dir={tmp_path / name}",
        ]
        command = [sys.executable, "-m", "inferno_cli", "fit", *settings, *places]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    process = started("killed")
    partial = tmp_path / "killed" / "partial"
    while len(list(partial.rglob("*.npz"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in partial.rglob("*.npz")}
    assert 3 <= len(before) < 20
    again, whole = started("killed"), started("whole", workers=1)
    kept = True
    while again.poll() is None and whole.poll() is None and kept:
        kept = all(file.stat().st_mtime_ns == at for file, at in before.items() if file.exists())
        time.sleep(0.02)
    assert kept
    assert again.wait() == whole.wait() == 0
    one, two = (read_json(tmp_path / name / "results.json") for name in ("killed", "whole"))
    assert one["toys"] == two["toys"]
    assert not partial.exists()


def test_an_auxiliary_measurement_of_more_events_than_can_be_counted_is_drawn() -> None:
    """A shapesys of 1e-10 of its bin is a measurement of 1e20 events, which NumPy's Poisson distribution refuses."""
    error = {"name": "error", "type": "shapesys", "data": [5e-9, 5.0]}
    spec = workspace([10.0, 5.0], [50.0, 50.0], [60.0, 55.0], error)
    found = fit(spec, toys=50).quantities["toys"].value
    assert found.failed == 0
    assert found.pulls["error[0]"].width == pytest.approx(1, abs=0.35)
    means, generator = np.array([3.0, 1e20]), np.random.default_rng(1)
    drawn = np.stack([counted(means, generator) for _ in range(1000)])
    assert drawn.mean(axis=0) == pytest.approx(means, rel=0.1)
    assert drawn.std(axis=0) == pytest.approx(means**0.5, rel=0.1)
