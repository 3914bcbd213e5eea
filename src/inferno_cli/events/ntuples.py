"""The one reader of flat ntuples: uproot, configured by YAML."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from glob import escape
from importlib.resources import files as package_files
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import Effect, NtupleDataset, ShapeSystematic, WeightSystematic
from inferno_cli.errors import ConfigError, DatasetError, DatasetFileError, TreeNotFoundError, closest
from inferno_cli.events.files import file_checksum, find_files, id_columns, opened
from inferno_cli.events.ids import UNKNOWN, EventIds
from inferno_cli.events.membership import Division, Membership, Place
from inferno_cli.events.sample import (
    DIRECTIONS,
    NOMINAL,
    Events,
    FloatArray,
    Sample,
    Variation,
    generator,
    split_rows,
    variations,
)
from inferno_cli.events.shift import shifted
from inferno_cli.events.trees import contents, is_tree, one_per_row
from inferno_cli.events.weights import Weight

EMBEDDED = "embedded"
EMBEDDED_FILE = "top11004_sim.root"
LABEL = "label"
"""A text of this name in a file is what every output made from it must say."""
MIN_OVERLAP = 0.5
"""A shifted tree shares most events with the nominal; with less than this share the ids cannot be the same."""


Places = tuple[tuple[Path, str], ...]
"""Files and trees."""


@dataclass(frozen=True)
class Table:
    """Rows of one sample in one variation.

    Attributes:
        ids: Event ids, shape (n_events, n_branches).
        features: Shape (n_events, n_features).
        weights: By variation, shape (n_events,).
        group: Values that must not be shared between splits: ``split_by``, else the ids.
        places: The trees, in the order of the rows.
    """

    ids: NDArray[np.int64]
    features: NDArray[np.float32]
    weights: dict[Variation, FloatArray]
    group: NDArray[np.int64]
    places: Places


@cache
def _embedded() -> Path:
    return Path(str(package_files("inferno_cli") / "data" / EMBEDDED_FILE))


class Reader:
    """Reads the trees of one dataset configuration."""

    def __init__(self, dataset: NtupleDataset, *, missing: bool = False) -> None:
        """Prepare to read.

        Args:
            dataset: Where the events are.
            missing: Take features that are not finite, to describe them; else they are an error.
        """
        self.dataset = dataset
        self.missing = missing
        self.used: set[Path] = set()
        self.ids: dict[str, EventIds] = {}
        """Of the samples that were read: the event of each row of a ``Sample``."""
        self.overlap: dict[tuple[str, Variation], float] = {}
        """Share of events that a sample and its shifted trees have in common, of the smaller of the two."""
        self.claims: dict[tuple[Path, str], tuple[str, Variation, Places]] = {}
        """Who reads a tree: the sample, its variation, and its nominal trees."""

    def _candidates(self, pattern: str) -> list[Path]:
        """Files that may hold a tree."""
        if self.dataset.path == EMBEDDED:
            return [_embedded()]
        return find_files(self.dataset.path, pattern, "dataset.path", "dataset.file")

    def configured(self, sample: str, variation: Variation) -> tuple[list[Path], str]:
        """Return the files that may hold one sample in one variation, and the name of its tree."""
        settings = self.dataset.samples[sample]
        suffix = _fill(self.dataset.variation, "variation", **variation._asdict()) if variation.systematic else ""
        names = {"sample": sample, "variation": suffix}
        tree = _fill(settings.tree or self.dataset.tree, "tree", **names)
        # A "*" or "[" in a name is no pattern: "W*" must not read the files of "W+jets".
        literal = {key: escape(name) for key, name in names.items()}
        return self._candidates(_fill(settings.file or self.dataset.file, "file", **literal)), tree

    def locate(self, sample: str, variation: Variation) -> list[tuple[Path, str]]:
        """Return the (file, tree) pairs that hold one sample in one variation."""
        files, tree = self.configured(sample, variation)
        fix = "Fix dataset.tree, dataset.variation or dataset.path"
        found: list[tuple[Path, str]] = []
        trees: set[str] = set()
        for path in files:
            inside = contents(path)
            trees |= {name for name, kind in inside.items() if is_tree(kind)}
            if tree in inside and is_tree(inside[tree]):
                found.append((path, tree))
            elif tree in inside:
                raise TreeNotFoundError(
                    f"{tree!r} (sample {sample!r}, {variation}) in {path} is a {inside[tree]}, expected a TTree or "
                    f"RNTuple. {fix}"
                )
        if not found:
            where = files[0] if len(files) == 1 else f"any of {len(files)} files in {files[0].parent}"
            raise TreeNotFoundError(
                f"tree {tree!r} (sample {sample!r}, {variation}) is missing from {where}{closest(tree, trees)}. {fix}"
            )
        return found

    def read(self, sample: str, variation: Variation, weights: dict[Variation, Weight]) -> Table:
        """Read one sample in one variation.

        Args:
            sample: Name of the sample.
            variation: Which trees: the nominal, or those of a shape systematic.
            weights: Weight expressions by variation that share these events; empty for data.
        """
        places = self.locate(sample, variation)
        parts = [self._read_tree(path, tree, sample, weights) for path, tree in places]
        ids = np.concatenate([part.ids for part in parts])
        if not len(ids):
            where = ", ".join(f"tree {tree!r} in {path}" for path, tree in places)
            raise DatasetError(
                f"sample {sample!r}, {variation}: no events in {where}. Leave the sample out with likelihood.samples, "
                "or fix dataset.path"
            )
        if not self.dataset.event_id:
            ids = np.arange(len(ids))[:, None]
        group = np.concatenate([part.group for part in parts])
        return Table(
            ids=ids,
            features=np.concatenate([part.features for part in parts]),
            weights={key: np.concatenate([part.weights[key] for part in parts]) for key in weights},
            group=group if self.dataset.samples[sample].split_by else ids,
            places=tuple(places),
        )

    def _read_tree(self, path: Path, tree: str, sample: str, weights: dict[Variation, Weight]) -> Table:
        dataset, settings = self.dataset, self.dataset.samples[sample]
        self.used.add(path)
        where = f"tree {tree!r} in {path}"
        split_key = f"dataset.samples.{sample}.split_by (null where every row is an event of its own)"
        with opened(path, tree) as branches:

            def arrays(names: tuple[str, ...], key: str) -> dict[str, NDArray[Any]]:
                return {name: one_per_row(branches, name, where, f"Fix {key}") for name in names}

            features = arrays(dataset.features, "dataset.features")
            ids = arrays(dataset.event_id, "dataset.event_id")
            groups = arrays(settings.split_by or (), split_key)
            values = {variation: weight.values(branches, where) for variation, weight in weights.items()}
            n = int(branches.num_entries)
        table = np.empty((n, len(features)), dtype=np.float32)
        for column, (name, array) in enumerate(features.items()):
            with np.errstate(over="ignore"):
                table[:, column] = array
            if not self.missing:
                _require_finite(table[:, column], array, f"branch {name!r} of {where}")
        for variation, array in values.items():
            _require_finite(array, array, f"weight {weights[variation].expression!r} of {where}")
        return Table(
            ids=id_columns(ids, n, where),
            features=table,
            weights=values,
            group=id_columns(groups, n, where),
            places=((path, tree),),
        )

    def _weight(self, sample: str) -> Weight:
        own = self.dataset.samples[sample].weight
        return (
            Weight(self.dataset.weight, "dataset.weight")
            if own is None
            else Weight(own, f"dataset.samples.{sample}.weight")
        )

    def tables(self, name: str, effects: Sequence[Effect]) -> dict[Variation, Table]:
        """Read one simulated sample: the nominal with all its weights first, then every shifted selection."""
        weights = {NOMINAL: self._weight(name)}
        trees: dict[Variation, Variation] = {}
        for effect in effects:
            item = effect.definition
            for label, number in effect.members.items():
                for direction in DIRECTIONS:
                    variation = Variation(label, direction)
                    if isinstance(item, ShapeSystematic):
                        trees[variation] = Variation(item.source or effect.systematic, direction)
                    elif isinstance(item, WeightSystematic):
                        text = item.up if direction == "up" else item.down
                        key = f"dataset.systematics.{effect.systematic}.{direction}"
                        text = text.replace("{member}", str(number))
                        weights[variation] = Weight(text, key, weights[NOMINAL])
        nominal = self.read(name, NOMINAL, weights)
        self._claim(name, NOMINAL, nominal.places, nominal.places)
        shifts = {variation: self.read(name, tree, {variation: weights[NOMINAL]}) for variation, tree in trees.items()}
        for variation, shift in shifts.items():
            _require_everywhere(name, variation, nominal.places, shift.places)
            self._claim(name, variation, nominal.places, shift.places)
        return {NOMINAL: nominal, **shifts}

    def _claim(self, sample: str, variation: Variation, nominal: Places, places: Places) -> None:
        """Check that shifted trees are not those of another sample: "TT" + "_had_jes_up" is "TT_had" + "_jes_up"."""
        for path, tree in places:
            other, its_variation, its_nominal = self.claims.setdefault((path, tree), (sample, variation, nominal))
            if other != sample and its_nominal != nominal and (variation, its_variation) != (NOMINAL, NOMINAL):
                raise DatasetError(
                    f"tree {tree!r} in {path} is that of sample {other!r}, {its_variation}, and of sample {sample!r}, "
                    f"{variation}; expected a tree for each. Rename a sample or a systematic, or fix dataset.tree or "
                    "dataset.variation"
                )

    def sample(self, name: str, effects: Sequence[Effect]) -> Sample:
        """Read one simulated sample: nominal, and every variation of its systematics, aligned by event id."""
        return self.aligned(name, self.tables(name, effects), effects)

    def aligned(self, name: str, tables: Mapping[Variation, Table], effects: Sequence[Effect]) -> Sample:
        """Return the rows of one simulated sample as events: those with one id are one event.

        Raises:
            DatasetError: If ids repeat, a shifted tree has other events, or one event has several ``split_by``.
            TemplateError: If a yield is not positive.
        """
        dataset, settings = self.dataset, self.dataset.samples[name]
        ids = self.ids[name] = EventIds(np.concatenate([table.ids for table in tables.values()]))
        rows = {variation: ids.find(table.ids) for variation, table in tables.items()}
        for variation, table_rows in rows.items():
            self._check_ids(name, variation, rows[NOMINAL], table_rows)
        features = np.zeros((len(tables), len(ids), len(dataset.features)), dtype=np.float32)
        weights: dict[Variation, FloatArray] = {}
        view = []
        for block, (variation, table) in enumerate(tables.items()):
            features[block, rows[variation]] = table.features
            for varied, values in table.weights.items():
                weights[varied] = np.zeros(len(ids))
                weights[varied][rows[variation]] = values
                view.append(block)
        group = np.full(len(ids), UNKNOWN)
        labels = EventIds(np.concatenate([table.group for table in tables.values()]))
        for variation, table in tables.items():
            found, before = labels.find(table.group), group[rows[variation]]
            if other := int(((before != UNKNOWN) & (before != found)).sum()):
                raise DatasetError(
                    f"sample {name!r}, {variation}: {other} events have another value of "
                    f"{' + '.join(settings.split_by or ())} than in the trees before, expected the same; their source "
                    f"events would leak between the splits. Repair the branch, or fix dataset.samples.{name}.split_by"
                )
            group[rows[variation]] = found
        sample = Sample(
            name=name,
            is_signal=settings.role == "signal",
            group=group,
            variations=tuple(weights),
            features=features,
            view=tuple(view),
            weights=np.stack(list(weights.values())) * dataset.luminosity_scale * dataset.downsample_factor,
        )
        return shifted(sample, dataset.features, effects)

    def _require_distinct(self, name: str, variation: Variation, rows: NDArray[Any]) -> None:
        if repeated := len(rows) - len(np.unique(rows)):
            raise DatasetError(
                f"sample {name!r}, {variation}: {repeated} of {len(rows)} events repeat an id "
                f"({' + '.join(self.dataset.event_id)}). Fix dataset.event_id, or remove the copies"
            )

    def _check_ids(self, name: str, variation: Variation, nominal: NDArray[Any], rows: NDArray[Any]) -> None:
        key = " + ".join(self.dataset.event_id)
        self._require_distinct(name, variation, rows)
        share = len(np.intersect1d(nominal, rows)) / min(len(nominal), len(rows))
        if variation != NOMINAL:
            self.overlap[name, variation] = share
        if share < MIN_OVERLAP:
            raise DatasetError(
                f"sample {name!r}, {variation}: {share:.0%} of the event ids ({key}) are also in the nominal tree, "
                f"expected at least {MIN_OVERLAP:.0%}. The shifted tree must hold the same events; fix dataset.event_id"
            )

    def data(self) -> Table | None:
        """Read all observed events, or return None where no sample has the role "data"."""
        names = [name for name, sample in self.dataset.samples.items() if sample.role == "data"]
        if not names:
            return None
        table = self.read(names[0], NOMINAL, {})
        self._require_distinct(names[0], NOMINAL, EventIds(table.ids).find(table.ids))
        return table

    def subset(self, n: int, seed: int) -> NDArray[np.intp]:
        """Return which of ``n`` observed events are used: a seeded share of ``downsample_factor``, ascending."""
        kept = round(n * self.dataset.downsample_factor)
        return np.sort(generator(seed, "observed").permutation(n)[:kept])

    def observed(self, seed: int) -> NDArray[np.float32] | None:
        """Read the observed events that are used."""
        table = self.data()
        return None if table is None else table.features[self.subset(len(table.features), seed)]

    def column(self, table: Table, branch: str) -> NDArray[np.int64] | None:
        """Read one more branch of integers, shape (n_rows, 1); None where a tree has none of that name."""
        parts = []
        for path, tree in table.places:
            with opened(path, tree) as branches:
                if branch not in branches:
                    return None
                where = f"tree {tree!r} in {path}"
                values = one_per_row(branches, branch, where, "Fix source_branches")
                parts.append(id_columns({branch: values}, len(values), where))
        return np.concatenate(parts)

    def entries(self, path: Path, tree: str) -> int:
        """Return the number of rows of a tree."""
        with opened(path, tree) as branches:
            return int(branches.num_entries)

    def split(self, sample: Sample, seed: int) -> list[NDArray[np.intp]]:
        """Return the rows of the train, validation and template split of a sample."""
        splits = self.dataset.splits
        shares = (splits.train, splits.validation, splits.template)
        return split_rows(sample.group, shares, generator(seed, f"split {sample.name}"))

    def divided(self, name: str, effects: Sequence[Effect], seed: int) -> tuple[Sample, list[NDArray[np.intp]]]:
        """Read one simulated sample; return it with the rows of its three splits."""
        sample = self.sample(name, effects)
        return sample, self.split(sample, seed)

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


def _require_everywhere(
    sample: str, variation: Variation, nominal: Sequence[tuple[Path, str]], moved: Sequence[tuple[Path, str]]
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


def _require_finite(values: NDArray[Any], found: NDArray[Any], what: str) -> None:
    """Check the values that are used; name those that were found in the file."""
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        first = found[bad[0]]
        why = "too large for a network (float32)" if np.isfinite(first) else "not finite"
        raise DatasetError(
            f"{what}: {len(bad)} of {len(values)} values are {why} (first in row {bad[0]}: {first}). "
            "Remove these events or repair the branch"
        )


def configured_trees(reader: Reader, only: Collection[Path] | None = None) -> dict[tuple[Path, str], tuple[Place, ...]]:
    """Return the trees that a dataset's configuration names and its files hold: data and shifted trees as well.

    Those of a sample or a systematic that a run leaves out may be missing.

    Args:
        reader: Of the dataset.
        only: Look into these files alone; None: all.
    """
    dataset = reader.dataset
    found: dict[tuple[Path, str], tuple[Place, ...]] = {}
    for sample in dataset.samples:
        shapes = [
            item.source or name
            for name, item in dataset.systematics.items()
            if isinstance(item, ShapeSystematic) and sample in item.samples
        ]
        for variation in variations(shapes):
            try:
                files, tree = reader.configured(sample, variation)
            except DatasetFileError:
                continue
            first_row = 0
            for path in files:
                if (only is None or path in only) and is_tree(contents(path).get(tree, "")):
                    found[path, tree] = (*found.get((path, tree), ()), Place(sample, first_row))
                    first_row += 0 if dataset.event_id else reader.entries(path, tree)
    return found


def in_files(places: Mapping[tuple[Path, str], tuple[Place, ...]]) -> dict[tuple[str, str], tuple[Place, ...]]:
    """Return trees by the SHA-256 of their files, whatever the files are called."""
    found: dict[tuple[str, str], tuple[Place, ...]] = {}
    for (path, tree), items in places.items():
        key = file_checksum(path), tree
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *items)))
    return found


def read(dataset: NtupleDataset, samples: Sequence[str], effects: Sequence[Effect], seed: int) -> Events:
    """Read a dataset of ntuples and divide it into its three splits.

    Args:
        dataset: Where the events are and what they mean.
        samples: Samples to read.
        effects: The systematics whose variations are needed.
        seed: Seed of the splits and of the subset of the data.
    """
    reader = Reader(dataset)
    parts = []
    divisions = {}
    for name in samples:
        sample, rows = reader.divided(name, [effect for effect in effects if effect.sample == name], seed)
        parts.append([sample.subset(part) for part in rows])
        divisions[name] = Division.of(reader.ids.pop(name), rows, sample.features[0])
    train, validation, template = (tuple(part) for part in zip(*parts, strict=True))
    observed = reader.observed(seed)
    membership = Membership(
        checksum=reader.checksum(),
        files={file_checksum(path): path.name for path in sorted(reader.used)},
        places=in_files(configured_trees(reader, reader.used)),
        divisions=divisions,
        by_row=not dataset.event_id,
    )
    return Events(
        name=dataset.name,
        features=dataset.features,
        train=train,
        validation=validation,
        template=template,
        observed=observed,
        checksum=membership.checksum,
        label=reader.label(),
        membership=membership,
    )
