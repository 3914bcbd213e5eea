"""The folder of a run: its files, who owns it, and in ``status.json`` how the run ended.

One rule says at any moment what is there. A run is finished when ``status.json`` says so, and that is written last of
all, in one step, with the checksums of what others read. Before, nothing in the folder counts, whatever files there
are: that is how a kill, a full disk or a signal at any write leaves it. Afterwards nothing of it changes; who
overwrites it takes that word away first. One run owns the folder while it works; one that is killed cannot say so, and
its status stays "running" in a folder that nobody owns.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from inferno_cli.errors import FileError, OutputError, RunError
from inferno_cli.files import locked, read_json, sha256, user_path, write_whole
from inferno_cli.fit.result import table_files
from inferno_cli.shell import argument

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from inferno_cli.config.steps import TrainConfig

STATUS_FILE, RESULTS_FILE, CONFIG_FILE = "status.json", "results.json", "config.yaml"
TEMPLATES_FILE = "templates.root"
HYDRA, OVERRIDES_FILE = ".hydra", "overrides.yaml"
LOCK = ".lock"
RECORD = (RESULTS_FILE, CONFIG_FILE, f"{HYDRA}/{OVERRIDES_FILE}")
"""What `inferno compare` reads of a run."""
OTHER_RECORDS = {"anomaly": "anomaly.json", "nplm": "nplm.json", "interpolate": "interpolation.json"}
"""The record of each step that measures no signal strength."""
KEPT = (
    *RECORD,
    *("workspace.json", TEMPLATES_FILE, "membership.npz", "checkpoints/best*.ckpt", "model*.onnx", "trained_in.yaml"),
    *(*OTHER_RECORDS.values(), "score.onnx", "at_[-0-9]*/workspace.json"),
)
"""What others read of a run, or patterns of it: its checksums are in its status."""
MADE = (
    *("plots", "export", "histograms", "cabinetry.yaml", "mlflow_run.json", "anomaly.html", "scores"),
    *("nplm.html", "interpolation.html", "workflow.done", "at_[-0-9]*", "data.html", "data.json"),
)
"""What a run makes besides the files that others read, and the tables of its quantities; names, or patterns of them."""
PARTIAL = "partial"
"""Folder of what an unfinished run goes on from when it is begun again: each file says of what it is a part."""
SHARDS = "parts of it were done; repeat the command without --shard"
OTHER = "Choose another folder (hydra.run.dir=FOLDER, in a sweep hydra.sweep.dir=FOLDER)"
State = Literal["running", "finished", "failed", "stopped", "reused", "pruned", "shards"]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Status:
    """State of a job."""

    state: State
    """"reused": the point was finished before, and not run again; "pruned": a search stopped it;
    "shards": parts of it were begun, and it was not."""
    point: str = ""
    """Digest of its configuration and of the code; empty when the configuration could not be read."""
    error: str = ""
    """Why it failed, or was stopped."""
    of: str = ""
    """Folder of the run that stands for it, from its own folder."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files of a finished run, by path; empty in a run of an earlier version."""

    def write(self, folder: Path) -> None:
        """Write the file in one step."""
        try:
            write_whole(folder / STATUS_FILE, json.dumps(asdict(self), indent=1) + "\n")
        except OSError as error:
            raise OutputError(f"{folder / STATUS_FILE} cannot be written: {error}") from error

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        """Return what the file says; None where there is none. A damaged one says that the job failed."""
        path = folder / STATUS_FILE
        if not os.path.lexists(path):
            return None
        try:
            return cls(**read_json(path))
        except FileError as error:
            return cls("failed", error=str(error))
        except (TypeError, ValueError):
            return cls("failed", error=f"{path} is no status of a run")


@contextmanager
def owned(folder: Path, remedy: str = OTHER) -> Iterator[None]:
    """Own a folder; the operating system ends that also for a process that is killed.

    OutputError says where another run owns it, with the remedy, or where it vanished.
    """
    with locked(folder / LOCK, OutputError(f"another run is writing to {folder}. Wait for it. {remedy}")):
        try:
            yield
        except OSError as error:
            if (folder / LOCK).exists():
                raise
            why = "" if isinstance(error, OutputError) else f" ({error})"
            raise OutputError(
                f"the folder {folder} was deleted or moved while the run wrote to it{why}; what is there is not "
                "whole. Run again"
            ) from error


