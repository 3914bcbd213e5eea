"""The rows of the trees of a sample made events: those with one id are one event, in every variation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import ConfigError, DatasetError
from inferno_cli.events.arrays import Growing, chunks, stacked
from inferno_cli.events.assignment import Division
from inferno_cli.events.channel import NO_BIN
from inferno_cli.events.channels import Cells, Channels, everything
from inferno_cli.events.dataset import Request
from inferno_cli.events.earlier import Earlier, Recognised
from inferno_cli.events.effects import Effect
from inferno_cli.events.ids import UNKNOWN, EventIds
from inferno_cli.events.root.layout import NtupleLayout
from inferno_cli.events.root.reader import Table, require_distinct
from inferno_cli.events.sample import NOMINAL, Sample, Variation, generator, split_rows

MIN_OVERLAP = 0.5
"""A shifted tree shares most events with the nominal; with less than this share the ids cannot be the same."""


class _Places:
    """Which row of a table each of n events is, and of the table of the nominal events where that stands in."""

    def __init__(self, n: int, table: Table, rows: NDArray[np.int64]) -> None:
        """Take a table, given the number of the event of each of its rows, shape (n_rows,)."""
        self.sources: list[Table] = [table]
        self._row: list[NDArray[np.int64]] = [np.full(n, UNKNOWN)]
        self._row[0][rows] = np.arange(len(rows))

    def add_other_eras(self, nominal: Table, rows: NDArray[np.int64], era: int) -> None:
        """Take the nominal events of all other eras, for a variation that is of one era alone."""
        others = np.flatnonzero(nominal.era != era)
        row = np.full_like(self._row[0], UNKNOWN)
        row[rows[others]] = others
        self.sources.append(nominal)
        self._row.append(row)

    def taken(self, columns: Sequence[NDArray[Any]], events: slice, otherwise: float) -> NDArray[Any]:
        """Return what the columns of the tables have of some events; ``otherwise`` of those that they lack."""
        n = len(self._row[0][events])
        found = np.full((n, *columns[0].shape[1:]), otherwise, dtype=columns[0].dtype)
        for column, row in zip(columns, self._row, strict=True):
            own = row[events]
            is_there = own != UNKNOWN
            found[is_there] = column[own[is_there]]
        return found


class Alignment:
    """Aligns the samples of one dataset configuration, one after another."""

    def __init__(self, dataset: NtupleLayout, channels: Channels | None = None) -> None:
        self.dataset, self.channels = dataset, channels or everything()
        self.ids: dict[str, EventIds] = {}
        """Of the samples that were aligned: the event of each row of a ``Sample``."""
        self.groups: dict[str, int] = {}
        """Of the same: how many groups of events are divided into splits, also those of which none is selected."""
        self.ids_of: dict[str, tuple[str, ...]] = {}
        """Of each sample the keys of ``ids``, in order: its own, and those of variations that have other events."""
        self.blocks: dict[str, int] = {}
        """Of variations that have other events: their block of the features."""
        self.cells: dict[str, Cells] = {}
        """Of the same: the cell of every event in every view of its features, shape (n_views, n_events)."""
        self.overlap: dict[tuple[str, Variation], float] = {}
        """Share of events that a sample and its shifted trees have in common, of the smaller of the two."""

    def aligned(self, name: str, tables: Mapping[Variation, Table], effects: Sequence[Effect]) -> Sample:
        """Return the rows of one simulated sample as events: those with one id are one event.

        Raises:
            DatasetError: If ids repeat, a shifted tree has other events, or one event has several ``split_by``.
            TemplateError: If a yield is not positive.
        """
        dataset = self.dataset
        rows = self._numbered(name, tables)
        n = sum(len(self.ids[events]) for events in self.ids_of[name])
        features, cells = Growing(np.float32, len(dataset.features)), Growing(np.int32)
        weights: dict[Variation, int] = {}
        scaled = Growing(np.float64)
        for block, (variation, table) in enumerate(tables.items()):
            if table.apart is not None:
                self.blocks[table.apart] = block
            places = _Places(n, table, rows[variation])
            if table.only is not None:
                places.add_other_eras(tables[NOMINAL], rows[NOMINAL], table.only)
            for part in chunks(n):
                features.append(places.taken([source.features for source in places.sources], part, 0))
                cells.append(places.taken([source.cells for source in places.sources], part, NO_BIN))
            for varied in table.weights:
                weights[varied] = block
                of_each = [source.weights[NOMINAL if i else varied] for i, source in enumerate(places.sources)]
                for part in chunks(n):
                    found = places.taken(of_each, part, 0)
                    scaled.append(found * dataset.luminosity_scale * dataset.downsample_factor)
        sample = Sample(
            name=name,
            is_signal=name in dataset.signal_names,
            group=self._groups(name, tables, rows, n),
            variations=tuple(weights),
            features=features.array().reshape(len(tables), n, len(dataset.features)),
            view=tuple(weights.values()),
            weights=scaled.array().reshape(len(weights), n),
        )
        for effect in effects:
            sample = effect.definition.vary(sample, effect.parameter, dataset)
        self.cells[name] = self._cells_of_views(sample, cells.array().reshape(len(tables), n))
        return sample

    def _cells_of_views(self, sample: Sample, cells: Cells) -> Cells:
        """Return the cells of all views; what moves the features of events leaves them in their channel."""
        n_moved = len(sample.features) - len(cells)
        if n_moved and not self.channels.is_everything:
            raise ConfigError(
                f"sample {sample.name!r}: a systematic of kind 'shift' moves a feature of the network, and not the "
                f"branches that select the channels {', '.join(self.channels.by_name)}. Leave it out of nuisance.fit, "
                "or use kind 'shape' or 'weight'"
            )
        return stacked([*cells, *cells[:1].repeat(n_moved, axis=0)]) if n_moved else cells

    def _numbered(self, name: str, tables: Mapping[Variation, Table]) -> dict[Variation, NDArray[np.int64]]:
        """Return the number of the event of each row of each table; events that are others come behind the paired."""
        paired = [table.ids for table in tables.values() if table.apart is None]
        ids = self.ids[name] = EventIds.of_tables(paired)
        self.ids_of[name] = (name,)
        first, rows = len(ids), {}
        for variation, table in tables.items():
            if table.apart is None:
                rows[variation] = ids.find(table.ids)
                self._check_ids(name, variation, rows[NOMINAL], rows[variation])
                continue
            own = self.ids[table.apart] = EventIds(table.ids)
            rows[variation] = first + own.find(table.ids)
            require_distinct(self.dataset, name, variation, rows[variation])
            self.overlap[name, variation] = 0.0
            self.ids_of[name] += (table.apart,)
            first += len(own)
        return rows

    def _groups(
        self, name: str, tables: Mapping[Variation, Table], rows: Mapping[Variation, NDArray[Any]], n: int
    ) -> NDArray[np.int64]:
        """Return the number of each event's ``split_by``, shape (n_events,), which is the same in every tree."""
        group = np.full(n, UNKNOWN)
        paired = EventIds.of_tables([table.groups for table in tables.values() if table.apart is None])
        self.groups[name] = len(paired)
        for variation, table in tables.items():
            labels, first = paired, 0
            if table.apart is not None:
                labels, first = EventIds(table.groups), self.groups[name]
                self.groups[name] += len(labels)
            found, before = first + labels.find(table.group), group[rows[variation]]
            if other := int(((before != UNKNOWN) & (before != found)).sum()):
                raise DatasetError(
                    f"sample {name!r}, {variation}: {other} events have another value of "
                    f"{' + '.join(self.dataset.samples[name].split_by or ())} than in the trees before, expected the "
                    "same; their source events would leak between the splits. Repair the branch, or fix "
                    f"dataset.samples.{name}.split_by"
                )
            group[rows[variation]] = found
        return group

    def _check_ids(self, name: str, variation: Variation, nominal: NDArray[Any], rows: NDArray[Any]) -> None:
        require_distinct(self.dataset, name, variation, rows)
        share = int(np.isin(rows, nominal).sum()) / min(len(nominal), len(rows))
        if variation != NOMINAL:
            self.overlap[name, variation] = share
        if share < MIN_OVERLAP:
            raise DatasetError(
                f"sample {name!r}, {variation}: {share:.0%} of the event ids ({self.dataset.id_words}) "
                f"are also in the nominal tree, expected at least {MIN_OVERLAP:.0%}. The shifted tree must hold the "
                "same events; fix dataset.event_id, or say paired: false where they are of another generator"
            )

    def split(self, sample: Sample, seed: int) -> list[NDArray[np.intp]]:
        """Return the rows of a sample in the train, validation and template split, or in each of the folds."""
        splits = self.dataset.splits
        groups = np.arange(self.groups[sample.name])
        return split_rows(sample.group, splits.shares, generator(seed, f"split {sample.name}"), groups)

    def as_earlier(self, sample: Sample, earlier: Earlier) -> tuple[list[NDArray[np.intp]], Recognised]:
        """Return the rows of a sample in each split or fold as a training had them, and how many it knows."""
        known, ids, first = [], [], 0
        for events in self.ids_of[sample.name]:
            own = self.ids[events].rows()
            block = 0 if events == sample.name else self.blocks[events]
            features = sample.features[block, first : first + len(own)]
            known.append(earlier.split(sample.name, events, own, features))
            ids.append(own)
            first += len(own)
        split = np.concatenate(known)
        rows = earlier.divided(sample.name, split, np.concatenate(ids), sample.group)
        return rows, earlier.recognised(split, rows)

    def in_splits(
        self, sample: Sample, rows: Sequence[NDArray[np.intp]], request: Request
    ) -> tuple[list[Sample], list[list[Sample]]]:
        """Return what channels have of a sample: all events of those with bins of their own, and the splits of others.

        Each part is reweighted to the yield in its channel.

        Args:
            rows: Those of each split, or fold.
        """
        number = np.full(len(sample.group), UNKNOWN)
        for i, of_split in enumerate(rows):
            number[of_split] = i
        fixed: list[Sample] = []
        splits: list[list[Sample]] = [[] for _ in rows]
        for part, own in request.divided(sample, self.cells.pop(sample.name)):
            if part.bins is not None:
                fixed.append(part)
                continue
            for i, split in enumerate(splits):
                split.append(part.subset(np.flatnonzero(number[own] == i)))
        return fixed, splits

    def divisions(self, sample: Sample, parts: Sequence[NDArray[np.intp]]) -> dict[str, Division]:
        """Return the division of the events of a sample, and of each of its variations that has other events.

        Their ids are forgotten here: they are as large as all events.
        """
        first, found = 0, {}
        for events in self.ids_of[sample.name]:
            ids = self.ids.pop(events)
            own = [rows[(rows >= first) & (rows < first + len(ids))] - first for rows in parts]
            block = 0 if events == sample.name else self.blocks[events]
            features = sample.features[block, first : first + len(ids)]
            found[events] = Division.of(ids, own, features, by_row=not self.dataset.event_id)
            first += len(ids)
        return found
