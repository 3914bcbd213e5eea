"""The folder of a run: one run owns it, what has finished in it stays, and its files are known by their checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import config, put, record
from omegaconf import DictConfig, OmegaConf

from inferno_cli.errors import OutputError, RunError
from inferno_cli.runs.folder import KEPT, Status, begin, finish, finished_of, holds_finished, owned, reused, verify
from inferno_cli.runs.run_folder import finished_run

COMPOSED = OmegaConf.create({"seed": 1})


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    """A job of Hydra's, whose configuration is kept."""
    from hydra.core.hydra_config import HydraConfig

    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": {"overrides": {"task": ["seed=1"]}}})
    yield
    HydraConfig.instance().cfg = before


FILES = (
    *(name for name in KEPT if "*" not in name),
    *("checkpoints/best.ckpt", "checkpoints/best_fold1.ckpt", "model.onnx", "model_SR_fold1.onnx"),
)


def run(folder: Path, point: str = "a", *, overwrite: bool = False, text: str = "results") -> bool:
    """A run that writes the files which others read."""
    assert isinstance(COMPOSED, DictConfig)
    if not begin(folder, COMPOSED, point, overwrite=overwrite):
        return False
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{name} {text}")
    finish(folder, point)
    return True


# -------------------------------------------------------------------------------------------------- one owner
def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with (
        owned(tmp_path),
        pytest.raises(OutputError, match=rf"another run is writing to {tmp_path}\. .*hydra\.run\.dir="),
        owned(tmp_path),
    ):
        pytest.fail("two own it")
    with owned(tmp_path):
        pass


