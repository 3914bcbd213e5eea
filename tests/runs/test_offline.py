"""Nothing of a run depends on the store: it is broken at every single call that is made to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from inferno_cli.config.schema import Tracking
from inferno_cli.errors import TrackingError
from inferno_cli.runs import search
from inferno_cli.runs.folder import Status, holds_finished
from inferno_cli.runs.mlflow import store as stores
from inferno_cli.runs.mlflow.run import Run, log_about
from inferno_cli.runs.sweeps import HydraJob
from inferno_cli.steps._logged import Asked, Called, RunStep

pytestmark = pytest.mark.slow
RESULT = "results.json"


class Broken:
    """A store that fails in its call with one number, counted from 0, and in all later ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails_from, self.calls, whole = 10**6, 0, stores._calls

        @contextmanager
        def calls(uri: str, what: str) -> Iterator[None]:
            number, self.calls = self.calls, self.calls + 1
            if number >= self.fails_from:
                raise TrackingError(f"cannot {what}: it is gone.")
            with whole(uri, what):
                yield

        monkeypatch.setattr(stores, "_calls", calls)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """To create a store takes seconds."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    with stores.connect(uri).calls("create it"):
        return uri


@dataclass(frozen=True)
class Found:
    """A record."""

    content: str

    def save(self, path: Path) -> None:
        """Write it."""
        path.write_text(self.content)


class Step(RunStep[Found]):
    """A step that logs as the others do, by every kind of call."""

    file = shown = RESULT

    def load(self, folder: Path) -> Found:
        """Read the record."""
        return Found((folder / self.file).read_text())

    def called(self, record: Found) -> Called:
        """Return a name."""
        return Called("job")

    def headline(self, record: Found) -> str:
        """Return all of it."""
        return record.content

    def show(self, record: Found) -> None:
        """Print nothing."""

    def log(self, logged: Run, folder: Path, record: Found, *, checkpoint: bool) -> str:
        """Log something of each kind."""
        about: Any = SimpleNamespace(dataset="data", dataset_checksum="0" * 64, label="")
        log_about(logged, folder, about, "described", ("training",))
        logged.epochs([{"loss": 1.0}, {"loss": 0.5}])
        logged.metrics({"a (b)": 1.0})
        logged.artifacts([folder / RESULT])
        return "described"


def attempt(folder: Path, uri: str, *, pruned: bool = False) -> tuple[bool, str]:
    """Run in a folder; return whether the work was begun, and what went wrong."""
    folder.mkdir(parents=True)
    Status("running", "point").write(folder)
    (folder / "status.json").chmod(0o644)
    begun: list[str] = []

    def work() -> Found:
        begun.append("work")
        if pruned:
            raise search.Pruned("worse than the others")
        return Found(json.dumps({"mu": 1.0}))

    tracking = Tracking(backend="mlflow", uri=uri, experiment="offline")
    job, config = HydraJob(folder, "job", folder.parent), OmegaConf.create({"seed": 1, "dataset": {"name": "data"}})
    try:
        Step().begun(work, Asked(config, tracking, overwrite=False, job=job, point="point", called=Called("job")))
    except TrackingError as error:
        return bool(begun), str(error)
    return bool(begun), ""


def test_a_store_that_breaks_at_any_call_costs_no_result(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(monkeypatch)
    assert attempt(tmp_path / "whole" / "run", uri) == (True, "")
    n_calls, expected = broken.calls, (tmp_path / "whole" / "run" / RESULT).read_bytes()
    assert n_calls > 10
    seen = set()
    for number in range(n_calls):
        broken.calls, broken.fails_from = 0, number
        folder = tmp_path / str(number) / "run"
        begun, said = attempt(folder, uri)
        seen.add(begun)
        assert "it is gone" in said
        # Either nothing was done, and it was told at once; or the result is as ever, and can be logged later.
        assert holds_finished(folder) == begun
        if begun:
            assert (folder / RESULT).read_bytes() == expected
            assert f"the result in {folder} is whole; to log it: inferno log run={folder}" in said
    assert seen == {False, True}


def test_a_trial_that_was_pruned_stays_pruned(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(monkeypatch)
    assert attempt(tmp_path / "whole" / "run", uri, pruned=True) == (True, "")
    n_calls = broken.calls
    for number in range(n_calls):
        broken.calls, broken.fails_from = 0, number
        folder = tmp_path / str(number) / "run"
        begun, said = attempt(folder, uri, pruned=True)
        status = Status.read(folder)
        assert status is not None
        assert (status.state, said) == ("pruned", "") if begun else "it is gone" in said


def test_the_load_of_the_machine(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampled by MLflow's own monitor while the run works; a store that fails meanwhile stops that, not the run."""
    import time

    from mlflow import MlflowClient

    from inferno_cli.runs.mlflow.run import tracked

    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    tracking = Tracking(backend="mlflow", uri=uri, experiment="offline", system_metrics=True)
    client = MlflowClient(tracking_uri=uri)
    with tracked(tracking, name="load", params={}, tags={}, sweep_folder=None) as logged:
        assert logged is not None
        end = time.monotonic() + 20
        while "system/cpu_utilization_percentage" not in client.get_run(logged.run_id).data.metrics:
            assert time.monotonic() < end
            time.sleep(0.1)
    found = client.get_run(logged.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics["system/system_memory_usage_megabytes"] > 0
