"""Find out what a finished run used the rows of some files for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from inferno_cli.config import NtupleDataset, ShapeSystematic, TrainConfig
from inferno_cli.errors import DatasetError
from inferno_cli.events.files import file_checksum
from inferno_cli.events.membership import FILE, Division, Membership
from inferno_cli.events.ntuples import Reader, configured_trees, in_files
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Variation


def needed_trees(config: TrainConfig) -> set[tuple[str, Variation]]:
    """Return the samples and variations that a run on ntuples reads."""
    assert isinstance(config.dataset, NtupleDataset)
    found = {(name, NOMINAL) for name in config.sample_names}
    found |= {(name, NOMINAL) for name, sample in config.dataset.samples.items() if sample.role == "data"}
    for effect in config.effects(config.nuisance.fit):
        if isinstance(effect.definition, ShapeSystematic):
            source = effect.definition.source or effect.systematic
            found |= {(effect.sample, Variation(source, direction)) for direction in DIRECTIONS}
    return found


def needed_files(config: TrainConfig) -> dict[Path, str]:
    """Return the files that a run on ntuples would read now, and the SHA-256 of each.

    Raises:
        DatasetError: If a tree is missing.
    """
    assert isinstance(config.dataset, NtupleDataset)
    reader = Reader(config.dataset)
    paths = {path for sample, variation in needed_trees(config) for path, _ in reader.locate(sample, variation)}
    return {path: file_checksum(path) for path in sorted(paths)}


def find_membership(
    run: Path, config: TrainConfig, checksum: str, trees: Collection[tuple[Path, str]], where: str | None
) -> Membership | None:
    """Return the division of a run: as it wrote it down, or, of a run before there was such a file, made again.

    Args:
        run: Folder of the run.
        config: Its configuration.
        checksum: Checksum of what it read.
        trees: The trees whose rows will be looked up.
        where: Another place where its dataset may be now.

    Returns:
        None if it is not written down, and the dataset is not found as it was.

    Raises:
        RunError: If the file is damaged.
    """
    assert isinstance(config.dataset, NtupleDataset)
    stored = Membership.load(run / FILE, checksum) if (run / FILE).is_file() else None
    if stored is not None and all((file_checksum(path), tree) in stored.places for path, tree in trees):
        return stored
    for path in dict.fromkeys((config.dataset.path, where or config.dataset.path)):
        dataset = config.dataset.model_copy(update={"path": path})
        moved = config.model_copy(update={"dataset": dataset})
        try:
            if stored is None:
                found = _divided_again(moved, dataset, checksum)
            else:
                found = _with_trees_not_read(moved, dataset, stored, trees)
        except DatasetError:  # moved, or a part of it alone
            continue
        if found is not None:
            return found
    return stored


def _divided_again(config: TrainConfig, dataset: NtupleDataset, checksum: str) -> Membership | None:
    """Divide a dataset as a run did; None if the files are not those that the run read."""
    # The splits depend on the ids of the trees alone: without features and weights this needs little memory.
    shapes = [item for item in config.effects(config.nuisance.fit) if isinstance(item.definition, ShapeSystematic)]
    reader = Reader(dataset.model_copy(update={"features": ()}))
    divisions = {}
    for name in config.sample_names:
        _, parts = reader.divided(name, [item for item in shapes if item.sample == name], config.data_seed)
        divisions[name] = Division.of(reader.ids.pop(name), parts, None)
    reader.observed(config.data_seed)
    if reader.checksum() != checksum:
        return None
    files = {file_checksum(path): path.name for path in reader.used}
    places = in_files(configured_trees(reader))
    return Membership(checksum, files, places, divisions, by_row=not dataset.event_id)


def _with_trees_not_read(
    config: TrainConfig, dataset: NtupleDataset, stored: Membership, trees: Collection[tuple[Path, str]]
) -> Membership | None:
    """Add trees in files that the run has not read, of systematics that it left out.

    Nothing but the configuration says that they are of a sample; it does where the dataset is that of the run.
    """
    configured = configured_trees(Reader(dataset))
    if not any(tree in configured for tree in trees):
        return None
    if set(needed_files(config).values()) != set(stored.files):
        return None
    return stored.with_places(in_files({tree: configured[tree] for tree in trees if tree in configured}))
