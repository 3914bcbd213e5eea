"""Which rows of ntuples a run trained on, and which its templates are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import NtupleDataset, ShapeSystematic, TrainConfig
from inferno_cli.errors import DatasetError, TreeNotFoundError
from inferno_cli.events.files import file_checksum
from inferno_cli.events.ids import UNKNOWN, EventIds
from inferno_cli.events.ntuples import Reader
from inferno_cli.events.sample import variations

SPLITS = ("train", "validation", "template")
"""In the order of their numbers."""


@dataclass(frozen=True)
class Place:
    """Where a tree stands in the dataset: its sample, and how many rows of the sample come before it."""

    sample: str
    first_row: int


@dataclass(frozen=True)
class Membership:
    """The split of the rows of a dataset, by event id: an event is in the same split in every variation.

    Attributes:
        places: By checksum of the file and name of the tree.
        splits: For each sample its events, and the split of each.
        by_row: The events have no ids: row i of the sample is event i.
    """

    places: dict[tuple[str, str], Place]
    splits: dict[str, tuple[EventIds, NDArray[np.int8]]]
    by_row: bool

    def of_rows(self, checksum: str, tree: str, ids: NDArray[np.int64], first_row: int) -> NDArray[np.int8]:
        """Return the split of some rows of a tree, shape (n_rows,): 0 train, 1 validation, 2 template, -1 none.

        Args:
            checksum: SHA-256 of the file.
            tree: Name of the tree.
            ids: Event ids of the rows, shape (n_rows, n_branches).
            first_row: Number of the first of them in the tree.
        """
        place = self.places.get((checksum, tree))
        if place is None or place.sample not in self.splits:
            return np.full(len(ids), UNKNOWN, dtype=np.int8)
        events, split = self.splits[place.sample]
        if self.by_row:
            ids = (place.first_row + first_row + np.arange(len(ids)))[:, None]
        number = events.find(ids)
        return np.where(number == UNKNOWN, np.int8(UNKNOWN), split[number])


def configured_trees(dataset: NtupleDataset) -> dict[tuple[Path, str], Place]:
    """Return the trees that a dataset's configuration names and its files hold: data and shifted trees as well."""
    reader = Reader(dataset)
    found: dict[tuple[Path, str], Place] = {}
    for sample in dataset.samples:
        shapes = [
            item.source or name
            for name, item in dataset.systematics.items()
            if isinstance(item, ShapeSystematic) and sample in item.samples
        ]
        for variation in variations(shapes):
            try:
                places = reader.locate(sample, variation)
            except TreeNotFoundError:  # of a sample or a systematic that the run left out; `membership` reads the rest
                continue
            first_row = 0
            for path, tree in places:
                found[path, tree] = Place(sample, first_row)
                first_row += 0 if dataset.event_id else reader.entries(path, tree)
    return found


def membership(config: TrainConfig, dataset: NtupleDataset, checksum: str) -> Membership | None:
    """Divide a dataset as a run did.

    Args:
        config: The configuration of the run.
        dataset: Its dataset, or the same at another path.
        checksum: Checksum of what the run read.

    Returns:
        None if the files are not those that the run read.
    """
    # The splits depend on the ids of the trees alone: without features and weights this needs little memory.
    shapes = [item for item in config.effects(config.nuisance.fit) if isinstance(item.definition, ShapeSystematic)]
    reader = Reader(dataset.model_copy(update={"features": ()}))
    splits = {}
    for name in config.sample_names:
        sample, parts = reader.divided(name, [item for item in shapes if item.sample == name], config.data_seed)
        split = np.full(len(sample.group), UNKNOWN, dtype=np.int8)
        for number, rows in enumerate(parts):
            split[rows] = number
        splits[name] = (reader.ids.pop(name), split)
    reader.observed(config.data_seed)
    if reader.checksum() != checksum:
        return None
    places = {(file_checksum(path), tree): place for (path, tree), place in configured_trees(dataset).items()}
    return Membership(places, splits, by_row=not dataset.event_id)


def find_membership(config: TrainConfig, files: Sequence[Path], where: str | None, checksum: str) -> Membership | None:
    """Divide the dataset of a run, where the run found it or at ``where``, if ``files`` belong to it."""
    assert isinstance(config.dataset, NtupleDataset)
    wanted = {file_checksum(path) for path in files}
    for path in dict.fromkeys((config.dataset.path, where or config.dataset.path)):
        dataset = config.dataset.model_copy(update={"path": path})
        try:
            there = {file_checksum(file) for file, _ in configured_trees(dataset)}
            found = membership(config, dataset, checksum) if there & wanted else None
        except DatasetError:  # moved, or a part of it alone
            continue
        if found is not None:
            return found
    return None
