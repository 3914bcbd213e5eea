"""Many runs made of one: each is a point of its own, and whole."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import many_runs

from inferno_cli.runs.folder import verify
from inferno_cli.runs.found_run import FoundRun

RUN = Path(__file__).parents[1] / "data" / "runs" / "synthetic-bce"


def test_the_copies_are_points_of_a_sweep_that_compare_takes(tmp_path):
    found = []
    for number in (0, 1, 10):
        folder = tmp_path / str(number)
        many_runs.copy(RUN, folder, number, 10)
        verify(folder)
        found.append(FoundRun.read(folder))
    many_runs.forget(tmp_path)

    assert [(run.settings["model.bins"], run.settings["seed"]) for run in found] == [(2, 0), (2, 1), (3, 0)]
    widths = {run.results.parameters["mu"].hesse for run in found if run.results is not None}
    assert len(widths) == 3


def test_the_seconds_of_a_command_are_its_own(tmp_path):
    clock, cpu = many_runs.seconds([sys.executable, "-c", "import time; time.sleep(0.3)"], tmp_path)
    assert clock > 0.3 > cpu
