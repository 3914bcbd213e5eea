"""What `train` and `fit` have in common: a run in its folder, logged in MLflow, shown at its end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from inferno_cli.config.schema import Tracking
    from inferno_cli.runs.record import Results
    from inferno_cli.runs.sweeps import HydraJob


def resolved(composed: DictConfig) -> dict[str, Any]:
    """Return a configuration as nested mappings, without interpolations."""
    from omegaconf import OmegaConf

    params = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(params, dict)
    return {str(key): value for key, value in params.items()}


def run_and_log(
    work: Callable[[], Results],
    composed: DictConfig,
    tracking: Tracking,
    job: HydraJob,
    point: str,
    *,
    name: str,
    tags: Mapping[str, str],
) -> Results | None:
    """Do the work of a run that has begun in its folder, log it, and show what it found.

    Args:
        work: Returns the record; it is written last of all files.
        composed: The configuration, which is written down first.
        tracking: Where the run is logged.
        job: The job of Hydra's.
        point: Digest of what is run.
        name: What the run is called in the store, unless it is one of a sweep.
        tags: Its tags.

    Returns:
        The record; None where a search stopped the trial early.
    """
    from omegaconf import OmegaConf

    from inferno_cli.report.run.summary import headline
    from inferno_cli.runs import search
    from inferno_cli.runs.folder import CONFIG_FILE, PARTIAL, Status, finish, holds_finished
    from inferno_cli.runs.mlflow.run import log_configuration, log_results, result_stays, tracked
    from inferno_cli.runs.mlflow.store import check

    (job.folder / CONFIG_FILE).write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
    check(tracking)
    called = name if job.sweep is None else job.name
    results: Results | None = None
    try:
        with (
            result_stays(job.folder),
            tracked(tracking, name=called, params=resolved(composed), tags=tags, sweep_folder=job.sweep) as logged,
        ):
            if logged is not None:
                log_configuration(logged, job.folder)
            try:
                results = work()
            except search.Pruned as stop:
                if logged is not None:
                    logged.tags({"pruned": str(stop)})
                Status("pruned", point, error=str(stop)).write(job.folder)
                shutil.rmtree(job.folder / PARTIAL, ignore_errors=True)
                search.log.info(f"pruned: {stop}")
                return None
            finish(job.folder, point)  # whatever becomes of the tracking
            if logged is not None:
                log_results(logged, job.folder, results, headline(results), checkpoint=tracking.log_checkpoint)
    finally:
        if results is not None and holds_finished(job.folder):
            show_run(job.folder, results)
    return results


def show_run(folder: Path, results: Results | None = None) -> None:
    """Print the summary of a finished run, where its record is given, and where that is."""
    from inferno_cli.report.run.summary import show
    from inferno_cli.runs.folder import RESULTS_FILE

    if results is not None:
        show(results)
    sys.stdout.write(f"results: {folder / RESULTS_FILE}\n")
