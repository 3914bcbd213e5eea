"""Records of results.json from before schema 2, completed: the one place that knows how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferno_cli.section import POI

SCHEMA = "inferno_cli/results/1"


def completed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as schema 2 has it; what no schema 1 says is returned as it is.

    Schema 1 did not say what a parameter is. A pull is that of a constrained one, ``vectors`` (in the oldest records
    every "[...]") tells entries of vectors, and their bins are those of the channel in the vector's name.
    """
    values = dict(record)
    if values.get("schema") != SCHEMA:
        return values
    values["schema"] = "inferno_cli/results/2"
    vectors = values.pop("vectors", None)
    values["parameters"] = {
        name: _completed(name, parameter, vectors) for name, parameter in values["parameters"].items()
    }
    scan = values.get("nll_scan")
    if scan is not None and POI not in values.get("scans", {}):
        values["scans"] = {POI: scan, **values.get("scans", {})}
    return values


def _completed(name: str, parameter: Mapping[str, Any], vectors: list[str] | None) -> dict[str, Any]:
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
