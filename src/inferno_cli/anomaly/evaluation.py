"""How well a score tells signal from background: ROC, AUC, efficiency and significance, with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.events.sample import Sample

FloatArray = NDArray[np.float64]


class Measured(NamedTuple):
    """A number with its statistical error, from the simulated events."""

    value: float
    error: float


@dataclass(frozen=True)
class Labelled:
    """Events of signal and background that scores are judged on, each array of shape (n_events,).

    Attributes:
        is_signal: Which they are.
        weights: Expected events, some of which may be negative.
        group: Events that are made from one generated event share a number, and fluctuate together.
    """

    is_signal: NDArray[np.bool_]
    weights: FloatArray
    group: NDArray[np.intp]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Labelled:
        """Take the nominal events of samples, one after the other."""
        is_signal, weights, group, first = [], [], [], 0
        for sample in samples:
            _, number = np.unique(sample.group, return_inverse=True)
            group.append(number + first)
            first += int(number.max()) + 1
            is_signal.append(np.full(len(number), sample.is_signal))
            weights.append(sample.weights[0])
        return cls(np.concatenate(is_signal), np.concatenate(weights), np.concatenate(group))

    @property
    def yields(self) -> tuple[float, float]:
        """Expected events of signal and background."""
        return float(self.weights[self.is_signal].sum()), float(self.weights[~self.is_signal].sum())

    def replica(self, rng: np.random.Generator) -> FloatArray:
        """Return the weights of a bootstrap replica: every generated event counts a Poisson number of times."""
        return self.weights * rng.poisson(1.0, int(self.group.max()) + 1)[self.group]


@dataclass(frozen=True)
class Curve:
    """The ROC curve: what passes a cut, from none to all events, shape (n_cuts,) each.

    Attributes:
        background, signal: Shares of the expected events.
    """

    background: FloatArray
    signal: FloatArray

    @property
    def area(self) -> float:
        """The area below it: how probable it is that an event of the signal has the larger score."""
        from scipy.integrate import trapezoid  # numpy 1 has another name for it

        return float(trapezoid(self.signal, self.background))

    def efficiency(self, rate: float) -> float:
        """Return the share of the signal where a share ``rate`` of the background passes, between two cuts."""
        return float(np.interp(rate, np.maximum.accumulate(self.background), self.signal))


@dataclass(frozen=True)
class Ranking:
    """A score of labelled events, in falling order; equal scores are one cut.

    Attributes:
        place: Place of every event, shape (n_events,).
        n_places: Number of different scores.
    """

    place: NDArray[np.intp]
    n_places: int

    @classmethod
    def of(cls, score: FloatArray) -> Ranking:
        """Sort a score, shape (n_events,)."""
        values, place = np.unique(-score, return_inverse=True)
        return cls(place, len(values))

    def curve(self, events: Labelled, weights: FloatArray) -> Curve:
        """Return the ROC curve of the events with some weights."""
        passed = []
        for chosen in (~events.is_signal, events.is_signal):
            expected = np.bincount(self.place[chosen], weights[chosen], minlength=self.n_places)
            passed.append(np.concatenate([[0.0], expected.cumsum()]) / expected.sum())
        return Curve(*passed)


@dataclass(frozen=True)
class WorkingPoint:
    """A cut on a score.

    Attributes:
        rate: Share of the background that passes.
        background: Expected events of it.
        simulated: Simulated events of it above the cut: with a few, no error is to be trusted.
        efficiency: Share of the signal that passes.
        z_asimov: Median expected significance of the signal in one bin above the cut, without systematics.
    """

    rate: float
    background: float
    simulated: int
    efficiency: Measured
    z_asimov: Measured


@dataclass(frozen=True)
class Judged:
    """A score, judged.

    Attributes:
        name: What the score is.
        area: Area below the ROC curve.
        difference: That minus the area of the first score that was judged, whose error knows that the events are the
            same; None of this one.
        points: At each rate of the background.
        curve: The ROC curve.
    """

    name: str
    area: Measured
    difference: Measured | None
    points: tuple[WorkingPoint, ...]
    curve: Curve


def asimov_significance(signal: FloatArray, background: float) -> FloatArray:
    """Return the significance of a signal in one bin, the root of 2 [(s + b) ln(1 + s/b) - s] (arXiv:1007.1727)."""
    s, b = np.maximum(signal, 0.0), background
    return np.asarray(np.sqrt(np.maximum(2 * ((s + b) * np.log1p(s / b) - s), 0.0)))


def judge(
    scores: Mapping[str, FloatArray],
    events: Labelled,
    rates: Sequence[float],
    rng: np.random.Generator,
    replicas: int,
) -> tuple[Judged, ...]:
    """Judge several scores of the same events.

    The errors are standard deviations over bootstrap replicas of the simulated events, the same for all scores.

    Args:
        scores: By name, shape (n_events,) each; larger is more like a signal.
        events: The events.
        rates: Shares of the background that pass.
        rng: Draws the replicas.
        replicas: Their number.

    Raises:
        DatasetError: If signal or background has no positive yield.
    """
    if not min(events.yields) > 0:
        raise DatasetError(f"signal and background expect {events.yields} events, and both must be positive")
    rankings = {name: Ranking.of(score) for name, score in scores.items()}
    drawn = np.empty((replicas, len(rankings), 1 + len(rates)))
    for replica in drawn:
        weights = events.replica(rng)
        for row, ranking in zip(replica, rankings.values(), strict=True):
            row[:] = _numbers(ranking.curve(events, weights), rates)
    found: list[Judged] = []
    for number, (name, ranking) in enumerate(rankings.items()):
        curve = ranking.curve(events, events.weights)
        points = _points(curve, events, ranking, rates, drawn[:, number, 1:])
        area = Measured(curve.area, float(drawn[:, number, 0].std(ddof=1)))
        difference = None
        if found:
            spread = (drawn[:, number, 0] - drawn[:, 0, 0]).std(ddof=1)
            difference = Measured(area.value - found[0].area.value, float(spread))
        found.append(Judged(name, area, difference, points, curve))
    return tuple(found)


def _numbers(curve: Curve, rates: Sequence[float]) -> list[float]:
    """Return the area below a curve, and the efficiency at each rate."""
    return [curve.area, *(curve.efficiency(rate) for rate in rates)]


def _points(
    curve: Curve, events: Labelled, ranking: Ranking, rates: Sequence[float], drawn: FloatArray
) -> tuple[WorkingPoint, ...]:
    """Return what is known at each rate; ``drawn`` are the efficiencies of the replicas, (n_replicas, n_rates)."""
    signal, background = events.yields
    first = np.searchsorted(np.maximum.accumulate(curve.background), rates, side="right") - 1
    points = []
    for number, rate in enumerate(rates):
        expected = rate * background
        efficiency = Measured(curve.efficiency(rate), float(drawn[:, number].std(ddof=1)))
        significance = asimov_significance(signal * np.array([efficiency.value, *drawn[:, number]]), expected)
        above = (ranking.place < first[number]) & ~events.is_signal & (events.weights != 0)
        z = Measured(float(significance[0]), float(significance[1:].std(ddof=1)))
        points.append(WorkingPoint(rate, expected, int(above.sum()), efficiency, z))
    return tuple(points)
