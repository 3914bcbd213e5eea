"""Tests of hypotheses on the POI: discovery significance and upper limit, from their asymptotic distributions.

arXiv:1007.1727: q0 for the discovery, q-tilde and CLs for the limit; the Asimov data have nuisance parameters that are
fitted to the data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.starts import bent, lowest

BAND = (2, 1, 0, -1, -2)
"""Fluctuations of the background, in standard deviations, that give the limits from -2 to +2 sigma."""
FURTHEST = 40
"""How often the upper end of the search for a limit is moved up by its distance from the best fit."""


def root_q0(fitter: Fitter, best: Minimum) -> float:
    """Square root of q0: how much likelier the best fit is than no signal; 0 where it prefers a negative one."""
    poi = fitter.problem.poi
    if best.values[poi] <= 0:
        return 0.0
    without = fitter.likelihood.reference.copy()
    without[poi] = 0.0
    impossible = (fitter.likelihood.expected(without) <= 0) & (fitter.likelihood.events > 0)
    if impossible.any():
        where = fitter.problem.bin_name(int(np.flatnonzero(impossible)[0]))
        raise FitFailedError(f"without signal no events are expected in {where}, and there are some")
    # Many standard deviations away the likelihood may have several minima: from near and from the nominal parameters.
    held = {poi: 0.0}
    found = lowest(fitter, "the fit without signal", held, (best, None), bent(fitter))
    return math.sqrt(max(found.rise - best.rise, 0.0))


def asimov(fitter: Fitter, at: Minimum) -> tuple[Fitter, Minimum]:
    """Return a fitter to the expectation at a point, and its best fit, which is that point."""
    other = fitter.on(fitter.problem.model.expected_data(at.values))
    return other, other.at(at.values)


def nominal_point(fitter: Fitter, poi: float | None = None) -> Minimum:
    """Return the nominal parameters, with another POI where one is given, as if they were fitted."""
    values = fitter.likelihood.reference.copy()
    if poi is not None:
        values[fitter.problem.poi] = poi
    return fitter.at(values)


class Limits(NamedTuple):
    """Limits, where they were looked for, how precisely, and CLs (observed, then the band) at what was tested."""

    observed: float
    expected: tuple[float, ...]
    bracket: tuple[float, float]
    tolerance: float
    tested: dict[float, tuple[float, ...]]


class _Profile:
    """-2 ln L at values of the POI, above its minimum; every fit begins at the one before and at the minimum."""

    def __init__(self, fitter: Fitter, best: Minimum) -> None:
        self._fitter, self.best = fitter, best
        self._start, self._mirrored = best, bent(fitter)

    def rise(self, value: float) -> float:
        problem = self._fitter.problem
        what = f"the fit with {problem.poi_name} = {value:.4g}"
        # Where the profile has two branches, one from its start may stay on the higher one: also from the best fit.
        starts = self._start, self.best
        self._start = lowest(self._fitter, what, {problem.poi: value}, starts, self._mirrored)
        return max(self._start.rise - self.best.rise, 0.0)


def _logarithms(q: float, q_asimov: float) -> tuple[float, ...]:
    """Return ln CLs of the data, then of the band."""
    root = math.sqrt(q_asimov)
    # The observed test statistic, in standard deviations of its distribution without signal.
    shift = math.sqrt(q) - root if q <= q_asimov or root == 0 else (q - q_asimov) / (2 * root)
    return tuple(float(norm.logsf(t + root) - norm.logsf(t)) for t in (shift, *BAND))


def limits(
    fitter: Fitter,
    best: Minimum,
    error: float,
    confidence_level: float,
    bracket: tuple[float, float] | None,
    tolerance: float,
) -> Limits:
    """Find the limits of one set of data, given its best fit and the error of the POI there, the scale of the search.

    The bracket is as ``fit.limit_bracket``: None, wherever they are. The tolerance is in units of the POI.

    Raises:
        FitFailedError: If a fit fails, or the limits are not within ``bracket``, or nowhere.
    """
    problem, target = fitter.problem, math.log(1 - confidence_level)
    tolerance = min(tolerance, error / 100)
    without = lowest(fitter, "the fit without signal", {problem.poi: 0.0}, (best,), bent(fitter))
    # q-tilde: a best fit below 0 counts as 0.
    data = _Profile(fitter, best if best.values[problem.poi] >= 0 else without)
    expected = _Profile(*asimov(fitter, without))
    centre = float(data.best.values[problem.poi])
    low, high = bracket or (0.0, max(centre, 0.0) + 2 * error)
    found: dict[float, tuple[float, ...]] = {}

    def above(poi: float, which: int) -> float:
        if poi <= 0:  # without signal CLs is 1, whatever the data are
            return -target
        if poi not in found:
            rise = data.rise(poi)
            found[poi] = _logarithms(rise if poi >= centre else 0.0, expected.rise(poi))
        return found[poi][which] - target

    for _ in range(FURTHEST if bracket is None else 0):
        if all(above(high, which) < 0 for which in range(1 + len(BAND))):
            break
        high += high - max(centre, 0.0)
    ends = []
    for which in range(1 + len(BAND)):
        if not above(low, which) >= 0 >= above(high, which):
            raise FitFailedError(
                f"an upper limit on {problem.poi_name} of {problem.where} (observed, or expected within 2 sigma) is "
                f"not found between {low:.4g} and {high:.4g}. Set fit.limit_bracket around all of them"
            )
        ends.append(float(brentq(above, low, high, args=(which,), xtol=tolerance / 10, rtol=1e-12)))
    tested = {value: tuple(map(math.exp, logarithms)) for value, logarithms in found.items()}
    return Limits(ends[0], tuple(ends[1:]), (low, high), tolerance, tested)
