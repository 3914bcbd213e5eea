"""Points of a sweep side by side, in processes of their own, with one store."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inferno_cli.runs.folder import Status
from inferno_cli.runs.record import Results
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, comparable, inferno, succeed

POINT = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "model=optimal", "export=false")


def test_points_side_by_side_are_those_one_after_the_other(tmp_path: Path, empty_store: Path) -> None:
    """In a process of its own, as joblib starts more; the first of three points has a fit that cannot converge."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = (*POINT, "tracking=mlflow", f"output_dir={tmp_path}", "fit.max_calls=1,100000,100001")
    command = [sys.executable, "-W", "error::UserWarning", "-m", "inferno_cli", "train", "-m", *arguments]
    command += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    shutil.copy(empty_store, tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ})

    assert done.returncode == 2, done.stderr
    folders = sorted(path.parent for path in tmp_path.glob("sweeps/*/*/*/status.json"))
    found = [Status.read(folder) for folder in folders]
    assert [said and said.state for said in found] == ["failed", "finished", "finished"]
    assert found[0] is not None
    assert found[0].error.startswith("FitFailedError: MINUIT")
    assert "job 0 (" in done.stderr
    alone = succeed("train", *POINT, f"output_dir={tmp_path}/alone").results
    for folder in folders[1:]:
        assert comparable(Results.load(folder / "results.json")) == comparable(alone)

    # Several writers, one parent.
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [x for x in client.search_experiments() if x.name == "inferno"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    jobs = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert parent.info.status == "FAILED"
    assert sorted(run.info.status for run in jobs) == ["FAILED", "FINISHED", "FINISHED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in jobs} == {parent.info.run_id}


def test_points_as_jobs_of_a_batch_system(tmp_path: Path) -> None:
    """The jobs that submitit makes, on this machine; the first of two points fails."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    arguments = (*POINT, f"output_dir={tmp_path}", "fit.max_calls=0,100000", "hydra/launcher=submitit_local")
    command = [sys.executable, "-m", "inferno_cli", "train", "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ})

    assert done.returncode == 2, done.stderr
    folders = sorted(path.parent for path in tmp_path.glob("sweeps/*/*/*/status.json"))
    found = [said for folder in folders if (said := Status.read(folder)) is not None]
    assert [said.state for said in found] == ["failed", "finished"]
    assert found[0].error.startswith("ConfigError: fit.max_calls is 0; ")
    assert done.stderr.splitlines()[-1] == found[0].error
    assert Results.load(folders[1] / "results.json").parameters["mu"].hesse > 0


def test_slurm_is_asked_for_what_the_launcher_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster is here: sbatch keeps what it is handed, and refuses it as a cluster does without an account."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    refusing = f'#!/bin/sh\ncp "$1" {tmp_path}/submitted.sh\necho "sbatch: error: Invalid account" >&2\nexit 1\n'
    for name, script in (("sbatch", refusing), ("srun", "#!/bin/sh\n")):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = {"timeout_min": 240, "cpus_per_task": 2, "mem_gb": 4, "partition": "short"}
    launcher = ("hydra/launcher=submitit_slurm", *(f"hydra.launcher.{key}={value}" for key, value in asked.items()))

    outcome = inferno("train", "-m", *POINT, "seed=1,2,3", f"output_dir={tmp_path}", *launcher)

    lines = set((tmp_path / "submitted.sh").read_text().splitlines())
    expected = {"time=240", "cpus-per-task=2", "mem=4GB", "partition=short"}
    assert {f"#SBATCH --{setting}" for setting in expected} <= lines
    assert any(re.match(r"#SBATCH --array=0-2(%|$)", line) for line in lines)
    assert outcome.code == 2
    assert "Invalid account" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("launcher", "extra"), [("joblib", "parallel"), ("submitit_local", "batch"), ("submitit_slurm", "batch")]
)
def test_without_the_plugin_it_says_what_to_install(launcher: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which registers them
    launchers = dict(ConfigStore.instance().repo["hydra"]["launcher"])
    launchers.pop(f"{launcher}.yaml", None)
    monkeypatch.setitem(ConfigStore.instance().repo["hydra"], "launcher", launchers)

    outcome = inferno("train", "-m", *POINT, f"hydra/launcher={launcher}", "seed=1,2")

    assert outcome.code == 2
    assert outcome.err == (
        f"ConfigError: hydra/launcher={launcher} needs a plugin of Hydra's: pip install 'inferno-cli[{extra}]'\n"
    )


def test_slurm_that_is_not_there_is_one_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", str(tmp_path))

    outcome = inferno("train", "-m", *POINT, "hydra/launcher=submitit_slurm", "seed=1,2", f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert outcome.err.startswith("ConfigError: ")
    assert "srun" in outcome.err
    assert len(outcome.err.splitlines()) == 1
