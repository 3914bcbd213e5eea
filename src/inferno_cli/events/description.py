"""What there is to say about a dataset: yields, systematics, features, their separation, histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.axes import integer_edges
from inferno_cli.events.effects import Effect
from inferno_cli.events.features import Inputs
from inferno_cli.events.ids import distinct
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, FloatArray, Variation
from inferno_cli.events.separation import separation
from inferno_cli.events.validation import Validated, ValidatedSample, uncounted

ALL, OBSERVED = "all backgrounds", "observed"
RANGE = (0.005, 0.995)
"""Quantiles of the simulated rows between which a feature is histogrammed; the rest is in the first and last bin."""


@dataclass(frozen=True)
class SampleEntry:
    """Yield of one sample.

    Attributes:
        rows: Of its nominal trees, those that are selected.
        read: The same before the selection; None: of generated events.
        selection: Of this sample alone, an expression; empty: none.
        sources: Events, or groups of rows of one source event: what is divided into splits.
        splits: Events in the train, validation and template split, or in each fold.
        expected: Yield, luminosity scale and downsample factor included.
        error: Its statistical error, the root of the sum of the squared weights; rows of one source event count as one.
        effective: Unweighted events with the same relative error: (sum w)^2 / sum w^2.
        negative: Share of the rows with a negative weight.
    """

    name: str
    is_signal: bool
    rows: int
    sources: int
    splits: tuple[int, ...]
    expected: float
    error: float
    effective: float
    negative: float
    read: int | None = None
    selection: str = ""


@dataclass(frozen=True)
class ChannelEntry:
    """What one channel has of one sample, or of the observed events.

    Attributes:
        channel, sample: Their names; observed events are of the sample ``OBSERVED``.
        events: Nominal events that are not weighted.
        expected: Yield; of observed events their number.
        error: Its statistical error.
    """

    channel: str
    sample: str
    events: int
    expected: float
    error: float


@dataclass(frozen=True)
class SystematicEntry:
    """Effect of one systematic on the yield of one sample.

    Attributes:
        name, kind: Its key in the dataset, and its kind.
        up, down: Relative change of the yield at one standard deviation; None for an unconstrained yield.
        rows: Of the shifted selections up and down, or of the one that there is; None: it has no trees of its own.
        overlap: Share of events that each has in common with the nominal, of the smaller of the two.
    """

    name: str
    kind: str
    parameter: str
    sample: str
    up: float | None
    down: float | None
    rows: tuple[int, ...] | None = None
    overlap: tuple[float, ...] | None = None


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
        edges: Shape (B + 1,); values outside are in the first and the last bin. Those of integers are halfway
            between them.
        samples: Expected events by sample, shape (B,) each.
        error: Statistical error of their sum, shape (B,).
        observed: Observed events, shape (B,), NaN in a masked bin; None where there are none, or all are blinded.
        is_masked: Bins whose observed events are blinded, shape (B,); None where none is.
        label: What the axis is called, with the unit; empty: as the feature.
        is_beyond: Whether events below the first edge are in the first bin, and above the last one in the last bin.
        absent: Expected events without a value, which are in no bin.
    """

    feature: str
    edges: FloatArray
    samples: Mapping[str, FloatArray]
    error: FloatArray
    observed: FloatArray | None
    is_masked: NDArray[np.bool_] | None = None
    label: str = ""
    is_beyond: tuple[bool, bool] = (False, False)
    absent: float = 0.0


@dataclass(frozen=True)
class Description:
    """A dataset, described; see the parts.

    Attributes:
        blinded: What of the observed events is left out, or empty.
        observed_rows: Observed events that are selected, of which ``observed_used`` are used; ``observed_read`` are in
            the files. None where they are blinded.
        selection: Of all samples, an expression; empty: none.
        observed_selection: Of the observed events alone, the same.
        definitions: Expression of each feature that is not simply a branch.
        channels: What each channel has; empty where one has everything.
        networks: Channels whose events networks see: features, separation and histograms are of these; empty: of all.
    """

    dataset: str
    label: str
    seed: int
    downsample_factor: float
    checksum: str
    blinded: str
    observed_rows: int | None
    observed_used: int | None
    samples: tuple[SampleEntry, ...]
    systematics: tuple[SystematicEntry, ...]
    features: tuple[FeatureEntry, ...]
    separation: tuple[SeparationEntry, ...]
    histograms: tuple[Histogram, ...]
    findings: tuple[str, ...]
    observed_read: int | None = None
    selection: str = ""
    observed_selection: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[ChannelEntry, ...] = ()
    networks: tuple[str, ...] = ()


