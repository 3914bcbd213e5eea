"""Where the error of the POI comes from: impacts of single parameters, and of groups."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from inferno_cli.errors import ConfigError, FitFailedError
from inferno_cli.fit.minuit import Fitter, Minimum
from inferno_cli.fit.problem import Problem
from inferno_cli.fit.result import Breakdown, GroupImpact, Impact

SYSTEMATICS, MC_STATISTICS, FREE = "systematics", "MC statistics", "normalisation factors"


def ranking(fitter: Fitter, best: Any, names: Sequence[str]) -> tuple[Impact, ...]:
    """Impact of single parameters on the POI, as ``cabinetry.fit.ranking`` defines it, largest first.

    The same fits from the same starting points; in a loop of our own, because cabinetry's ends with the first shifted
    value that is outside of a parameter's bounds, such as a gamma below zero.

    Args:
        fitter: Fits.
        best: cabinetry's result of the fit with everything free.
        names: Parameters to rank; the POI has no impact on itself.

    Raises:
        FitFailedError: If a fit fails; it names the parameter.
    """
    from cabinetry import model_utils

    problem = fitter.problem
    bounds = problem.model.config.suggested_bounds()
    widths = model_utils.prefit_uncertainties(problem.model)

    def shift(index: int, size: float) -> float | None:
        value = float(best.bestfit[index] + size)
        if value == best.bestfit[index]:
            return 0.0
        if not bounds[index][0] <= value <= bounds[index][1]:
            return None
        fitted = fitter.minimum(f"the fit with {best.labels[index]} = {value:.4g}", {index: value})
        return float(fitted.bestfit[problem.poi] - best.bestfit[problem.poi])

    def impact(name: str) -> Impact:
        index = best.labels.index(name)
        before, after = float(widths[index]), float(best.uncertainty[index])
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


def breakdown(fitter: Fitter, minimum: Minimum, groups: Mapping[str, tuple[str, ...]]) -> Breakdown:
    """Split the error of the POI by groups of parameters, fixed at their best fit.

    Two splits. Each group fixed alone gives its ``impact``; groups are correlated, so these do not add up in quadrature
    to the total. Fixed one after the other, as with ``--freezeParameters`` of CMS's Combine, each ``cumulative`` is
    what the error loses at that step: with the statistical error they add up by construction, but depend on the
    order.

    Parameters fixed at their best fit leave the minimum where it is, so HESSE errors come from rows and columns of the
    one Hessian: the numbers of refits, without the noise of every HESSE (0.5% of the error: more than a small group).
    MINOS needs the refits, and these check the errors.

    Args:
        fitter: Fits.
        minimum: With everything free.
        groups: All varied parameters but the POI, by group, in order.

    Raises:
        FitFailedError: If a fit fails, or MINUIT's covariance is singular.
    """
    problem, best = fitter.problem, minimum.result
    names, interval = best.labels, minimum.minos.get(problem.poi_name)
    covariance = np.asarray(best.corr_mat) * np.outer(best.uncertainty, best.uncertainty)
    varied = [index for index, error in enumerate(best.uncertainty) if error > 0]
    hessian = np.zeros_like(covariance)
    try:
        hessian[np.ix_(varied, varied)] = np.linalg.inv(covariance[np.ix_(varied, varied)])
    except np.linalg.LinAlgError as singular:
        raise FitFailedError(f"MINUIT's covariance on {problem.where} is singular") from singular

    def error(frozen: Collection[str]) -> float:
        kept = [index for index in varied if names[index] not in frozen]
        inverse = np.linalg.inv(hessian[np.ix_(kept, kept)])
        return float(np.sqrt(inverse[kept.index(problem.poi), kept.index(problem.poi)]))

    total = float(best.uncertainty[problem.poi])
    frozen: list[str] = []
    before, found, differences = total, [], [0.0]
    with fitter.watched("groups", len(groups)):
        for group, members in groups.items():
            frozen += members
            after, step = error(frozen), None
            refit = fitter.fit(frozen=frozen, best=best, minos=(problem.poi_name,) if interval else ())
            differences.append(abs(float(refit.result.uncertainty[problem.poi]) / after - 1))
            reduced = refit.minos.get(problem.poi_name)
            if interval and reduced:
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
        hesse_difference=max(differences),
    )


def _lost(before: float, after: float) -> float:
    """Return the part of an error that is gone, in quadrature; what MINUIT's precision makes negative is 0."""
    return math.sqrt(max(before**2 - after**2, 0.0))


def _closure(total: float, parts: Sequence[float]) -> float:
    return float(np.sqrt(np.sum(np.square(parts))) / total - 1)
