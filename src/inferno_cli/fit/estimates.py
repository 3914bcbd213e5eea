"""The parameters of a fit: their estimates, and what each of them is."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.problem import Problem, constraint_widths, nominal
from inferno_cli.fit.result import Entry, Estimate, Kind, Parameter
from inferno_cli.names import another
from inferno_cli.section import POI

KINDS: dict[str, Kind] = {
    "normfactor": "normfactor",
    "normsys": "nuisance",
    "histosys": "nuisance",
    "staterror": "staterror",
    "shapesys": "shapesys",
    "shapefactor": "shapefactor",
    "lumi": "lumi",
}
"""What a parameter is, by the type of its modifier."""


def recorded_names(problem: Problem) -> dict[str, str]:
    """Return the name of every parameter in the record: the measured one is "mu", whatever a workspace calls it."""
    names = {label: label for label in problem.labels} | {problem.poi_name: POI}
    if problem.poi_name != POI and POI in problem.labels:
        other = f"{POI} (not the POI)"
        names[POI] = other if other not in names else another(POI, other, names)
    return names


def estimates(problem: Problem, minimum: Minimum) -> list[Estimate]:
    """Return the estimates of all parameters, with pulls of the constrained ones that were varied."""
    centres, widths = nominal(problem).tolist(), constraint_widths(problem).tolist()
    rows = zip(minimum.labels, minimum.values.tolist(), minimum.hesse.tolist(), centres, widths, strict=True)
    found = []
    for name, value, error, centre, width in rows:
        pull = constraint = None
        if width > 0 and error > 0:
            pull, constraint = (value - centre) / width, error / width
        found.append(Estimate(value, error, minimum.minos.get(name), pull, constraint, minimum.at_limit.get(name)))
    return found


def parameters(problem: Problem, minimum: Minimum) -> dict[str, Parameter]:
    """Return every parameter, by its name in the workspace."""
    config, kinds, channels = problem.model.config, problem.kinds(), _channels(problem.model.spec)
    values = estimates(problem, minimum)
    found = {}
    for name in config.par_order:
        settings, place = config.param_set(name), config.par_slice(name)
        channel = channels[name][0] if len(channels[name]) == 1 else None
        for i, index in enumerate(range(place.start, place.stop)):
            label = problem.labels[index]
            found[label] = Parameter(
                **vars(values[index]),
                kind="poi" if index == problem.poi else KINDS[kinds[label]],
                is_constrained=settings.constrained,
                entry=None if settings.is_scalar else Entry(name, i, channel),
            )
    return {label: found[label] for label in problem.labels}


def _channels(spec: dict[str, Any]) -> dict[str, list[str]]:
    """Return the channels that each modifier acts in."""
    found: dict[str, list[str]] = defaultdict(list)
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if channel["name"] not in found[modifier["name"]]:
                    found[modifier["name"]].append(channel["name"])
    return found
