"""The error of the POI in parts: groups of parameters, and whether parts add up to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inferno_cli.errors import ConfigError
from inferno_cli.fit.problem import Problem

SYSTEMATICS, MC_STATISTICS, FREE = "systematics", "MC statistics", "normalisation factors"
GROUPS = {"staterror": MC_STATISTICS, "normfactor": FREE, "shapefactor": FREE}
"""Group of a parameter that the user puts into none, by the type of its modifier; else "systematics"."""


def groups_of(problem: Problem, groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Put every varied parameter but the POI into one group.

    What the groups of the user leave goes by the type of its modifier into "systematics" (constrained), "MC statistics"
    (staterror) and "normalisation factors" (free), of which none is empty.

    Raises:
        ConfigError: If a parameter is in two groups, or the POI in one.
        WorkspaceError: If the workspace has no such parameter.
    """
    found: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for group, names in groups.items():
        found[group] = problem.parameters(names, f"fit.groups.{group}")
        for name in found[group]:
            if name == problem.poi_name:
                raise ConfigError(f"fit.groups.{group}: {name} is the parameter of interest of {problem.where}")
            if name in owner:
                raise ConfigError(f"fit.groups: {name} is in {owner[name]!r} and in {group!r}; put it into one")
            owner[name] = group
    kinds = problem.kinds()
    rest: dict[str, list[str]] = {SYSTEMATICS: [], MC_STATISTICS: [], FREE: []}
    for name in problem.floating():
        if name != problem.poi_name and name not in owner:
            rest[GROUPS.get(kinds[name], SYSTEMATICS)].append(name)
    for group, members in rest.items():
        if members:
            found[group] = (*found.get(group, ()), *members)
    return found


def closure(total: float, parts: Sequence[float]) -> float:
    """Return by how much parts in quadrature miss a total, relative to it: 0 where they add up."""
    return float(np.sqrt(np.sum(np.square(parts))) / total - 1)
