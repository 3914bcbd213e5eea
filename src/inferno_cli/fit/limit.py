"""Tests of hypotheses on the POI: discovery significance and upper limit, both asymptotic."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import nominal
from inferno_cli.fit.result import Limit, Significance

FAR = 30.0
"""From the best fit, in units of the HESSE error: there fits go astray, and CLs is 0 / 0."""


def significance(fitter: Fitter) -> Significance:
    """Discovery significance of the POI, from the asymptotic distribution of q0."""
    import cabinetry

    with fitter.watched("significance"):
        result = fitter.minima("the fit without signal", cabinetry.fit.significance)
    return Significance(
        expected=float(result.expected_significance),
        observed=float(result.observed_significance),
        expected_p_value=float(result.expected_p_value),
        observed_p_value=float(result.observed_p_value),
    )


def upper_limit(fitter: Fitter, best: Any) -> Limit:
    """Upper limit on the POI with CLs, from the asymptotic distribution of q-tilde.

    Args:
        fitter: Fits.
        best: cabinetry's result of the fit with everything free.

    Raises:
        FitFailedError: If a fit fails, or the limits are not within ``fit.limit_bracket``.
    """
    problem = fitter.problem
    found, search = _limits(fitter, best, problem.data)
    a_priori, curves = None, found
    if problem.is_asimov:
        without = nominal(problem.model)
        without[problem.poi] = 0.0
        background = [float(x) for x in problem.model.expected_data(without)]
        curves, _ = _limits(fitter, best, background)
        a_priori = tuple(curves.expected_limit.tolist())
    return Limit(
        confidence_level=fitter.settings.confidence_level,
        observed=float(found.observed_limit),
        expected=tuple(found.expected_limit.tolist()),
        a_priori=a_priori,
        bracket=search.bracket,
        tolerance=search.tolerance,
        poi_values=tuple(curves.poi_values.tolist()),
        observed_cls=tuple(curves.observed_CLs.tolist()),
        expected_cls=tuple(map(tuple, curves.expected_CLs.tolist())),
    )


class _Search(NamedTuple):
    """Where the limits are looked for, and how precisely."""

    bracket: tuple[float, float]
    tolerance: float


def _limits(fitter: Fitter, best: Any, data: list[float]) -> tuple[Any, _Search]:
    """Return cabinetry's limits, and the search that found them.

    Without ``fit.limit_bracket`` cabinetry's own is tried first: 0.1 and the upper bound of the POI. A sensitive
    analysis has limits below 0.1, and at a far upper bound both p-values of CLs are 0; then in units of the error.
    """
    import cabinetry

    settings, problem = fitter.settings, fitter.problem
    upper = float(problem.model.config.suggested_bounds()[problem.poi][1])
    value, error = float(best.bestfit[problem.poi]), float(best.uncertainty[problem.poi])
    if settings.limit_bracket is not None:
        searches = [_Search(settings.limit_bracket, settings.limit_tolerance)]
    else:
        scaled = (0.02 * error, min(max(value, 0.0) + 6 * error, upper))
        searches = [_Search(scaled, min(settings.limit_tolerance, error / 100))]
        if upper < value + FAR * error:
            searches.insert(0, _Search((0.1, upper), settings.limit_tolerance))
    with fitter.watched("upper limit"):
        for search in searches:
            try:
                found = fitter.minima(
                    "the upper limit",
                    cabinetry.fit.limit,
                    data=data,
                    bracket=search.bracket,
                    poi_tolerance=search.tolerance,
                    confidence_level=settings.confidence_level,
                )
            except FitFailedError as failed:
                # brentq's words for a bracket without a root.
                if search is searches[-1] and "different signs" not in str(failed):
                    raise
                continue
            if _is_enclosed(found, search.tolerance):
                return found, search
    tried = " nor ".join(f"between {low:.4g} and {high:.4g}" for (low, high), _ in searches)
    raise FitFailedError(
        f"an upper limit on {problem.poi_name} of {problem.where} (observed, or expected within 2 sigma) is not found "
        f"{tried}. Set fit.limit_bracket around all of them"
    )


def _is_enclosed(found: Any, tolerance: float) -> bool:
    """Whether tested values just below and above every limit have CLs on either side: brentq takes NaN for a sign."""
    target = 1 - found.confidence_level
    for limit, cls in zip(
        (found.observed_limit, *found.expected_limit), (found.observed_CLs, *found.expected_CLs.T), strict=True
    ):
        below = found.poi_values[(cls >= target) & (found.poi_values <= limit + tolerance)].max(initial=0.0)
        above = found.poi_values[(cls <= target) & (found.poi_values >= limit - tolerance)].min(initial=np.inf)
        if not above - below <= 2 * tolerance:
            return False
    return True
