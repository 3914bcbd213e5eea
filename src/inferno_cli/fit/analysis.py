"""Everything that a fit of one workspace is asked for, in the order in which it becomes known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from inferno_cli.config import Fit
from inferno_cli.errors import DeeperMinimumError, FitFailedError, WorkspaceError
from inferno_cli.fit.impacts import breakdown, groups_of, ranking
from inferno_cli.fit.likelihood import Likelihood
from inferno_cli.fit.limit import significance, upper_limit
from inferno_cli.fit.minuit import Fitter, Minimum
from inferno_cli.fit.problem import Problem, nominal, numpy_backend, open_problem
from inferno_cli.fit.result import Estimate, FitResult, GoodnessOfFit
from inferno_cli.fit.scan import scan, scan_2d
from inferno_cli.fit.starts import global_fit
from inferno_cli.fit.yields import yields
from inferno_cli.likelihood.readers.checks import ignored

P = ParamSpec("P")
T = TypeVar("T")

REFEREE, ROUNDING = 1e-8, 1e-13
"""Largest difference of our -2 ln L from pyhf's, beside the rounding of pyhf's, in units of the sum of its terms."""


class _Notes(list[str]):
    """What was asked for and cannot be given, or has no meaning, and why."""

    def attempt(self, what: str, calculate: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call a function; return None, and take a note, where it has no result: the rest of the fit stays.

        Raises:
            DeeperMinimumError: If the calculation shows that the fit is wrong.
        """
        try:
            return calculate(*args, **kwargs)
        except DeeperMinimumError:
            raise
        except FitFailedError as error:
            self.append(f"no {what}: {error}")
            return None


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
        FitFailedError: If the fit is not valid. What cannot be had of a valid one is a note of the result.
    """
    with numpy_backend():
        return _fit(spec, settings, measurement, where)


def _fit(spec: dict[str, Any], settings: Fit, measurement: str | None, where: str) -> FitResult:
    asimov, bounds = settings.data == "asimov", settings.bounds or {}
    problem = open_problem(spec, asimov=asimov, measurement=measurement, where=where, bounds=bounds)
    # Every name is looked up before the first fit.
    minos = problem.parameters(settings.minos, "fit.minos")
    ranked = problem.parameters(settings.ranking, "fit.ranking")
    scanned = problem.parameters(settings.scan, "fit.scan") if settings.scan_points is not None else ()
    pairs = [_pair(problem, pair) for pair in settings.scan_2d]
    groups = groups_of(problem, settings.groups or {})

    fitter = Fitter(problem, settings)
    with fitter.watched("MIGRAD, HESSE, MINOS"):
        best = global_fit(fitter, minos)
    twice_nll = _referee(problem, fitter.likelihood, best)
    notes = _Notes([*ignored(spec, measurement), *_asimov_notes(problem), *best.notes])
    scans, scans_2d = {}, []
    for name in scanned:
        profile = notes.attempt(f"scan of {name}", scan, fitter, best, name, settings.scan_points or 0)
        if profile is not None:
            scans[name] = profile
    for pair in pairs:
        surface = notes.attempt(f"scan of {' and '.join(pair)}", scan_2d, fitter, best, pair, settings.scan_2d_points)
        if surface is not None:
            scans_2d.append(surface)
    test_goodness = settings.goodness_of_fit and not problem.is_asimov
    goodness = notes.attempt("goodness of fit", _goodness, fitter, best, notes) if test_goodness else None
    split = notes.attempt("breakdown by groups", breakdown, fitter, best, groups, notes) if settings.breakdown else None
    stat_only = (
        notes.attempt("statistical error alone", _stat_only, fitter, best, notes) if settings.stat_only else None
    )
    discovery = notes.attempt("significance", significance, fitter, best) if settings.significance else None
    limit = notes.attempt("upper limit", upper_limit, fitter, best) if settings.limit else None
    events = notes.attempt("yields", yields, problem, best) if settings.yields else None
    return FitResult(
        data="asimov" if problem.is_asimov else "observed",
        poi=problem.poi_name,
        parameters=_estimates(problem, best),
        labels=problem.labels,
        correlation=tuple(map(tuple, best.correlation.tolist())),
        twice_nll=twice_nll,
        stat_only=stat_only,
        significance=discovery,
        scans=scans,
        scans_2d=tuple(scans_2d),
        yields=events or (),
        goodness_of_fit=goodness,
        ranking=ranking(fitter, best, ranked, notes),
        breakdown=split,
        limit=limit,
        notes=tuple(dict.fromkeys(notes)),
    )


def _pair(problem: Problem, names: tuple[str, str]) -> tuple[str, str]:
    found = problem.parameters(names, "fit.scan_2d")
    if len(found) != 2:
        raise WorkspaceError(
            f"fit.scan_2d: [{', '.join(names)}] is {len(found)} parameters of {problem.where}, not two"
        )
    return found[0], found[1]


def _asimov_notes(problem: Problem) -> list[str]:
    """Say where the Asimov data are not made with the initial value of the POI."""
    start = float(problem.model.config.suggested_init()[problem.poi])
    made = float(nominal(problem)[problem.poi])
    if not problem.is_asimov or start == made:
        return []
    return [f"the Asimov data are made with {problem.poi_name} = {made:g}; the workspace starts it at {start:g}"]


def _referee(problem: Problem, likelihood: Likelihood, best: Minimum) -> float:
    """Return pyhf's -2 ln L at the minimum; ours must rise as it does.

    Raises:
        FitFailedError: If it does not: the model has a term that we do not know.
    """

    def theirs(theta: Any) -> float:
        return float(np.squeeze(-2 * problem.model.logpdf(np.asarray(theta), problem.data)))

    here, there = theirs(best.values), theirs(likelihood.reference)
    if not abs((here - there) - best.rise) <= REFEREE + ROUNDING * likelihood.size(best.values):
        raise FitFailedError(
            f"-2 ln L of {problem.where} rises by {best.rise:.9g} from the nominal parameters to the best fit, and by "
            f"{here - there:.9g} for pyhf. Please report this, with the workspace"
        )
    return here


def _goodness(fitter: Fitter, best: Minimum, notes: list[str]) -> GoodnessOfFit:
    """Compare with the saturated model: bins that nothing fills are no degrees of freedom."""
    from scipy.stats import chi2

    problem, likelihood = fitter.problem, fitter.likelihood
    config = problem.model.config
    free = 0
    for name in config.par_order:
        parameter = config.param_set(name)
        if not parameter.constrained:
            free += parameter.suggested_fixed.count(False)
    expected = likelihood.expected(best.values)
    empty = (expected == 0) & ~likelihood.jacobian(best.values).any(axis=1)
    if empty.any():
        said = ", ".join(problem.bin_name(int(index)) for index in np.flatnonzero(empty)[:5])
        notes.append(f"{empty.sum()} bins without any expected events are no degrees of freedom: {said}")
    freedom = int((~empty).sum()) - free
    if freedom <= 0:
        raise FitFailedError("there are no more bins than free parameters")
    distance = likelihood.distance_to_saturated(best.values, ~np.array(problem.fixed))
    return GoodnessOfFit(float(chi2.sf(distance, freedom)), freedom)


def _stat_only(fitter: Fitter, best: Minimum, notes: list[str]) -> Estimate:
    """Fit the POI with all other parameters at their best fit."""
    problem = fitter.problem
    others = [name for name in problem.labels if name != problem.poi_name]
    alone = fitter.fit(minos=(problem.poi_name,), frozen=others, best=best)
    notes += [f"statistical error alone: {note}" for note in alone.notes]
    return _estimates(problem, alone)[problem.poi_name]


def _estimates(problem: Problem, minimum: Minimum) -> dict[str, Estimate]:
    """Return the estimates, with pulls of the constrained parameters that were varied."""
    from cabinetry import model_utils

    centres, widths = nominal(problem), model_utils.prefit_uncertainties(problem.model)
    estimates = {}
    for i, name in enumerate(minimum.labels):
        value, error, width = float(minimum.values[i]), float(minimum.hesse[i]), float(widths[i])
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
