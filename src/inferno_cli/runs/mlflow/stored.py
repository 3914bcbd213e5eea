"""The runs of an experiment, read back from the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.errors import TrackingError, closest
from inferno_cli.runs.earlier import completed_settings
from inferno_cli.runs.mlflow.afterwards import PARENT
from inferno_cli.runs.mlflow.store import Store, absolute_uri, check, connect, require_there, shown
from inferno_cli.runs.points import MODEL

if TYPE_CHECKING:
    from mlflow.entities import Run as Entity

    from inferno_cli.config.schema import Tracking

_PAGE = 1000
NAMES = "names"
"""The tag with the names of the parameters and metrics whose key is another one, as JSON, by key.

Where one is too short for them, others follow: names.2, names.3, ...
"""


def names_tags(names: Mapping[str, str], longest: int) -> dict[str, str]:
    """Return the tags, of ``longest`` characters at most, that say which key stands for which name."""
    parts: list[dict[str, str]] = [{}]
    for key, name in names.items():
        if len(json.dumps({**parts[-1], key: name}, ensure_ascii=False)) > longest:
            parts.append({})
        parts[-1][key] = name
    texts = [json.dumps(part, ensure_ascii=False) for part in parts]
    return {NAMES if i == 0 else f"{NAMES}.{i + 1}": text for i, text in enumerate(texts)}


def names_by_key(tags: Mapping[str, str]) -> dict[str, str]:
    """Return what ``names_tags`` says; nothing of a tag that an earlier version has cut off."""
    found: dict[str, str] = {}
    for tag, text in tags.items():
        part = _value(text) if tag.partition(".")[0] == NAMES else None
        if isinstance(part, dict):
            found |= part
    return found


@dataclass(frozen=True)
class StoredRun:
    """One run of ``inferno train``."""

    run_id: str
    name: str
    status: str
    """FINISHED, FAILED, KILLED or RUNNING."""
    error: str
    """Why it failed, or ""."""
    pruned: str
    """Why a search stopped it early, or ""."""
    settings: dict[str, Any]
    """Its configuration, flat, with dotted keys."""

    @property
    def finished(self) -> bool:
        """Whether it has results: a trial that was stopped early has ended well, and has none."""
        return self.status == "FINISHED" and not self.pruned

    @property
    def why(self) -> str:
        """Why it has none."""
        said = f"pruned: {self.pruned}" if self.pruned else f"{self.status}: {self.error}"
        return " ".join(said.split()).removesuffix(":")


def stored_runs(tracking: Tracking, place: str) -> tuple[Store, tuple[StoredRun, ...]]:
    """Find the runs of an experiment, the oldest first; parents of sweeps and runs of ``inferno fit`` are left out.

    ``place`` is the experiment, or EXPERIMENT/RUN with the id or the name of a sweep's parent, or of a run.
    """
    require_there(absolute_uri(tracking), "Name the store of the runs: tracking.uri=...")
    check(tracking)
    store = connect(absolute_uri(tracking))
    uri = shown(store.uri)
    with store.calls(f"look for experiment {place!r}"):
        known = {item.name: str(item.experiment_id) for item in store.client.search_experiments()}
    experiment, _, wanted = (place, "", "") if place in known else place.rpartition("/")
    if experiment not in known:
        raise TrackingError(
            f"MLflow store {uri} has no experiment {place!r}{closest(place, known)}. Fix runs=mlflow:NAME, or "
            "tracking.uri"
        )
    found = _entities(store, experiment, known[experiment])
    if wanted:
        chosen = {run.info.run_id for run in found if wanted in (run.info.run_id, run.info.run_name)}
        if not chosen:
            names = [str(run.info.run_name) for run in found]
            raise TrackingError(
                f"experiment {experiment!r} of MLflow store {uri} has no run {wanted!r}{closest(wanted, names)}."
                " Fix runs=mlflow:EXPERIMENT/RUN with the name or the id of a run"
            )
        found = [run for run in found if {run.info.run_id, run.data.tags.get(PARENT)} & chosen]
    runs = (_of(run) for run in found)
    return store, tuple(run for run in runs if MODEL in run.settings)


def _entities(store: Store, experiment: str, number: str) -> list[Entity]:
    found: list[Entity] = []
    page: str | None = None
    with store.calls(f"read the runs of experiment {experiment!r}"):
        while True:
            part = store.client.search_runs(
                [number], max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=page
            )
            found += part
            page = part.token
            if not page:
                return found


def download(store: Store, run_id: str, files: Iterable[str], folder: Path) -> None:
    """Copy artifacts of a run to a folder; one that the run does not have is left out."""
    with store.calls(f"read the artifacts of run {run_id}"):
        there = {item.path for item in store.client.list_artifacts(run_id)}
        for name in files:
            if name in there:
                store.client.download_artifacts(run_id, name, str(folder))


def _of(run: Entity) -> StoredRun:
    names = names_by_key(run.data.tags)
    settings = {names.get(key, key): _value(text) for key, text in run.data.params.items()}
    return StoredRun(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name or run.info.run_id),
        status=str(run.info.status),
        error=run.data.tags.get("error", ""),
        pruned=run.data.tags.get("pruned", ""),
        settings=completed_settings(settings),
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