HOLD = """
import pathlib, sys, time
from inferno_cli.runs.folder import owned
with owned(pathlib.Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


def test_an_owner_that_is_killed_owns_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "owned\n"
    with pytest.raises(OutputError, match="another run"), owned(tmp_path):
        pytest.fail("two own it")
    other.kill()
    other.wait()
    other.stdout.close()
    with owned(tmp_path):
        pass


def test_a_folder_that_vanished_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    def work() -> None:
        with owned(folder):
            folder.rename(tmp_path / "moved")
            (folder / "results.json").write_text("")

    with pytest.raises(OutputError, match=r"run was deleted or moved while the run wrote to it \(\[Errno 2\]"):
        work()


@pytest.mark.parametrize("left", ["nothing", "another status"])
def test_a_run_does_not_finish_in_another_folder(left: str, tmp_path: Path) -> None:
    """A folder that was deleted is made again by what writes to it."""
    assert isinstance(COMPOSED, DictConfig)
    begin(tmp_path, COMPOSED, "a", overwrite=False)
    (tmp_path / "status.json").unlink()
    if left != "nothing":
        Status("running", "b").write(tmp_path)

    with pytest.raises(OutputError, match=r"status\.json was deleted or changed by another program"):
        finish(tmp_path, "a")


# ------------------------------------------------------------------------------------------------ what stays
def test_what_has_finished_stays(tmp_path: Path) -> None:
    run(tmp_path, "a")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(OutputError, match=r"holds a finished run, of another configuration .* overwrite=true"):
        run(tmp_path, "b")
    assert not run(tmp_path, "a", text="again"), "the same point has nothing to do"

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_overwritten_files_are_removed_first(tmp_path: Path) -> None:
    run(tmp_path, "a")
    for name in ("plots/fit.png", "yields.md", "mlflow_run.json", "notes.txt", "predictions/a.root"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert isinstance(COMPOSED, DictConfig)

    assert begin(tmp_path, COMPOSED, "b", overwrite=True)

    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"}
    assert left == kept | {"status.json", "notes.txt", "predictions/a.root"}
    assert not holds_finished(tmp_path)


def test_files_that_are_no_runs_are_left_alone(tmp_path: Path) -> None:
    """As in the working directory: hydra.run.dir=."""
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "mine.png").touch()
    run(tmp_path)
    assert (tmp_path / "plots" / "mine.png").exists()


@pytest.mark.parametrize("state", ["running", "failed", "stopped", "pruned", "reused"])
def test_a_run_that_did_not_finish_may_be_repeated(state: str, tmp_path: Path) -> None:
    Status(state, "a").write(tmp_path)  # type: ignore[arg-type]
    (tmp_path / "results.json").write_text("of a run before")
    assert not holds_finished(tmp_path)
    assert run(tmp_path, "b")


def test_a_run_of_an_earlier_version_has_finished(tmp_path: Path) -> None:
    """It left no status, or one without checksums."""
    for name in ("results.json", "config.yaml"):
        (tmp_path / name).write_text("{}")
    assert holds_finished(tmp_path)
    with pytest.raises(OutputError, match="holds a finished run"):
        run(tmp_path)
    verify(tmp_path)
    (tmp_path / "status.json").write_text('{"state": "finished", "point": "x", "error": "", "of": ""}')
    assert holds_finished(tmp_path)
    verify(tmp_path)


# ------------------------------------------------------------------------------------------------- checksums
def test_the_status_has_the_checksum_of_every_file(tmp_path: Path) -> None:
    run(tmp_path)
    said = json.loads((tmp_path / "status.json").read_text())
    assert said["state"] == "finished"
    assert set(said["checksums"]) == set(FILES)
    for name, found in said["checksums"].items():
        assert found == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_has_changed_is_named(name: str, tmp_path: Path) -> None:
    run(tmp_path)
    verify(tmp_path)
    before = (tmp_path / name).stat()
    (tmp_path / name).write_text(f"{name} resultz")  # as long, and with the time of the other
    os.utime(tmp_path / name, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(RunError, match=rf"{tmp_path / name} has changed since the run finished"):
        verify(tmp_path)
    with pytest.raises(RunError, match="has changed since"):
        finished_of(tmp_path, "a")
    assert finished_of(tmp_path, "b") is None


@pytest.mark.parametrize("name", FILES)
def test_what_was_deleted_is_left_to_those_who_need_it(name: str, tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / name).unlink()
    verify(tmp_path)
    assert finished_of(tmp_path, "a") == (None if name == "results.json" else tmp_path)


@pytest.mark.parametrize("made", [os.mkfifo, os.mkdir])
def test_what_is_no_file_any_more_is_not_waited_for(made: object, tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "checkpoints" / "best.ckpt").unlink()
    made(tmp_path / "checkpoints" / "best.ckpt")  # type: ignore[operator]
    with pytest.raises(RunError, match=r"best\.ckpt cannot be read: not a regular file"):
        verify(tmp_path)


# ---------------------------------------------------------------------------------------------- broken status
BROKEN = ("", "{", "[]", "null", "1", "[" * 100_000, '{"state": NaN}', '{"state": ["finished"]}', '{"state": "done"}')
BROKEN += ('{"state": "finished", "checksums": [1]}', '{"state": "finished", "checksums": {"a": 1}}', '{"status": 1}')
BROKEN += ('{"state": "finished", "point": 1}', '{"state": "finished", "new": ""}')


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_damaged_status_is_that_of_a_run_that_failed(text: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(text)
    said = Status.read(tmp_path)
    assert said is not None
    assert said.state == "failed"
    assert str(tmp_path / "status.json") in said.error


def test_no_status_and_a_pipe(tmp_path: Path) -> None:
    assert Status.read(tmp_path) is None
    os.mkfifo(tmp_path / "status.json")
    said = Status.read(tmp_path)
    assert said is not None
    assert said.state == "failed"


def test_a_run_that_stands_for_itself_is_no_run(tmp_path: Path) -> None:
    from inferno_cli.runs.find import collect
    from inferno_cli.runs.points import MODEL

    (tmp_path / "config.yaml").write_text("model: {kind: bce}\n")
    (tmp_path / "results.json").write_text("{}")
    reused(tmp_path, tmp_path, "a").write(tmp_path)
    (job,) = collect([str(tmp_path)]).jobs
    assert (job.results, job.settings[MODEL]) == (None, "bce")


def test_of_a_point_that_was_not_run_again_the_run_that_stands_for_it_is_read(tmp_path: Path) -> None:
    """By every step that takes a run."""
    put(tmp_path / "first", config("bce", 5, 1), record(0.4))
    (tmp_path / "again").mkdir()
    reused(tmp_path / "again", tmp_path / "first", "point").write(tmp_path / "again")

    assert finished_run(str(tmp_path / "again"), "run", ("train",))[0] == tmp_path / "first"

    shutil.rmtree(tmp_path / "first")
    with pytest.raises(RunError, match=f"{tmp_path}/first has no results.json"):
        finished_run(str(tmp_path / "again"), "run", ("train",))
