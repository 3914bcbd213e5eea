"""Toys (pseudo-experiments): data drawn at one point of the parameters, and what a fit of them gives.

The events of every bin are drawn from Poisson distributions. The auxiliary measurements are drawn as well, each from
its constraint term: a toy repeats the experiment with everything that was measured beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.auxiliary import Auxiliary, counted
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import DEEPER, Fitter
from inferno_cli.fit.problem import Problem
from inferno_cli.fit.share import Share
from inferno_cli.fit.starts import bent, deeper_beside, lowest
from inferno_cli.likelihood.data import FloatArray


class Distribution:
    """Distribution of the data, the auxiliary ones among them, at one point of the parameters."""

    def __init__(self, problem: Problem, values: FloatArray) -> None:
        """Take the parameters, shape (n_parameters,)."""
        self._means = np.asarray(problem.model.expected_data(values), dtype=float)
        auxiliary = Auxiliary.of(problem.model.config)
        of_bins = np.zeros(problem.model.config.nmaindata)
        self._widths = np.concatenate([of_bins, auxiliary.width])
        self._is_normal = np.concatenate([of_bins > 0, auxiliary.is_normal])

    def draw(self, generator: np.random.Generator) -> FloatArray:
        """Return one set of data, shape (n_bins + n_auxiliary,)."""
        is_normal = self._is_normal
        data = np.empty(len(self._means))
        data[~is_normal] = counted(self._means[~is_normal], generator)
        data[is_normal] = generator.normal(self._means[is_normal], self._widths[is_normal])
        return data


class Measure(Protocol):
    """What is measured of a toy; its text (``repr``) holds every setting, and it goes to workers."""

    def __call__(self, fitter: Fitter, truth: Minimum) -> FloatArray:
        """Return numbers of the data of a fitter, given the parameters that they were drawn at.

        Raises:
            FitFailedError: If a fit fails.
        """


@dataclass(frozen=True, eq=False)
class Throw:
    """Toys of one kind.

    Attributes:
        name: Names them in messages.
        key: Tells their random numbers from those of other toys with the same seed.
        truth: Parameters at which they are drawn, and the HESSE errors near there, which scale the first steps.
        measure: What is measured of each.
    """

    name: str
    key: tuple[int, ...]
    truth: Minimum
    measure: Measure


TIE = 1e-6
"""Difference of test statistics, in units of -2 ln L, that is rounding: whole numbers of events repeat themselves."""


def share_above(statistics: FloatArray, of_data: float) -> Share:
    """Return the share of toys with a test statistic that is at least that of the data: the p-value."""
    return Share(int((statistics >= of_data - TIE * (1 + of_data)).sum()), len(statistics))


# --------------------------------------------------------------------------------------------------- what is measured
class Estimates(NamedTuple):
    """What the fits of toys gave, each row one toy.

    Attributes:
        values: Best fits, shape (n_toys, n_parameters).
        hesse: Their errors, shape (n_toys, n_parameters).
        rise: -2 ln L at the true POI, the rest profiled, above the minimum; shape (n_toys,).
        distance: -2 ln L of the best fit above that of the saturated model, shape (n_toys,).
        is_at_limit: Whether a parameter is at a physical limit, shape (n_toys,).
    """

    values: FloatArray
    hesse: FloatArray
    rise: FloatArray
    distance: FloatArray
    is_at_limit: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: FloatArray) -> Estimates:
        """Take the rows of ``Measurement``."""
        n = (rows.shape[1] - 3) // 2
        return cls(rows[:, :n], rows[:, n : 2 * n], rows[:, -3], rows[:, -2], rows[:, -1] > 0)


@dataclass(frozen=True)
class Measurement:
    """The measurement of the POI, as in the data: also there the minimum beside is looked for (``starts.bent``)."""

    mirrored: tuple[int, ...]

    def __call__(self, fitter: Fitter, truth: Minimum) -> FloatArray:
        """Return a row of ``Estimates``."""
        best = fitter.estimate(truth)
        if (other := deeper_beside(fitter, best, self.mirrored)) is not None:
            best = fitter.estimate(other)
        held = _with_true_poi(fitter, best, truth)
        if held.rise < best.rise - DEEPER:  # of two minima the free fit has met the higher one
            best = fitter.estimate(held)
        rise = max(held.rise - best.rise, 0.0)
        distance = fitter.likelihood.distance_to_saturated(best.values, ~np.array(fitter.problem.fixed))
        return np.concatenate([best.values, best.hesse, [rise, distance, bool(best.at_limit)]])


def _with_true_poi(fitter: Fitter, best: Minimum, truth: Minimum) -> Minimum:
    """Return the fit with the POI at its true value."""
    poi = fitter.problem.poi
    what, held = "the fit with the true POI", {poi: float(truth.values[poi])}
    variance = best.covariance[poi, poi]
    if variance > 0:
        # The parabola at the minimum says where the others go with the POI: that is next to the answer.
        values = best.values + best.covariance[poi] / variance * (truth.values[poi] - best.values[poi])
        low, high = np.array(fitter.problem.bounds).T
        if ((low < values) & (values < high)).all():
            found = fitter.minimum(what, held, replace(best, values=values))
            # The truth is one of the points that it may go to: above that it has met another minimum.
            if found.rise <= fitter.likelihood.rise(truth.values):
                return found
    # The start that shares nothing with the free fit: it sees a minimum which that has missed.
    return fitter.minimum(what, held, truth)


def repeated(fitter: Fitter, best: Minimum) -> Throw:
    """Return toys of the experiment as it was: drawn at the best fit, and measured as the data are."""
    return Throw("the best fit", (0,), best, Measurement(tuple(bent(fitter))))


def conditional(fitter: Fitter, best: Minimum, poi: float) -> Minimum:
    """Return the parameters that are fitted to the data with the POI held, with the errors of the best fit."""
    found = fitter.minimum(f"the fit with the POI at {poi:.4g}", {fitter.problem.poi: poi}, best)
    return replace(found, hesse=best.hesse)


@dataclass(frozen=True)
class Discovery:
    """The test statistic of a discovery, q0 of arXiv:1007.1727: a best fit below 0 counts as 0."""

    mirrored: tuple[int, ...]

    def __call__(self, fitter: Fitter, truth: Minimum) -> FloatArray:
        """Return q0, shape (1,)."""
        return np.array([_rise(fitter, truth, 0.0, (0.0, np.inf), self.mirrored)])


@dataclass(frozen=True)
class Exclusion:
    """The test statistic of limits, q-tilde of arXiv:1007.1727, for one value of the POI.

    A best fit below 0 counts as 0, and one above the value as that.
    """

    tested: float
    mirrored: tuple[int, ...]

    def __call__(self, fitter: Fitter, truth: Minimum) -> FloatArray:
        """Return q-tilde, shape (1,)."""
        return np.array([_rise(fitter, truth, self.tested, (0.0, self.tested), self.mirrored)])


def _rise(
    fitter: Fitter, start: Minimum, tested: float, within: tuple[float, float], mirrored: tuple[int, ...]
) -> float:
    """Return -2 ln L with the POI held, above its minimum with the POI within bounds.

    Without the bounds a toy with no events in a bin has no best fit, or one with negative rates, and its test statistic
    is known all the same: left out, such toys would shift the p-value.
    """
    poi = fitter.problem.poi
    values = start.values.copy()
    values[poi] = np.clip(values[poi], *within)
    inside, start = fitter.within(*within), replace(start, values=values)
    # As in the data (``hypotheses``): with the POI held there may be two minima as well.
    held = lowest(inside, f"the fit with the POI at {tested:.4g}", {poi: tested}, (start,), mirrored)
    # Half of the toys without signal have their best fit at 0: it begins there, and only goes down.
    best = inside.minimum("the fit", None, replace(held, hesse=start.hesse))
    best = deeper_beside(inside, best, mirrored) or best
    return max(held.rise - best.rise, 0.0)


# ------------------------------------------------------------------------------------------------------------- chunks
@dataclass(frozen=True, eq=False)
class Chunk:
    """What was measured of some toys of a throw.

    Attributes:
        rows: Of each toy whose fits are valid, shape (n_toys, n_numbers).
        failures: Why others are not, by the number of the toy.
    """

    rows: FloatArray
    failures: Mapping[int, str]


def thrown(fitter: Fitter, throw: Throw, seed: int, toys: range) -> Chunk:
    """Draw toys and measure them: a toy is the same whichever others are drawn."""
    distribution = Distribution(fitter.problem, throw.truth.values)
    rows, failures = [], {}
    for toy in toys:
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*throw.key, toy)))
        try:
            rows.append(throw.measure(fitter.on(distribution.draw(generator).tolist()), throw.truth))
        except FitFailedError as error:
            failures[toy] = str(error)
    return Chunk(np.array(rows, dtype=float), failures)
