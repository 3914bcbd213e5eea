"""Coverage: how often the interval of a fit holds the true parameter, over pseudo-experiments whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.auxiliary import Auxiliary
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import Problem, numpy_backend, open_problem
from inferno_cli.fit.share import Share
from inferno_cli.fit.starts import bent
from inferno_cli.fit.toys import Estimates, Measurement
from inferno_cli.likelihood.data import FloatArray
from inferno_cli.progress import Advance
from inferno_cli.workers import in_workers

if TYPE_CHECKING:
    from inferno_cli.config.fit import Fit

ONE_SIGMA = 0.6827
"""Probability of an interval of one standard deviation."""
CHUNK = 50
"""Pseudo-experiments that a process fits before it says so."""


# ------------------------------------------------------------------------------------------------ what is fitted
class Outcome(NamedTuple):
    """One pseudo-experiment: best fit and HESSE error of the POI, and the rise of -2 ln L at the true POI.

    The true value is in the MINOS interval where -2 ln L, minimised in all other parameters, is at most 1 above its
    minimum there: the ends of the interval need not be found. All three are NaN where the fit failed.
    """

    value: float
    error: float
    rise: float


FAILED = Outcome(math.nan, math.nan, math.nan)
Piece = tuple[tuple[int, int], FloatArray, float]
"""Data of some pseudo-experiments, behind the number of their set and of the first of them, and their true POI."""


def _outcomes(fitter: Fitter, asimov: Minimum, piece: Piece) -> list[Outcome]:
    """Fit some pseudo-experiments, from their true POI and the nominal nuisance parameters on."""
    _, data, true = piece
    measure, poi = Measurement(tuple(bent(fitter))), fitter.problem.poi
    values = asimov.values.copy()
    values[poi] = true
    truth, found = replace(asimov, values=values), []
    for row in data:
        try:
            estimates = Estimates.of(measure(fitter.on(row.tolist()), truth)[None])
        except FitFailedError:
            found.append(FAILED)
        else:
            best, error = estimates.values[0, poi], estimates.hesse[0, poi]
            found.append(Outcome(float(best), float(error), float(estimates.rise[0])))
    return found


def _in_worker(problem: Problem, settings: Fit, asimov: Minimum, piece: Piece) -> list[Outcome]:
    with numpy_backend():
        return _outcomes(Fitter(problem, settings), asimov, piece)


class Fits:
    """Fits pseudo-experiments to one workspace, in this process or in several: the results are the same."""

    def __init__(self, spec: dict[str, Any], settings: Fit, where: str) -> None:
        """Take a workspace; ``where`` names it in errors."""
        with numpy_backend():
            problem = open_problem(spec, asimov=True, measurement=None, where=where, bounds=settings.bounds)
            self._fitter = Fitter(problem, settings)
            self._asimov = self._fitter.fit()
            self.auxiliary = Auxiliary.of(problem.model.config)

    @property
    def poi_bounds(self) -> tuple[float, float]:
        """Between which the POI is fitted."""
        problem = self._fitter.problem
        return problem.bounds[problem.poi]

    def outcomes(
        self, experiments: Sequence[tuple[FloatArray, float]], workers: int, advance: Advance
    ) -> list[list[Outcome]]:
        """Fit several sets of pseudo-experiments.

        Args:
            experiments: Data, those of the auxiliary measurements behind, shape (n_experiments, n_data), and the true
                POI of each set.
            workers: Processes.
            advance: Told of every pseudo-experiment that is fitted.
        """
        pieces: list[Piece] = []
        for number, (data, true) in enumerate(experiments):
            for start in range(0, len(data), CHUNK):
                pieces.append(((number, start), data[start : start + CHUNK], true))
        parts: dict[tuple[int, int], list[Outcome]] = {}
        for place, part in self._parts(pieces, workers):
            parts[place] = part
            advance(len(part))
        found: list[list[Outcome]] = [[] for _ in experiments]
        for number, start in sorted(parts):
            found[number] += parts[number, start]
        return found

    def _parts(self, pieces: Sequence[Piece], workers: int) -> Iterator[tuple[tuple[int, int], list[Outcome]]]:
        """Yield the outcomes of every piece behind its place, as they are finished."""
        if workers == 1 or len(pieces) < 2:
            with numpy_backend():
                for piece in pieces:
                    yield piece[0], _outcomes(self._fitter, self._asimov, piece)
            return
        work = partial(_in_worker, self._fitter.problem, self._fitter.settings, self._asimov)
        for piece, found in in_workers(work, pieces, workers, remedy="Fit with fewer coverage.workers=..."):
            yield piece[0], found


# ------------------------------------------------------------------------------------------------- what it tells
def challenge_score(width: float, coverage: float, n: int) -> float:
    """Score in the FAIR Universe HiggsML uncertainty challenge of intervals of one standard deviation; more is better.

        s = -ln((w + 0.001) f(c)),    sigma = sqrt(p (1 - p) / n),  p = 0.6827
        f(c) = 1 within 2 sigma of p, 1 + ((p - 2 sigma - c) / sigma)^4 below, 1 + ((c - p - 2 sigma) / sigma)^3 above

    arXiv:2410.02867; the constant is that of the challenge's scoring program and of its package HiggsML
    (``Scoring.Quantiles_Score``).

    Args:
        width: Mean width w of the intervals, in units of the POI.
        coverage: Share c of the pseudo-experiments whose interval holds the true POI.
        n: Number of pseudo-experiments: the more, the less is forgiven.
    """
    deviation = math.sqrt(ONE_SIGMA * (1 - ONE_SIGMA) / n)
    below = (ONE_SIGMA - 2 * deviation - coverage) / deviation
    above = (coverage - ONE_SIGMA - 2 * deviation) / deviation
    penalty = 1.0
    if below > 0:
        penalty += below**4
    elif above > 0:
        penalty += above**3
    return -math.log((width + 1e-3) * penalty)


class Measured(NamedTuple):
    """A number and its statistical error."""

    value: float
    error: float


@dataclass(frozen=True)
class Ensemble:
    """Pseudo-experiments of one kind, without those whose fit failed.

    Attributes:
        deviation: Best fit minus true value, shape (n,).
        error: HESSE errors, shape (n,).
        rise: Of -2 ln L from the best fit to the true value, shape (n,).
        failed: How many more failed.
    """

    deviation: FloatArray
    error: FloatArray
    rise: FloatArray
    failed: int = 0

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], true: float) -> Ensemble:
        """Gather the pseudo-experiments of one truth."""
        values, errors, rises = np.array(outcomes, dtype=float).reshape(-1, 3).T
        good = np.isfinite(values)
        return cls(values[good] - true, errors[good], rises[good], int((~good).sum()))

    @classmethod
    def joined(cls, parts: Sequence[Ensemble]) -> Ensemble:
        """Gather those of several truths."""
        deviation, error, rise = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("deviation", "error", "rise")
        )
        return cls(deviation, error, rise, sum(part.failed for part in parts))

    def __len__(self) -> int:
        return len(self.deviation)

    @property
    def bias(self) -> Measured:
        """Mean deviation of the best fit from the truth."""
        return Measured(float(self.deviation.mean()), self.spread.value / math.sqrt(len(self)))

    @property
    def spread(self) -> Measured:
        """Standard deviation of the best fit; the error is that of a normal distribution."""
        value = float(self.deviation.std(ddof=1))
        return Measured(value, value / math.sqrt(2 * (len(self) - 1)))

    @property
    def hesse(self) -> float:
        """Mean HESSE error: half of the mean width of its intervals."""
        return float(self.error.mean())

    @property
    def pull(self) -> tuple[Measured, Measured]:
        """Mean and standard deviation of the deviation in units of the HESSE error; 0 and 1 of a perfect normal one."""
        pulls = self.deviation / self.error
        spread = float(pulls.std(ddof=1))
        n = len(self)
        return Measured(float(pulls.mean()), spread / math.sqrt(n)), Measured(spread, spread / math.sqrt(2 * (n - 1)))

    @property
    def coverage_hesse(self) -> Measured:
        """Share whose HESSE interval holds the truth."""
        return _share(np.abs(self.deviation) <= self.error)

    @property
    def coverage_minos(self) -> Measured:
        """Share whose MINOS interval holds the truth."""
        return _share(self.rise <= 1)

    @property
    def score(self) -> float:
        """The challenge's score of the HESSE intervals."""
        return challenge_score(2 * self.hesse, self.coverage_hesse.value, len(self))


def _share(inside: NDArray[np.bool_]) -> Measured:
    share = Share(int(inside.sum()), len(inside))
    return Measured(share.value, share.error)
