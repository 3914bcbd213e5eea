"""A real Slurm of one node, which the tests start and stop: points as its jobs, by submitit and by Snakemake."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspaces import counting

from integration.conftest import FIT_ONLY_MU, succeed
from integration.test_workflow import table

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import one_node_slurm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Jobs are accepted and run while this is in use."""
    if why := one_node_slurm.missing():
        pytest.skip(f"no Slurm can be started: {why}")
    folder = tmp_path_factory.mktemp("slurm") / "one"
    one_node_slurm.start(folder)
    yield
    one_node_slurm.stop(folder)


SWEEP = ("fit", "-m", "workspace='a b.json','c=[1].json'", "fit=data", *FIT_ONLY_MU, "report.plots=false")
SWEEP = (*SWEEP, "tracking=none")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two workspaces; in ``plain`` their fits and the comparison, as an ordinary multirun makes them."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, observed in (("a b", 53.0), ("c=[1]", 61.0)):
            Path(f"{name}.json").write_text(json.dumps(counting(observed)))
        succeed(*SWEEP, "hydra.sweep.dir=plain")
        succeed("compare", "runs=plain", "tracking=none")
        yield folder


def test_points_as_jobs_of_slurm(slurm: None, place: Path) -> None:
    """In a process of its own: without slurmdbd submitit has a warning for each look at the jobs."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    asked = ("hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5", "hydra.launcher.mem_gb=1")
    command = [sys.executable, "-m", "inferno_cli", *SWEEP, "hydra.sweep.dir=jobs", *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert list(place.glob("jobs/.submitit/*_1/*_submission.sh")) or list(place.glob("jobs/.submitit/*/*.sh"))
    succeed("compare", "runs=jobs", "tracking=none")
    assert table(place / "jobs") == table(place / "plain")


def test_a_workflow_on_slurm(slurm: None, place: Path) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm")
    succeed(*SWEEP, "hydra.launcher.mem_gb=1", "--workflow", "flow")
    once = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1")
    once = (*once, "--seconds-between-status-checks", "1")
    command = [sys.executable, "-m", "snakemake", "--executor", "slurm", "--jobs", "2", *once]
    done = subprocess.run(command, cwd=place / "flow", capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has been submitted with SLURM jobid") == 3, "two points and their comparison"
    assert table(place / "flow") == table(place / "plain")


def test_submitted_and_left(slurm: None, place: Path) -> None:
    """One job runs at a time, so that the second waits; with toys it runs for so long that it is seen."""
    succeed(*SWEEP, "fit.toys=2000", "hydra.launcher.mem_gb=1", "--workflow", "left")
    subprocess.run(["sbatch", "--array=0-1%1", "run.sh"], cwd=place / "left", check=True, capture_output=True)
    seen = set()
    for _ in range(600):
        listed = json.loads(succeed("list", "left", "format=json").out)["runs"]
        states = [run["state"] for run in sorted(listed, key=lambda run: str(run["folder"]))]
        seen.add(tuple(states))
        if states == ["finished", "finished"]:
            break
        time.sleep(0.1)
    assert states == ["finished", "finished"], (place / "left" / "logs" / "0.log").read_text()
    assert ("running", "waiting") in seen
    assert ("waiting", "waiting") in seen
