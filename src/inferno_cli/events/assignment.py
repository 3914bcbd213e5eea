"""Which rows of ntuples a run trained on, and which its templates are made of: written with the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import OutputError, RunError
from inferno_cli.events.arrays import chunks
from inferno_cli.events.ids import UNKNOWN as NOT_FOUND
from inferno_cli.events.ids import EventIds, distinct
from inferno_cli.files import file_checksum, whole

FILE = "membership.npz"
SCHEMA = "inferno_cli/membership/1"
SPLITS = ("train", "validation", "template")
"""In the order of their numbers."""
MIN_DISTINCT = 0.5
"""Share of events that differ in their features: with fewer, such as of counts of jets alone, equal ones say little."""
NOT_USED, UNKNOWN = -1, -2
"""Of a row that the run used for nothing, and of one of which that cannot be told."""


FileTree = tuple[Path, str]
"""A file, and the name of a tree in it."""


@dataclass(frozen=True)
class Part:
    """What a tree is in the dataset: a part of a sample, how many rows of the sample come before it, and its era."""

    sample: str
    first_row: int
    era: int = 0


Parts = tuple[Part, ...]
"""What a tree is: several parts, where samples share it."""


def by_checksum(trees: Mapping[FileTree, Parts]) -> dict[tuple[str, str], Parts]:
    """Return trees by the SHA-256 of their files, whatever the files are called."""
    found: dict[tuple[str, str], Parts] = {}
    for (path, tree), parts in trees.items():
        key = file_checksum(path), tree
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *parts)))
    return found


@dataclass(frozen=True)
class Division:
    """The events of one sample.

    Attributes:
        events: Their ids.
        split: The split of each, shape (n_events,).
        prints: A fingerprint of the nominal features of each, shape (n_events,); None where they are not known, or do
            not tell events apart.
    """

    events: EventIds
    split: NDArray[np.int8]
    prints: NDArray[np.uint32] | None

    @classmethod
    def of(
        cls,
        events: EventIds,
        parts: Sequence[NDArray[np.intp]],
        features: NDArray[np.float32],
        *,
        by_row: bool = False,
    ) -> Division:
        """Gather a sample, of which ``parts`` are the rows of each split, with its nominal features.

        With ``by_row`` the id of an event is its row, of which some may not be selected: ``split`` has all to the last.
        """
        split = np.full(len(events), NOT_USED, dtype=np.int8)
        for number, rows in enumerate(parts):
            split[rows] = number
        if by_row:
            (row,) = events.rows().T
            of_all = np.full(row[-1] + 1, NOT_USED, dtype=np.int8)
            of_all[row] = split
            return cls(EventIds(np.arange(len(of_all))[:, None]), of_all, None)
        prints = fingerprints(features)
        tell_apart = features.shape[1] and len(distinct(prints)) >= MIN_DISTINCT * len(prints)
        return cls(events, split, prints if tell_apart else None)


@dataclass(frozen=True)
class SplitAssignment:
    """The split of the rows of a dataset, by event id: an event is in the same split in every variation.

    Attributes:
        checksum: Of everything that the run read.
        files: The files that it read: their names, by SHA-256.
        parts: What stands in them, by SHA-256 of the file and name of the tree.
        divisions: The events of each sample.
        by_row: The events have no ids: row i of the sample is event i.
        n_eras: With eras the number of one is the first column of the ids; 0: there are none.
    """

    checksum: str
    files: Mapping[str, str]
    parts: Mapping[tuple[str, str], Parts]
    divisions: Mapping[str, Division]
    by_row: bool
    n_eras: int = 0

    def with_parts(self, parts: Mapping[tuple[str, str], Parts]) -> SplitAssignment:
        """Return the same with more trees whose sample is known."""
        return replace(self, parts={**parts, **self.parts})

    def holds(self, sample: str, checksum: str, tree: str) -> bool:
        """Tell whether a tree of a file with this SHA-256 holds events of a sample."""
        return any(part.sample == sample for part in self.parts.get((checksum, tree), ()))

    def of_rows(
        self,
        checksum: str,
        tree: str,
        ids: NDArray[np.int64],
        features: NDArray[np.float32],
        first_row: int,
    ) -> NDArray[np.int8]:
        """Return the split of some rows of a tree, shape (n_rows,): 0 train, 1 validation, 2 template.

        A tree that the run knows is one of a sample, whose ids tell the events. In any other, an id that no event of
        the run has says -1, not used. An id alone does not say more, as ids repeat between samples: an event is
        recognised by its features as well, and is -2, unknown, where they are others.

        Args:
            checksum: SHA-256 of the file.
            ids: Event ids of the rows, shape (n_rows, n_branches).
            features: Shape (n_rows, n_features).
            first_row: Number of the first of them in the tree.
        """
        parts = self.parts.get((checksum, tree), ())
        if len(parts) != 1:  # two, of copies of one file or of two samples in one tree: no better than none
            return self._of_any_sample(ids, features)
        division = self.divisions.get(parts[0].sample)
        if division is None:
            return np.full(len(ids), NOT_USED, dtype=np.int8)
        if self.by_row:
            first = parts[0].first_row + first_row
            found = np.full(len(ids), NOT_USED, dtype=np.int8)
            known = division.split[first : first + len(ids)]
            found[: len(known)] = known
            return found
        number = division.events.find(self._in_era(ids, parts[0].era))
        return np.where(number == NOT_FOUND, np.int8(NOT_USED), division.split[number])

    def _in_era(self, ids: NDArray[np.int64], era: int) -> NDArray[np.int64]:
        """Return the ids of events of an era, with its number in front where there are eras."""
        return np.insert(ids, 0, era, axis=1) if self.n_eras else ids

    def _of_any_sample(self, ids: NDArray[np.int64], features: NDArray[np.float32]) -> NDArray[np.int8]:
        if self.by_row:
            return np.full(len(ids), UNKNOWN, dtype=np.int8)
        prints = fingerprints(features)
        split = np.full(len(ids), NOT_USED, dtype=np.int8)
        same_id, unclear = np.zeros(len(ids), dtype=bool), np.zeros(len(ids), dtype=bool)
        for division, era in product(self.divisions.values(), range(max(self.n_eras, 1))):
            number = division.events.find(self._in_era(ids, era))
            found = number != NOT_FOUND
            same_id |= found
            if division.prints is None:
                continue
            same = found & (division.prints[number] == prints)
            unclear |= same & (split != NOT_USED) & (split != division.split[number])
            split = np.where(same, division.split[number], split)
        return np.where(unclear | (same_id & (split == NOT_USED)), np.int8(UNKNOWN), split)

    def save(self, folder: Path) -> None:
        """Write the file into the folder of a run, in one step."""
        path = folder / FILE
        trees: list[tuple[str, str, str, int, int]] = []
        for key, parts in self.parts.items():
            trees += [(*key, part.sample, part.first_row, part.era) for part in parts]
        about = {
            "schema": SCHEMA,
            "dataset_checksum": self.checksum,
            "split": {name: number for number, name in enumerate(SPLITS)},
            "by_row": self.by_row,
            "n_eras": self.n_eras,
            "files": dict(self.files),
            "trees": trees,
            "samples": list(self.divisions),
        }
        arrays: dict[str, NDArray[Any]] = {"about": np.array(json.dumps(about))}
        for i, division in enumerate(self.divisions.values()):
            arrays[f"split_{i}"] = division.split
            if not self.by_row:
                # Ascending: the steps from one to the next are small numbers, of which zip leaves little.
                arrays[f"ids_{i}"] = np.diff(division.events.rows().T, prepend=0)
            if division.prints is not None and not self.by_row:
                arrays[f"prints_{i}"] = division.prints
        try:
            with whole(path) as partial, partial.open("wb") as stream:
                np.savez_compressed(stream, allow_pickle=False, **arrays)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}") from error

    @classmethod
    def load(cls, folder: Path, dataset_checksum: str) -> SplitAssignment | None:
        """Read the file of a run, whose record has a checksum; None for a run before there was such a file.

        Raises:
            RunError: If the file is damaged, or of another run.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                found = cls._of_arrays(stored)
        except Exception as error:  # numpy, zipfile and zlib raise many kinds for a damaged file
            raise RunError(
                f"{path} cannot be read ({type(error).__name__}: {error}), which says what the run used each event "
                "for. Copy the whole folder of the run again, or train again"
            ) from error
        if found.checksum != dataset_checksum:
            raise RunError(
                f"{path} is of a run on other events (checksum {found.checksum[:12]}..., the record of the run has "
                f"{dataset_checksum[:12]}...). Copy the whole folder of the run again, or train again"
            )
        return found

    @classmethod
    def _of_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> SplitAssignment:
        about = json.loads(str(stored["about"]))
        if about["schema"] != SCHEMA:
            raise ValueError(f"its schema is {about['schema']}, expected {SCHEMA}")
        divisions = {}
        for i, name in enumerate(about["samples"]):
            split = stored[f"split_{i}"].astype(np.int8)
            if about["by_row"]:
                divisions[name] = Division(EventIds(np.arange(len(split))[:, None]), split, None)
                continue
            ids = stored[f"ids_{i}"].astype(np.int64, copy=False)
            events = EventIds(np.cumsum(ids, axis=1, out=ids).T)
            prints = stored[f"prints_{i}"].astype(np.uint32) if f"prints_{i}" in stored else None
            if len(split) != len(events) or (prints is not None and len(prints) != len(events)):
                raise ValueError(f"sample {name!r} has {len(split)} splits of {len(events)} events")
            divisions[name] = Division(events, split, prints)
        parts: dict[tuple[str, str], Parts] = {}
        for checksum, tree, *part in about["trees"]:  # before there were eras, of a part: the sample and its first row
            parts[checksum, tree] = (*parts.get((checksum, tree), ()), Part(*part))
        n_eras = about.get("n_eras", 0)
        return cls(about["dataset_checksum"], about["files"], parts, divisions, about["by_row"], n_eras)


