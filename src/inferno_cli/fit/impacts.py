"""Where the error of the POI comes from: impacts of single parameters, and of groups."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from inferno_cli.errors import ConfigError, FitFailedError
from inferno_cli.fit.minuit import Fitter, Minimum
from inferno_cli.fit.problem import Problem
from inferno_cli.fit.result import Breakdown, GroupImpact, Impact

SYSTEMATICS, MC_STATISTICS, FREE = "systematics", "MC statistics", "normalisation factors"


def ranking(fitter: Fitter, best: Minimum, names: Sequence[str], notes: list[str]) -> tuple[Impact, ...]:
    """Impact of single parameters on the POI, as ``cabinetry.fit.ranking`` defines it, largest first.

    Args:
        fitter: Fits.
        best: With everything free.
        names: Parameters to rank; the POI has no impact on itself.
        notes: Told of fits that fail; that side of the impact is None.
    """
    from cabinetry import model_utils

    problem = fitter.problem
    widths = model_utils.prefit_uncertainties(problem.model)

    def shift(index: int, size: float) -> float | None:
        value = float(best.values[index] + size)
        if value == best.values[index]:
            return 0.0
        low, high = problem.bounds[index]
        if not low <= value <= high:
            return None
        try:
            fitted = fitter.minimum(f"the fit with {best.labels[index]} = {value:.4g}", {index: value}, best)
        except FitFailedError as error:
            notes.append(f"ranking: {error}")
            return None
        return float(fitted.values[problem.poi] - best.values[problem.poi])

    def impact(name: str) -> Impact:
        index = best.labels.index(name)
        before, after = float(widths[index]), float(best.hesse[index])
        return Impact(name, (shift(index, before), shift(index, -before)), (shift(index, after), shift(index, -after)))

    ranked = [name for name in names if name != problem.poi_name]
    total = sum(2 + 2 * bool(widths[best.labels.index(name)]) for name in ranked)
    with fitter.watched("ranking", total):
        impacts = [impact(name) for name in ranked]
    return tuple(sorted(impacts, key=lambda item: -max(abs(side or 0.0) for side in item.postfit)))


def groups_of(problem: Problem, groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Put every varied parameter but the POI into one group.

    Args:
        problem: What is fitted.
        groups: The user's, in the order in which they are to be fixed. What they leave goes by the type of its
            modifier into "systematics" (constrained), "MC statistics" (staterror) and "normalisation factors" (free).

    Returns:
        Parameters by group, none empty but the user's.

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
            kind = {"staterror": MC_STATISTICS, "normfactor": FREE, "shapefactor": FREE}.get(kinds[name], SYSTEMATICS)
            rest[kind].append(name)
    for group, members in rest.items():
        if members:
            found[group] = (*found.get(group, ()), *members)
    return found


def breakdown(fitter: Fitter, best: Minimum, groups: Mapping[str, tuple[str, ...]], notes: list[str]) -> Breakdown:
    """Split the error of the POI by groups of parameters, fixed at their best fit.

    Two splits. Each group fixed alone gives its ``impact``; groups are correlated, so these do not add up in quadrature
    to the total. Fixed one after the other, as with ``--freezeParameters`` of CMS's Combine, each ``cumulative`` is
    what the error loses at that step: with the statistical error they add up by construction, but depend on the
    order.

    Parameters fixed at their best fit leave the minimum where it is, so HESSE errors come from rows and columns of the
    one Hessian. MINOS needs the refits.

    Args:
        fitter: Fits.
        best: With everything free.
        groups: All varied parameters but the POI, by group, in order.
        notes: Told of what MINOS of the refits cannot give.

    Raises:
        FitFailedError: If a fit fails, or the POI is at its limit.
    """
    problem, names = fitter.problem, best.labels
    if problem.poi_name in best.at_limit:
        raise FitFailedError(f"{problem.poi_name} is at its limit, without a symmetric error to split")
    interval = best.minos.get(problem.poi_name)
    varied = np.flatnonzero(best.errors > 0).tolist()
    hessian = np.zeros_like(best.covariance)
    hessian[np.ix_(varied, varied)] = np.linalg.inv(best.covariance[np.ix_(varied, varied)])

    def error(frozen: Collection[str]) -> float:
        kept = [index for index in varied if names[index] not in frozen]
        inverse = np.linalg.inv(hessian[np.ix_(kept, kept)])
        return float(np.sqrt(inverse[kept.index(problem.poi), kept.index(problem.poi)]))

    total = float(best.hesse[problem.poi])
    frozen: list[str] = []
    before, found = total, []
    with fitter.watched("groups", len(groups)):
        for group, members in groups.items():
            frozen += members
            after, step, reduced = error(frozen), None, None
            if interval is not None:
                refit = fitter.fit(frozen=frozen, best=best, minos=(problem.poi_name,))
                notes += [f"groups, {group} fixed: {note}" for note in refit.notes]
                reduced = refit.minos.get(problem.poi_name)
            if interval is not None and reduced is not None:
                step = -_lost(interval[0], reduced[0]), _lost(interval[1], reduced[1])
            found.append(GroupImpact(group, members, _lost(total, error(members)), _lost(before, after), step))
            before, interval = after, reduced
    return Breakdown(
        total=total,
        statistical=before,
        statistical_minos=interval,
        groups=tuple(found),
        closure=_closure(total, [before, *(group.impact for group in found)]),
        cumulative_closure=_closure(total, [before, *(group.cumulative for group in found)]),
    )


def _lost(before: float, after: float) -> float:
    """Return the part of an error that is gone, in quadrature; what rounding makes negative is 0."""
    return math.sqrt(max(before**2 - after**2, 0.0))


def _closure(total: float, parts: Sequence[float]) -> float:
    return float(np.sqrt(np.sum(np.square(parts))) / total - 1)
