"""Files that are made of a run after it has ended, added to it in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from inferno_cli.tracking.store import connect, require_there, shown

RUN_FILE = "mlflow_run.json"
"""In the folder of a run: the store and the id that it has there."""

DESCRIPTION = "mlflow.note.content"
"""The tag in which MLflow keeps the description of a run."""


def remember(folder: Path, uri: str, run_id: str) -> None:
    """Write down in the folder of a run where it is logged."""
    (folder / RUN_FILE).write_text(json.dumps({"uri": uri, "run_id": run_id}), encoding="utf-8")


def log_to_run(folder: Path, files: Sequence[Path], where: str) -> str | None:
    """Copy files to the run whose folder this is.

    Returns:
        The store, or None where the run was logged nowhere.

    Raises:
        TrackingError: If the store cannot be reached or written.
    """
    return log_files(folder / RUN_FILE, files, where)


def log_files(record: Path, files: Sequence[Path], where: str, description: str = "") -> str | None:
    """Copy files to the run that ``record`` names, below the folder ``where``; None where there is no record.

    A description, in Markdown, replaces that of the run.
    """
    if not record.exists():
        return None
    found = json.loads(record.read_text(encoding="utf-8"))
    require_there(found["uri"], f"{record} names it: put it back, or delete that file to log nothing")
    store = connect(found["uri"])
    for file in files:
        with store.calls(f"copy {file}"):
            store.client.log_artifact(found["run_id"], str(file), artifact_path=where)
    if description:
        with store.calls("describe the run"):
            store.client.set_tag(found["run_id"], DESCRIPTION, description)
    return shown(store.uri)
