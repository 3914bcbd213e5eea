"""compare finished runs: tables, figures and one HTML page, beside published numbers."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.published import Reference
from inferno_cli.config.steps import CompareConfig
from inferno_cli.errors import ConfigError
from inferno_cli.files import user_path

log = logging.getLogger(__name__)
SCHEMA = CompareConfig


def run(config: CompareConfig, composed: Any) -> None:  # noqa: ARG001
    """Compare runs, and write and log what comes of it."""
    from inferno_cli.report.comparison.comparison import Comparison
    from inferno_cli.report.comparison.earlier import earlier_kept
    from inferno_cli.report.comparison.page import headline, write_comparison
    from inferno_cli.report.comparison.tables import show_comparison
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
    comparison = Comparison.of(found.jobs, _reference(config.reference, found.study), baseline=config.baseline)
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
    """Compare runs of `inferno anomaly`, where there are no others; return whether there are any."""
    import os

    from inferno_cli.anomaly.comparison import finished, points
    from inferno_cli.report.anomaly.comparison import description, show, write
    from inferno_cli.runs.mlflow.afterwards import log_files
    from inferno_cli.runs.mlflow.sweep import PARENT_FILE

    runs = finished(config.runs, config.where)
    if not runs:
        return False
    compared = points(runs)
    parents = {run.folder.parent for run in runs}
    folder = Path(os.path.commonpath([run.folder.absolute() for run in runs])) / "compare"
    if config.output is not None:
        folder = user_path(config.output)
    files = write(compared, folder, plots=config.report.plots, formats=config.report.formats)
    if config.track and config.tracking.backend != "none" and len(parents) == 1:
        log_files(parents.pop() / PARENT_FILE, files, "compare", description(compared))
    show(compared)
    sys.stdout.write(f"results: {files[-1]}\n")
    return True


def _reference(chosen: Reference, study: str) -> Reference:
    """Return the published numbers; ``auto`` are those that have the name of the study."""
    if chosen.name != "auto":
        return chosen
    from omegaconf import OmegaConf

    path = config_folder() / "reference" / f"{study}.yaml"
    if not study or not path.is_file():
        return Reference(name="none")
    return resolve(Reference, OmegaConf.load(path))  # type: ignore[arg-type]
