"""What of a finished run goes to MLflow: at its end, or afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.errors import Stopped, TrackingError
from inferno_cli.files import sha256
from inferno_cli.runs.folder import CONFIG_FILE, HYDRA, OVERRIDES_FILE, holds_finished
from inferno_cli.runs.mlflow.afterwards import DESCRIPTION, remember
from inferno_cli.runs.pretrained import TRAINED_IN
from inferno_cli.shell import argument

if TYPE_CHECKING:
    from inferno_cli.runs.mlflow.run import Run
    from inferno_cli.runs.record import Results


log = logging.getLogger(__name__)

FILES = ("results.json", "workspace.json", "cabinetry.yaml", "templates.root", "model.onnx", TRAINED_IN)
"""Files of a run that its store has, beside its tables; further ones are below folders of the same name."""


def log_results(logged: Run, folder: Path, results: Results, description: str, *, checkpoint: bool) -> None:
    """Log what the run that has finished in a folder found, with a description in Markdown."""
    logged.tags({"dataset_checksum": results.dataset_checksum, "label": results.label or "none"})
    if results.trained_in is not None:
        logged.tags({"trained_in": results.trained_in.folder, "checkpoint": results.trained_in.checkpoint})
    elif results.training is not None:
        logged.epochs([{name: x for name, x in epoch.items() if x is not None} for epoch in results.training.history])
    logged.metrics(results.metrics())
    logged.tags({DESCRIPTION: description})
    logged.artifacts(filter(Path.is_file, (folder / name for name in FILES)))
    if results.model is None:
        logged.artifacts(_workspace_of_fit(results))
    for name in ("plots", "export", *(("checkpoints",) if checkpoint else ())):
        logged.artifacts(filter(Path.is_file, sorted((folder / name).glob("*"))), name)


def log_configuration(logged: Run, folder: Path) -> None:
    """Log what a run was asked for, as it may end early, and write down in its folder where it is logged."""
    remember(folder, logged.store.uri, logged.run_id)
    logged.artifacts(filter(Path.is_file, (folder / CONFIG_FILE, folder / HYDRA / OVERRIDES_FILE)))


def _workspace_of_fit(results: Results) -> list[Path]:
    """Return the workspace, which is somewhere else, if it is still the one that was fitted."""
    workspace = Path(results.workspace)
    if workspace.is_file() and sha256(workspace) == results.dataset_checksum:
        return [workspace]
    log.info(f"tracking: without the workspace {workspace}, which was moved or changed since the fit")
    return []


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
