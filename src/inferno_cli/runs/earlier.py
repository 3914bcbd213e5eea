"""What earlier versions wrote, completed where it is read: nothing else knows how it differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferno_cli.config.load import flatten
from inferno_cli.config.titles import model_title
from inferno_cli.section import POI

SCHEMA_1 = "inferno_cli/results/1"


def completed_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as schema 2 of today has it; what no schema 1 says is returned as it is.

    Schema 1 did not say what a parameter is. A pull is that of a constrained one, ``vectors`` (in the oldest records
    every "[...]") tells entries of vectors, and their bins are those of the channel in the vector's name.
    """
    values = dict(record)
    if values.get("model") and "model_title" not in values:  # of before models had titles
        values["model_title"] = model_title(str(values["model"]))
    if values.get("schema") != SCHEMA_1:
        return values
    values["schema"] = "inferno_cli/results/2"
    vectors = values.pop("vectors", None)
    parameters = values["parameters"].items()
    values["parameters"] = {name: _completed_parameter(name, parameter, vectors) for name, parameter in parameters}
    scan = values.get("nll_scan")
    if scan is not None and POI not in values.get("scans", {}):
        values["scans"] = {POI: scan, **values.get("scans", {})}
    return values


def _completed_parameter(name: str, parameter: Mapping[str, Any], vectors: list[str] | None) -> dict[str, Any]:
    is_constrained = parameter.get("pull") is not None
    vector, bracket, index = name.rpartition("[")
    is_entry = name.endswith("]") and bool(bracket) and (vectors is None or vector in vectors)
    kind, entry = "nuisance" if is_constrained else "normfactor", None
    if name == POI:
        kind = "poi"
    elif is_entry:
        constrained = "staterror" if vector.startswith("staterror") else "shapesys"
        kind = constrained if is_constrained else "shapefactor"
        entry = {"vector": vector, "index": int(index[:-1]), "channel": vector.removeprefix("staterror_")}
    return {**parameter, "kind": kind, "is_constrained": is_constrained, "entry": entry}


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run with a model of parts, and systematics that say which part counts.

    Until version 1.1 a model was one thing with a ``kind``, and its temperature was also the width of the edges of a
    score; ``part: shape`` was ``normalisation: false``. The generalised variance was of the POIs alone.
    """
    values = _with_parts_of_systematics(values)
    model = values.get("model")
    objective: Any = model.get("objective") if isinstance(model, dict) else None
    if isinstance(model, dict) and isinstance(objective, dict) and objective.get("kind") == "generalised_variance":
        return {**values, "model": {**model, "objective": {"nuisance": False, **objective}}}
    if not isinstance(model, dict) or model.get("kind") not in ("bce", "inferno", "optimal"):
        return dict(values)
    model = {"name": model["kind"], "warm_up": 0.4, **{key: value for key, value in model.items() if key != "kind"}}
    bins, width = model.get("bins"), model.get("temperature")
    parts = {
        "network": {"kind": "mlp", "hidden": model.get("hidden"), "activation": model.get("activation")},
        "summary": {"kind": "score", "bins": bins, "edge_width": width},
        "objective": {"kind": "cross_entropy"},
    }
    if model["name"] == "optimal":
        parts["network"] = {"kind": "exact"}
    if model["name"] == "inferno":
        parts["summary"] = {"kind": "softmax", "bins": bins, "temperature": width}
        parts["objective"] = {"kind": "poi_variance", "warm_up": model["warm_up"]}
    own = {key: model.get(key) for key in ("learning_rate", "weight_decay", "batch_size", "input_noise")}
    return {**values, "model": model | parts, "trainer": {**values.get("trainer", {}), **own}}


def _with_parts_of_systematics(values: Mapping[str, Any]) -> dict[str, Any]:
    dataset = values.get("dataset")
    systematics = dataset.get("systematics") if isinstance(dataset, Mapping) else None
    if not isinstance(dataset, Mapping) or not isinstance(systematics, Mapping):
        return dict(values)
    renamed = dict(systematics)
    for name, item in systematics.items():
        if isinstance(item, Mapping) and "normalisation" in item:
            others = {key: value for key, value in item.items() if key != "normalisation"}
            renamed[name] = others if item["normalisation"] else others | {"part": "shape"}
    return {**values, "dataset": {**dataset, "systematics": renamed}}


def completed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same for a flat configuration, with dotted keys."""
    nested: dict[str, Any] = {"model": {}, "trainer": {}}
    others: dict[str, Any] = {}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        (nested.get(section, others))[name if section in nested else key] = value
    return others | dict(flatten({section: values for section, values in completed(nested).items() if values}))