def is_owned(folder: Path) -> bool:
    """Whether a process works in the folder of a run."""
    if not (folder / LOCK).exists():
        return False
    try:
        with locked(folder / LOCK, OutputError("owned")):
            return False
    except OSError:  # an OutputError, or a lock of somebody else's
        return True


def holds_finished(folder: Path) -> bool:
    """Whether a run has finished in a folder; one of an earlier version left no status."""
    said = Status.read(folder)
    if said is None:
        return (folder / RESULTS_FILE).exists() and (folder / CONFIG_FILE).exists()
    return said.state == "finished"


def begin(folder: Path, composed: DictConfig, point: str, *, overwrite: bool, is_spare: bool = False) -> bool:
    """Begin a run of a point in a folder that is owned.

    A finished run is replaced where ``overwrite`` says so, and one of another point if it ``is_spare``.

    Returns:
        Whether there is something to run: not where this very point has finished.

    Raises:
        OutputError: If another point has finished there.
    """
    said = Status.read(folder)
    if holds_finished(folder) and not overwrite:
        if said is not None and said.point == point:
            (folder / STATUS_FILE).touch()  # a sweep that comes by once more counts it
            return False
        if not is_spare:
            raise OutputError(
                f"{folder} holds a finished run, of another configuration or version of the code. {OTHER}, or set "
                "overwrite=true"
            )
    if not overwrite:
        _require_own_shards(folder, said, point)
    is_ours = said is not None or holds_finished(folder)
    Status("running", point).write(folder)  # from here on nothing in the folder counts, also if this is stopped
    if said is not None and said.state == "running":
        end_logged(folder)
    if is_ours:
        _clear(folder)
    keep_configuration(folder, composed)
    return True


def end_logged(folder: Path) -> None:
    """Say in its store that the run in a folder was killed, which it could not say itself.

    A copy of the folder of a run that goes on says nothing of it.
    """
    from inferno_cli.runs.mlflow.afterwards import RUN_FILE, end, logged_in

    own = logged_in(folder)
    if own == folder.absolute() or not is_owned(own):
        end(folder / RUN_FILE, "KILLED")


def begin_shard(folder: Path, composed: DictConfig, point: str) -> bool:
    """Begin a part of the run of a point in a folder that is owned for this moment; what other parts left stays.

    Returns:
        Whether there is something to do: not where this very point has finished.

    Raises:
        OutputError: If another point has finished there, or parts of another point are there.
    """
    said = Status.read(folder)
    if holds_finished(folder):
        if said is not None and said.point == point:
            return False
        raise OutputError(f"{folder} holds a finished run, of another configuration or version of the code. {OTHER}")
    _require_own_shards(folder, said, point)
    if said is None or said.state != "shards":
        Status("shards", point, error=SHARDS).write(folder)
        keep_configuration(folder, composed)
    return True


def _require_own_shards(folder: Path, said: Status | None, point: str) -> None:
    if said is not None and said.state == "shards" and said.point != point:
        raise OutputError(
            f"{folder} holds shards of another configuration or version of the code. {OTHER}, repeat their command, or "
            "begin anew without --shard and with overwrite=true"
        )


def begin_or_reuse(
    config: TrainConfig, composed: DictConfig, folder: Path, point: str, *, in_sweep: bool
) -> Path | None:
    """Begin a training in its folder, unless this point has finished: return the folder in which it has."""
    if not begin(folder, composed, point, overwrite=config.overwrite):
        verify(folder)
        if not in_sweep and config.reuse is None:
            raise OutputError(
                f"{folder} holds this very run, finished. {OTHER}, set overwrite=true to train again, or "
                f"take it as it is: {argument('reuse', folder)}"
            )
        return folder
    before = None if config.reuse is None else finished_of(user_path(config.reuse), point)
    if before is not None:
        reused(folder, before, point).write(folder)
    return before


