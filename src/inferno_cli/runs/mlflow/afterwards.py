"""Files that are made of a run after it has ended, added to it in the store."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from inferno_cli.errors import FileError, TrackingError
from inferno_cli.files import read_json, write_whole
from inferno_cli.runs.mlflow.store import connect, require_there, shown, sqlite_file

log = logging.getLogger(__name__)

RUN_FILE = "mlflow_run.json"
"""In the folder of a run: the store and the id that it has there."""

DESCRIPTION = "mlflow.note.content"
"""The tag in which MLflow keeps the description of a run."""


def remember(folder: Path, uri: str, run_id: str) -> None:
    """Write down in the folder of a run where it is logged."""
    write_whole(folder / RUN_FILE, json.dumps({"uri": uri, "run_id": run_id}))


def read_run(record: Path) -> dict[str, str]:
    """Return the store and the id of a run."""
    try:
        found = read_json(record)
    except FileError as error:
        raise TrackingError(f"{error}. Delete that file to log nothing") from error
    if not isinstance(found, dict) or not {"uri", "run_id"} <= {key for key in found if isinstance(found[key], str)}:
        raise TrackingError(f"{record} names no run of MLflow. Delete that file to log nothing")
    return found


def logged_as(folder: Path, uri: str, experiment: str | None) -> tuple[str, str] | None:
    """Return the id and the status of the run that a folder has in an experiment; None where it has none there."""
    if not (folder / RUN_FILE).exists():
        return None
    found = read_run(folder / RUN_FILE)
    if found["uri"] != uri or ((file := sqlite_file(uri)) is not None and not file.is_file()):
        return None
    from mlflow.exceptions import MlflowException

    store = connect(uri)
    with store.calls("look for the run"):
        try:
            info = store.client.get_run(found["run_id"]).info
            name = store.client.get_experiment(info.experiment_id).name
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
    is_there = info.lifecycle_stage == "active" and name == experiment
    return (found["run_id"], str(info.status)) if is_there else None


def end(record: Path, status: str) -> None:
    """End the run that ``record`` names, unless it has ended; nothing else is lost where that fails."""
    if not record.exists():
        return
    try:
        found = read_run(record)
        require_there(found["uri"], "")
        store = connect(found["uri"])
        with store.calls("end the run"):
            if store.client.get_run(found["run_id"]).info.status == "RUNNING":
                store.client.set_terminated(found["run_id"], status)
    except TrackingError as error:
        log.warning("%s", error)


def log_files(record: Path, files: Sequence[Path], where: str, description: str = "") -> str | None:
    """Copy files to the run that ``record`` names, below the folder ``where``, and describe it in Markdown.

    Return the store, or None where there is no record: the run is logged nowhere.
    """
    if not record.exists():
        return None
    found = read_run(record)
    require_there(found["uri"], f"{record} names it: put it back, or delete that file to log nothing")
    store = connect(found["uri"])
    for file in files:
        with store.calls(f"copy {file}"):
            store.client.log_artifact(found["run_id"], str(file), artifact_path=where)
    if description:
        with store.calls("describe the run"):
            store.client.set_tag(found["run_id"], DESCRIPTION, description)
    return shown(store.uri)
