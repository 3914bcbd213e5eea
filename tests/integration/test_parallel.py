"""Points of a sweep side by side, in processes of their own, with one store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferno_cli.cli.status import Status
from inferno_cli.report import Results
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, comparable, inferno, succeed

POINT = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "model=optimal", "export=false")


def test_points_side_by_side_are_those_one_after_the_other(tmp_path: Path) -> None:
    """In a process of its own, as joblib starts more; the first of three points has a fit that cannot converge."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = (*POINT, "tracking=mlflow", f"output_dir={tmp_path}", "fit.max_calls=1,100000,100001")
    command = [sys.executable, "-W", "error::UserWarning", "-m", "inferno_cli", "train", "-m", *arguments]
    command += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
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


def test_without_the_plugin_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.config_store import ConfigStore

    launchers = dict(ConfigStore.instance().repo["hydra"]["launcher"])
    launchers.pop("joblib.yaml", None)
    monkeypatch.setitem(ConfigStore.instance().repo["hydra"], "launcher", launchers)

    outcome = inferno("train", "-m", *POINT, "hydra/launcher=joblib", "seed=1,2")

    assert outcome.code == 2
    assert outcome.err == (
        "ConfigError: hydra/launcher=joblib needs a plugin of Hydra's: pip install 'inferno-cli[parallel]'\n"
    )
