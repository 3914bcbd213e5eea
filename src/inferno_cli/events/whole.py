"""A dataset as a whole, before anything is trained on it: every row of every sample, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import DataConfig, Effect, NtupleDataset, SyntheticDataset
from inferno_cli.errors import DatasetError
from inferno_cli.events.ids import UNKNOWN, EventIds
from inferno_cli.events.ntuples import Reader, Table
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, FloatArray, Sample, Variation

LARGE_CHANGE, SAME_SIDE = 0.5, 0.01
"""Relative changes of a yield: of one direction, and of both to one side, that are probably mistakes."""


@dataclass(frozen=True)
class WholeSample:
    """One simulated sample.

    Attributes:
        events: All its events, nominal and varied; features that are not finite are as they are in the file.
        features: Of the nominal rows, shape (n_rows, n_features).
        weights: Of the nominal rows, expected events, shape (n_rows,).
        rows: Number of rows of the nominal and of every shifted selection.
        missing: Features that are not finite, of the same selections, shape (n_features,) each.
        overlap: Share of events that a shifted selection has in common with the nominal, of the smaller of the two.
        splits: Events in the train, validation and template split.
    """

    events: Sample
    features: NDArray[np.float32]
    weights: FloatArray
    rows: Mapping[Variation, int]
    missing: Mapping[Variation, NDArray[np.intp]]
    overlap: Mapping[Variation, float]
    splits: tuple[int, int, int]


@dataclass(frozen=True)
class Whole:
    """A dataset.

    Attributes:
        name: Its name.
        label: What every output must say about it, or empty.
        features: Names of the features.
        samples: The simulated samples, signal first.
        observed: Features of the observed events that are used, shape (n_events, n_features), or None.
        observed_rows: Observed events in the file; fewer are used with ``downsample_factor``.
        findings: What is odd, but no error: whole sentences.
        checksum: SHA-256 of what was read or generated.
    """

    name: str
    label: str
    features: tuple[str, ...]
    samples: tuple[WholeSample, ...]
    observed: NDArray[np.float32] | None
    observed_rows: int
    findings: tuple[str, ...]
    checksum: str


def load_whole(config: DataConfig) -> Whole:
    """Read or generate a dataset with all the systematics that are to be described, and validate it.

    Raises:
        DatasetError: Whatever `train` refuses but features that are not finite, which are described; and source
            events with rows in more than one split.
        TemplateError: If a yield is not positive.
    """
    if isinstance(config.dataset, SyntheticDataset):
        return _generated(config, config.dataset)
    return _read(config, config.dataset)


def _generated(config: DataConfig, dataset: SyntheticDataset) -> Whole:
    """Describe the template split: the three splits are generated alike, and this one is what is fitted."""
    from inferno_cli.events.synthetic import generate

    events = generate(dataset, config.described, config.data_seed)
    samples = []
    for parts in zip(events.train, events.validation, events.template, strict=True):
        sample = parts[-1]
        train, validation, template = (len(part.group) for part in parts)
        none = np.zeros(len(events.features), dtype=np.intp)
        samples.append(
            WholeSample(
                events=sample,
                features=sample.features[0],
                weights=sample.weights[0],
                rows={NOMINAL: template},
                missing={NOMINAL: none},
                overlap={},
                splits=(train, validation, template),
            )
        )
    return Whole(
        name=events.name,
        label=events.label,
        features=events.features,
        samples=tuple(samples),
        observed=events.observed,
        observed_rows=0 if events.observed is None else len(events.observed),
        findings=(),
        checksum=events.checksum,
    )


def _read(config: DataConfig, dataset: NtupleDataset) -> Whole:
    reader = Reader(dataset, missing=True)
    found: list[str] = []
    samples = []
    for name in config.sample_names:
        effects = [effect for effect in config.described if effect.sample == name]
        sample, tables = _sample(reader, name, effects, config)
        samples.append(sample)
        found += [*_sample_findings(sample, dataset), *odd_variations(sample.events)]
        found += _repeated(f"sample {name!r}", tables[NOMINAL].features)
    data = reader.data()
    used = None
    if data is not None:
        (name,) = (name for name, item in dataset.samples.items() if item.role == "data")
        used = data.features[reader.subset(len(data.features), config.data_seed)]
        bad = _not_finite(data.features)
        found += _missing(f"sample {name!r}", bad, len(data.features), dataset.features)
        found += _repeated(f"sample {name!r}", data.features)
        found += _shared(name, data.features, samples)
    if not dataset.event_id:
        found.append(
            "dataset.event_id is empty: whether an event is there twice, or a source event in several splits, cannot "
            "be told by ids"
        )
    return Whole(
        name=dataset.name,
        label=reader.label(),
        features=dataset.features,
        samples=tuple(samples),
        observed=used,
        observed_rows=0 if data is None else len(data.features),
        findings=tuple(found),
        checksum=reader.checksum(),
    )


def _sample(
    reader: Reader, name: str, effects: list[Effect], config: DataConfig
) -> tuple[WholeSample, Mapping[Variation, Table]]:
    tables = reader.tables(name, effects)
    events = reader.aligned(name, tables, effects)
    parts = reader.split(events, config.data_seed)
    split = np.full(len(events.group), UNKNOWN)
    for number, rows in enumerate(parts):
        split[rows] = number
        events.subset(rows)  # refuses a split without a positive yield, as training would
    for branch in config.source_branches:
        _refuse_leaks(reader, name, branch, tables, split)
    nominal, dataset = tables[NOMINAL], reader.dataset
    train, validation, template = (len(rows) for rows in parts)
    whole = WholeSample(
        events=events,
        features=nominal.features,
        weights=nominal.weights[NOMINAL] * dataset.luminosity_scale * dataset.downsample_factor,
        rows={variation: len(table.features) for variation, table in tables.items()},
        missing={variation: _not_finite(table.features) for variation, table in tables.items()},
        overlap={variation: reader.overlap[name, variation] for variation in tables if variation != NOMINAL},
        splits=(train, validation, template),
    )
    return whole, tables


def leaks(source: NDArray[Any], split: NDArray[Any]) -> int:
    """Return how many source events have rows in more than one split.

    Args:
        source: Number of the source event of each row, from 0, shape (n_rows,).
        split: Split of each row, shape (n_rows,).

    Example:
        >>> leaks(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
        1
    """
    pairs = np.unique(np.stack([source, split]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def _refuse_leaks(
    reader: Reader, name: str, branch: str, tables: Mapping[Variation, Table], split: NDArray[Any]
) -> None:
    columns = {variation: reader.column(table, branch) for variation, table in tables.items()}
    there = {variation: column for variation, column in columns.items() if column is not None}
    if not there:
        return
    sources = EventIds(np.concatenate(list(there.values())))
    source = np.concatenate([sources.find(column) for column in there.values()])
    number = np.concatenate([reader.ids[name].find(tables[variation].ids) for variation in there])
    if found := leaks(source, split[number]):
        raise DatasetError(
            f"sample {name!r}: {found} of {len(sources)} source events ({branch}) have rows in more than one of the "
            "splits train, validation and template, expected none: the network would be tested on events that it has "
            f"seen. Set dataset.samples.{name}.split_by=[{branch}]"
        )


def _not_finite(features: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.asarray((~np.isfinite(features)).sum(axis=0))


def _sample_findings(sample: WholeSample, dataset: NtupleDataset) -> Iterator[str]:
    name, weights = sample.events.name, sample.weights
    for variation, bad in sample.missing.items():
        what = f"sample {name!r}" if variation == NOMINAL else f"sample {name!r}, {variation}"
        yield from _missing(what, bad, sample.rows[variation], dataset.features)
    if (negative := weights < 0).any():
        lost = -weights[negative].sum() / np.abs(weights).sum()
        yield (
            f"sample {name!r}: {negative.sum()} of {len(weights)} weights are negative ({negative.mean():.1%}), with "
            f"{lost:.1%} of the sum of |w|; effective number of events {sample.events.effective_events:.0f}"
        )


def odd_variations(events: Sample) -> Iterator[str]:
    """Say which systematics are probably mistakes: such as a nominal weight that was forgotten in an expression."""
    for label in dict.fromkeys(item.systematic for item in events.variations if item != NOMINAL):
        rows = [events.variations.index(Variation(label, direction)) for direction in DIRECTIONS]
        changes = [float(events.yields[row] / events.yields[0] - 1) for row in rows]
        said = (
            f"sample {events.name!r}, {label}: up and down change the yield by {changes[0]:+.1%} and {changes[1]:+.1%}"
        )
        if all(_is_nominal(events, row) for row in rows):
            yield f"sample {events.name!r}, {label}: up and down are the nominal; the systematic does nothing"
        elif max(map(abs, changes)) > LARGE_CHANGE:
            yield f"{said}; an expression without the nominal `weight`, or other units, would do so"
        elif min(changes) > SAME_SIDE or max(changes) < -SAME_SIDE:
            yield f"{said}, both to the same side; a systematic moves it up and down"


def _is_nominal(events: Sample, row: int) -> bool:
    features = events.features[events.view[row]]
    return np.array_equal(events.weights[row], events.weights[0]) and np.array_equal(features, events.features[0])


def _missing(what: str, bad: NDArray[np.intp], rows: int, features: tuple[str, ...]) -> Iterator[str]:
    for feature, n in zip(features, bad, strict=True):
        if n:
            yield (
                f"{what}: {n} of {rows} values of {feature!r} are not finite; the numbers here leave them out, and "
                "`train` refuses them: remove these events or repair the branch"
            )


def _bits(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each row as integers that are equal where the row is, shape (n_rows, n_features)."""
    return np.ascontiguousarray(features).view(np.int32).astype(np.int64)


def _repeated(what: str, features: NDArray[np.float32]) -> Iterator[str]:
    if n := len(features) - len(EventIds(_bits(features))):
        yield (
            f"{what}: {n} of {len(features)} rows are equal to another one in every feature; where the "
            "features are continuous these are copies, and statistical errors come out too small"
        )


def _shared(name: str, features: NDArray[np.float32], samples: list[WholeSample]) -> Iterator[str]:
    bits = _bits(features)
    shared = {
        sample.events.name: int((EventIds(_bits(sample.features)).find(bits) != UNKNOWN).sum()) for sample in samples
    }
    if any(shared.values()):
        said = ", ".join(f"{sample} {n}" for sample, n in shared.items() if n)
        yield (
            f"sample {name!r}: some of the {len(features)} rows are equal to simulated ones in every feature ({said}); "
            "if these are the same generated events, a fit of the observed data is a demonstration"
        )
