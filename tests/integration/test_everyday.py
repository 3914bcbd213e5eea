"""Everyday: list, clean, and compare runs; groups without a sign; a dataset without nuisance parameters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from inferno_cli.runs.folder import Status
from integration.conftest import inferno, succeed

EARLIER = Path(__file__).parents[1] / "data" / "runs"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three finished runs, and one that was stopped."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EARLIER, tmp_path / "outputs" / "runs")
    shutil.copytree(EARLIER / "synthetic-bce", tmp_path / "outputs" / "runs" / "stopped")
    Status("stopped", error="SIGTERM").write(tmp_path / "outputs" / "runs" / "stopped")
    return tmp_path / "outputs"


def test_list(outputs: Path) -> None:
    shown = succeed("list")
    assert shown.out.startswith("4 runs below outputs, ")
    assert "stopped: outputs/runs/stopped: SIGTERM" in shown.out
    found = json.loads(succeed("list", "outputs", "states=finished", "where=dataset=synthetic", "format=json").out)
    assert {Path(run["folder"]).name for run in found["runs"]} == {"benchmark2-optimal", "synthetic-bce"}
    assert inferno("list", "nowhere").code == 2


def test_clean_removes_nothing_without_yes(outputs: Path) -> None:
    shown = succeed("clean")
    assert shown.out.startswith("1 run to be removed, ")
    assert shown.out.endswith("nothing was removed; yes=true removes them\n")
    assert len(list((outputs / "runs").iterdir())) == 4

    assert succeed("clean", "older_than=1", "yes=true").out.endswith("removed: 0 runs\n")
    assert succeed("clean", "yes=true").out.endswith("removed: 1 run\n")
    assert {path.name for path in (outputs / "runs").iterdir()} == {path.name for path in EARLIER.iterdir()}
    refused = inferno("clean", "states=running")
    assert (refused.code, "states.0" in refused.err) == (2, True)


def test_a_run_whose_network_another_one_takes_is_kept(outputs: Path) -> None:
    """Also where that other one is not in the folder that is cleaned."""
    user = outputs / "others" / "user"
    shutil.move(outputs / "runs" / "stopped", user)
    record = json.loads((user / "results.json").read_text())
    record["trained_in"] = {"folder": str(outputs / "runs" / "synthetic-bce")}
    (user / "results.json").write_text(json.dumps(record))
    Status("finished").write(user)

    shown = succeed("clean", "outputs/runs", "states=finished", "where=model=bce", "yes=true")
    assert "kept: outputs/runs/synthetic-bce: " in shown.out
    assert "takes its network (trained_in); referred=true removes it all the same" in shown.out
    assert (outputs / "runs" / "synthetic-bce" / "results.json").exists()
    succeed("clean", "outputs/runs", "states=finished", "where=model=bce", "referred=true", "yes=true")
    assert not (outputs / "runs" / "synthetic-bce").exists()


def test_compare_takes_the_runs_that_are_asked_for_and_keeps_what_was_compared_before(outputs: Path) -> None:
    several = inferno("compare", "runs=outputs", "track=false")
    assert several.code == 2  # of two datasets
    first = succeed("compare", "runs=outputs", "where=dataset=synthetic,model=bce", "track=false")
    assert "where=dataset=synthetic,model=bce: 2 of 4 runs" in first.out
    succeed("compare", "runs=outputs", "where=dataset=top11004", "track=false")

    (before,) = outputs.glob("compare-*")
    at = {folder: json.loads((folder / "compare.json").read_text())["dataset"] for folder in outputs.glob("compare*")}
    assert at == {before: "synthetic", outputs / "compare": "top11004"}
    assert "no run has a key 'datset'" in inferno("compare", "runs=outputs", "where=datset=x").err


def test_an_experiment_needs_no_sign(tmp_path: Path) -> None:
    plain = succeed("train", "experiment=top11004", "--cfg", "job")
    assert plain.out == succeed("train", "+experiment=top11004", "--cfg", "job").out
    assert "name: top11004" in plain.out
    assert "experiment is a group of `inferno train`" in inferno("fit", "experiment=top11004", "workspace=x").err


def test_a_dataset_is_described_whatever_is_fitted(tmp_path: Path) -> None:
    outcome = succeed("data", "dataset=top11004", "report.plots=false", f"output_dir={tmp_path}")
    described = json.loads((outcome.path.parent / "data.json").read_text())
    assert described["dataset"] == "top11004"
