"""A dataset of ntuples before anything is trained on it: every row of every sample, and what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.events.dataset import Request
from inferno_cli.events.ids import UNKNOWN, EventIds
from inferno_cli.events.root.layout import NtupleLayout
from inferno_cli.events.root.reader import Reader, Table
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.events.validation import (
    Validated,
    ValidatedSample,
    leaks,
    not_finite,
    odd_features,
    odd_rows,
    odd_sample,
    odd_variations,
    shared_rows,
)


def validated(dataset: NtupleLayout, request: Request, source_branches: tuple[str, ...]) -> Validated:
    """Read and validate a dataset, see ``Dataset.validated``."""
    reader = Reader(dataset, missing=True)
    findings: list[str] = []
    samples = []
    for name in request.samples:
        sample = _sample(reader, name, request, source_branches)
        samples.append(sample)
        findings += [*odd_sample(sample, dataset.features), *odd_variations(sample.events)]
        findings += odd_rows(f"sample {name!r}", sample.features)
    data = reader.observed()
    if data is not None:
        what = f"sample {dataset.observed_name!r}"
        findings += odd_features(what, not_finite(data.features), len(data.features), dataset.features)
        findings += [*odd_rows(what, data.features), *shared_rows(what, data.features, samples)]
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
        observed=reader.used_data(data, request.seed),
        observed_rows=0 if data is None else len(data.features),
        findings=tuple(findings),
        checksum=reader.checksum(),
    )


def _sample(reader: Reader, name: str, request: Request, source_branches: tuple[str, ...]) -> ValidatedSample:
    effects = request.effects_on(name)
    tables = reader.tables(name, effects)
    events = reader.aligned(name, tables, effects)
    parts = reader.split(events, request.seed)
    split = np.full(len(events.group), UNKNOWN)
    for number, rows in enumerate(parts):
        split[rows] = number
        events.subset(rows)  # refuses a split without a positive yield, as training would
    for branch in source_branches:
        _refuse_leaks(reader, name, branch, tables, split)
    nominal, dataset = tables[NOMINAL], reader.dataset
    train, validation, template = (len(rows) for rows in parts)
    return ValidatedSample(
        events=events,
        features=nominal.features,
        weights=nominal.weights[NOMINAL] * dataset.luminosity_scale * dataset.downsample_factor,
        rows={variation: len(table.features) for variation, table in tables.items()},
        missing={variation: not_finite(table.features) for variation, table in tables.items()},
        overlap={variation: reader.overlap[name, variation] for variation in tables if variation != NOMINAL},
        splits=(train, validation, template),
    )


def _refuse_leaks(
    reader: Reader, name: str, branch: str, tables: Mapping[Variation, Table], split: NDArray[np.intp]
) -> None:
    sources, numbers = [], []
    for table in tables.values():
        column = reader.column(table, branch)
        if column is not None:
            sources.append(column)
            numbers.append(reader.ids[name].find(table.ids))
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
