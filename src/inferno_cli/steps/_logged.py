"""What the steps have in common that measure something: a run in its folder, logged in MLflow, shown at its end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from inferno_cli.config.schema import Tracking
    from inferno_cli.runs.mlflow.run import Run
    from inferno_cli.runs.record import Results
    from inferno_cli.runs.sweeps import HydraJob

Found = TypeVar("Found")


class Logs(Protocol):
    """How the finished runs of a step are logged."""

    def __call__(self, logged: Run, folder: Path, *, checkpoint: bool) -> str:
        """Log what is in the folder of one; return its description in Markdown."""


def resolved(composed: DictConfig) -> dict[str, Any]:
    """Return a configuration as nested mappings, without interpolations."""
    from omegaconf import OmegaConf

    params = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(params, dict)
    return {str(key): value for key, value in params.items()}


def run_and_log(
    work: Callable[[], Found],
    composed: DictConfig,
    tracking: Tracking,
    job: HydraJob,
    point: str,
    *,
    name: str,
    tags: Mapping[str, str],
    logs: Logs,
    show: Callable[[Path, Found], None],
) -> Found | None:
    """Do the work of a run that has begun in its folder, log it, and show what it found.

    The store is asked before the work and told after it: a run that has finished is whole, whatever becomes of that.

    Args:
        work: Returns what was found; the record is written last of all files.
        composed: The configuration, which is written down first.
        tracking: Where the run is logged.
        job: The job of Hydra's.
        point: Digest of what is run.
        name: What the run is called in the store, unless it is one of a sweep.
        tags: Its tags.
        logs: Logs a finished run from its folder, as `inferno log` does.
        show: Shows what was found in a folder.

    Returns:
        What was found; None where a search stopped the trial early.
    """
    from omegaconf import OmegaConf

    from inferno_cli.runs import search
    from inferno_cli.runs.folder import CONFIG_FILE, PARTIAL, Status, finish, holds_finished
    from inferno_cli.runs.mlflow.run import log_configuration, result_stays, tracked
    from inferno_cli.runs.mlflow.store import check

    (job.folder / CONFIG_FILE).write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
    check(tracking)
    called = name if job.sweep is None else job.name
    found: Found | None = None
    try:
        with (
            result_stays(job.folder),
            tracked(tracking, name=called, params=resolved(composed), tags=tags, sweep_folder=job.sweep) as logged,
        ):
            if logged is not None:
                log_configuration(logged, job.folder)
            try:
                found = work()
            except search.Pruned as stop:
                Status("pruned", point, error=str(stop)).write(job.folder)  # whatever becomes of the tracking
                shutil.rmtree(job.folder / PARTIAL, ignore_errors=True)
                search.log.info(f"pruned: {stop}")
                if logged is not None:
                    logged.tags({"pruned": str(stop)})
                return None
            finish(job.folder, point)  # whatever becomes of the tracking
            if logged is not None:
                log_finished(logged, job.folder, tracking, logs)
    finally:
        if found is not None and holds_finished(job.folder):
            show(job.folder, found)
    return found


def log_finished(logged: Run, folder: Path, tracking: Tracking, logs: Logs) -> None:
    """Log what the run that has finished in a folder found, and register its network where that is asked for."""
    from inferno_cli.runs.mlflow.registry import register

    description = logs(logged, folder, checkpoint=tracking.log_checkpoint)
    if tracking.register_as is not None:
        register(logged, folder, tracking.register_as, description)


def log_fit(logged: Run, folder: Path, *, checkpoint: bool) -> str:
    """Log a finished run of `inferno train` or `inferno fit`; return its description in Markdown."""
    from inferno_cli.report.run.summary import headline
    from inferno_cli.runs.folder import RESULTS_FILE
    from inferno_cli.runs.mlflow.run import log_results
    from inferno_cli.runs.record import Results

    results = Results.load(folder / RESULTS_FILE)
    description = headline(results)
    log_results(logged, folder, results, description, checkpoint=checkpoint)
    return description


def show_run(folder: Path, results: Results | None = None) -> None:
    """Print the summary of a finished run, where its record is given, and where that is."""
    from inferno_cli.report.run.summary import show
    from inferno_cli.runs.folder import RESULTS_FILE

    if results is not None:
        show(results)
    sys.stdout.write(f"results: {folder / RESULTS_FILE}\n")
