"""Files that are made of a run after it has ended, added to it in the store."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.errors import FileError, TrackingError
from inferno_cli.files import read_json, write_whole
from inferno_cli.runs.mlflow.store import Store, connect, require_there, shown, sqlite_file

if TYPE_CHECKING:
    from mlflow.entities import Run as Entity

log = logging.getLogger(__name__)

RUN_FILE = "mlflow_run.json"
"""In the folder of a run: the store and the id that it has there."""

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow nests a run under another."""
_LINK = "- ["
_LONGEST = 7800
"""Signs of a description: MLflow cuts off a tag with more than 8000."""
DESCRIPTION = "mlflow.note.content"
"""The tag in which MLflow keeps the description of a run."""


def remember(folder: Path, uri: str, run_id: str) -> None:
    """Write down in the folder of a run where it is logged."""
    write_whole(folder / RUN_FILE, json.dumps({"uri": uri, "run_id": run_id, "folder": str(folder.absolute())}))


def logged_in(folder: Path) -> Path:
    """Return the folder in which a run was logged: another one where this is a copy; itself where nothing says so."""
    try:
        return Path(read_run(folder / RUN_FILE).get("folder", folder))
    except TrackingError:
        return folder


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


def end(record: Path, status: str, *, again: bool = False) -> None:
    """End the run that ``record`` names, unless it has ended and not ``again``; nothing else is lost if that fails.

    One that was stopped and has finished since, by the command that goes on, is finished.
    """
    if not record.exists():
        return
    try:
        found = read_run(record)
        require_there(found["uri"], "")
        store = connect(found["uri"])
        with store.calls("end the run"):
            before = store.client.get_run(found["run_id"]).info.status
            if again or before == "RUNNING" or (before, status) == ("KILLED", "FINISHED"):
                store.client.set_terminated(found["run_id"], status)
    except TrackingError as error:
        log.warning("%s", error)


def link(record: Path) -> None:
    """Describe the run that ``record`` names by links to those nested under it, unless it has been described."""
    if not record.exists():
        return
    try:
        found = read_run(record)
        store = connect(found["uri"])
        with store.calls("describe the run"):
            before = store.client.get_run(found["run_id"]).data.tags.get(DESCRIPTION, "")
        if before.startswith(_LINK) or not before:
            describe(store, found["run_id"])
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
        describe(store, found["run_id"], description)
    return shown(store.uri)


def describe(store: Store, run_id: str, text: str = "") -> None:
    """Describe a run in Markdown, with links to the runs that are nested under it."""
    client = store.client
    with store.calls("describe the run"):
        experiment = client.get_run(run_id).info.experiment_id
        nested = f"tags.`{PARENT}` = '{run_id}'"
        children = client.search_runs([experiment], nested, order_by=["attributes.start_time ASC"])
        client.set_tag(run_id, DESCRIPTION, "\n\n".join(filter(None, (text, _links(children, _LONGEST - len(text))))))


def _links(runs: Sequence[Entity], longest: int) -> str:
    """Return a list of links, as many as are together no longer than that."""
    lines: list[str] = []
    for run in runs:
        name = re.sub(r"([\\`*_\[\]<>|])", r"\\\1", str(run.info.run_name))
        state = "" if run.info.status == "FINISHED" else f" ({run.info.status.lower()})"
        line = f"{_LINK}{name}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}){state}"
        if sum(map(len, lines)) + len(lines) + len(line) > longest:
            return "\n".join([*lines, f"- and {len(runs) - len(lines)} more, nested under this run"])
        lines.append(line)
    return "\n".join(lines)