def describe(
    dataset: Validated,
    effects: Sequence[Effect],
    *,
    bins: int,
    seed: int,
    downsample_factor: float,
    max_signal_share: float | None = None,
) -> Description:
    """Describe a dataset.

    Args:
        dataset: Every event of it.
        effects: What its systematics do, as far as they are described.
        bins: Of each histogram.
        seed: That with which it was read, for the record.
        downsample_factor: The same.
        max_signal_share: Observed events are left out but in bins of at most this expected s / (s + b): below 0 all of
            them; None: none.
    """
    is_blind = max_signal_share is not None and dataset.observed is not None
    shown = replace(dataset, observed=None) if is_blind else dataset
    columns = range(len(dataset.features))
    histograms = tuple(_histogram(dataset, column, bins, is_blind=is_blind) for column in columns)
    findings, blinded = dataset.observed_findings, ""
    if is_blind and max_signal_share is not None:
        signal = [item.events.name for item in dataset.samples if item.events.is_signal]
        histograms = tuple(_masked(item, signal, max_signal_share) for item in histograms)
        findings = tuple(map(uncounted, findings))
        # Their total is left out, too: less the bins that are shown, it is what the masked ones hold.
        blinded = "observed data blinded"
        if max_signal_share >= 0:
            blinded += f" but in bins with s/(s+b) of at most {max_signal_share:g}"
    by_name = {item.events.name: item for item in dataset.samples}
    return Description(
        dataset=dataset.name,
        label=dataset.label,
        seed=seed,
        downsample_factor=downsample_factor,
        checksum=dataset.checksum,
        blinded=blinded,
        observed_rows=None if is_blind else dataset.observed_rows,
        observed_used=None if shown.observed is None else dataset.observed_used,
        samples=tuple(_sample(item) for item in dataset.samples),
        systematics=tuple(_systematic(by_name[item.sample], item) for item in effects if item.sample in by_name),
        features=tuple(_features(shown)),
        separation=tuple(_separations(dataset)),
        histograms=histograms,
        findings=(*dataset.findings, *findings),
        observed_read=None if is_blind else dataset.observed_read,
        selection=dataset.selection,
        observed_selection=dataset.observed_selection,
        definitions={} if dataset.inputs is None else dataset.inputs.definitions,
        channels=tuple(_channels(dataset, is_blind=is_blind)),
        networks=dataset.networks,
    )


def _channels(dataset: Validated, *, is_blind: bool) -> Iterator[ChannelEntry]:
    for item in (*(item for sample in dataset.samples for item in sample.channels), *dataset.ready):
        error = item.expected / np.sqrt(item.effective)
        yield ChannelEntry(item.channel, item.sample, item.events, item.expected, float(error))
    for channel, events in dataset.observed_channels.items():
        if not is_blind:
            yield ChannelEntry(channel, OBSERVED, events, events, float(np.sqrt(events)))


def _sample(item: ValidatedSample) -> SampleEntry:
    weights = item.weights
    return SampleEntry(
        name=item.events.name,
        is_signal=item.events.is_signal,
        rows=item.rows[NOMINAL],
        sources=len(distinct(item.events.group)),
        splits=item.splits,
        expected=float(weights.sum()),
        error=float(weights.sum() / np.sqrt(item.events.effective_events)),
        effective=item.events.effective_events,
        negative=float((weights < 0).mean()),
        read=item.read,
        selection=item.selection,
    )


def _systematic(item: ValidatedSample, effect: Effect) -> SystematicEntry:
    yields = dict(zip(item.events.variations, item.events.yields, strict=True))
    up, down = effect.modifier.yield_changes(yields) or (None, None)
    sides = [Variation(effect.parameter, direction) for direction in DIRECTIONS]
    shifted = [side for side in sides if side in item.rows]
    return SystematicEntry(
        name=effect.systematic,
        kind=effect.definition.kind,
        parameter=effect.parameter,
        sample=effect.sample,
        up=up,
        down=down,
        rows=tuple(item.rows[side] for side in shifted) or None,
        overlap=tuple(item.overlap[side] for side in shifted) or None,
    )


