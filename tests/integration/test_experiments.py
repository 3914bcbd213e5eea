"""Every file in conf/experiment and conf/sweep composes and runs, so that none of them rots."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from conftest import compose
from omegaconf import OmegaConf

from inferno_cli.config.load import config_folder
from inferno_cli.runs.record import Results
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, Runs, succeed

OF_OTHER_STEPS = {"firework", "means", "resonance"}
"""Experiments of ``inferno interpolate``: test_interpolate_step.py."""
EXPERIMENTS = sorted({path.stem for path in (config_folder() / "experiment").glob("*.yaml")} - OF_OTHER_STEPS)
# optuna and anomaly are searches, not lists: test_search.py, test_anomaly.py
SWEEPS = sorted({path.stem for path in (config_folder() / "sweep").glob("*.yaml")} - {"optuna", "anomaly"})
OF_SWEEP = {"shift": ("+experiment=shift",)}
"""The experiment of a sweep that belongs to one."""
OF_EXPERIMENT = {"blobs": ("model.learning_rate=0.001",)}
"""Four hidden layers without a warm-up: the rate of ``QUICK`` is too large for them."""
# reference/synthetic.yaml, computed_cramer_rao_bound_on_s
BOUNDS = {
    "synthetic": 15.531,
    "benchmark0": 14.708,
    "benchmark1": 15.506,
    "benchmark2": 15.638,
    "benchmark3": 15.608,
    "benchmark4": 16.879,
}


def test_the_experiments_and_sweeps_that_were_promised_are_there() -> None:
    assert {"top11004", *BOUNDS} <= set(EXPERIMENTS)
    assert {"bins", "temperature", "downsample"} <= set(SWEEPS)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_runs(experiment: str, runs: Runs) -> None:
    # Errors of mu much above 1 feel the limits of its range, in HESSE: train until they are not.
    overrides = (*FIT_ONLY_MU, "trainer.max_epochs=8", *OF_EXPERIMENT.get(experiment, ()))
    results = runs(experiment, "inferno", *overrides).results

    mu = results.parameters["mu"]
    assert mu.minos is not None
    assert mu.minos[0] < 0 < mu.minos[1]
    assert results.poi_variance is not None
    assert mu.hesse == pytest.approx(math.sqrt(results.poi_variance.templates), rel=1e-4)
    names = {name for name in results.parameters if not name.startswith("staterror")}
    assert names == {"mu", *compose(f"+experiment={experiment}").nuisance.fit}
    if experiment in BOUNDS:
        assert results.cramer_rao_bound_s == pytest.approx(BOUNDS[experiment], abs=0.01)
        assert results.sigma_s is not None
        assert results.sigma_s > BOUNDS[experiment]


def values_of(sweep: str) -> tuple[str, list[str]]:
    """The key of a sweep and its values."""
    text = (config_folder() / "sweep" / f"{sweep}.yaml").read_text(encoding="utf-8")
    ((key, values),) = yaml.safe_load(text)["hydra"]["sweeper"]["params"].items()
    return key, values.split(",")


@pytest.mark.parametrize("sweep", SWEEPS)
def test_sweep_makes_a_job_of_every_value(sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.steps import train

    key, values = values_of(sweep)
    found = []
    monkeypatch.setattr(train, "run", lambda config, composed: found.append(OmegaConf.select(composed, key)))

    succeed("train", "-m", *OF_SWEEP.get(sweep, ()), f"+sweep={sweep}", "tracking=none", f"output_dir={tmp_path}")

    assert len(values) >= 4
    assert found == [pytest.approx(float(value)) for value in values]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_ends_of_a_sweep_run(sweep: str, tmp_path: Path) -> None:
    """A list on the command line replaces that of the file."""
    key, values = values_of(sweep)
    experiment = OF_SWEEP.get(sweep, ("+experiment=synthetic", *FEW_EVENTS))
    arguments = ("-m", *experiment, f"+sweep={sweep}", *QUICK, *FIT_ONLY_MU)

    ends = f"{key}={values[0]},{values[-1]}"
    succeed("train", *arguments, "model.learning_rate=0.001", ends, f"output_dir={tmp_path}")

    records = [Results.load(path) for path in sorted(tmp_path.rglob("results.json"))]
    assert len(records) == 2
    assert all(0 < record.parameters["mu"].hesse < 2 for record in records)
    assert records[0].poi_variance != records[1].poi_variance


@pytest.mark.parametrize("where", ["file", "command line"])
def test_what_says_that_there_are_points_need_not_be_a_flag(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inferno_cli.steps import train

    found = []
    monkeypatch.setattr(train, "run", lambda config, composed: found.append(composed.seed))
    said = ("hydra.mode=MULTIRUN",)
    if where == "file":
        (tmp_path / "conf" / "experiment").mkdir(parents=True)
        (tmp_path / "conf/experiment/points.yaml").write_text("# @package _global_\nhydra: {mode: MULTIRUN}\n")
        said = ("--config-dir", f"{tmp_path}/conf", "+experiment=points")

    succeed("train", *said, "seed=1,2", "tracking=none", f"output_dir={tmp_path}")

    assert found == [1, 2]
