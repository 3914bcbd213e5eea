"""The runs of an experiment, read back from the store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.errors import TrackingError, closest
from inferno_cli.tracking.store import Store, absolute_uri, check, connect, shown, sqlite_file

if TYPE_CHECKING:
    from mlflow.entities import Run as Entity

    from inferno_cli.config import Tracking

_PAGE = 1000


@dataclass(frozen=True)
class StoredRun:
    """One run of ``inferno train``.

    Attributes:
        run_id: Its id in the store.
        name: What it is called there.
        status: FINISHED, FAILED, KILLED or RUNNING.
        error: Why it failed, or "".
        settings: Its configuration, flat, with dotted keys.
    """

    run_id: str
    name: str
    status: str
    error: str
    settings: dict[str, Any]


def stored_runs(tracking: Tracking, experiment: str) -> tuple[Store, tuple[StoredRun, ...]]:
    """Find the runs of an experiment, the oldest first; parents of sweeps and runs of ``inferno fit`` are left out.

    Args:
        tracking: Names the store.
        experiment: Name of the experiment.

    Raises:
        TrackingError: If the store cannot be reached, or has no such experiment.
    """
    uri = absolute_uri(tracking)
    file = sqlite_file(uri)
    if file is not None and not file.is_file():  # it would be created
        raise TrackingError(f"there is no MLflow store {file}. Name the store of the runs: tracking.uri=...")
    check(tracking)
    store = connect(uri)
    with store.calls(f"look for experiment {experiment!r}"):
        known = {item.name: str(item.experiment_id) for item in store.client.search_experiments()}
    if experiment not in known:
        raise TrackingError(
            f"MLflow store {shown(uri)} has no experiment {experiment!r}{closest(experiment, known)}. Fix "
            "runs=mlflow:NAME, or tracking.uri"
        )
    found: list[Entity] = []
    page: str | None = ""
    with store.calls(f"read the runs of experiment {experiment!r}"):
        while page is not None:
            part = store.client.search_runs(
                [known[experiment]], max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=page or None
            )
            found += part
            page = part.token or None
    return store, tuple(_of(run) for run in found if "model.kind" in run.data.params)


def download(store: Store, run_id: str, files: Iterable[str], folder: Path) -> None:
    """Copy artifacts of a run to a folder; one that the run does not have is left out.

    Raises:
        TrackingError: If they cannot be read.
    """
    with store.calls(f"read the artifacts of run {run_id}"):
        there = {item.path for item in store.client.list_artifacts(run_id)}
        for name in files:
            if name in there:
                store.client.download_artifacts(run_id, name, str(folder))


def _of(run: Entity) -> StoredRun:
    settings = {key: _value(text) for key, text in run.data.params.items()}
    return StoredRun(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name or run.info.run_id),
        status=str(run.info.status),
        error=run.data.tags.get("error", ""),
        settings=settings,
    )


def _value(text: str) -> Any:
    """Return a parameter as it was before it was logged: JSON, or a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
