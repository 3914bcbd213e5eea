"""A dataset of ntuples before anything is trained on it: every row of every sample, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.events.arrays import of_rows
from inferno_cli.events.assignment import hashes
from inferno_cli.events.dataset import Request
from inferno_cli.events.ids import UNKNOWN, EventIds, distinct
from inferno_cli.events.root.alignment import Alignment
from inferno_cli.events.root.histograms import Histograms
from inferno_cli.events.root.layout import NtupleLayout
from inferno_cli.events.root.reader import Reader, Table
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Observed, Sample, Variation
from inferno_cli.events.validation import ChannelYield, NotFinite, Validated, ValidatedSample

LARGE_CHANGE, SAME_SIDE = 0.5, 0.01
"""Relative changes of a yield: of one direction, and of both to one side, that are probably mistakes."""


def validated(dataset: NtupleLayout, request: Request, source_branches: tuple[str, ...]) -> Validated:
    """Read and validate a dataset, see ``Dataset.validated``."""
    reader = Reader(dataset, request.channels, missing=True)
    alignment = Alignment(dataset, request.channels)
    histograms = Histograms(dataset, request)
    ready = histograms.samples()
    counts = histograms.observed(ready)
    reader.used |= histograms.used
    findings: list[str] = []
    samples = []
    for name in request.samples:
        if not dataset.has_events(name):
            continue
        sample = _sample(reader, alignment, name, request, source_branches)
        samples.append(sample)
        findings += [*_odd_sample(sample, dataset.features), *_odd_variations(sample.events)]
        findings += _odd_rows(f"sample {name!r}", sample.features)
    data = reader.observed()
    observed = dataset.samples.get(dataset.observed_name or "")
    of_data: list[str] = []
    shown, n_used = None, 0
    if data is not None:
        what = f"sample {dataset.observed_name!r}"
        features = _seen(reader, data)
        of_data += _odd_features(what, NotFinite.of(features), dataset.features)
        of_data += [*_odd_rows(what, features), *_shared_rows(what, features, samples)]
        used = reader.used_rows(data, request.seed)
        shown, n_used = data.features[used[reader.channels.seen(data.cells[used])]], len(used)
    if not dataset.event_id:
        findings.append(
            "dataset.event_id is empty: whether an event is there twice, or a source event in several splits, cannot "
            "be told by ids"
        )
    return Validated(
        name=dataset.name,
        label=reader.label(),
        features=dataset.features,
        samples=tuple(samples),
        observed=shown,
        observed_rows=0 if data is None else len(data.features),
        observed_used=n_used,
        observed_read=0 if data is None else len(data.groups),
        selection=dataset.selection or "",
        observed_selection="" if observed is None else observed.selection or "",
        inputs=dataset.inputs,
        findings=tuple(findings),
        checksum=reader.checksum(),
        observed_findings=tuple(of_data),
        observed_channels=_observed_channels(reader, data, request) | _counted(histograms.used_data(counts)),
        ready=tuple(map(ChannelYield.of, ready)),
        networks=() if request.channels.is_everything else request.channels.trained,
    )


def _seen(reader: Reader, table: Table) -> NDArray[np.float32]:
    """Return the features of the rows that a network sees, shape (n_seen, n_features)."""
    seen = reader.channels.seen(table.cells)
    return table.features if seen.all() else of_rows(table.features[None], seen)[0]


def _observed_channels(reader: Reader, data: Table | None, request: Request) -> dict[str, int]:
    """Return the observed events that are used in each channel; nothing where one has everything."""
    if request.channels.is_everything:
        return {}
    return _counted(reader.used_data(data, request.seed) or ())


def _counted(parts: Sequence[Observed]) -> dict[str, int]:
    """Return the events of each channel."""
    found: dict[str, int] = {}
    for part in parts:
        found[part.channel] = found.get(part.channel, 0) + len(part.features)
    return found


def _sample(
    reader: Reader, alignment: Alignment, name: str, request: Request, source_branches: tuple[str, ...]
) -> ValidatedSample:
    effects = request.effects_on(name)
    tables = reader.tables(name, effects)
    events = alignment.aligned(name, tables, effects)
    parts = alignment.split(events, request.seed)
    split = np.full(len(events.group), UNKNOWN)
    for number, rows in enumerate(parts):
        split[rows] = number
        events.subset(rows)  # refuses a split without a positive yield, as training would
    for branch in source_branches:
        _refuse_leaks(reader, alignment.ids[name], name, branch, tables, split)
    nominal, dataset = tables[NOMINAL], reader.dataset
    channels = [part for part, _ in request.divided(events, alignment.cells.pop(name))]
    return ValidatedSample(
        events=events,
        features=_seen(reader, nominal),
        weights=nominal.weights[NOMINAL] * dataset.luminosity_scale * dataset.downsample_factor,
        seen=reader.channels.seen(nominal.cells),
        rows={variation: len(table.features) for variation, table in tables.items()},
        missing={variation: NotFinite.of(_seen(reader, table)) for variation, table in tables.items()},
        overlap={variation: alignment.overlap[name, variation] for variation in tables if variation != NOMINAL},
        splits=tuple(len(rows) for rows in parts),
        read=len(nominal.groups),
        selection=dataset.samples[name].selection or "",
        channels=() if request.channels.is_everything else tuple(map(ChannelYield.of, channels)),
    )


def _refuse_leaks(
    reader: Reader,
    ids: EventIds,
    name: str,
    branch: str,
    tables: Mapping[Variation, Table],
    split: NDArray[np.intp],
) -> None:
    sources, numbers = [], []
    for table in tables.values():
        # The source events of another generator have numbers of their own.
        column = reader.column(table, branch) if table.apart is None else None
        if column is not None:
            sources.append(column)
            numbers.append(ids.find(table.ids))
    if not sources:
        return
    source = np.concatenate(sources)
    events = EventIds(source)
    if leaked := leaks(events.find(source), split[np.concatenate(numbers)]):
        raise DatasetError(
            f"sample {name!r}: {leaked} of {len(events)} source events ({branch}) have rows in more than one of the "
            "splits train, validation and template, expected none: the network would be tested on events that it has "
            f"seen. Set dataset.samples.{name}.split_by=[{branch}]"
        )


def leaks(source: NDArray[Any], split: NDArray[Any]) -> int:
    """Return how many source events have rows in more than one split, given both numbers of each row, shape (n_rows,).

    Example:
        >>> leaks(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
        1
    """
    pairs = np.unique(np.stack([source, split]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def _odd_sample(sample: ValidatedSample, features: tuple[str, ...]) -> Iterator[str]:
    name, weights = sample.events.name, sample.weights
    for variation, bad in sample.missing.items():
        what = f"sample {name!r}" if variation == NOMINAL else f"sample {name!r}, {variation}"
        yield from _odd_features(what, bad, features)
    if (negative := weights < 0).any():
        lost = -weights[negative].sum() / np.abs(weights).sum()
        yield (
            f"sample {name!r}: {negative.sum()} of {len(weights)} weights are negative ({negative.mean():.1%}), with "
            f"{lost:.1%} of the sum of |w|; effective number of events {sample.events.effective_events:.0f}"
        )


def _odd_variations(events: Sample) -> Iterator[str]:
    """Say which systematics are probably mistakes: such as a nominal weight that was forgotten in an expression."""
    for label in dict.fromkeys(item.systematic for item in events.variations if item != NOMINAL):
        rows = [events.variations.index(Variation(label, direction)) for direction in DIRECTIONS]
        changes = [float(events.yields[row] / events.yields[0] - 1) for row in rows]
        said = f"sample {events.name!r}, {label}: up and down"
        moved = f"{said} change the yield by {changes[0]:+.1%} and {changes[1]:+.1%}"
        if all(_is_nominal(events, row) for row in rows):
            yield f"{said} are the nominal; the systematic does nothing"
        elif max(map(abs, changes)) > LARGE_CHANGE:
            yield f"{moved}; an expression without the nominal `weight`, or other units, would do so"
        elif min(changes) > SAME_SIDE or max(changes) < -SAME_SIDE:
            yield f"{moved}, both to the same side; a systematic moves it up and down"


def _is_nominal(events: Sample, row: int) -> bool:
    features = events.features[events.view[row]]
    return np.array_equal(events.weights[row], events.weights[0]) and np.array_equal(features, events.features[0])


def _odd_features(what: str, bad: NotFinite, features: tuple[str, ...]) -> Iterator[str]:
    for feature, n in zip(features, bad.values, strict=True):
        if n:
            yield (
                f"{what}: {n} of {bad.rows} values of {feature!r} are not finite; the numbers here leave them out, and "
                "`train` refuses them: remove these events or repair the branch"
            )


def _odd_rows(what: str, features: NDArray[np.float32]) -> Iterator[str]:
    if n := len(features) - len(distinct(hashes(features))):
        yield (
            f"{what}: {n} of {len(features)} rows are equal to another one in every feature; where the "
            "features are continuous these are copies, and statistical errors come out too small"
        )


def _shared_rows(what: str, features: NDArray[np.float32], samples: Sequence[ValidatedSample]) -> Iterator[str]:
    rows, shared = hashes(features), []
    for sample in samples:
        if n := int(np.isin(rows, hashes(sample.features)).sum()):
            shared.append(f"{n} of {len(features)} rows to some of {sample.events.name!r}")
    if shared:
        yield (
            f"{what}: equal to simulated rows in every feature are {', '.join(shared)}; if these are the same "
            "generated events, a fit of the observed data is a demonstration"
        )
