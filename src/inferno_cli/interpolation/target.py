"""Templates of a signal at new parameters, with the error of the interpolation in the likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import ConfigError
from inferno_cli.events.sample import NOMINAL, Events, FloatArray, Sample
from inferno_cli.interpolation.flow import Ensemble
from inferno_cli.interpolation.grid import Grid
from inferno_cli.likelihood.modifiers import NormSys, ShapeSys
from inferno_cli.likelihood.spec import Gaussian, Parameter, Poisson, Spec
from inferno_cli.training.observables import Observables

SHAPE, YIELD = "interpolation", "interpolation_yield"
"""Parameters of the error of the flows, one for each bin, and of the yield."""
BOUNDS, FACTOR_BOUNDS = (-10.0, 10.0), (1e-10, 10.0)
SMALLEST = 1e-4
"""Smallest relative error of a bin: a constraint of no width is none."""
SPLITS = ("train", "validation", "template")


@dataclass(frozen=True)
class Interpolated:
    """A signal at new parameters.

    Attributes:
        at: The parameters, shape (n_parameters,).
        expected: Expected events.
        relative_error: Of them.
        drawn: Features of the events of every member in each split, shape (n_members, n_events, n_features), by split.
    """

    at: FloatArray
    expected: float
    relative_error: float
    drawn: dict[str, FloatArray]

    @classmethod
    def draw(cls, ensemble: Ensemble, at: FloatArray, yields: tuple[float, float], n: int, seed: int) -> Interpolated:
        """Draw ``n`` events of each member for each split; ``yields`` are the expected events and their error."""
        drawn = {}
        for split in SPLITS:
            drawn[split] = ensemble.sample(at, n, seed, f"{split} at {at.tolist()}")
        return cls(at, *yields, drawn)

    def sample(self, name: str, split: str) -> Sample:
        """Return the events of all members in a split as a sample, called ``name``."""
        features = np.concatenate(self.drawn[split]).astype(np.float32)
        return _sample(name, features, self.expected)

    def by_member(self, name: str) -> list[Sample]:
        """Return the events of each member in the template split, each with the whole yield."""
        return [_sample(name, features.astype(np.float32), self.expected) for features in self.drawn["template"]]


def _sample(name: str, features: NDArray[np.float32], expected: float) -> Sample:
    n = len(features)
    weights = np.full((1, n), expected / n)
    return Sample(name, True, np.arange(n), (NOMINAL,), features[None], (0,), weights)


def nearest(grid: Grid, at: FloatArray) -> str:
    """Return the signal whose parameters are nearest, in standard deviations of the grid."""
    deviation = grid.at.std(axis=0)
    distance = (((grid.at - at) / np.where(deviation > 0, deviation, 1.0)) ** 2).sum(axis=1)
    return grid.names[int(distance.argmin())]


def with_signal(events: Events, backgrounds: Sequence[str], signal: Interpolated, name: str) -> Events:
    """Return the backgrounds of some events with a signal at new parameters, called ``name``.

    Raises:
        ConfigError: If a channel has bins of its own, in which a flow has no events.
    """
    if events.fixed:
        raise ConfigError(
            f"channels: {events.fixed[0].channel!r} has bins of its own, and a flow draws features, not branches. "
            "Leave the channel out, with channels=one"
        )
    splits: dict[str, Any] = {}
    for split in SPLITS:
        kept = tuple(sample for sample in getattr(events, split) if sample.name in backgrounds)
        splits[split] = (signal.sample(name, split), *kept)
    return replace(events, observed=None, assignment=None, **splits)


def bin_errors(observables: Observables, samples: Sequence[Sample], channel: str) -> FloatArray:
    """Return the standard deviation of the members in every fitted bin of a channel, shape (n_bins,)."""
    n_bins = observables.first.summary.n_bins
    final = observables.final(channel, n_bins)
    filled = []
    for sample, bins in zip(samples, observables.assign(samples), strict=True):
        filled.append(np.bincount(final[bins[0]], sample.weights[0], minlength=int(final.max()) + 1))
    return np.asarray(np.std(filled, axis=0, ddof=1))


def require_spread(at: FloatArray, errors: FloatArray, expected: float, *, is_inside: bool) -> None:
    """Check that something says how wrong the flows are where they extrapolate.

    Args:
        at: The parameters.
        errors: Of every bin, in events, shape (n_bins,).
        expected: Expected events of the signal.
        is_inside: Whether the point is between signals of the grid.

    Raises:
        ConfigError: If all members have the same events in every bin, as where no bin reaches so far.
    """
    if not is_inside and not (errors > SMALLEST * expected).any():
        raise ConfigError(
            f"at: {at.tolist()} is outside of the grid of signals, and the flows differ in none of {len(errors)} bins, "
            "so nothing would say how wrong they are there. Choose a point between signals, or features and bins of "
            "the model that reach so far (model.features, model.bins)"
        )


def with_errors(spec: Spec, name: str, called: str, errors: FloatArray, relative_error: float) -> Spec:
    """Return a likelihood with the error of the interpolation on its signal.

    Args:
        spec: With one channel.
        name: The signal in it.
        called: What it is called from here on.
        errors: Of every bin, shape (n_bins,): a shapesys, one parameter for each bin with a Poisson constraint.
        relative_error: Of the yield: a normsys.
    """
    (channel,) = spec.channels
    samples, parameters = [], list(spec.parameters)
    for sample in channel.samples:
        if sample.name != name:
            samples.append(sample)
            continue
        nominal = np.asarray(sample.nominal)
        sizes = np.maximum(errors, SMALLEST * nominal)
        added = ShapeSys(SHAPE, sizes), NormSys(YIELD, np.exp(relative_error), np.exp(-relative_error))
        samples.append(replace(sample, name=called, modifiers=(*sample.modifiers, *added)))
        events = tuple(((nominal / sizes) ** 2).tolist())
        n = len(events)
        ones, bounds = (1.0,) * n, (FACTOR_BOUNDS,) * n
        constraint = Poisson(events, events)
        parameters.append(Parameter(SHAPE, ones, bounds, (False,) * n, constraint, per_bin=True))
        parameters.append(Parameter(YIELD, (0.0,), (BOUNDS,), constraint=Gaussian((0.0,), (1.0,))))
    return replace(spec, channels=(replace(channel, samples=tuple(samples)),), parameters=tuple(parameters))
