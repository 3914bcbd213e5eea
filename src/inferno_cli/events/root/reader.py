"""Samples of flat ntuples: their trees are found, read, and their rows made events, aligned by event id."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from importlib.resources import files as package_files
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import ConfigError, DatasetError, DatasetFileError, TreeNotFoundError, closest
from inferno_cli.events.assignment import Division, FileTree, Part, Parts
from inferno_cli.events.effects import Effect
from inferno_cli.events.features import require_finite
from inferno_cli.events.ids import UNKNOWN, EventIds
from inferno_cli.events.root.layout import EMBEDDED, NtupleLayout
from inferno_cli.events.root.rows import Formula, Rows
from inferno_cli.events.root.trees import (
    contents,
    find_files,
    id_columns,
    is_tree,
    one_per_row,
    opened,
)
from inferno_cli.events.sample import (
    DIRECTIONS,
    NOMINAL,
    FloatArray,
    Sample,
    Variation,
    generator,
    split_rows,
)
from inferno_cli.events.systematic import ShiftedTrees
from inferno_cli.events.validation import uncounted
from inferno_cli.files import file_checksum

EMBEDDED_FILE = "top11004_sim.root"
LABEL = "label"
"""A text of this name in a file is what every output made from it must say."""
MIN_OVERLAP = 0.5
"""A shifted tree shares most events with the nominal; with less than this share the ids cannot be the same."""


@dataclass(frozen=True)
class Table:
    """Selected rows of one sample in one variation, from its trees in their order.

    Attributes:
        ids: Shape (n_events, n_branches).
        features: Shape (n_events, n_features).
        weights: Of each variation, shape (n_events,).
        rows: Number of each row in the trees, one behind the other, shape (n_events,).
        groups: Values that must not be shared between splits, ``split_by`` or else the ids, of all rows, also those
            that are not selected: which split an event is in does not depend on the selection. Shape (n_rows,
            n_branches).
        trees: Where they are from.
        apart: What its events are called, where they are others than the nominal ones; None: the ids pair them.
    """

    ids: NDArray[np.int64]
    features: NDArray[np.float32]
    weights: dict[Variation, FloatArray]
    rows: NDArray[np.intp]
    groups: NDArray[np.int64]
    trees: tuple[FileTree, ...]
    apart: str | None = None

    @property
    def group(self) -> NDArray[np.int64]:
        """The same of the selected rows, shape (n_events, n_branches)."""
        return self.groups if len(self.groups) == len(self.rows) else self.groups[self.rows]


class Reader:
    """Reads the trees of one dataset configuration."""

    def __init__(self, dataset: NtupleLayout, *, missing: bool = False) -> None:
        """Prepare to read; features that are not finite are an error, or with ``missing`` taken, to describe them."""
        self.dataset = dataset
        self.missing = missing
        self.used: set[Path] = set()
        self.ids: dict[str, EventIds] = {}
        """Of the samples that were read: the event of each row of a ``Sample``."""
        self.groups: dict[str, int] = {}
        """Of the same: how many groups of events are divided into splits, also those of which none is selected."""
        self.ids_of: dict[str, tuple[str, ...]] = {}
        """Of each sample the keys of ``ids``, in order: its own, and those of variations that have other events."""
        self.blocks: dict[str, int] = {}
        """Of variations that have other events: their block of the features."""
        self.overlap: dict[tuple[str, Variation], float] = {}
        """Share of events that a sample and its shifted trees have in common, of the smaller of the two."""
        self.claims: dict[FileTree, tuple[str, Variation, tuple[FileTree, ...]]] = {}
        """Who reads a tree: the sample, its variation, and its nominal trees."""

    # ------------------------------------------------------------------------------------------------ finding trees
    def configured(
        self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None
    ) -> tuple[list[Path], str]:
        """Return the files that may hold one sample in one variation, and the name of its tree.

        ``shifted`` is what a systematic says of its trees: its patterns go before those of the sample and the dataset.
        """
        dataset, settings = self.dataset, self.dataset.samples[sample]
        patterns = {"tree": settings.tree or dataset.tree, "file": settings.file or dataset.file}
        keys = {"tree": "tree", "file": "file"}
        names = {"sample": sample, "variation": ""}
        words: dict[str, str] = {}
        if shifted is not None:
            words = _words(shifted.source, variation.direction)
            key = f"systematics.{shifted.systematic}"
            is_own = shifted.variation is not None
            suffix = shifted.variation if shifted.variation is not None else dataset.variation
            names["variation"] = _fill(suffix, f"{key}.variation" if is_own else "variation", **words)
            for name, pattern in (("tree", shifted.tree), ("file", shifted.file)):
                if pattern is not None:
                    patterns[name], keys[name] = pattern, f"{key}.{name}"

        def filled(name: str, **values: str) -> str:
            """Fill the pattern of the tree or the file; the dataset's own know nothing of systematics."""
            known = values if "." in keys[name] else {key: values[key] for key in names}
            return _fill(patterns[name], keys[name], **known)

        tree = filled("tree", **names, **words)
        # A "*" or "[" in a name is no pattern: "W*" must not read the files of "W+jets".
        pattern = filled("file", **{key: escape(name) for key, name in (names | words).items()})
        if dataset.path == EMBEDDED:
            return [Path(str(package_files("inferno_cli") / "data" / EMBEDDED_FILE))], tree
        return find_files(dataset.path, pattern, "dataset.path", "dataset.file"), tree

    def locate(self, sample: str, variation: Variation, shifted: ShiftedTrees | None = None) -> tuple[FileTree, ...]:
        """Return the trees that hold one sample in one variation."""
        files, tree = self.configured(sample, variation, shifted)
        fix = "Fix dataset.tree, dataset.variation or dataset.path"
        found: list[FileTree] = []
        trees: set[str] = set()
        for path in files:
            inside = contents(path)
            trees |= {name for name, kind in inside.items() if is_tree(kind)}
            if is_tree(inside.get(tree, "")):
                found.append((path, tree))
            elif tree in inside:
                raise TreeNotFoundError(
                    f"{tree!r} (sample {sample!r}, {variation}) in {path} is a {inside[tree]}, expected a TTree or "
                    f"RNTuple. {fix}"
                )
        if not found:
            searched = files[0] if len(files) == 1 else f"any of {len(files)} files in {files[0].parent}"
            raise TreeNotFoundError(
                f"tree {tree!r} (sample {sample!r}, {variation}) is missing from {searched}{closest(tree, trees)}. "
                f"{fix}"
            )
        return tuple(found)

    def trees(self, only: Collection[Path] | None = None) -> dict[FileTree, Parts]:
        """Return the trees that the configuration names and the files, or some of them, hold.

        Those of a sample or a systematic that a run leaves out may be missing.
        """
        found: dict[FileTree, Parts] = {}
        for sample in self.dataset.samples:
            needed: list[tuple[Variation, ShiftedTrees | None]] = [(NOMINAL, None)]
            for name, item in self.dataset.systematics.items():
                shifted = item.shifted_trees(name)
                if shifted is not None and sample in item.samples:
                    for direction in shifted.directions:
                        needed.append((Variation(shifted.source, direction), shifted))
            for variation, shifted in needed:
                try:
                    files, tree = self.configured(sample, variation, shifted)
                except DatasetFileError:
                    continue
                first_row = 0
                for path in files:
                    if (only is None or path in only) and is_tree(contents(path).get(tree, "")):
                        events = shifted.apart(sample, variation.direction) if shifted is not None else None
                        found[path, tree] = (*found.get((path, tree), ()), Part(events or sample, first_row))
                        # Of the observed events nobody asks, and their number is not to be written down.
                        is_numbered = not self.dataset.event_id and sample != self.dataset.observed_name
                        first_row += _entries(path, tree) if is_numbered else 0
        return found

    # ---------------------------------------------------------------------------------------------------- reading
    def selections(self, sample: str) -> list[Formula]:
        """Return the selections of a sample."""
        every, own = self.dataset.selection, self.dataset.samples[sample].selection
        texts = {"dataset.selection": every, f"dataset.samples.{sample}.selection": own}
        return [Formula(text, key) for key, text in texts.items() if text is not None]

    def read(
        self,
        sample: str,
        variation: Variation,
        weights: dict[Variation, Formula],
        shifted: ShiftedTrees | None = None,
    ) -> Table:
        """Read one sample from its nominal trees or those of a shape, with the weights of what shares these events."""
        trees = self.locate(sample, variation, shifted)
        parts = [self._read_tree(*tree, sample, weights) for tree in trees]
        groups = np.concatenate([part.groups for part in parts])
        before = np.cumsum([0, *(len(part.groups) for part in parts)])
        rows = np.concatenate([part.rows + first for part, first in zip(parts, before, strict=False)])
        if not len(rows):
            searched = ", ".join(f"tree {tree!r} in {path}" for path, tree in trees)
            chosen = " and ".join(formula.key for formula in self.selections(sample))
            what = f"no event of {searched} passes {chosen}" if len(groups) else f"no events in {searched}"
            raise DatasetError(
                f"sample {sample!r}, {variation}: {what}. Leave the sample out with likelihood.samples, or fix "
                f"{chosen if len(groups) else 'dataset.path'}"
            )
        is_by_row = not self.dataset.event_id
        if is_by_row and not self.dataset.samples[sample].split_by:
            groups = np.arange(len(groups))[:, None]
        return Table(
            ids=rows[:, None] if is_by_row else np.concatenate([part.ids for part in parts]),
            features=np.concatenate([part.features for part in parts]),
            weights={key: np.concatenate([part.weights[key] for part in parts]) for key in weights},
            rows=rows,
            groups=groups,
            trees=trees,
        )

    def _read_tree(self, path: Path, tree: str, sample: str, weights: dict[Variation, Formula]) -> Table:
        dataset, settings = self.dataset, self.dataset.samples[sample]
        self.used.add(path)
        where = f"tree {tree!r} in {path}"
        split_key = f"dataset.samples.{sample}.split_by (null where every row is an event of its own)"
        with opened(path, tree) as branches:
            rows = Rows(branches, where, dataset.inputs.missing)
            # Of all rows: the split of an event does not depend on the selection.
            ids = id_columns(rows.numbers(dataset.event_id, "Fix dataset.event_id"), len(rows), where)
            groups = ids
            if settings.split_by:
                groups = id_columns(rows.numbers(settings.split_by, f"Fix {split_key}"), len(rows), where)
            rows.select(self.selections(sample))
            features = rows.features(dataset.inputs, missing=self.missing)
            values = {variation: rows.values(weight) for variation, weight in weights.items()}
        for variation, array in values.items():
            require_finite(array, array, f"weight {weights[variation].expression!r} of {where}", rows=rows.kept)
        return Table(
            ids=ids if rows.kept is None else ids[rows.kept],
            features=features,
            weights=values,
            rows=np.arange(len(rows)) if rows.kept is None else rows.kept,
            groups=groups,
            trees=((path, tree),),
        )

    def column(self, table: Table, branch: str) -> NDArray[np.int64] | None:
        """Read one more branch of integers, shape (n_events, 1); None where a tree has none of that name."""
        parts = []
        for path, tree in table.trees:
            with opened(path, tree) as branches:
                if branch not in branches:
                    return None
                where = f"tree {tree!r} in {path}"
                values = one_per_row(branches, branch, where, "Fix source_branches")
                parts.append(id_columns({branch: values}, len(values), where))
        return np.concatenate(parts)[table.rows]

    def tables(self, name: str, effects: Sequence[Effect]) -> dict[Variation, Table]:
        """Read one simulated sample: the nominal with all its weights first, then every shifted selection."""
        own = self.dataset.samples[name].weight
        key = "dataset.weight" if own is None else f"dataset.samples.{name}.weight"
        weight = Formula(self.dataset.weight if own is None else own, key)
        weights = {NOMINAL: weight}
        shifts: dict[Variation, tuple[Variation, ShiftedTrees]] = {}
        for effect in effects:
            for label, number in effect.members.items():
                for direction in DIRECTIONS:
                    variation = Variation(label, direction)
                    if direction == effect.definition.missing:
                        # The nominal events stand in for it; what it is in the likelihood is said by the modifier.
                        weights[variation] = weight
                    elif effect.shifted_trees is not None:
                        shifts[variation] = Variation(effect.shifted_trees.source, direction), effect.shifted_trees
                    elif (text := effect.definition.varied_weight(direction, number)) is not None:
                        key = f"dataset.systematics.{effect.systematic}.{direction}"
                        weights[variation] = Formula(text, key, weight)
        nominal = self.read(name, NOMINAL, weights)
        self._claim(name, NOMINAL, nominal.trees, nominal.trees)
        found = {}
        for variation, (trees, shifted) in shifts.items():
            table = self.read(name, trees, {variation: weight}, shifted)
            found[variation] = replace(table, apart=shifted.apart(name, variation.direction))
        for variation, table in found.items():
            _require_everywhere(name, variation, nominal.trees, table.trees)
            self._claim(name, variation, nominal.trees, table.trees)
        _require_two(name, found)
        return {NOMINAL: nominal, **found}

    def _claim(
        self, sample: str, variation: Variation, nominal: tuple[FileTree, ...], trees: tuple[FileTree, ...]
    ) -> None:
        """Check that shifted trees are not those of another sample: "TT" + "_had_jes_up" is "TT_had" + "_jes_up"."""
        for path, tree in trees:
            other, its_variation, its_nominal = self.claims.setdefault((path, tree), (sample, variation, nominal))
            if other != sample and its_nominal != nominal and (variation, its_variation) != (NOMINAL, NOMINAL):
                raise DatasetError(
                    f"tree {tree!r} in {path} is that of sample {other!r}, {its_variation}, and of sample {sample!r}, "
                    f"{variation}; expected a tree for each. Rename a sample or a systematic, or fix dataset.tree or "
                    "dataset.variation"
                )

    # ---------------------------------------------------------------------------------------------------- aligning
    def aligned(self, name: str, tables: Mapping[Variation, Table], effects: Sequence[Effect]) -> Sample:
        """Return the rows of one simulated sample as events: those with one id are one event.

        Raises:
            DatasetError: If ids repeat, a shifted tree has other events, or one event has several ``split_by``.
            TemplateError: If a yield is not positive.
        """
        dataset = self.dataset
        rows = self._numbered(name, tables)
        n = sum(len(self.ids[events]) for events in self.ids_of[name])
        features = np.zeros((len(tables), n, len(dataset.features)), dtype=np.float32)
        weights: dict[Variation, FloatArray] = {}
        view = []
        for block, (variation, table) in enumerate(tables.items()):
            features[block, rows[variation]] = table.features
            if table.apart is not None:
                self.blocks[table.apart] = block
            for varied, values in table.weights.items():
                weights[varied] = np.zeros(n)
                weights[varied][rows[variation]] = values
                view.append(block)
        sample = Sample(
            name=name,
            is_signal=name in dataset.signal_names,
            group=self._groups(name, tables, rows, n),
            variations=tuple(weights),
            features=features,
            view=tuple(view),
            weights=np.stack(list(weights.values())) * dataset.luminosity_scale * dataset.downsample_factor,
        )
        for effect in effects:
            sample = effect.definition.vary(sample, effect.parameter, dataset)
        return sample

    def _numbered(self, name: str, tables: Mapping[Variation, Table]) -> dict[Variation, NDArray[np.int64]]:
        """Return the number of the event of each row of each table; events that are others come behind the paired."""
        paired = [table.ids for table in tables.values() if table.apart is None]
        ids = self.ids[name] = EventIds(np.concatenate(paired))
        self.ids_of[name] = (name,)
        first, rows = len(ids), {}
        for variation, table in tables.items():
            if table.apart is None:
                rows[variation] = ids.find(table.ids)
                self._check_ids(name, variation, rows[NOMINAL], rows[variation])
                continue
            own = self.ids[table.apart] = EventIds(table.ids)
            rows[variation] = first + own.find(table.ids)
            self._require_distinct(name, variation, rows[variation])
            self.overlap[name, variation] = 0.0
            self.ids_of[name] += (table.apart,)
            first += len(own)
        return rows

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

    def _groups(
        self, name: str, tables: Mapping[Variation, Table], rows: Mapping[Variation, NDArray[Any]], n: int
    ) -> NDArray[np.int64]:
        """Return the number of each event's ``split_by``, shape (n_events,), which is the same in every tree."""
        group = np.full(n, UNKNOWN)
        paired = EventIds(np.concatenate([table.groups for table in tables.values() if table.apart is None]))
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

    def _require_distinct(self, name: str, variation: Variation, rows: NDArray[Any]) -> None:
        if repeated := len(rows) - len(np.unique(rows)):
            raise DatasetError(
                f"sample {name!r}, {variation}: {repeated} of {len(rows)} events repeat an id "
                f"({' + '.join(self.dataset.event_id)}). Fix dataset.event_id, or remove the copies"
            )

    def _check_ids(self, name: str, variation: Variation, nominal: NDArray[Any], rows: NDArray[Any]) -> None:
        self._require_distinct(name, variation, rows)
        share = len(np.intersect1d(nominal, rows)) / min(len(nominal), len(rows))
        if variation != NOMINAL:
            self.overlap[name, variation] = share
        if share < MIN_OVERLAP:
            raise DatasetError(
                f"sample {name!r}, {variation}: {share:.0%} of the event ids ({' + '.join(self.dataset.event_id)}) "
                f"are also in the nominal tree, expected at least {MIN_OVERLAP:.0%}. The shifted tree must hold the "
                "same events; fix dataset.event_id, or say paired: false where they are of another generator"
            )

    # -------------------------------------------------------------------------------------------- splits and the data
    def split(self, sample: Sample, seed: int) -> list[NDArray[np.intp]]:
        """Return the rows of the train, validation and template split of a sample."""
        splits = self.dataset.splits
        shares = (splits.train, splits.validation, splits.template)
        groups = np.arange(self.groups[sample.name])
        return split_rows(sample.group, shares, generator(seed, f"split {sample.name}"), groups)

    def observed(self) -> Table | None:
        """Read all observed events, or return None where no sample has the role "data".

        Errors do not count them: they are written down, also where the observed events are blinded.
        """
        if (name := self.dataset.observed_name) is None:
            return None
        try:
            table = self.read(name, NOMINAL, {})
            self._require_distinct(name, NOMINAL, EventIds(table.ids).find(table.ids))
        except DatasetError as error:
            raise type(error)(uncounted(str(error))) from None
        return table

    def observed_checksum(self) -> str:
        """SHA-256 over the checksums of the files with the observed events; empty where there are none."""
        if (name := self.dataset.observed_name) is None:
            return ""
        checksums = sorted({file_checksum(path) for path, _ in self.locate(name, NOMINAL)})
        return hashlib.sha256("".join(checksums).encode()).hexdigest()

    def used_data(self, table: Table | None, seed: int) -> NDArray[np.float32] | None:
        """Return the features of the observed events that are used: a seeded share of ``downsample_factor``."""
        if table is None:
            return None
        n = len(table.features)
        kept = round(n * self.dataset.downsample_factor)
        return table.features[np.sort(generator(seed, "observed").permutation(n)[:kept])]

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
            with uproot.open(path) as file:
                if LABEL in file and isinstance(text := file[LABEL], str):
                    labels.append(str(text))
        return "; ".join(dict.fromkeys(labels))


def _entries(path: Path, tree: str) -> int:
    with opened(path, tree) as branches:
        return int(branches.num_entries)


def _fill(pattern: str, key: str, **values: str) -> str:
    allowed = ", ".join(f"{{{name}}}" for name in values)
    error = ConfigError(f"dataset.{key} is {pattern!r}; the placeholders that it may hold are {allowed}")
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as broken:
        raise error from broken
    # Names alone: format() also takes attributes, {sample.__class__}, and widths of any size, {sample:999999999}.
    for _, name, width, conversion in parts:
        if name is not None and (name not in values or width or conversion):
            raise error
    return pattern.format(**values)


def _words(source: str, direction: str) -> dict[str, str]:
    """Return what the placeholders of a systematic stand for, the direction as each of them is spelt itself."""
    return {
        "systematic": source,
        "direction": direction,
        "Direction": direction.capitalize(),
        "DIRECTION": direction.upper(),
    }


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
