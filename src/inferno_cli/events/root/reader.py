"""The rows of the trees of a sample, read: ids, features, and a weight for each variation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError, TreeNotFoundError
from inferno_cli.events.arrays import Growing
from inferno_cli.events.assignment import FileTree, folds_of
from inferno_cli.events.channel import NO_BIN
from inferno_cli.events.channels import Cells, Channels, everything
from inferno_cli.events.effects import Effect
from inferno_cli.events.features import require_finite
from inferno_cli.events.ids import EventIds, distinct
from inferno_cli.events.root.catalogue import Catalogue
from inferno_cli.events.root.layout import NO_ERA, NtupleLayout
from inferno_cli.events.root.norms import Norms
from inferno_cli.events.root.parquet import TABLE, is_parquet
from inferno_cli.events.root.rows import Formula, Rows
from inferno_cli.events.root.trees import id_columns, one_per_row, opened, parts_of
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, FloatArray, Observed, Variation, generator
from inferno_cli.events.systematic import ShiftedTrees
from inferno_cli.events.validation import uncounted
from inferno_cli.files import file_checksum
from inferno_cli.remote import address

LABEL = "label"
"""A text of this name in a file is what every output made from it must say."""


@dataclass(frozen=True)
class Table:
    """Selected rows of one sample in one variation, from its trees in their order.

    Attributes:
        ids: Shape (n_events, n_branches), and with eras one column more, the first, as in ``groups``.
        features: Shape (n_events, n_features).
        weights: Of each variation, shape (n_events,).
        rows: Number of each row in the trees, one behind the other, shape (n_events,).
        era: Number of the era of each row, shape (n_events,); 0 where there are none.
        groups: Values that must not be shared between splits, ``split_by`` or else the ids, of all rows, also those
            that are not selected: which split an event is in does not depend on the selection. Shape (n_rows,
            n_branches).
        cells: The bin of each event among those of all channels, see ``events.channels``, shape (n_events,).
        trees: Where they are from.
        friends: Of each of these, where more of its branches are.
        only: The era that it is of, where the events of the others are the nominal ones; None: it has all.
        apart: What its events are called, where they are others than the nominal ones; None: the ids pair them.
    """

    ids: NDArray[np.int64]
    features: NDArray[np.float32]
    weights: dict[Variation, FloatArray]
    rows: NDArray[np.intp]
    era: NDArray[np.int16]
    groups: NDArray[np.int64]
    cells: Cells
    trees: tuple[FileTree, ...]
    friends: tuple[tuple[FileTree, ...], ...] = ()
    only: int | None = None
    apart: str | None = None

    @property
    def group(self) -> NDArray[np.int64]:
        """The same of the selected rows, shape (n_events, n_branches)."""
        return self.groups if len(self.groups) == len(self.rows) else self.groups[self.rows]


@dataclass
class _Columns:
    """The columns of a ``Table`` whose trees are being read, and how many rows these had so far."""

    ids: Growing
    features: Growing
    weights: dict[Variation, Growing]
    rows: Growing
    era: Growing
    groups: Growing
    cells: Growing
    n_read: int = 0


class Reader:
    """Reads the trees of one dataset configuration."""

    def __init__(self, dataset: NtupleLayout, channels: Channels | None = None, *, missing: bool = False) -> None:
        """Prepare to read; features that are not finite are an error, or with ``missing`` taken, to describe them.

        Events in none of the ``channels`` are left out; without any there is one with all of them.
        """
        self.dataset, self.channels = dataset, channels or everything()
        self.missing = missing
        self.catalogue = Catalogue(dataset)
        self.norms = Norms(dataset)
        self.used: set[Path] = set()

    def selections(self, sample: str) -> list[Formula]:
        """Return the selections of a sample."""
        every, own = self.dataset.selection, self.dataset.samples[sample].selection
        texts = {"dataset.selection": every, f"dataset.samples.{sample}.selection": own}
        return [Formula(text, key) for key, text in texts.items() if text is not None]

    def _cells(self, rows: Rows) -> Cells:
        """Return the cells of the selected rows, and leave out the rows that are in no channel."""
        if self.channels.is_everything:
            return np.zeros(len(rows), dtype=np.int32)

        def numbers(text: str, key: str) -> FloatArray:
            return rows.values(Formula(text, key))

        def truth(text: str, key: str) -> NDArray[np.bool_]:
            return rows.passed(Formula(text, key))

        cells = self.channels.cells(len(rows), rows.where, truth, numbers)
        inside = cells != NO_BIN
        rows.keep(inside)
        return np.asarray(cells[inside])

    def _features(self, rows: Rows, cells: Cells) -> NDArray[np.float32]:
        """Return the features of the selected rows; 0 where the channel has bins of its own, which need none."""
        seen = self.channels.seen(cells)
        if seen.all() or self.missing:
            return rows.features(self.dataset.inputs, missing=self.missing)
        found = np.zeros((len(rows), len(self.dataset.features)), dtype=np.float32)
        found[seen] = rows.of(seen).features(self.dataset.inputs, missing=self.missing)
        return found

    def read(
        self,
        sample: str,
        variation: Variation,
        weights: dict[Variation, Formula],
        shifted: ShiftedTrees | None = None,
        only: str = NO_ERA,
    ) -> Table:
        """Read one sample from its nominal trees or those of a shape, with the weights of what shares these events.

        All eras are read one after the other, or ``only`` one.
        """
        trees = self.catalogue.by_era(sample, variation, shifted, only)
        norms = self._norms(sample, trees, shifted, only) if weights else {}
        columns, friends = self._columns(sample, weights), []
        for (path, tree), era in trees.items():
            friends.append(self.catalogue.friends(path, sample, variation, shifted, era))
            norm = norms.get(era, 1.0)
            self._read_tree(path, tree, friends[-1], era, sample, weights, norm, columns)
        rows, groups = columns.rows.array(), columns.groups.array()
        if not len(rows):
            searched = ", ".join(f"tree {tree!r} in {path}" for path, tree in trees)
            keys = [formula.key for formula in self.selections(sample)]
            chosen = " and ".join([*keys, *([] if self.channels.is_everything else ["channels"])])
            what = f"no event of {searched} passes {chosen}" if len(groups) else f"no events in {searched}"
            raise DatasetError(
                f"sample {sample!r}, {variation}: {what}. Leave the sample out with likelihood.samples, or fix "
                f"{chosen if len(groups) else 'dataset.path'}"
            )
        is_by_row = not self.dataset.event_id
        if is_by_row and not self.dataset.samples[sample].split_by:
            groups = np.arange(len(groups))[:, None]
        return Table(
            ids=rows[:, None] if is_by_row else columns.ids.array(),
            features=columns.features.array(),
            weights={key: column.array() for key, column in columns.weights.items()},
            rows=rows,
            era=columns.era.array(),
            groups=groups,
            cells=columns.cells.array(),
            trees=tuple(trees),
            friends=tuple(friends),
            only=self.dataset.era_keys.index(only) if only else None,
        )

    def _columns(self, sample: str, weights: Mapping[Variation, Formula]) -> _Columns:
        """Return the empty columns of a table."""
        dataset = self.dataset
        n_eras = 1 if dataset.eras else 0
        n_ids, split_by = len(dataset.event_id), dataset.samples[sample].split_by
        return _Columns(
            ids=Growing(np.int64, n_eras + n_ids),
            features=Growing(np.float32, len(dataset.features)),
            weights={variation: Growing(np.float64) for variation in weights},
            rows=Growing(np.intp),
            era=Growing(np.int16),
            groups=Growing(np.int64, n_eras + (len(split_by) if split_by else n_ids)),
            cells=Growing(np.int32),
        )

    def _norms(
        self, sample: str, trees: Mapping[FileTree, str], shifted: ShiftedTrees | None, only: str
    ) -> dict[str, float]:
        """Return what the weights are multiplied by in each era.

        Shifted events were generated with the nominal ones, of which the shifted trees hold some; other events, of
        another generator, have a sum of weights of their own.
        """
        generated = trees
        if shifted is not None and shifted.paired:
            generated = self.catalogue.by_era(sample, NOMINAL, only=only)
        norms = {}
        for era in dict.fromkeys(generated.values()):
            own = [tree for tree, of_era in generated.items() if of_era == era]
            scale = self.dataset.eras[era].luminosity_scale if era else 1.0
            norms[era] = scale * self.norms.of(sample, era, own)
        return norms

    def _read_tree(
        self,
        path: Path,
        tree: str,
        friends: tuple[FileTree, ...],
        era: str,
        sample: str,
        weights: dict[Variation, Formula],
        norm: float,
        columns: _Columns,
    ) -> None:
        """Read a tree part by part, and put its rows behind those of the trees before it."""
        dataset = self.dataset
        self.used |= {path, *(file for file, _ in friends)}
        where = f"tree {tree!r} in {path}"
        first = columns.n_read
        with opened(path, tree, friends) as branches:
            for part in parts_of(branches, (*dataset.inputs.branches, *dataset.event_id)):
                rows = Rows(branches, where, dataset.inputs.missing, part)
                # Of all rows: the split of an event does not depend on the selection.
                ids, groups = self._ids_and_groups(rows, sample, era)
                rows.select(self.selections(sample))
                cells = self._cells(rows)
                columns.features.append(self._features(rows, cells))
                for variation, weight in weights.items():
                    formula = weight.in_era(era)
                    found = rows.values(formula)
                    require_finite(found, found, f"weight {formula.expression!r} of {rows.where}", rows=rows.numbers)
                    columns.weights[variation].append(found * norm)
                columns.ids.append(ids if rows.kept is None else ids[rows.kept])
                columns.rows.append(first + rows.numbers)
                columns.era.append(np.full(len(rows), dataset.era_keys.index(era)))
                columns.groups.append(groups)
                columns.cells.append(cells)
                columns.n_read += rows.n_read

    def _ids_and_groups(self, rows: Rows, sample: str, era: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what identifies the events of some rows, and what must not be shared between splits."""
        ids = self._ids(rows, self.dataset.event_id, "Fix dataset.event_id", era)
        split_by = self.dataset.samples[sample].split_by
        if not split_by:
            return ids, ids
        key = f"dataset.samples.{sample}.split_by (null where every row is an event of its own)"
        return ids, self._ids(rows, split_by, f"Fix {key}", era)

    def _ids(self, rows: Rows, names: Sequence[str], fix: str, era: str) -> NDArray[np.int64]:
        """Return branches that identify something, behind the number of the era: in each these begin again."""
        columns: dict[str, NDArray[Any]] = {}
        if era:
            columns["era"] = np.full(len(rows), self.dataset.era_keys.index(era))
        # A branch may be called era itself.
        columns |= {
            f"branch {name}" if name == "era" else name: found for name, found in rows.columns(names, fix).items()
        }
        return id_columns(columns, len(rows), rows.where)

    def column(self, table: Table, branch: str) -> NDArray[np.int64] | None:
        """Read one more branch of integers, behind the era, shape (n_events, 2); None where a tree has none such."""
        parts = []
        for (path, tree), friends in zip(table.trees, table.friends, strict=True):
            with opened(path, tree, friends) as branches:
                if branch not in branches:
                    return None
                where = f"tree {tree!r} in {path}"
                values = one_per_row(branches, branch, where, "Fix source_branches")
                parts.append(id_columns({branch: values}, len(values), where))
        return np.concatenate([table.era[:, None], np.concatenate(parts)[table.rows]], axis=1)

    def tables(self, name: str, effects: Sequence[Effect]) -> dict[Variation, Table]:
        """Read one simulated sample: the nominal with all its weights first, then every shifted selection."""
        own = self.dataset.samples[name].weight
        key = "dataset.weight" if own is None else f"dataset.samples.{name}.weight"
        weight = Formula(self.dataset.weight if own is None else own, key)
        weights = {NOMINAL: weight}
        shifts: dict[Variation, tuple[Variation, ShiftedTrees, str]] = {}
        for effect in effects:
            for label, number in effect.members.items():
                for direction in DIRECTIONS:
                    variation = Variation(label, direction)
                    if direction == effect.definition.missing:
                        # The nominal events stand in for it; what it is in the likelihood is said by the modifier.
                        weights[variation] = weight
                    elif effect.shifted_trees is not None:
                        source = Variation(effect.shifted_trees.source, direction)
                        shifts[variation] = source, effect.shifted_trees, effect.era
                    elif (text := effect.definition.varied_weight(direction, number)) is not None:
                        key = f"dataset.systematics.{effect.systematic}.{direction}"
                        weights[variation] = Formula(text, key, weight, effect.era)
        nominal = self.read(name, NOMINAL, weights)
        self.catalogue.claim(name, NOMINAL, nominal.trees, nominal.trees)
        found = {}
        for variation, (trees, shifted, era) in shifts.items():
            table = self.read(name, trees, {variation: weight}, shifted, era)
            found[variation] = replace(table, apart=shifted.apart(name, variation.direction, era))
        for variation, table in found.items():
            of_its_eras = self.catalogue.by_era(name, NOMINAL, only=shifts[variation][2])
            _require_everywhere(name, variation, tuple(of_its_eras), table.trees)
            self.catalogue.claim(name, variation, nominal.trees, table.trees)
        _require_two(name, found)
        return {NOMINAL: nominal, **found}

    # ------------------------------------------------------------------------------------------- the observed events
    def observed(self) -> Table | None:
        """Read all observed events, or return None where no sample has the role "data".

        Errors do not count them: they are written down, also where the observed events are blinded.
        """
        if (name := self.dataset.observed_name) is None:
            return None
        try:
            table = self.read(name, NOMINAL, {})
            require_distinct(self.dataset, name, NOMINAL, EventIds(table.ids).find(table.ids))
        except DatasetError as error:
            raise type(error)(uncounted(str(error))) from None
        return table

    def observed_checksum(self) -> str:
        """SHA-256 over the checksums of the files with the observed events; empty where there are none."""
        if (name := self.dataset.observed_name) is None:
            return ""
        checksums = sorted({file_checksum(path) for path in self.catalogue.files(name, NOMINAL)})
        return hashlib.sha256("".join(checksums).encode()).hexdigest()

    def used_rows(self, table: Table, seed: int) -> NDArray[np.intp]:
        """Return the rows of the observed events that are used: a seeded share of ``downsample_factor``."""
        n = len(table.rows)
        kept = round(n * self.dataset.downsample_factor)
        return np.sort(generator(seed, "observed").permutation(n)[:kept])

    def used_data(self, table: Table | None, seed: int) -> tuple[Observed, ...] | None:
        """Return the observed events that are used, by channel."""
        if table is None:
            return None
        used, n_folds = self.used_rows(table, seed), self.dataset.splits.n_folds
        # Without the era in front: whoever predicts a file may not know it.
        folds = folds_of(table.ids[used, -max(1, len(self.dataset.event_id)) :], n_folds)
        return self.channels.observed(table.features[used], table.cells[used], folds, n_folds)

    # --------------------------------------------------------------------------------------------------- the files
    def checksum(self) -> str:
        """SHA-256 over the checksums of the files that were read."""
        digest = hashlib.sha256()
        for path in sorted(self.used):
            digest.update(file_checksum(path).encode())
        return digest.hexdigest()

    def label(self) -> str:
        """What every output must say about these files: the texts ``label`` in them."""
        import uproot

        labels = []
        for path in sorted(self.used):
            if is_parquet(path):
                with opened(path, TABLE) as table:
                    labels += [text for text in [table.label(LABEL)] if text is not None]
                continue
            with uproot.open(address(path)) as file:
                if LABEL in file and isinstance(text := file[LABEL], str):
                    labels.append(str(text))
        return "; ".join(dict.fromkeys(labels))


