"""How a job ended, ``status.json`` in its folder: what lets a sweep be resumed, and says what is missing.

A job that is killed cannot say so: "running" without a ``results.json`` means that it was stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from inferno_cli.errors import FileError, OutputError, RunError
from inferno_cli.files import read_json, sha256, write_whole

FILE = "status.json"
RECORD = ("results.json", "config.yaml", ".hydra/overrides.yaml")
"""What `inferno compare` reads of a run."""
KEPT = (
    *RECORD,
    "workspace.json",
    "templates.root",
    "membership.npz",
    "checkpoints/best.ckpt",
    "model.onnx",
    "trained_in.yaml",
)
"""What others read of a run: its checksums are in its status."""
State = Literal["running", "finished", "failed", "stopped", "reused", "pruned"]


@dataclass(frozen=True)
class Status:
    """State of a job.

    Attributes:
        state: "reused": the point was finished before, and not run again; "pruned": a search stopped it.
        point: Digest of its configuration and of the code; empty when the configuration could not be read.
        error: Why it failed, or was stopped.
        of: Folder of the run that stands for it, from its own folder.
        checksums: SHA-256 of the files of a finished run, by path; empty in a run of an earlier version.
    """

    state: State
    point: str = ""
    error: str = ""
    of: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the file in one step."""
        try:
            write_whole(folder / FILE, json.dumps(asdict(self), indent=1) + "\n")
        except OSError as error:
            raise OutputError(f"{folder / FILE} cannot be written: {error}") from error

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        """Return what the file says; None where there is none. A damaged one says that the job failed."""
        path = folder / FILE
        if not os.path.lexists(path):
            return None
        try:
            values = read_json(path)
            said = cls(**values)
            texts = [said.state, said.point, said.error, said.of, *said.checksums, *said.checksums.values()]
        except FileError as error:
            return cls("failed", error=str(error))
        except (TypeError, AttributeError):
            return cls("failed", error=f"{path} is no status of a run")
        if said.state not in get_args(State) or not all(isinstance(text, str) for text in texts):
            return cls("failed", error=f"{path} is no status of a run")
        return said


def finish(folder: Path, point: str) -> None:
    """Say that the run in a folder has finished, with the checksums of its files: from here on it is whole.

    Raises:
        OutputError: If the folder is no longer the one that the run began in.
    """
    said = Status.read(folder)
    if said is None or said.state != "running" or said.point != point:
        raise OutputError(
            f"{folder / FILE} was deleted or changed by another program while the run wrote to the folder. Run again"
        )
    try:
        checksums = {name: sha256(folder / name) for name in KEPT if (folder / name).is_file()}
    except OSError as error:
        raise OutputError(f"{folder} cannot be read: {error}. Run again") from error
    Status("finished", point, checksums=checksums).write(folder)


def verify(folder: Path, names: Sequence[str] = KEPT) -> None:
    """Raise RunError if a file of a finished run is not the one that the run wrote.

    Files that were deleted are left to those who need them, and runs of earlier versions have no checksums.
    """
    said = Status.read(folder)
    if said is None or said.state != "finished":
        return
    for name in names:
        path = folder / name
        if name not in said.checksums or not path.exists():
            continue
        try:
            found = sha256(path)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}. Copy the folder of the run again") from error
        if found != said.checksums[name]:
            raise RunError(
                f"{path} has changed since the run finished (its SHA-256 is not that in {FILE}). Copy the folder of "
                "the run again, or run it again"
            )
