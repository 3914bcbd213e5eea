"""Parameters as inputs of a classifier: one training for all signals of a grid (arXiv:1601.07913).

A signal comes with its own parameters, and an event of the background with those of a signal that is drawn for it: the
values alone must not tell what an event is. The network is applied at the values that a template is made for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from inferno_cli.events.sample import NOMINAL, Events, FloatArray, Sample, generator
from inferno_cli.interpolation.grid import Grid
from inferno_cli.section import Names

SPLITS = ("train", "validation", "template")
REPEATS = 10
"""Values of the parameters that an event of the background has in the training, each with a part of its weight."""


def at_values(events: Events, grid: Grid, at: FloatArray) -> Events:
    """Return events whose last features are the same values of the parameters, shape (n_parameters,), for all."""

    def changed(sample: Sample, split: str) -> Sample:  # noqa: ARG001
        return with_columns(sample, np.tile(at, (len(sample.group), 1)))

    return _mapped(events, grid, changed)


def of_all_signals(events: Events, grid: Grid, backgrounds: Names, name: str, seed: int) -> Events:
    """Return the training of one classifier: all signals that are not held out as one, called ``name``.

    Every signal has the same yield there, so that no mass is learnt at the cost of another.

    Args:
        events: In one channel whose bins the network makes.
        grid: What the signals were generated with.
        backgrounds: Names of the other samples.
        name: What the signals are called.
        seed: Of the values that are drawn for the background.
    """
    points = grid.at[grid.is_trained_on]

    def changed(sample: Sample, split: str) -> Sample:
        rng = generator(seed, f"parameters of {sample.name} {split}")
        often = repeated(sample, REPEATS)
        return with_columns(often, points[rng.integers(len(points), size=len(often.group))])

    others = _mapped(events, grid, changed, backgrounds)
    splits: dict[str, Any] = {}
    for split in SPLITS:
        splits[split] = (_joined(getattr(events, split), grid, name), *getattr(others, split))
    return replace(others, **splits)


def _mapped(events: Events, grid: Grid, change: Callable[[Sample, str], Sample], only: Names | None = None) -> Events:
    """Return events with some samples of every split changed, and without the others."""
    splits: dict[str, Any] = {}
    for split in SPLITS:
        kept = [sample for sample in getattr(events, split) if only is None or sample.name in only]
        splits[split] = tuple(change(sample, split) for sample in kept)
    return replace(events, features=(*events.features, *grid.parameters), observed=None, assignment=None, **splits)


def repeated(sample: Sample, times: int) -> Sample:
    """Return a sample with every event several times, each with a part of its weight."""
    bins = None if sample.bins is None else np.tile(sample.bins, times)
    weights = np.tile(sample.weights, times) / times
    features = np.tile(sample.features, (1, times, 1))
    return replace(sample, group=np.tile(sample.group, times), features=features, weights=weights, bins=bins)


def with_columns(sample: Sample, columns: FloatArray) -> Sample:
    """Return a sample with more features, the same in all views, shape (n_events, n_columns)."""
    wide = np.broadcast_to(columns.astype(np.float32), (len(sample.features), *columns.shape))
    return replace(sample, features=np.concatenate([sample.features, wide], axis=2))


def _joined(samples: tuple[Sample, ...], grid: Grid, name: str) -> Sample:
    """Return the nominal events of all signals that train, with their parameters, as one sample."""
    by_name = {sample.name: sample for sample in samples}
    features, weights = [], []
    trained = np.flatnonzero(grid.is_trained_on)
    expected = float(grid.yields[trained].mean()) / len(trained)
    for number in trained:
        sample = by_name[grid.names[number]]
        rows = sample.weights[0] != 0
        own = sample.features[0][rows]
        values = np.tile(grid.at[number].astype(np.float32), (len(own), 1))
        features.append(np.concatenate([own, values], axis=1))
        weights.append(sample.weights[0][rows] * (expected / sample.yields[0]))
    table, every = np.concatenate(features), np.concatenate(weights)
    return Sample(name, True, np.arange(len(table)), (NOMINAL,), table[None], (0,), every[None])
