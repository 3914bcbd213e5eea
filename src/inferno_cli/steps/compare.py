"""compare finished runs: tables, figures and one HTML page, beside published numbers."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.published import Reference
from inferno_cli.config.steps import CompareConfig
from inferno_cli.errors import ComparisonError, ConfigError, FileError, RunError, first_line
from inferno_cli.files import user_path
from inferno_cli.steps._logged import run_steps

if TYPE_CHECKING:
    from inferno_cli.report.headlines import Found

log = logging.getLogger(__name__)
SCHEMA = CompareConfig


@contextmanager
def _all_kept() -> Iterator[None]:
    """Have Python look rarely for what nobody needs any more: of a thousand runs all that is read is kept."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_all_kept()
def run(config: CompareConfig, composed: Any) -> None:  # noqa: ARG001
    """Compare runs, and write and log what comes of it."""
    from inferno_cli.report.comparison.comparison import Comparison
    from inferno_cli.report.comparison.earlier import earlier_kept
    from inferno_cli.report.comparison.page import headline, write_comparison
    from inferno_cli.report.comparison.tables import show_comparison
    from inferno_cli.report.headlines import remarks
    from inferno_cli.report.presentation import presentation
    from inferno_cli.runs.find import collect
    from inferno_cli.runs.mlflow.afterwards import log_files
    from inferno_cli.runs.mlflow.sweep import PARENT_FILE

    if not config.runs:
        raise ConfigError(
            "runs is empty; name folders of runs, sweeps or studies, runs=FOLDER, or runs=mlflow:EXPERIMENT"
        )
    if _anomaly_scores(config):
        return
    found = collect(config.runs, config.tracking, config.where)
    others = _others(found.others)
    if not found.jobs:
        _headlines(config, others)
        return
    reference, notes = _reference(config.reference, found.study), tuple(remarks(others))
    comparison = Comparison.of(found.jobs, reference, notes, baseline=config.baseline)
    comparison = replace(comparison, shown=presentation(config.report))
    write = partial(write_comparison, plots=config.report.plots, formats=config.report.formats)
    folder = (Path(config.output_dir) if found.folder is None else found.folder) / "compare"
    if config.output is not None:
        folder = user_path(config.output)
        files = write(comparison, folder)
    else:
        with earlier_kept(folder, comparison) as earlier:
            files = write(comparison, folder)
        if earlier is not None:
            log.info(f"compare: the comparison before is in {earlier} now")
    # Of runs of several sweeps none is the parent, unless a study was started again.
    tracked = config.track and config.tracking.backend != "none" and (len(found.sweeps) == 1 or found.study)
    try:
        for sweep in found.sweeps if tracked else ():
            if (uri := log_files(sweep / PARENT_FILE, files, "compare", headline(comparison))) is not None:
                log.info("tracking: logged to the parent run of %s in %s", sweep, uri)
    finally:  # after the log, which must not depend on who reads the table
        show_comparison(comparison, config.metrics)
    sys.stdout.write(f"results: {files[-1]}\n")


def _anomaly_scores(config: CompareConfig) -> bool:
    """Compare runs of `inferno anomaly`, where none measures a signal strength; return whether there are any."""
    from inferno_cli.anomaly.comparison import finished, points
    from inferno_cli.report.anomaly.comparison import description, show, write
    from inferno_cli.report.headlines import remarks
    from inferno_cli.runs.find import tops_of
    from inferno_cli.runs.listed import folders_in
    from inferno_cli.runs.mlflow.afterwards import log_files
    from inferno_cli.runs.mlflow.sweep import PARENT_FILE

    runs = finished(config.runs, config.where)
    if not runs:
        return False
    compared = points(runs)
    known = {run.folder.resolve() for run in runs}
    beside: dict[Path, None] = {}
    for top in (top for place in config.runs for top in tops_of(place) if not config.where):
        beside |= dict.fromkeys(folder for folder in folders_in(top) if folder not in known)
    notes = tuple(remarks(_others(tuple(beside))))
    parents = {run.folder.parent for run in runs}
    folder = _beside([run.folder for run in runs]) if config.output is None else user_path(config.output)
    files = write(compared, folder, notes, plots=config.report.plots, formats=config.report.formats)
    if config.track and config.tracking.backend != "none" and len(parents) == 1:
        log_files(parents.pop() / PARENT_FILE, files, "compare", description(compared, notes))
    show(compared, notes)
    sys.stdout.write(f"results: {files[-1]}\n")
    return True


def _headlines(config: CompareConfig, others: Sequence[Found]) -> None:
    """List runs of other steps, each with what it found, where there is nothing else."""
    from inferno_cli.report.headlines import show, write
    from inferno_cli.runs.listed import fulfilling

    kept = {run.folder for run in fulfilling([item.run for item in others], config.where)}
    found = [item for item in others if item.run.folder in kept]
    if not any(item.run.state == "finished" for item in found):
        raise ComparisonError(f"runs: no run in {', '.join(config.runs)} has finished. Name others: runs=FOLDER")
    folder = _beside([item.run.folder for item in found]) if config.output is None else user_path(config.output)
    files = write(found, folder)
    show(found)
    sys.stdout.write(f"results: {files[-1]}\n")


def _beside(folders: Sequence[Path]) -> Path:
    """Return where the comparison of some runs is written."""
    return Path(os.path.commonpath([folder.absolute() for folder in folders])) / "compare"


def _others(folders: Sequence[Path]) -> list[Found]:
    """Return runs of steps that a comparison leaves out, each with what it found, or why it did not finish."""
    from inferno_cli.report.headlines import Found
    from inferno_cli.runs.folder import verify
    from inferno_cli.runs.listed import read_run

    steps = run_steps() if folders else {}
    found = []
    for folder in folders:
        run = read_run(folder)
        if run is None or run.step not in steps:  # of `data` or `prepare`
            continue
        said = run.error
        if run.state == "finished":
            try:
                verify(folder)
                said = steps[run.step].headline(steps[run.step].load(folder))
            except (RunError, FileError) as error:
                run, said = replace(run, state="damaged"), first_line(error)
        found.append(Found(run, said))
    return found


def _reference(chosen: Reference, study: str) -> Reference:
    """Return the published numbers; ``auto`` are those that have the name of the study."""
    if chosen.name != "auto":
        return chosen
    from omegaconf import OmegaConf

    path = config_folder() / "reference" / f"{study}.yaml"
    if not study or not path.is_file():
        return Reference(name="none")
    return resolve(Reference, OmegaConf.load(path))  # type: ignore[arg-type]