def finished_of(folder: Path, point: str) -> Path | None:
    """Return the folder of a finished run of a point below ``folder``, or None; RunError if its files have changed."""
    for path in sorted(folder.glob(f"**/{STATUS_FILE}")):
        status = Status.read(path.parent)
        is_same = status is not None and status.state == "finished" and status.point == point
        if is_same and (path.parent / RESULTS_FILE).is_file():
            verify(path.parent)
            return path.parent
    return None


def reused(folder: Path, of: Path, point: str) -> Status:
    """Return the status of a job for which another run stands; a relative path, so that both can be moved."""
    return Status("reused", point, of=os.path.relpath(of.resolve(), folder.resolve()))


def origin(folder: Path, said: Status | None = None) -> Path:
    """Return the folder of the run that stands for a job: its own, unless another one was reused.

    ``said`` is its status, if known.
    """
    said = said or Status.read(folder)
    return Path(os.path.normpath(folder / said.of)) if said is not None and said.state == "reused" else folder


def finish(folder: Path, point: str) -> None:
    """Say that the run in a folder has finished, with the checksums of its files: from here on it is whole."""
    said = Status.read(folder)
    if said is None or said.state != "running" or said.point != point:
        raise OutputError(
            f"{folder / STATUS_FILE} was deleted or changed by another program while the run wrote to the folder. "
            "Run again"
        )
    try:
        checksums = {path.relative_to(folder).as_posix(): sha256(path) for path in _files(folder, KEPT)}
    except OSError as error:
        raise OutputError(f"{folder} cannot be read: {error}. Run again") from error
    Status("finished", point, checksums=checksums).write(folder)
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)


def verify(folder: Path, names: Sequence[str] = KEPT, said: Status | None = None) -> None:
    """Raise RunError if a file of a finished run is not the one that the run wrote; ``said`` is its status, if known.

    Files that were deleted are left to those who need them, and runs of earlier versions have no checksums.
    """
    said = said or Status.read(folder)
    if said is None or said.state != "finished":
        return
    for name, checksum in said.checksums.items():
        path = folder / name
        if not any(fnmatchcase(name, pattern) for pattern in names) or not path.exists():
            continue
        try:
            found = sha256(path)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}. Copy the folder of the run again") from error
        if found != checksum:
            raise RunError(
                f"{path} has changed since the run finished (its SHA-256 is not that in {STATUS_FILE}). Copy the "
                "folder of the run again, or run it again"
            )


def read_verified(folder: Path, name: str, said: Status | None = None) -> Any:
    """Read JSON of a run that ``verify`` has passed; FileError says what it is otherwise. ``said`` is as there.

    What has the checksum that a run has written holds finite numbers, and each key once, as runs write no other JSON:
    it is not looked for, which takes a fifth of the time.
    """
    said = said or Status.read(folder)
    if said is None or said.state != "finished" or name not in said.checksums:
        return read_json(folder / name)
    try:
        return from_json((folder / name).read_bytes(), cache_strings="keys")
    except (OSError, ValueError):
        return read_json(folder / name)  # which says what is wrong


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files in a folder that have these names or match these patterns."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        found |= dict.fromkeys(path for path in sorted(folder.glob(pattern)) if path.is_file() or path.is_symlink())
    return list(found)


def _clear(folder: Path) -> None:
    """Remove what a run before has made: beside the new files it would look like theirs."""
    made = [path for name in (*MADE, *table_files()) for path in sorted(folder.glob(name))]
    for path in (*_files(folder, KEPT), *made):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}, of a run before, cannot be removed: {error}. {OTHER}") from error


def keep_configuration(folder: Path, composed: DictConfig) -> None:
    """Write what Hydra would: its own files would be there before anybody knows whether the folder may be used."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    hydra: Any = HydraConfig.instance().cfg
    task = hydra.hydra.overrides.task
    for name, values in {"config.yaml": composed, "hydra.yaml": hydra, OVERRIDES_FILE: task}.items():
        path = folder / HYDRA / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, OmegaConf.to_yaml(values))
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}. {OTHER}") from error
