"""Flow against simulation in bins: three definitions of a pull, and what they sum up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inferno_cli.events.sample import FloatArray

DEFINITIONS = ("ensemble", "statistical", "larger", "both")
"""The error that the difference of flow and simulation is divided by: the standard deviation of the members, the
statistical error of the simulation, the larger of the two, and both in quadrature."""


@dataclass(frozen=True)
class Comparison:
    """One point in bins.

    Attributes:
        edges: Of each axis.
        simulated: Events of the simulation, shape (n_bins,), as if each had the mean weight.
        variance: Their statistical variance, shape (n_bins,).
        flows: What each member expects, shape (n_members, n_bins).
    """

    edges: tuple[FloatArray, ...]
    simulated: FloatArray
    variance: FloatArray
    flows: FloatArray

    def pulls(self, min_events: float) -> dict[str, FloatArray]:
        """Return the pulls of each definition in the bins where enough events are expected, shape (n_used,) each."""
        used = self.simulated >= min_events
        difference = (self.flows.mean(axis=0) - self.simulated)[used]
        ensemble = self.flows.std(axis=0, ddof=1)[used]
        statistical = np.sqrt(self.variance[used])
        errors = {
            "ensemble": ensemble,
            "statistical": statistical,
            "larger": np.maximum(ensemble, statistical),
            "both": np.hypot(ensemble, statistical),
        }
        return {name: difference / np.where(error > 0, error, np.inf) for name, error in errors.items()}


def compare(
    features: FloatArray, weights: FloatArray, flows: FloatArray, *, bins: int, half_range: float
) -> Comparison:
    """Fill the events of one point.

    Args:
        features: Simulated events, shape (n_events, n_axes).
        weights: Shape (n_events,).
        flows: Events of each member, shape (n_members, n, n_axes).
        bins: Equal bins of each axis.
        half_range: Reach of an axis about the mean, in standard deviations.
    """
    # In units of a simulated event, so that "ten events" means that also of a signal of a thousandth of one.
    own = weights / weights.mean()
    mean = np.average(features, axis=0, weights=own)
    deviation = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=own).clip(min=0))
    edges = []
    for centre, width in zip(mean, np.where(deviation > 0, deviation, 1.0), strict=True):
        edges.append(np.linspace(centre - half_range * width, centre + half_range * width, bins + 1))
    simulated, _ = np.histogramdd(features, edges, weights=own)
    variance, _ = np.histogramdd(features, edges, weights=own**2)
    expected = []
    for drawn in flows:
        counts, _ = np.histogramdd(drawn, edges)
        expected.append(counts.ravel() * (own.sum() / len(drawn)))
    return Comparison(tuple(edges), simulated.ravel(), variance.ravel(), np.stack(expected))


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of some pulls, what a fitted normal density has, and their number."""

    mean: float
    width: float
    n_bins: int

    @classmethod
    def of(cls, pulls: FloatArray) -> Spread | None:
        """Sum up pulls, shape (n,); None of fewer than two."""
        if len(pulls) < 2:
            return None
        return cls(float(pulls.mean()), float(pulls.std()), len(pulls))


def spreads(parts: Sequence[Mapping[str, FloatArray]]) -> dict[str, Spread]:
    """Sum up the pulls of several points by definition; without those of which there are none."""
    found = {}
    for name in DEFINITIONS:
        spread = Spread.of(np.concatenate([np.zeros(0), *(part[name] for part in parts)]))
        if spread is not None:
            found[name] = spread
    return found
