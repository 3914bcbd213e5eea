"""The part of the record that comes from the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from inferno_cli.config import POI
from inferno_cli.fit.result import FitResult
from inferno_cli.names import another


class Record(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


VECTORS = ("staterror", "shapesys", "shapefactor")
"""Types of modifiers that have a parameter for each bin."""


def fit_records(fit: FitResult, workspace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the record that comes from the fit of a pyhf workspace."""
    # The measured parameter is called mu in the record, whatever a foreign workspace calls it.
    names = {name: name for name in fit.labels} | {fit.poi: POI}
    if fit.poi != POI and POI in fit.labels:
        other = f"{POI} (not the POI)"
        names[POI] = other if other not in names else another(POI, other, names)
    samples = [sample for channel in workspace["channels"] for sample in channel["samples"]]
    modifiers = [modifier for sample in samples for modifier in sample["modifiers"]]
    scans = {names[name]: scan for name, scan in fit.scans.items()}
    split = fit.breakdown
    if split is not None:
        groups = [replace(group, parameters=tuple(map(names.__getitem__, group.parameters))) for group in split.groups]
        split = replace(split, groups=tuple(groups))
    return {
        "data": fit.data,
        "poi": fit.poi,
        "vectors": tuple(dict.fromkeys(item["name"] for item in modifiers if item["type"] in VECTORS)),
        "parameters": {names[name]: estimate for name, estimate in fit.parameters.items()},
        "correlation": {
            names[a]: {names[b]: fit.correlation[i][j] for j, b in enumerate(fit.labels)}
            for i, a in enumerate(fit.labels)
        },
        "stat_only": None if fit.stat_only is None else {POI: fit.stat_only},
        "significance": fit.significance,
        "nll_scan": scans.get(POI),
        "scans": scans,
        "scans_2d": tuple(replace(scan, x=names[scan.x], y=names[scan.y]) for scan in fit.scans_2d),
        "yields": fit.yields,
        "goodness_of_fit": fit.goodness_of_fit,
        "ranking": tuple(replace(impact, parameter=names[impact.parameter]) for impact in fit.ranking),
        "breakdown": split,
        "limit": fit.limit,
        "notes": fit.notes,
    }
