"""Runs in a list, and their removal: what is one, what it refers to, and what is never touched."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from handmade import LABEL, config, put, record

from inferno_cli.errors import RunError
from inferno_cli.files import locked, sha256
from inferno_cli.report.listing import age_text, as_json, show_runs, size_text
from inferno_cli.runs import cleaning
from inferno_cli.runs.cleaning import plan, remove
from inferno_cli.runs.folder import OTHER_RECORDS, Status, owned
from inferno_cli.runs.listed import ListedRun, fulfilling, listed, of_states, strangers

EARLIER = Path(__file__).parents[1] / "data" / "runs"
HYDRA = {"job": {"config_name": "train"}, "callbacks": {"tracking": {"_target_": "inferno_cli.runs.mlflow.sweep.X"}}}
DAY = 86400


def job(folder: Path, state: Any, *, days: float = 0, **results: Any) -> Path:
    """A run that ended some days ago; the rest is what its record says."""
    finished = state == "finished"
    put(folder, config("bce", 5, 1), record(0.4, **results) if finished else None, "model=bce")
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": HYDRA}))
    (folder / "main.log").write_text("epoch 1")
    Status(state, "point", error="" if finished else "ConfigError: seed is -1").write(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"x" * 1000)
    os.utime(folder / "status.json", (time.time() - days * DAY,) * 2)
    return folder


def names(runs: Any) -> list[str]:
    return [run.folder.name for run in runs]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """One run in each state, the first the oldest."""
    states = ("finished", "failed", "stopped", "running", "pruned")
    for days, state in zip(range(10, 0, -2), states, strict=True):
        job(tmp_path / "outputs" / "day" / state, state, days=days)
    return tmp_path / "outputs"


# --------------------------------------------------------------------------------------------------------- the list
@pytest.mark.parametrize("step", sorted(OTHER_RECORDS))
def test_runs_of_steps_with_another_record_are_listed_and_removed(step: str, tmp_path: Path) -> None:
    for name, state in (("done", "finished"), ("killed", "stopped"), ("gone", "finished")):
        folder = job(tmp_path / name, state)
        (folder / "results.json").unlink(missing_ok=True)
        hydra = {**HYDRA, "job": {"config_name": step}}
        (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    (tmp_path / "done" / OTHER_RECORDS[step]).write_text("{}")

    found = {run.folder.name: run for run in listed([str(tmp_path)])}

    assert {name: run.state for name, run in found.items()} == {
        "done": "finished",
        "killed": "stopped",
        "gone": "damaged",
    }
    assert OTHER_RECORDS[step] in found["gone"].error
    assert (found["done"].model, found["done"].dataset, found["done"].headline) == (step, "top11004", None)
    assert names(of_states(found.values(), ["stopped"])) == ["killed"]
    assert strangers(tmp_path / "done") == []


def test_runs_of_an_earlier_version_are_listed_with_their_numbers() -> None:
    (run,) = listed([str(EARLIER / "top11004-inferno")])
    truth = json.loads((EARLIER / "top11004-inferno" / "results.json").read_text())["parameters"]["mu"]

    assert (run.state, run.dataset, run.model, run.seed, run.data) == ("finished", "top11004", "inferno", 1, "asimov")
    assert run.headline is not None
    assert (run.headline.hesse, run.headline.minos) == (truth["hesse"], tuple(truth["minos"]))
    assert run.label == LABEL
    assert run.size == sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file())
    assert len(listed([str(EARLIER)])) == 3


def test_the_newest_run_is_first_and_one_that_was_killed_does_not_run(outputs: Path) -> None:
    found = listed([str(outputs)])

    assert [run.state for run in found] == ["pruned", "abandoned", "stopped", "failed", "finished"]
    assert [round(run.age(time.time()) / DAY) for run in found] == [2, 4, 6, 8, 10]
    assert [run.dataset for run in found] == ["top11004"] * 5
    assert found[3].error == "ConfigError: seed is -1"
    with owned(outputs / "day" / "running"):
        assert listed([str(outputs)])[1].state == "running"


def test_what_is_no_run_is_not_listed(outputs: Path) -> None:
    put(outputs / "mlartifacts" / "x" / "artifacts", config("bce", 5, 1), record(0.4))
    foreign = {"job": {"config_name": "train"}, "callbacks": {}}
    for place, hydra in (("data", {**HYDRA, "job": {"config_name": "data"}}), ("theirs", foreign)):
        (outputs / place / ".hydra").mkdir(parents=True)
        (outputs / place / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    (outputs / "theirs" / "status.json").write_text('{"state": "failed"}\n'.replace("state", "status"))
    (outputs / "link").symlink_to(EARLIER)

    assert len(listed([str(outputs)])) == 5
    with pytest.raises(RunError, match="is not there"):
        listed([str(outputs / "nowhere")])


def test_damaged_runs_are_listed_as_such(tmp_path: Path) -> None:
    job(tmp_path / "cut", "finished")
    (tmp_path / "cut" / "results.json").write_text('{"parameters": ')
    job(tmp_path / "gone", "finished")
    (tmp_path / "gone" / "results.json").unlink()
    job(tmp_path / "other", "finished", parameters={})

    found = {run.folder.name: run for run in listed([str(tmp_path)])}
    assert [run.state for run in found.values()] == ["damaged"] * 3
    assert "is not JSON" in found["cut"].error
    assert found["gone"].error == "finished, and its results.json is gone"
    assert found["other"].error.endswith("is not a record of a run")


@pytest.mark.parametrize("step", ["train", *OTHER_RECORDS])
def test_a_record_that_changed_since_is_not_shown_as_the_result(step: str, tmp_path: Path) -> None:
    folder, name = job(tmp_path / "run", "finished"), OTHER_RECORDS.get(step, "results.json")
    if step != "train":
        (folder / "results.json").rename(folder / name)
        hydra = {**HYDRA, "job": {"config_name": step}}
        (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    Status("finished", "point", checksums={name: sha256(folder / name)}).write(folder)
    if step == "train":
        Status("reused", "point", of="../run").write(job(tmp_path / "again", "failed"))
    assert {run.state for run in listed([str(tmp_path)])} <= {"finished", "reused"}

    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("0.4", "0.2"))

    for run in listed([str(tmp_path)]):
        assert (run.state, run.headline) == ("damaged", None)
        assert f"{name} has changed since the run finished" in run.error


def test_a_table_and_json_of_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(outputs / "blind", "finished", hidden=["mu"], data="observed", label="")
    runs = listed([str(outputs)])
    show_runs(runs, "6 runs")
    shown = capsys.readouterr().out

    (row,) = [line.split() for line in shown.splitlines() if line.rstrip().endswith("kB") and "day/finished" in line]
    assert row[:5] == ["10", "d", "finished", "top11004", "BCE"]
    assert row[7:11] == ["1.000", "0.200", "-0.180", "+0.220"]
    assert f"*** top11004: {LABEL} ***" in shown
    assert "1.000 + hidden offset" in shown
    assert "failed: " in shown
    assert "ConfigError: seed is -1" in shown
    values = {Path(item["folder"]).name: item for item in json.loads(as_json(runs))["runs"]}
    assert values["finished"]["minos"] == pytest.approx([-0.18, 0.22])
    assert values["blind"]["mu_has_hidden_offset"]
    assert values["failed"]["hesse"] is None


def test_ages_and_sizes_are_in_their_largest_unit() -> None:
    assert [age_text(seconds) for seconds in (5, 90, 7000, 3 * DAY)] == ["5 s", "2 min", "2 h", "3 d"]
    assert [size_text(size) for size in (12, 1536, 20 * 2**20)] == ["12 B", "1.5 kB", "20 MB"]


def test_runs_are_chosen_by_state_age_and_configuration(outputs: Path) -> None:
    found = listed([str(outputs)])

    assert names(of_states(found, ["failed", "stopped"])) == ["stopped", "failed"]
    assert names(of_states(found, [], older_than=5)) == ["stopped", "failed", "finished"]
    assert len(fulfilling(found, ["model.bins=5"])) == 5
    assert fulfilling([], ["model.bins=5"]) == []


def test_a_thousand_runs_take_seconds(tmp_path: Path) -> None:
    one = job(tmp_path / "0", "finished")
    for number in range(1, 300):
        shutil.copytree(one, tmp_path / str(number))
    start = time.process_time()
    assert len(listed([str(tmp_path)])) == 300
    assert time.process_time() - start < 3


# ---------------------------------------------------------------------------------------------------------- removal
@pytest.fixture
def planned(outputs: Path) -> Callable[..., cleaning.Cleaning]:
    def planned(*asked: str, even_referred: bool = False) -> cleaning.Cleaning:
        every = listed([str(outputs)])
        return plan([run for run in every if run.folder.name in asked], every, even_referred=even_referred)

    return planned


def test_a_run_is_removed_and_the_folders_that_are_empty_then(outputs: Path, planned: Any) -> None:
    for run in planned("failed", "stopped").removed:
        assert remove(run, [outputs]) == ""
    assert sorted(path.name for path in (outputs / "day").iterdir()) == ["finished", "pruned", "running"]
    for run in planned("finished", "pruned", "running").removed:
        assert remove(run, [outputs]) == ""
    assert list(outputs.iterdir()) == []


def test_a_folder_with_anything_else_stays(outputs: Path, planned: Any) -> None:
    (outputs / "day" / "failed" / "notes.txt").write_text("mine")
    (outputs / "day" / "stopped" / "compare").mkdir()
    (outputs / "day" / "pruned" / "compare").mkdir()
    (outputs / "day" / "pruned" / "compare" / "compare.json").write_text("{}")
    found = planned("failed", "stopped", "pruned")

    assert names(found.removed) == ["pruned"]
    reasons = {run.folder.name: why for run, why in found.kept}
    assert reasons["failed"] == "it holds notes.txt, which no run has written; move that away, or remove it by hand"
    assert "it holds compare" in reasons["stopped"]


def test_a_status_of_another_program_is_no_reason_to_remove_a_folder(outputs: Path, planned: Any) -> None:
    (outputs / "day" / "failed" / "status.json").write_text('{"state": "failed", "by": "somebody else"}')
    shutil.rmtree(outputs / "day" / "stopped" / ".hydra")
    found = planned("failed", "stopped")

    assert found.removed == ()
    assert all("remove it by hand" in why for _, why in found.kept)


def test_a_run_that_another_one_refers_to_stays(outputs: Path, planned: Any) -> None:
    origin = outputs / "day" / "finished"
    pretrained = dict.fromkeys(("experiment", "dataset", "dataset_checksum", "code_version", "checkpoint"), "x")
    job(outputs / "user", "finished", trained_in={**pretrained, "folder": str(origin), "seed": 1})
    job(outputs / "again", "reused")
    Status("reused", "point", of="../user").write(outputs / "again")

    found = planned("finished", "user")
    reasons = {run.folder.name: why for run, why in found.kept}
    assert found.removed == ()
    assert reasons["user"].startswith(f"it stands for {outputs / 'again'} (reuse); referred=true")
    # A run that stays holds what it needs.
    assert reasons["finished"].startswith(f"{outputs / 'user'} takes its network (trained_in)")

    assert names(planned("finished", "user", "again").removed) == ["again", "user", "finished"]
    by_force = planned("finished", even_referred=True)
    assert names(by_force.removed) == ["finished"]
    assert [why for _, why in by_force.said] == [f"{outputs / 'user'} takes its network (trained_in)"]


def test_a_run_that_runs_or_has_begun_again_stays(outputs: Path, planned: Any) -> None:
    with owned(outputs / "day" / "running"):
        ((_, why),) = planned("running").kept
        assert why == "it is running"
    (run,) = planned("failed").removed
    with owned(run.folder):
        assert "another run is writing to" in remove(run, [outputs])
    Status("finished", "point").write(run.folder)
    assert remove(run, [outputs]) == "it was begun again"
    assert (run.folder / "checkpoints" / "best.ckpt").exists()


def test_a_run_in_which_a_shard_works_stays(outputs: Path, planned: Any) -> None:
    folder = job(outputs / "day" / "shards", "shards")
    (folder / "partial").mkdir()
    (run,) = planned("shards").removed
    with locked(folder / "partial" / "shard-1-of-2.lock", AssertionError()):
        assert "shard 1/2 is at work in" in remove(run, [outputs])
    assert (folder / "checkpoints" / "best.ckpt").exists()
    assert remove(run, [outputs]) == ""
    assert not folder.exists()


def test_an_interrupted_removal_can_be_repeated(outputs: Path, planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = planned("finished").removed

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(run, [outputs])
    left = {item.folder.name: item for item in listed([str(outputs)])}["finished"]
    assert left.state == "stopped"
    (again,) = planned("finished").removed
    assert remove(again, [outputs]) == ""


def test_what_a_link_in_a_run_leads_to_stays(outputs: Path, tmp_path: Path, planned: Any) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    (outputs / "day" / "failed" / "plots").symlink_to(tmp_path / "elsewhere")
    (run,) = planned("failed").removed

    assert remove(run, [outputs]) == ""
    assert (tmp_path / "elsewhere" / "mine.txt").exists()


def test_the_folder_that_the_command_is_given_in_stays(
    outputs: Path, planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outputs / "day" / "failed" / "checkpoints")
    ((run, why),) = planned("failed").kept
    assert isinstance(run, ListedRun)
    assert why == "it is the folder that this command was given in"