def fingerprints(features: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return a number for each row that is equal where the row is, shape (n_rows,).

    Two rows that differ have the same one once in 2^32: that is for events of one id, not for all pairs of events.
    """
    return hashes(features).astype(np.uint32)


def hashes(features: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return a number for each row that is equal where the row is, shape (n_rows,); else once in 2^64."""
    found = []
    for part in chunks(len(features)):
        columns = [np.ascontiguousarray(column).view(np.uint32) for column in features[part].T]
        found.append(_mixed(columns, len(features[part])))
    return np.concatenate(found)


def folds_of(ids: NDArray[np.int64], n_folds: int) -> NDArray[np.intp]:
    """Return the fold of events that no network has seen, given their ids, shape (n_events, n_branches).

    Any network would do for them; by its id an event is in the same fold whatever file it is in.
    """
    columns = [np.ascontiguousarray(column).view(np.uint64) for column in ids.T]
    return (_mixed(columns, len(ids)) % np.uint64(n_folds)).astype(np.intp)


def _mixed(columns: Sequence[NDArray[Any]], n: int) -> NDArray[np.uint64]:
    """Return a number for each of n rows, whose bits all depend on every bit of the unsigned columns."""
    number = np.zeros(n, dtype=np.uint64)
    for column in columns:
        number ^= column
        # The last step of splitmix64: every bit of the input changes half of those of the output.
        number = (number + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        number ^= number >> np.uint64(29)
        number *= np.uint64(0x94D049BB133111EB)
        number ^= number >> np.uint64(32)
    return number
