"""Which bin the events of each cell of two features are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.axes import integer_edges
from inferno_cli.events.sample import Sample
from inferno_cli.histograms.templates import Bins, FloatArray

TAIL = 0.005
"""Share of the expected events beyond either end of an axis, which are not drawn."""


@dataclass(frozen=True)
class FeatureMap:
    """The bins of the nominal events of all samples over two features.

    Attributes:
        features: Names, x and y.
        x_edges, y_edges: Of the cells.
        common: The bin with the most expected events of each cell, shape (n_x, n_y); NaN without events.
        mean: Mean bin number, weighted with the expected events, shape (n_x, n_y); NaN without events.
        n_bins: Number of bins of the channel.
        channel: Name of the channel whose bins these are; empty: there is one.
    """

    features: tuple[str, str]
    x_edges: FloatArray
    y_edges: FloatArray
    common: FloatArray
    mean: FloatArray
    n_bins: int
    channel: str = ""


def feature_map(
    samples: Sequence[Sample],
    bins: Sequence[Bins],
    n_bins: int,
    names: Sequence[str],
    pair: tuple[str, str],
    cells: int,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> FeatureMap:
    """Return the bins over two features.

    Args:
        bins: For each sample the fitted bin of every event in every view, shape (n_views, n_events).
        names: Names of all features.
        cells: Cells along each axis; a feature with no more distinct values has a cell for each.
        ranges: Of the axes of some features; those of the others leave out the tails.
    """
    columns = [list(names).index(name) for name in pair]
    x, y = (
        np.concatenate([sample.features[sample.view[0], :, column] for sample in samples]).astype(np.float64)
        for column in columns
    )
    weights = np.concatenate([sample.weights[0] for sample in samples])
    bin_numbers = np.concatenate([numbers[sample.view[0]] for sample, numbers in zip(samples, bins, strict=True)])
    used = weights != 0
    x, y, weights, bin_numbers = x[used], y[used], weights[used], bin_numbers[used]
    edges = []
    for name, values in zip(pair, (x, y), strict=True):
        given = (ranges or {}).get(name)
        integers = integer_edges(values, given or (values.min(), values.max()), cells)
        if integers is not None:
            edges.append(integers)
        else:
            edges.append(axis_edges(values, weights, cells) if given is None else np.linspace(*given, cells + 1))
    counts, _ = np.histogramdd(
        np.stack([x, y, bin_numbers], axis=1), bins=[*edges, np.arange(n_bins + 1) - 0.5], weights=weights
    )
    total = counts.sum(axis=2)
    mean = np.divide(counts @ np.arange(n_bins), total, out=np.full(total.shape, np.nan), where=total > 0)
    common = np.where(total > 0, counts.argmax(axis=2), np.nan)
    return FeatureMap((pair[0], pair[1]), edges[0], edges[1], common, mean, n_bins)


def axis_edges(values: FloatArray, weights: FloatArray, cells: int) -> FloatArray:
    """Return the edges of equal cells between the tails; between the values where there are few distinct ones."""
    distinct = np.unique(values)
    if len(distinct) == 1:
        return np.array([distinct[0] - 0.5, distinct[0] + 0.5])
    if len(distinct) <= cells:
        middle = (distinct[1:] + distinct[:-1]) / 2
        return np.array([2 * distinct[0] - middle[0], *middle, 2 * distinct[-1] - middle[-1]])
    low, high = weighted_quantiles(values, weights, (TAIL, 1 - TAIL))
    if not low < high:
        low, high = distinct[0], distinct[-1]
    return np.linspace(low, high, cells + 1)


def weighted_quantiles(values: FloatArray, weights: FloatArray, shares: Sequence[float]) -> NDArray[np.float64]:
    """Return the values below which these shares of the expected events lie."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order].clip(min=0))
    positions = np.searchsorted(below, np.asarray(shares) * below[-1]).clip(max=len(values) - 1)
    return np.asarray(values[order][positions], dtype=np.float64)
