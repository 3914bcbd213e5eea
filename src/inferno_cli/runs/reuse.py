"""A finished run that stands for a job: one of the same point, which is not run again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.errors import OutputError
from inferno_cli.files import user_path
from inferno_cli.runs.folder import OTHER, begin
from inferno_cli.runs.record import RESULTS_FILE
from inferno_cli.runs.status import FILE, Status, verify
from inferno_cli.shell import argument

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from inferno_cli.config.steps import TrainConfig
    from inferno_cli.runs.job import HydraJob


def begin_or_reuse(config: TrainConfig, composed: DictConfig, job: HydraJob, point: str) -> Path | None:
    """Begin the run in its folder, unless this point has finished: return the folder in which it has.

    Raises:
        OutputError: If the folder holds a finished run.
    """
    if not begin(job.folder, composed, point, overwrite=config.overwrite):
        verify(job.folder)
        if job.sweep is None and config.reuse is None:
            raise OutputError(
                f"{job.folder} holds this very run, finished. {OTHER}, set overwrite=true to train again, or "
                f"take it as it is: {argument('reuse', job.folder)}"
            )
        return job.folder
    before = None if config.reuse is None else finished_of(user_path(config.reuse), point)
    if before is not None:
        reused(job.folder, before, point).write(job.folder)
    return before


def finished_of(folder: Path, point: str) -> Path | None:
    """Return the folder of a finished run of a point below ``folder``, or None.

    Raises:
        RunError: If its files have changed since.
    """
    for path in sorted(folder.glob(f"**/{FILE}")):
        status = Status.read(path.parent)
        is_same = status is not None and status.state == "finished" and status.point == point
        if is_same and (path.parent / RESULTS_FILE).is_file():
            verify(path.parent)
            return path.parent
    return None


def origin(folder: Path) -> Path:
    """Return the folder of the run that stands for a job: its own, unless another one was reused."""
    status = Status.read(folder)
    return Path(os.path.normpath(folder / status.of)) if status is not None and status.state == "reused" else folder


def reused(folder: Path, of: Path, point: str) -> Status:
    """Return the status of a job for which another run stands; a relative path, so that both can be moved."""
    return Status("reused", point, of=os.path.relpath(of.resolve(), folder.resolve()))
