"""The command line called in this process, small datasets, and finished runs that tests share."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write

from inferno_cli.runs.record import Results
from inferno_cli.section import Names

QUICK = (
    # Whatever the defaults are tuned to: enough for a network that a likelihood can be built on.
    "trainer.max_epochs=3",
    "model.learning_rate=0.01",
    "model.batch_size=1000",
    "report.plots=false",
    "tracking=none",
)
FIT_ONLY_MU = ("fit.scan_points=null", "fit.significance=false", "fit.stat_only=false")
FEW_EVENTS = ("dataset.events={train: 4000, validation: 4000, template: 20000}",)
LABEL = "simulated stand-in, not CMS data"


@dataclass(frozen=True)
class Outcome:
    """What a call of the program left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def path(self) -> Path:
        """The file that the last line names."""
        last = self.out.splitlines()[-1]
        assert last.startswith("results: "), last
        return Path(last.removeprefix("results: "))

    @property
    def results(self) -> Results:
        return Results.load(self.path)


def inferno(*arguments: str) -> Outcome:
    """Call the program as the console script does, in this process."""
    import lightning.pytorch  # noqa: F401  (its handler keeps the stderr of the moment of its import)

    from inferno_cli.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with _restored(), redirect_stdout(out), redirect_stderr(err):
        sys.argv = ["inferno", *arguments]
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Outcome(code, out.getvalue(), err.getvalue())


def succeed(*arguments: str) -> Outcome:
    """Call the program, which must end well."""
    outcome = inferno(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def comparable(results: Results) -> dict[str, Any]:
    """The record without what differs between two runs of the same point: times, places, version of the code."""
    return results.model_dump(exclude={"timing", "workspace", "code_version"})


@contextmanager
def _restored() -> Iterator[None]:
    """Put back what the program changes in its process: arguments, environment, folder, logging and Hydra."""
    from hydra.core.global_hydra import GlobalHydra

    argv, environment, folder = sys.argv, dict(os.environ), Path.cwd()
    loggers = [logging.getLogger(), *(x for x in logging.Logger.manager.loggerDict.values() if hasattr(x, "handlers"))]
    saved = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        GlobalHydra.instance().clear()
        before = {id(handler) for _, handlers, _ in saved for handler in handlers}
        for logger in [logging.getLogger(), logging.getLogger("inferno_cli")]:
            for handler in list(logger.handlers):
                if id(handler) not in before:
                    logger.removeHandler(handler)
                    handler.close()
        for logger, handlers, level in saved:
            logger.handlers[:] = handlers
            if logger.level != level:  # for which all loggers are gone through
                logger.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _bound_once() -> Iterator[None]:
    """Integrate the Cramer-Rao bound, half a second, once for each problem: it does not depend on the events."""
    from inferno_cli.events.sources import synthetic

    integrate = synthetic.cramer_rao_bound
    kept: dict[str, float | None] = {}

    def bound(dataset: synthetic.SyntheticDataset, fitted: Names, unconstrained: Names) -> float | None:
        key = dataset.model_dump_json(exclude={"events"}) + str((fitted, unconstrained))
        if key not in kept:
            kept[key] = integrate(dataset, fitted, unconstrained)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "cramer_rao_bound", bound)
        yield


