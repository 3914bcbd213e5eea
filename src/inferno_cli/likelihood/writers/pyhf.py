"""A likelihood as a pyhf workspace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.errors import WorkspaceError
from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.modifiers import Array, Modifier
from inferno_cli.likelihood.spec import Gaussian, Parameter, Poisson, Sample, Spec

FILE, VERSION = "workspace.json", "1.0.0"


def write(spec: Spec, path: Path) -> dict[str, Any]:
    """Write a likelihood to a JSON file; return its content.

    Raises:
        WorkspaceError: If the result is not a valid pyhf workspace.
    """
    import pyhf

    content = workspace(spec)
    try:
        pyhf.Workspace(content)
    except Exception as error:  # jsonschema's and pyhf's errors have no common base
        raise WorkspaceError(f"the templates do not make a valid workspace: {error}") from error
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return content


def workspace(spec: Spec) -> dict[str, Any]:
    """Return a likelihood as the content of a pyhf workspace."""
    channels: list[dict[str, Any]] = []
    observations: list[dict[str, Any]] = []
    factors: set[str] = set()
    for channel in spec.channels:
        samples: list[dict[str, Any]] = []
        for sample in channel.samples:
            modifiers: list[dict[str, Any]] = []
            for modifier in sample.modifiers:
                modifiers += _entries(modifier, sample)
            samples.append({"name": sample.name, "data": _list(sample.nominal), "modifiers": modifiers})
            factors.update(entry["name"] for entry in modifiers if entry["type"] == "normfactor")
        channels.append({"name": channel.name, "samples": samples})
        if channel.observed is not None:
            observations.append({"name": channel.name, "data": _list(channel.observed)})
    # The free ones first, as cabinetry has them.
    ordered = sorted(spec.parameters, key=lambda parameter: parameter.constraint is not None)
    settings = [_settings(parameter, parameter.name in factors) for parameter in ordered]
    config = {"poi": spec.poi, "parameters": [entry for entry in settings if len(entry) > 1]}
    return {
        "channels": channels,
        "observations": observations,
        "measurements": [{"name": spec.measurement, "config": config}],
        "version": VERSION,
    }


def _list(values: Array) -> list[float]:
    return [float(value) for value in np.asarray(values)]


def _entries(modifier: Modifier, sample: Sample) -> Iterator[dict[str, Any]]:
    """Yield what a modifier is in pyhf's words."""

    def entry(kind: str, data: Any = None) -> dict[str, Any]:
        return {"name": modifier.name, "type": kind, "data": data}

    match modifier:
        case mod.NormFactor():
            yield entry("normfactor")
        case mod.Lumi():
            yield entry("lumi")
        case mod.ShapeFactor():
            yield entry("shapefactor")
        case mod.NormSys(_, up, down):
            yield entry("normsys", {"hi": float(up), "lo": float(down)})
        case mod.HistoSys(_, up, down):
            yield entry("histosys", {"hi_data": _list(up), "lo_data": _list(down)})
        case mod.NormPlusShape(_, up, down):
            high, low = (sum(_list(side)) / sum(_list(sample.nominal)) for side in (up, down))
            yield entry("normsys", {"hi": high, "lo": low})
            if len(sample.nominal) > 1:  # of one bin there is no shape
                yield entry("histosys", {"hi_data": _list(up / high), "lo_data": _list(down / low)})
        case mod.StatError(_, variance):
            yield entry("staterror", _list(np.sqrt(variance)))
        case mod.ShapeSys(_, error):
            yield entry("shapesys", _list(error))


def _settings(parameter: Parameter, is_factor: bool) -> dict[str, Any]:
    """Return what a measurement says of a parameter, where that is not what pyhf takes without."""
    settings: dict[str, Any] = {"name": parameter.name}
    constraint = parameter.constraint
    if isinstance(constraint, Gaussian) and constraint.width is None:
        return settings
    settings["bounds"] = [list(pair) for pair in parameter.bounds]
    is_standard = not parameter.per_bin
    match constraint:
        case Gaussian(centre, width):
            is_standard = is_standard and tuple(width) == (1.0,)
            if not is_standard:
                settings["sigmas"] = _list(width)
            if not is_standard or tuple(centre) != (0.0,):
                settings["auxdata"] = _list(centre)
        case Poisson(events, factor):
            settings |= {"auxdata": _list(events), "factors": _list(factor)}
    if is_factor or not is_standard or parameter.init != (0.0,):
        settings["inits"] = list(parameter.init)
    if all(parameter.fixed):
        settings["fixed"] = True
    return settings
