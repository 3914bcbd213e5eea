"""make ntuples of one sample from NanoAOD: selection, features, shifted selections."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from inferno_cli.config import PrepareConfig, Step
from inferno_cli.files import user_path

if TYPE_CHECKING:
    from inferno_cli.prepare import Prepared

log = logging.getLogger(__name__)


class _Finished(Protocol):
    def __call__(self, path: Path, done: int, total: int, /) -> None: ...


def schema() -> type[Step]:
    """Return the class of this step's configuration."""
    return PrepareConfig


def run(config: PrepareConfig, composed: Any) -> None:
    """Prepare one sample.

    Args:
        config: The validated configuration.
        composed: The same as Hydra composed it, for the record.
    """
    from inferno_cli.cli.folder import begin
    from inferno_cli.cli.provenance import Job
    from inferno_cli.cli.status import finish
    from inferno_cli.prepare import expand, prepare

    own = Job.current().folder
    begin(own, composed, "", overwrite=True)  # it holds no results
    files = expand(config.files)
    folder = user_path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    log.info(f"prepare: sample {config.sample}, {len(files)} files, {config.workers} at a time")
    start = time.perf_counter()
    with _progress(config.progress, len(files)) as finished:
        made = prepare(
            files,
            sample=config.sample,
            folder=folder,
            settings=config.prepare,
            norm=config.norm,
            workers=config.workers,
            size=config.chunk,
            finished=finished,
        )
    finish(own, "")
    for line in summary(made, config.sample, time.perf_counter() - start):
        log.info(line)
    sys.stdout.write(f"ntuples: {made.path}\n")


def summary(made: Prepared, sample: str, seconds: float) -> Iterator[str]:
    """Yield the lines that are printed at the end."""
    if made.resumed:
        yield f"{made.resumed} files were finished before"
    yield ""
    yield from made.cut_flow.lines(sample)
    yield ""
    yield "rows: " + ", ".join(f"{name} {number}" for name, number in made.rows.items())
    if not made.resumed:
        yield f"{made.cut_flow.events[0]} events in {seconds:.1f} s, {made.cut_flow.events[0] / seconds:.0f} events/s"


@contextmanager
def _progress(kind: str, total: int) -> Iterator[_Finished]:
    """Say how far it is: a bar on a terminal, a line for each file in a log."""
    if kind == "bar" or (kind == "auto" and sys.stdout.isatty()):
        from rich.progress import Progress

        with Progress(transient=True) as bar:
            task = bar.add_task("files", total=total)
            yield lambda path, done, total: bar.update(task, completed=done)  # noqa: ARG005
    elif kind == "none":
        yield lambda path, done, total: None  # noqa: ARG005
    else:
        yield lambda path, done, total: log.info(f"{done}/{total} {path}")