def require_distinct(dataset: NtupleLayout, name: str, variation: Variation, rows: NDArray[Any]) -> None:
    """Check that the events of some rows, by their numbers, are all different."""
    if repeated := len(rows) - len(distinct(rows)):
        raise DatasetError(
            f"sample {name!r}, {variation}: {repeated} of {len(rows)} events repeat an id "
            f"({dataset.id_words}). Fix dataset.event_id, or remove the copies"
        )


def _require_two(sample: str, tables: Mapping[Variation, Table]) -> None:
    """Check that up and down of a systematic are not one tree, whose name has no direction."""
    for variation, table in tables.items():
        other = tables.get(Variation(variation.systematic, "down"))
        if variation.direction == "up" and other is not None and other.trees == table.trees:
            path, tree = table.trees[0]
            raise TreeNotFoundError(
                f"sample {sample!r}, {variation.systematic}: up and down are the same tree {tree!r} in {path}, "
                "expected two. Put {direction}, {Direction} or {DIRECTION} into dataset.variation, or say "
                "directions: [up]"
            )


def _require_everywhere(
    sample: str, variation: Variation, nominal: tuple[FileTree, ...], moved: tuple[FileTree, ...]
) -> None:
    """Check that trees that stand beside the nominal one in some of its files do so in all: events would be lost.

    Where none does, the shifted events have files of their own, which may be divided in another way.
    """
    files, tree = {path for path, _ in moved}, moved[0][1]
    if moved == nominal:
        raise TreeNotFoundError(
            f"sample {sample!r}, {variation}: dataset.tree and dataset.file name the nominal tree {tree!r} again, "
            "expected one of shifted events. Put {variation} into one of them"
        )
    lacking = [path for path, _ in nominal if path not in files]
    if lacking and len(lacking) < len(nominal):
        raise TreeNotFoundError(
            f"tree {tree!r} (sample {sample!r}, {variation}) is missing from {lacking[0]}, and from {len(lacking)} of "
            f"the {len(nominal)} files with the nominal tree {nominal[0][1]!r} in all, expected none. Write it there, "
            "empty where nothing is selected"
        )
