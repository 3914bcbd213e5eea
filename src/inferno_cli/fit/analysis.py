"""Everything that a fit of one workspace is asked for, in the order in which it becomes known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from inferno_cli.config import Fit
from inferno_cli.fit.impacts import breakdown, groups_of, ranking
from inferno_cli.fit.limit import significance, upper_limit
from inferno_cli.fit.minuit import Fitter, Minimum
from inferno_cli.fit.problem import Problem, nominal, open_problem
from inferno_cli.fit.result import Estimate, FitResult, GoodnessOfFit
from inferno_cli.fit.scan import scan, scan_2d
from inferno_cli.fit.yields import yields

HESSE_DIFFERENCE = 0.05
"""Relative difference of HESSE errors, from one covariance and from refits, above which a note says so."""


def fit_workspace(spec: dict[str, Any], settings: Fit, *, measurement: str | None = None, where: str) -> FitResult:
    """Fit a pyhf workspace.

    Args:
        spec: The workspace.
        settings: What to do.
        measurement: Name of the measurement; the first without.
        where: Names the workspace in errors.

    Raises:
        WorkspaceError: If the workspace has no such measurement, no POI, or no such parameter.
        ConfigError: If groups overlap.
        FitFailedError: If a fit is not valid.
    """
    problem = open_problem(spec, asimov=settings.data == "asimov", measurement=measurement, where=where)
    # Every name is looked up before the first fit.
    minos = problem.parameters(settings.minos, "fit.minos")
    ranked = problem.parameters(settings.ranking, "fit.ranking")
    scanned = problem.parameters(settings.scan, "fit.scan") if settings.scan_points is not None else ()
    pairs = [_pair(problem, pair) for pair in settings.scan_2d]
    groups = groups_of(problem, settings.groups or {})

    fitter = Fitter(problem, settings)
    test_goodness = settings.goodness_of_fit and not problem.is_asimov
    with fitter.watched("MIGRAD, HESSE, MINOS"):
        minimum = fitter.fit(minos=minos, goodness_of_fit=test_goodness)
    best, notes = minimum.result, list(minimum.notes)
    notes += [
        f"{name} is at its limit {limit:g}: its HESSE error means nothing" for name, limit in minimum.at_limit.items()
    ]
    goodness = _goodness(problem, best) if test_goodness else None
    if test_goodness and goodness is None:
        notes.append("no goodness of fit: there are no more bins than free parameters")
    split = None
    if settings.breakdown and problem.poi_name in minimum.at_limit:
        notes.append(f"no breakdown by groups: {problem.poi_name} is at its limit, without a symmetric error to split")
    elif settings.breakdown:
        split = breakdown(fitter, minimum, groups)
        if split.hesse_difference > HESSE_DIFFERENCE:
            notes.append(
                f"HESSE errors of {problem.poi_name} are good to {split.hesse_difference:.0%} only: see refits"
            )
    stat_only = None
    if settings.stat_only:
        others = [name for name in problem.labels if name != problem.poi_name]
        alone = fitter.fit(minos=(problem.poi_name,), frozen=others, best=best)
        notes += [f"statistical error alone: {note}" for note in alone.notes]
        stat_only = _estimates(problem, alone)[problem.poi_name]
    limit = upper_limit(fitter, best) if settings.limit else None
    if limit is not None and min(limit.observed, *limit.expected) < 10 * limit.tolerance:
        notes.append(f"the upper limits are known to {limit.tolerance:g} only: lower fit.limit_tolerance")
    return FitResult(
        data="asimov" if problem.is_asimov else "observed",
        poi=problem.poi_name,
        parameters=_estimates(problem, minimum),
        labels=problem.labels,
        correlation=_correlation(best),
        twice_nll=float(best.best_twice_nll),
        stat_only=stat_only,
        significance=significance(fitter) if settings.significance else None,
        scans={name: scan(fitter, best, name, settings.scan_points or 0) for name in scanned},
        scans_2d=tuple(scan_2d(fitter, best, pair, settings.scan_2d_points) for pair in pairs),
        yields=yields(problem, best) if settings.yields else (),
        goodness_of_fit=goodness,
        ranking=ranking(fitter, best, ranked),
        breakdown=split,
        limit=limit,
        notes=tuple(notes),
    )


def _pair(problem: Problem, names: tuple[str, str]) -> tuple[str, str]:
    from inferno_cli.errors import WorkspaceError

    found = problem.parameters(names, "fit.scan_2d")
    if len(found) != 2:
        raise WorkspaceError(
            f"fit.scan_2d: [{', '.join(names)}] is {len(found)} parameters of {problem.where}, not two"
        )
    return found[0], found[1]


def _correlation(best: Any) -> tuple[tuple[float, ...], ...]:
    constant = best.uncertainty == 0
    matrix = np.where(constant[:, None] | constant[None, :], 0.0, best.corr_mat)
    return tuple(map(tuple, matrix.tolist()))


def _goodness(problem: Problem, best: Any) -> GoodnessOfFit | None:
    from cabinetry import model_utils

    freedom = sum(problem.model.config.channel_nbins.values()) - model_utils.unconstrained_parameter_count(
        problem.model
    )
    p_value = float(best.goodness_of_fit)
    return GoodnessOfFit(p_value, int(freedom)) if math.isfinite(p_value) else None


def _estimates(problem: Problem, minimum: Minimum) -> dict[str, Estimate]:
    """Return the estimates, with pulls of the constrained parameters that were varied."""
    from cabinetry import model_utils

    best, centres = minimum.result, nominal(problem.model)
    widths = model_utils.prefit_uncertainties(problem.model)
    estimates = {}
    for i, name in enumerate(best.labels):
        value, error, width = float(best.bestfit[i]), float(best.uncertainty[i]), float(widths[i])
        pulled = width > 0 and error > 0
        estimates[name] = Estimate(
            value,
            error,
            minos=minimum.minos.get(name),
            pull=(value - float(centres[i])) / width if pulled else None,
            constraint=error / width if pulled else None,
            at_limit=minimum.at_limit.get(name),
        )
    return estimates
