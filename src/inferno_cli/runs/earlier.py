"""Configurations of earlier versions, completed where they are read: nothing else knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferno_cli.config.load import flatten


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run with a model of parts.

    Until version 1.1 a model was one thing with a ``kind``, and its temperature was also the width of the edges of a
    score.
    """
    model = values.get("model")
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


def completed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same for a flat configuration, with dotted keys."""
    nested: dict[str, Any] = {"model": {}, "trainer": {}}
    others: dict[str, Any] = {}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        (nested.get(section, others))[name if section in nested else key] = value
    return others | dict(flatten({section: values for section, values in completed(nested).items() if values}))
