"""How far a multirun is: what counts as done, and what the time that is left is taken from."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from inferno_cli.runs.folder import State, Status
from inferno_cli.runs.sweeps import progress

SEARCH = {"_target_": "hydra_plugins.inferno_search.OptunaSweeper", "n_trials": 30}
LIST = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}
HOUR, MINUTE = 3600, 60


def multirun(folder: Path, sweeper: dict[str, object], *overrides: str) -> Path:
    """A multirun that was started, perhaps again, a minute ago."""
    path = folder / "multirun.yaml"
    path.write_text(yaml.safe_dump({"hydra": {"sweeper": sweeper, "overrides": {"task": list(overrides)}}}))
    os.utime(path, (time.time() - MINUTE,) * 2)
    return folder


def jobs(sweep: Path, *states: State, first: int = 0, ago: float = 0.0) -> None:
    for number, state in enumerate(states, first):
        folder = sweep / str(number)
        folder.mkdir(exist_ok=True)
        Status(state).write(folder)
        os.utime(folder / "status.json", (time.time() - ago,) * 2)


@pytest.fixture
def search(tmp_path: Path) -> Path:
    return multirun(tmp_path, SEARCH)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    return multirun(tmp_path, LIST, "seed=range(10)")


def test_a_search_goes_on_behind_its_last_trial(search: Path) -> None:
    jobs(search, *["finished"] * 17, "failed", "stopped", "stopped", "running", ago=HOUR)
    assert progress(search) == "sweep: 18 of 30 points done, 1 of them failed"
    jobs(search, "finished", "pruned", "running", first=21)
    # Two in a minute, ten are left.
    assert progress(search) == "sweep: 20 of 30 points done, 1 of them failed, about 5 min left"


def test_a_list_comes_by_all_its_points_once_more(ten: Path) -> None:
    jobs(ten, *["finished"] * 8, "failed", "stopped", ago=HOUR)
    assert progress(ten) == "sweep: 0 of 10 points done"
    jobs(ten, "reused")
    assert progress(ten) == "sweep: 1 of 10 points done"
    jobs(ten, "finished", "running", first=1)
    assert progress(ten) == "sweep: 2 of 10 points done, about 8 min left"


def test_a_point_that_was_stopped_is_not_done(ten: Path) -> None:
    jobs(ten, "finished", "failed", "stopped", "running")
    assert progress(ten) == "sweep: 2 of 10 points done, 1 of them failed, about 4 min left"


def test_of_another_sweeper_nobody_knows_how_many(tmp_path: Path) -> None:
    jobs(tmp_path, "finished", "running")
    assert progress(tmp_path) == "sweep: 1 of ? points done"


def test_at_the_end_the_next_command_is_said(ten: Path) -> None:
    jobs(ten, *["finished"] * 9, "failed")
    assert progress(ten) == f"sweep: 10 of 10 points done, 1 of them failed; next: inferno compare runs={ten}"
    assert progress(ten, ten.parent).endswith(f"; next: inferno compare runs={ten.parent}")
    assert progress(ten, Path("a/study")).endswith(f"; next: inferno compare runs={ten}")  # it does not have this one
