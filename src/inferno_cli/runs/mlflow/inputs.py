"""The data of a run as MLflow's datasets: what its pages show in the column *Dataset*, and search by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inferno_cli.files import user_path
from inferno_cli.remote import is_remote

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

SPLITS = ("training", "validation", "template")
"""What a training uses events for."""
CONTEXT = "mlflow.data.context"
"""The tag in which MLflow keeps what a dataset was used for."""
_DIGEST_LENGTH = 36  # MLflow's limit


def inputs(
    name: str, checksum: str, label: str, settings: Mapping[str, Any], contexts: Sequence[str]
) -> list[DatasetInput]:
    """Return the data of a run, one dataset for each use.

    MLflow keeps one context of a dataset in a run, so that the second use has a name of its own, ``NAME/validation``.

    Args:
        name: Name of the dataset, or of the workspace.
        checksum: Its SHA-256; the digest is its beginning.
        label: What must be said with every number.
        settings: The resolved configuration of the run, nested.
        contexts: What the data were used for; the first has the plain name.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source_type, source = _source(settings)
    profile = json.dumps({"sha256": checksum} | ({"label": label} if label else {}))
    found: list[DatasetInput] = []
    for number, context in enumerate(contexts):
        dataset = Dataset(
            name=name if number == 0 else f"{name}/{context}",
            digest=checksum[:_DIGEST_LENGTH],
            source_type=source_type,
            source=json.dumps(source),
            schema=_schema(settings),
            profile=profile,
        )
        found.append(DatasetInput(dataset, [InputTag(CONTEXT, context)]))
    return found


def _source(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the kind of a source that MLflow knows, and what it keeps of one: a place, or the code that generates."""
    dataset = settings.get("dataset")
    path = settings.get("workspace") or (dataset.get("path") if isinstance(dataset, Mapping) else None)
    if path is None:
        return "code", {"tags": {"mlflow.source.name": "inferno_cli", "mlflow.source.type": "LOCAL"}}
    text = str(path)
    if text.startswith(("http://", "https://")):
        return "http", {"url": text}
    if is_remote(text) or not user_path(text).exists():  # the word for the embedded sample is no path
        return "local", {"uri": text}
    return "local", {"uri": str(user_path(text).absolute())}


def _schema(settings: Mapping[str, Any]) -> str | None:
    """Return the features as columns, where the configuration names them."""
    dataset = settings.get("dataset")
    features = dataset.get("features") if isinstance(dataset, Mapping) else None
    if not isinstance(features, Sequence | Mapping) or isinstance(features, str):
        return None
    columns = [{"type": "float", "name": str(name), "required": True} for name in features]
    return json.dumps({"mlflow_colspec": columns})
