"""What there is to say about a dataset: yields, systematics, features, their separation, histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import Effect, MorphSystematic, NormalisationSystematic, ShapeSystematic, TransformSystematic
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, FloatArray, Sample, Variation
from inferno_cli.events.separation import separation
from inferno_cli.events.whole import Whole, WholeSample

ALL = "all backgrounds"
RANGE = (0.005, 0.995)
"""Quantiles of the simulated rows between which a feature is histogrammed; the rest is in the first and last bin."""


@dataclass(frozen=True)
class SampleEntry:
    """Yield of one sample.

    Attributes:
        name: The sample.
        is_signal: Whether the POI scales it.
        rows: Of its nominal trees.
        sources: Events, or groups of rows of one source event: what is divided into splits.
        splits: Events in the train, validation and template split.
        expected: Yield, luminosity scale and downsample factor included.
        error: Its statistical error, the root of the sum of the squared weights; rows of one source event count as one.
        effective: Unweighted events with the same relative error: (sum w)^2 / sum w^2.
        negative: Share of the rows with a negative weight.
    """

    name: str
    is_signal: bool
    rows: int
    sources: int
    splits: tuple[int, int, int]
    expected: float
    error: float
    effective: float
    negative: float


@dataclass(frozen=True)
class SystematicEntry:
    """Effect of one systematic on the yield of one sample.

    Attributes:
        name, kind: Its key in the dataset, and its kind.
        parameter: The nuisance parameter.
        sample: The sample.
        up, down: Relative change of the yield at one standard deviation; None for an unconstrained yield.
        rows: Of the shifted selections up and down; None for what has no trees of its own.
        overlap: Share of events that each has in common with the nominal, of the smaller of the two.
    """

    name: str
    kind: str
    parameter: str
    sample: str
    up: float | None
    down: float | None
    rows: tuple[int, int] | None = None
    overlap: tuple[float, float] | None = None


@dataclass(frozen=True)
class FeatureEntry:
    """Range of one feature in one sample (or the observed events), over finite values; None where there are none.

    ``mean`` and ``deviation`` are weighted, ``missing`` counts rows.
    """

    feature: str
    sample: str
    minimum: float | None
    maximum: float | None
    mean: float | None
    deviation: float | None
    missing: int


@dataclass(frozen=True)
class SeparationEntry:
    """Separation of the signal from one background by one feature (see ``separation``)."""

    feature: str
    background: str
    auc: float
    ks: float


@dataclass(frozen=True)
class Histogram:
    """One feature of every sample.

    Attributes:
        feature: Its name.
        edges: Shape (B + 1,); values outside are in the first and the last bin.
        samples: Expected events by sample, shape (B,) each.
        error: Statistical error of their sum, shape (B,).
        observed: Observed events, shape (B,), or None.
    """

    feature: str
    edges: FloatArray
    samples: Mapping[str, FloatArray]
    error: FloatArray
    observed: FloatArray | None


@dataclass(frozen=True)
class Description:
    """A dataset, described; see the parts."""

    dataset: str
    label: str
    seed: int
    downsample_factor: float
    checksum: str
    observed_rows: int
    observed_used: int | None
    samples: tuple[SampleEntry, ...]
    systematics: tuple[SystematicEntry, ...]
    features: tuple[FeatureEntry, ...]
    separation: tuple[SeparationEntry, ...]
    histograms: tuple[Histogram, ...]
    findings: tuple[str, ...]


def describe(whole: Whole, effects: Sequence[Effect], *, bins: int, seed: int, downsample_factor: float) -> Description:
    """Describe a dataset.

    Args:
        whole: The dataset.
        effects: The systematics to be described, all of which were read.
        bins: Of the histograms.
        seed: With which it was read, for the record.
        downsample_factor: The same.
    """
    return Description(
        dataset=whole.name,
        label=whole.label,
        seed=seed,
        downsample_factor=downsample_factor,
        checksum=whole.checksum,
        observed_rows=whole.observed_rows,
        observed_used=None if whole.observed is None else len(whole.observed),
        samples=tuple(_sample(item) for item in whole.samples),
        systematics=tuple(
            _systematic(item, effect)
            for effect in effects
            for item in whole.samples
            if item.events.name == effect.sample
        ),
        features=tuple(_features(whole)),
        separation=tuple(_separations(whole)),
        histograms=tuple(_histogram(whole, column, bins) for column in range(len(whole.features))),
        findings=whole.findings,
    )


def _sample(item: WholeSample) -> SampleEntry:
    weights = item.weights
    return SampleEntry(
        name=item.events.name,
        is_signal=item.events.is_signal,
        rows=item.rows[NOMINAL],
        sources=len(np.unique(item.events.group)),
        splits=item.splits,
        expected=float(weights.sum()),
        error=float(weights.sum() / np.sqrt(item.events.effective_events)),
        effective=item.events.effective_events,
        negative=float((weights < 0).mean()),
    )


def _systematic(item: WholeSample, effect: Effect) -> SystematicEntry:
    definition = effect.definition
    up: float | None = None
    down: float | None = None
    rows: tuple[int, int] | None = None
    overlap: tuple[float, float] | None = None
    if isinstance(definition, NormalisationSystematic):
        up, down = (factor - 1 for factor in definition.factors)
    elif isinstance(definition, MorphSystematic | TransformSystematic):
        up, down = _yield_effect(item.events, effect)
    if isinstance(definition, ShapeSystematic):
        pair = [Variation(effect.parameter, direction) for direction in DIRECTIONS]
        rows = item.rows[pair[0]], item.rows[pair[1]]
        overlap = item.overlap[pair[0]], item.overlap[pair[1]]
    return SystematicEntry(effect.systematic, definition.kind, effect.parameter, effect.sample, up, down, rows, overlap)


def _yield_effect(events: Sample, effect: Effect) -> tuple[float, float]:
    """Relative change of the yield, up and down; of several members summed in quadrature, as an envelope."""
    definition = effect.definition
    scale = definition.scale if isinstance(definition, MorphSystematic) else 1.0
    if isinstance(definition, MorphSystematic) and not definition.normalisation:
        return 0.0, 0.0
    yields = dict(zip(events.variations, events.yields, strict=True))
    changes = [
        [scale * (yields[Variation(label, direction)] / yields[NOMINAL] - 1) for direction in DIRECTIONS]
        for label in effect.members
    ]
    if len(changes) == 1:
        return float(changes[0][0]), float(changes[0][1])
    pairs = np.array(changes)
    return (
        float(np.sqrt((pairs.max(axis=1).clip(min=0) ** 2).sum())),
        -float(np.sqrt((pairs.min(axis=1).clip(max=0) ** 2).sum())),
    )


def _features(whole: Whole) -> Iterator[FeatureEntry]:
    for column, feature in enumerate(whole.features):
        for item in whole.samples:
            yield _feature(feature, item.events.name, item.features[:, column], item.weights)
        if whole.observed is not None:
            values = whole.observed[:, column]
            yield _feature(feature, "observed", values, np.ones(len(values)))


def _feature(feature: str, sample: str, values: NDArray[Any], weights: FloatArray) -> FeatureEntry:
    good = np.isfinite(values)
    missing = int((~good).sum())
    # Cancelling weights have no mean.
    if not good.any() or not weights[good].sum() > 0:
        return FeatureEntry(feature, sample, None, None, None, None, missing)
    values, weights = values[good].astype(np.float64), weights[good]
    mean = float(np.average(values, weights=weights))
    variance = float(np.average((values - mean) ** 2, weights=weights))
    deviation = float(np.sqrt(max(variance, 0.0)))
    return FeatureEntry(feature, sample, float(values.min()), float(values.max()), mean, deviation, missing)


def _separations(whole: Whole) -> Iterator[SeparationEntry]:
    signal = [item for item in whole.samples if item.events.is_signal]
    backgrounds = [item for item in whole.samples if not item.events.is_signal]
    groups = {item.events.name: [item] for item in backgrounds} | {ALL: backgrounds}
    for column, feature in enumerate(whole.features):
        ours = _finite(signal, column)
        for name, items in groups.items():
            theirs = _finite(items, column)
            if min(ours[1].sum(), theirs[1].sum()) > 0:
                yield SeparationEntry(feature, name, *separation(*ours, *theirs))


def _finite(items: Sequence[WholeSample], column: int) -> tuple[NDArray[np.float32], FloatArray]:
    values = np.concatenate([item.features[:, column] for item in items])
    weights = np.concatenate([item.weights for item in items])
    good = np.isfinite(values)
    return values[good], weights[good]


def _histogram(whole: Whole, column: int, bins: int) -> Histogram:
    values, _ = _finite(whole.samples, column)
    low, high = np.quantile(values, RANGE) if len(values) else (0.0, 1.0)
    if not low < high:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, bins + 1)

    def fill(values: NDArray[Any], weights: FloatArray) -> FloatArray:
        number = np.searchsorted(edges, values, side="right").clip(1, bins) - 1
        return np.asarray(np.bincount(number, weights, bins), dtype=np.float64)

    samples, variance = {}, np.zeros(bins)
    for item in whole.samples:
        values, weights = _finite([item], column)
        samples[item.events.name] = fill(values, weights)
        variance += fill(values, weights**2)
    observed = None
    if whole.observed is not None:
        values = whole.observed[:, column]
        values = values[np.isfinite(values)]
        observed = fill(values, np.ones(len(values)))
    return Histogram(whole.features[column], edges, samples, np.sqrt(variance), observed)
