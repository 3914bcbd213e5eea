"""Parts of one run as commands of their own: together they give what the run gives by itself, to the last digit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from inferno_cli.files import locked
from inferno_cli.runs.folder import Status
from inferno_cli.runs.record import Results
from integration.conftest import (
    FEW_EVENTS,
    FIT_ONLY_MU,
    QUICK,
    Outcome,
    Runs,
    comparable,
    inferno,
    own_analysis,
    succeed,
)

pytestmark = pytest.mark.slow
TRAIN = ("train", "+experiment=synthetic", "model=bce", *QUICK, *FEW_EVENTS, "trainer.members=3", "export=false")
NPLM = (
    *("nplm", "+experiment=exponential", "dataset.yields={signal: 20.0, background: 200.0}", "tracking=none"),
    *(
        "dataset.events.template=20000",
        "nplm.toys=12",
        "nplm.toys_tuning=10",
        "nplm.model.hidden=[2]",
        "nplm.ratio=3.0",
    ),
    *("nplm.restarts=1", "nplm.toys_at_once=4", "nplm.model.clip=6.0", "nplm.inject={sample: signal}"),
)


def at(folder: Path) -> str:
    return f"hydra.run.dir={folder}"


def state(folder: Path) -> str:
    status = Status.read(folder)
    assert status is not None
    return status.state


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run by itself."""
    return succeed(*TRAIN, at(tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which shards 1/3 and 3/3 have ended, and 2/3 has not begun."""
    folder = tmp_path_factory.mktemp("parts") / "run"
    first = succeed(*TRAIN, at(folder), "--shard", "1/3").out
    assert f"shard 1/3: 1 of 3 trainings in {folder}; when all shards have ended" in first
    assert "1 of 3 trainings" in succeed(*TRAIN, at(folder), "shard=3/3").out
    return folder


def copied(parts: Path) -> Path:
    """Keep what the shards left, to put it back where it was: its place is a part of what it is."""
    kept = parts.with_name("kept")
    if not kept.exists():
        shutil.copytree(parts, kept)
    shutil.rmtree(parts)
    shutil.copytree(kept, parts)
    return parts


def test_shards_leave_no_result(parts: Path) -> None:
    assert state(parts) == "shards"
    assert not (parts / "results.json").exists()
    listed = succeed("list", str(parts)).out
    assert "shards" in listed
    compared = inferno("compare", f"runs={parts}", "track=false")
    assert compared.code == 2
    assert "parts of it were done; repeat the command without --shard" in compared.err


def test_the_run_collects_the_shards_and_does_what_is_missing(
    parts: Path, whole: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inferno_cli.training import trainer

    folder = copied(parts)
    epochs: list[int] = []
    fit = trainer.pl.Trainer.fit
    monkeypatch.setattr(trainer.pl.Trainer, "fit", lambda self, *a, **k: epochs.append(1) or fit(self, *a, **k))
    outcome = succeed(*TRAIN, at(folder))

    assert outcome.out.count("training: had ended before") == 2
    assert len(epochs) == 1  # member 2, of the shard that is missing
    assert comparable(outcome.results) == comparable(whole.results)
    own = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert own == sorted(path.name for path in (whole.path.parent / "checkpoints").iterdir())
    assert state(folder) == "finished"
    again = succeed(*TRAIN, at(folder), "--shard", "2/3")
    assert f"shard 2/3: nothing to do, the run in {folder} has finished" in again.out
    assert state(folder) == "finished"


def test_a_part_of_a_point_of_a_workflow(whole: Outcome, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    succeed(TRAIN[0], "-m", *TRAIN[1:], "seed=1,2", f"--workflow={folder}")
    point = ("train", f"--point={folder}/0")

    assert f"1 of 3 trainings in {folder}/0" in succeed(*point, "--shard=2/3").out
    assert (state(folder / "0"), (folder / "0" / "results.json").exists()) == ("shards", False)
    succeed(*point)

    assert comparable(Results.load(folder / "0" / "results.json")) == comparable(whole.results)


def test_the_same_shard_twice_trains_nothing(parts: Path) -> None:
    folder = copied(parts)
    said = succeed(*TRAIN, at(folder), "--shard", "1/3").out
    assert said.count("training: had ended before") == 1
    assert state(folder) == "shards"


@pytest.mark.parametrize("shard", ["", "2/3"])
def test_shards_of_another_configuration_are_told_apart(shard: str, parts: Path) -> None:
    folder = copied(parts)
    flag = ("--shard", shard) if shard else ()
    refused = inferno(*TRAIN, at(folder), "model.bins=5", *flag)
    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert line.startswith(f"OutputError: {folder} holds shards of another configuration or version of the code.")
    assert state(folder) == "shards"  # or the same command, given once more, would take the folder
    assert sorted(path.name for path in (folder / "partial").glob("*.ckpt")) == [
        "best_member0.ckpt",
        "best_member2.ckpt",
    ]


def test_who_is_at_work_is_not_disturbed(parts: Path) -> None:
    folder = copied(parts)
    with locked(folder / "partial" / "shard-2-of-3.lock", AssertionError()):
        run, same, other = (inferno(*TRAIN, at(folder), *flag) for flag in ((), ("shard=2/3",), ("shard=1/2",)))
    assert run.err.startswith(f"OutputError: shard 2/3 is at work in {folder}. Wait for it: the run collects")
    assert same.err.startswith(f"OutputError: shard 2/3 is at work in {folder} already.")
    assert other.err.startswith(f"OutputError: shard 2/3 is at work in {folder}. Wait for it, or divide by 3")
    assert {run.code, same.code, other.code} == {2}
    assert state(folder) == "shards"


def test_folds_are_divided_as_members_are(tmp_path: Path) -> None:
    """Here with toys of the fit, which the whole run throws."""
    config, splits = str(own_analysis(tmp_path)), "dataset.splits={folds: 2, validation: 0.3}"
    own = ("train", "--config-dir", config, "+experiment=mine", "model=bce", splits)
    command = (*own, *QUICK, "export=false", "fit.toys=10", *FIT_ONLY_MU)
    expected = succeed(*command, at(tmp_path / "whole")).results
    folder = tmp_path / "parts"
    for shard in ("1/2", "2/2"):
        said = succeed(*command, at(folder), "--shard", shard).out
        assert f"1 of 2 trainings, none of the toys, in {folder}; when all shards" in said
    collected = succeed(*command, at(folder))

    assert collected.out.count("training: had ended before") == 2
    assert comparable(collected.results) == comparable(expected)


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "number": ((*TRAIN, "--shard", "5/4"), "shard=5/4: expected NUMBER/TOTAL"),
    "text": ((*TRAIN, "shard=two"), "shard=two: expected NUMBER/TOTAL"),
    "nothing": ((*TRAIN, "--shard"), "--shard needs a part: --shard NUMBER/TOTAL"),
    "one": ((*TRAIN, "trainer.members=1", "--shard", "1/2"), "shards divide trainings, and there are not several"),
    "data": (("data", "+experiment=synthetic", "shard=1/2"), "nothing of this step. Leave --shard out"),
    "compare": (("compare", "runs=.", "--shard", "1/2"), "nothing of this step. Leave --shard out"),
    "toys": ((*TRAIN, "trainer.members=1", "fit.toys=100", "--shard", "1/2"), "inferno fit workspace="),
    "coverage": ((*TRAIN, "trainer.members=1", "+coverage={experiments: 100}", "--shard", "1/2"), "coverage.workers="),
}


def test_shards_have_a_folder_in_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = inferno(*TRAIN, "--shard", "1/2")
    assert refused.code == 2
    assert refused.err.startswith("ConfigError: --shard needs the folder that all shards of a run have in common")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", list(WRONG))
def test_what_cannot_be_divided(case: str, tmp_path: Path) -> None:
    command, said = WRONG[case]
    refused = inferno(command[0], at(tmp_path / "run"), *command[1:])
    assert refused.code == 2
    assert said in refused.err
    assert not (tmp_path / "run" / "results.json").exists()


# ----------------------------------------------------------------------------------------------------------- toys
def test_toys_of_a_fit(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.fit import throwing

    workspace = runs("synthetic", "bce").results.workspace
    settings = ("fit.toys=100", "fit.scan_points=null", "report.plots=false", "tracking=none", "fit=asimov")
    command = ("fit", f"workspace={workspace}", *settings)
    expected = succeed(*command, at(tmp_path / "whole")).results
    folder = tmp_path / "parts"
    for shard in ("1/2", "2/2"):
        assert "100 toys of each kind" in succeed(*command, at(folder), "--shard", shard).out
        assert state(folder) == "shards"
    monkeypatch.setattr(throwing, "thrown", None)  # nothing is left to be thrown

    assert comparable(succeed(*command, at(folder)).results) == comparable(expected)
    without = inferno("fit", f"workspace={workspace}", "tracking=none", "--shard", "1/2", at(tmp_path / "none"))
    assert "shards divide toys, and there are none" in without.err


def test_toys_of_nplm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.nplm import toys

    def record(folder: Path) -> dict[str, Any]:
        found = json.loads((folder / "nplm.json").read_text())
        return {key: value for key, value in found.items() if key != "timing"}

    succeed(*NPLM, at(tmp_path / "whole"))
    folder = tmp_path / "parts"
    thrown = [succeed(*NPLM, at(folder), "--shard", f"{number}/2").out for number in (1, 2)]
    assert [line for out in thrown for line in out.splitlines() if line.startswith("shard")] != []
    assert not (folder / "nplm.json").exists()
    monkeypatch.setattr(toys.Drawing, "toy", None)  # nothing is left to be thrown

    succeed(*NPLM, at(folder))
    assert record(folder) == record(tmp_path / "whole")
