"""How a job ended, ``status.json`` in its folder: what lets a sweep be resumed, and says what is missing.

A job that is killed cannot say so: "running" without a ``results.json`` means that it was stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from inferno_cli.code import code_digest
from inferno_cli.errors import OutputError

FILE = "status.json"
State = Literal["running", "finished", "failed", "stopped", "reused", "pruned"]


@dataclass(frozen=True)
class Status:
    """State of a job.

    Attributes:
        state: "reused": the point was finished before, and not run again; "pruned": a search stopped it.
        point: Digest of its configuration and of the code; empty when the configuration could not be read.
        error: Why it failed, or was stopped.
        of: Folder of the run that stands for it, from its own folder.
    """

    state: State
    point: str = ""
    error: str = ""
    of: str = ""

    def write(self, folder: Path) -> None:
        """Write the file in one step."""
        partial = folder / f"{FILE}.partial"
        try:
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
            partial.replace(folder / FILE)
        except OSError as error:
            raise OutputError(f"{folder / FILE} cannot be written: {error}") from error

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        """Return what the file says; None where there is none that can be read."""
        try:
            return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def point(params: Mapping[str, Any]) -> str:
    """Return the digest of a resolved configuration and of the code.

    What does not change the result (where it is written, plots, progress) does not count. The code counts as the
    text of its modules: the version says nothing of changes that are not committed.
    """
    from inferno_cli.config import flatten
    from inferno_cli.report.points import identity

    settings = dict(flatten(params))
    text = f"{identity(settings)} {settings.get('dataset.path')} {code_digest()}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def finished(folder: Path, wanted: str) -> Path | None:
    """Return the folder of a finished run of a point below ``folder``, or None."""
    from inferno_cli.report import RESULTS_FILE

    for path in sorted(folder.glob(f"**/{FILE}")):
        status = Status.read(path.parent)
        same = status is not None and status.state == "finished" and status.point == wanted
        if same and (path.parent / RESULTS_FILE).is_file():
            return path.parent
    return None


def reused(folder: Path, of: Path, point: str) -> Status:
    """Return the status of a job for which another run stands; a relative path, so that both can be moved."""
    return Status("reused", point, of=os.path.relpath(of.resolve(), folder.resolve()))


def progress(sweep: Path, whole: Path | None = None) -> str:
    """Return how far a multirun is, and for how long it will go on as before; at its end how to compare its runs.

    A search that is started again goes on behind its last trial; any other sweep comes by all its points once more.

    Args:
        sweep: Its folder.
        whole: The folder to compare, where the multirun takes part in more.
    """
    from inferno_cli.cli.collect import MULTIRUN, planned, trials

    points = planned(sweep)
    total = len(points) or trials(sweep)
    begun = (sweep / MULTIRUN).stat().st_mtime if total else 0.0  # every start writes it anew
    ended = [
        (status.state, path.stat().st_mtime >= begun)
        for path in sweep.glob(f"*/{FILE}")
        if (status := Status.read(path.parent)) and status.state not in ("running", "stopped")
    ]
    states = [state for state, is_new in ended if is_new or not points]
    done, failed = len(states), states.count("failed")
    said = f"sweep: {done} of {total or '?'} points done" + (f", {failed} of them failed" if failed else "")
    if total and done >= total:
        return f"{said}; next: inferno compare runs={whole or sweep}"
    worked = sum(is_new and state != "reused" for state, is_new in ended)
    if worked and total:
        seconds = (time.time() - begun) / worked * (total - done)
        said += f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"
    return said