def _features(dataset: Validated) -> Iterator[FeatureEntry]:
    for column, feature in enumerate(dataset.features):
        for item in dataset.samples:
            yield _feature(feature, item.events.name, item.features[:, column], item.seen_weights)
        if dataset.observed is not None:
            values = dataset.observed[:, column]
            yield _feature(feature, OBSERVED, values, np.ones(len(values)))


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


def _separations(dataset: Validated) -> Iterator[SeparationEntry]:
    signal = [item for item in dataset.samples if item.events.is_signal]
    backgrounds = [item for item in dataset.samples if not item.events.is_signal]
    groups = {item.events.name: [item] for item in backgrounds} | {ALL: backgrounds}
    for column, feature in enumerate(dataset.features):
        ours = _finite(signal, column)
        for name, items in groups.items():
            theirs = _finite(items, column)
            if min(ours[1].sum(), theirs[1].sum()) > 0:
                yield SeparationEntry(feature, name, *separation(*ours, *theirs))


def _finite(items: Sequence[ValidatedSample], column: int) -> tuple[NDArray[np.float32], FloatArray]:
    values = np.concatenate([item.features[:, column] for item in items])
    weights = np.concatenate([item.seen_weights for item in items])
    good = np.isfinite(values)
    return values[good], weights[good]


def _histogram(dataset: Validated, column: int, bins: int, *, is_blind: bool) -> Histogram:
    """Fill one feature; ``is_blind`` where nothing beside the bins may depend on the observed events."""
    name, inputs = dataset.features[column], dataset.inputs or Inputs({})
    drawn = [_drawn(item.features, column, name, inputs) for item in dataset.samples]
    values = np.concatenate(
        [item.features[is_drawn, column] for item, is_drawn in zip(dataset.samples, drawn, strict=True)]
    )
    edges = _edges(values, inputs.ranges.get(name), bins)
    n_bins = len(edges) - 1

    def fill(values: NDArray[Any], weights: FloatArray) -> FloatArray:
        number = np.searchsorted(edges, values, side="right").clip(1, n_bins) - 1
        return np.asarray(np.bincount(number, weights, n_bins), dtype=np.float64)

    samples, variance, absent = {}, np.zeros(n_bins), 0.0
    for item, is_drawn in zip(dataset.samples, drawn, strict=True):
        column_values, weights = item.features[is_drawn, column], item.seen_weights[is_drawn]
        samples[item.events.name] = fill(column_values, weights)
        variance += fill(column_values, weights**2)
        absent += float(item.seen_weights[~is_drawn].sum())
    observed = None
    if dataset.observed is not None:
        column_values = dataset.observed[_drawn(dataset.observed, column, name, inputs), column]
        observed = fill(column_values, np.ones(len(column_values)))
        if not is_blind:
            values = np.concatenate([values, column_values])
    return Histogram(
        feature=name,
        edges=edges,
        samples=samples,
        error=np.sqrt(variance),
        observed=observed,
        label=inputs.labels.get(name, ""),
        is_beyond=(bool((values < edges[0]).any()), bool((values > edges[-1]).any())),
        absent=absent,
    )


def _drawn(features: NDArray[np.float32], column: int, name: str, inputs: Inputs) -> NDArray[np.bool_]:
    """Return which rows are drawn: what stands for a missing value is none, and would be a peak."""
    return np.isfinite(features[:, column]) & inputs.has_value(name, features)


def _edges(values: NDArray[Any], given: tuple[float, float] | None, bins: int) -> FloatArray:
    """Return the edges of a feature: equal bins between nearly all values, or in the range that is given."""
    low, high = np.quantile(values, RANGE) if len(values) else (0.0, 1.0)
    low, high = given or (float(low), float(high))
    edges = integer_edges(values, (low, high), bins)
    if edges is not None:
        return edges
    if not low < high:
        low, high = low - 0.5, low + 0.5
    return np.linspace(low, high, bins + 1)


def _masked(histogram: Histogram, signal: Sequence[str], max_signal_share: float) -> Histogram:
    """Return a histogram without the observed events of bins with more signal, or where nothing is expected."""
    if histogram.observed is None:
        return histogram
    s = np.sum([histogram.samples[name] for name in signal], axis=0)
    total = np.sum(list(histogram.samples.values()), axis=0)
    is_shown = np.divide(s, total, out=np.full(len(total), np.inf), where=total > 0) <= max_signal_share
    if not is_shown.any():
        return replace(histogram, observed=None)
    return replace(histogram, observed=np.where(is_shown, histogram.observed, np.nan), is_masked=~is_shown)