# ------------------------------------------------------------------------------------------- finished runs
Runs = Callable[..., Outcome]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Train a small point once for all tests that look at it: ``runs("synthetic", "bce", "seed=2")``."""
    finished: dict[tuple[str, ...], Outcome] = {}

    def run(experiment: str, model: str, *overrides: str) -> Outcome:
        key = (experiment, model, *overrides)
        if key not in finished:
            folder = tmp_path_factory.mktemp("runs")
            few = () if experiment in ("top11004", "shift") else FEW_EVENTS
            point = (f"+experiment={experiment}", f"model={model}", f"output_dir={folder}")
            finished[key] = succeed("train", *point, *QUICK, *few, *overrides)
        return finished[key]

    return run


# ------------------------------------------------------------------------------------------------ empty stores
@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow's to copy to where another process has its own: that would wait for the disk to make one."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


# ------------------------------------------------------------------------------------------- a finished sweep
POINT = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "tracking=mlflow")


@dataclass(frozen=True)
class Sweep:
    """A finished multirun and its store."""

    outcome: Outcome
    folder: Path
    uri: str
    experiment: str

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    @property
    def runs(self) -> list[Any]:
        client = self.client
        (experiment,) = [x for x in client.search_experiments() if x.name == self.experiment]
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))

    @property
    def parents(self) -> list[Any]:
        return [run for run in self.runs if "mlflow.parentRunId" not in run.data.tags]

    @property
    def jobs(self) -> list[Any]:
        return [run for run in self.runs if "mlflow.parentRunId" in run.data.tags]

    @property
    def records(self) -> dict[int, Path]:
        """The records by number of the job."""
        return {int(path.parent.name): path for path in self.folder.glob("sweeps/*/*/*/results.json")}


_four: list[Sweep] = []


def four_runs(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Run two models with two seeds as a multirun, once for all modules that look at it."""
    if not _four:
        folder = tmp_path_factory.mktemp("four")
        outcome = succeed("train", "-m", *POINT, "model=bce,inferno", "seed=1,2", f"output_dir={folder}")
        _four.append(Sweep(outcome, folder, f"sqlite:///{folder}/mlflow.db", "inferno"))
    return _four[0]


# ------------------------------------------------------------------------------------------ small ntuples
def table(
    n: int, mean: float, *, first_id: int = 0, shift: float = 0.0, **columns: np.ndarray
) -> dict[str, np.ndarray]:
    """Events of one tree: x separates signal from background, y does not; the weight is w."""
    random = np.random.default_rng(first_id + 1)
    x, y = random.normal(mean, 1.0, n), random.normal(0.0, 1.0, n)
    made = {
        "run": np.ones(n, dtype=np.int64),
        "event": np.arange(first_id, first_id + n, dtype=np.int64),
        "x": (x + shift).astype(np.float32),
        "y": y.astype(np.float32),
        "w": np.full(n, 0.2),
    }
    return made | columns


def trees(**changes: Mapping[str, np.ndarray]) -> dict[str, Mapping[str, np.ndarray]]:
    """A signal with its jet energy scale, a background and data; ``changes`` replaces some."""
    return {
        "ttbar": table(1500, 1.0),
        "ttbar_jes_up": table(1500, 1.0, shift=0.2),
        "ttbar_jes_down": table(1500, 1.0, shift=-0.2),
        "QCD": table(3000, -1.0, first_id=5000),
        "Data": {name: values for name, values in table(900, -0.3, first_id=9000).items() if name != "w"},
    } | changes


DATASET = """\
kind: ntuples
name: mine
path: {path}
file: "*.root"
tree: "{{sample}}{{variation}}"
variation: "_{{systematic}}_{{direction}}"
features: [x, y]
event_id: [run, event]
weight: w
luminosity_scale: 1.0
downsample_factor: 1.0
samples:
  ttbar: {{role: signal}}
  QCD: {{role: background}}
  Data: {{role: data}}
splits: {{train: 0.4, validation: 0.2, template: 0.4}}
systematics:
  jes: {{kind: shape, samples: [ttbar]}}
  QCD_norm: {{kind: free, samples: [QCD], bounds: [0.1, 5.0]}}
"""

EXPERIMENT = """\
# @package _global_
defaults:
  - override /dataset: mine
  - override /nuisance: jes_qcd_norm
model: {bins: 4}
"""


def own_analysis(folder: Path, **changes: Mapping[str, np.ndarray]) -> Path:
    """Write a user's own ntuples, dataset and experiment below ``folder``; return the folder for --config-dir."""
    config = folder / "conf"
    for group in ("dataset", "experiment"):
        (config / group).mkdir(parents=True)
    path = write(folder / "mine.root", trees(**changes))
    (config / "dataset" / "mine.yaml").write_text(DATASET.format(path=path))
    (config / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return config
