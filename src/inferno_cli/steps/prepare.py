"""make ntuples of one sample from NanoAOD: selection, features, shifted selections."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from inferno_cli.analyses.top11004.settings import Preparation
from inferno_cli.config.steps import FolderStep
from inferno_cli.errors import OutputError
from inferno_cli.files import user_path
from inferno_cli.progress import Mode, progress
from inferno_cli.section import LONGEST_NAME, Paths, Positive

if TYPE_CHECKING:
    from inferno_cli.analyses.ntuples import Prepared

log = logging.getLogger(__name__)


class PrepareConfig(FolderStep):
    """``inferno prepare``: from NanoAOD to the ntuples of one sample."""

    files: Annotated[Paths, Field(min_length=1)]
    """Files, folders or globs, a list or with commas between; * and ? stand for any characters, [[] for a bracket."""
    sample: Annotated[str, Field(pattern=r"^\w+$", max_length=LONGEST_NAME)]
    """Name of the sample, and of its trees."""
    output: str
    """Folder of the ntuples."""
    norm: Positive
    """Multiplies the column norm: cross-section times luminosity over the sum of generator weights."""
    workers: Annotated[int, Field(ge=1)]
    """Input files at a time."""
    chunk: Annotated[int, Field(ge=1)]
    """Events in memory at a time, in each worker."""
    progress: Mode
    """How far it is: a bar on a terminal, lines in a log."""
    prepare: Preparation


SCHEMA = PrepareConfig


def run(config: PrepareConfig, composed: Any) -> None:
    """Prepare one sample."""
    from inferno_cli.analyses.ntuples import prepare
    from inferno_cli.analyses.top11004.analysis import TauJets
    from inferno_cli.events.root.trees import find_files
    from inferno_cli.runs.folder import OTHER, begin, finish, holds_finished
    from inferno_cli.runs.steps import step_of
    from inferno_cli.runs.sweeps import HydraJob

    own = HydraJob.current().folder
    if holds_finished(own) and step_of(own) != "prepare":
        raise OutputError(f"{own} holds a finished run, of another step. {OTHER}")
    begin(own, composed, "", overwrite=True)  # its own folder holds no results
    found: dict[Path, None] = {}
    for pattern in config.files:
        found |= dict.fromkeys(find_files(pattern, "*.root", "files", "files"))
    files = tuple(found)
    folder = user_path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    log.info(f"prepare: sample {config.sample}, {len(files)} files, {config.workers} at a time")
    start = time.perf_counter()
    with progress(config.progress, "files", len(files)) as advance:
        made = prepare(
            files,
            sample=config.sample,
            folder=folder,
            analysis=TauJets(config.prepare, config.norm),
            workers=config.workers,
            size=config.chunk,
            advance=advance,
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
