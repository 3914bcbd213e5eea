"""What of a finished run goes to MLflow: at its end, or afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.errors import Stopped, TrackingError
from inferno_cli.runs.folder import holds_finished
from inferno_cli.shell import argument

if TYPE_CHECKING:
    from inferno_cli.runs.mlflow.run import Run
    from inferno_cli.runs.record import Results


def log_results(logged: Run, results: Results, description: str, files: Mapping[str, Sequence[Path]]) -> None:
    """Log what a run found.

    Args:
        logged: Where.
        results: The record.
        description: Of the run, in Markdown.
        files: By folder of the store.
    """
    logged.tags({"dataset_checksum": results.dataset_checksum, "label": results.label or "none"})
    if results.trained_in is not None:
        logged.tags({"trained_in": results.trained_in.folder, "checkpoint": results.trained_in.checkpoint})
    elif results.training is not None:
        logged.epochs([{name: x for name, x in epoch.items() if x is not None} for epoch in results.training.history])
    logged.metrics(results.metrics())
    logged.describe(description)
    for folder, paths in files.items():
        logged.artifacts(paths, folder or None)


@contextmanager
def result_stays(folder: Path) -> Iterator[None]:
    """Say of tracking that fails, or is stopped, when the run in a folder has finished, how to log it afterwards."""
    try:
        yield
    except (TrackingError, Stopped) as error:
        if not holds_finished(folder):
            raise
        note = f"the result in {folder} is whole; to log it: inferno log {argument('run', folder)}"
        if isinstance(error, Stopped):
            error.note = note
            raise
        raise TrackingError(f"{error} But {note}") from error
