"""Ntuples divided into splits: for a run, and again to tell what a finished run used each row for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from inferno_cli.errors import DatasetError
from inferno_cli.events.assignment import Division, FileTree, SplitAssignment, by_checksum
from inferno_cli.events.dataset import Request
from inferno_cli.events.root.files import file_checksum
from inferno_cli.events.root.layout import NtupleLayout
from inferno_cli.events.root.reader import Reader
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Events, Variation


def read(dataset: NtupleLayout, request: Request) -> Events:
    """Read a dataset of ntuples and divide it into its three splits."""
    reader = Reader(dataset)
    parts = []
    divisions = {}
    for name in request.samples:
        effects = request.effects_on(name)
        sample = reader.aligned(name, reader.tables(name, effects), effects)
        rows = reader.split(sample, request.seed)
        parts.append([sample.subset(part) for part in rows])
        divisions[name] = Division.of(reader.ids.pop(name), rows, sample.features[0])
    train, validation, template = (tuple(part) for part in zip(*parts, strict=True))
    observed = reader.used_data(reader.observed(), request.seed)
    checksum = reader.checksum()
    return Events(
        name=dataset.name,
        features=dataset.features,
        train=train,
        validation=validation,
        template=template,
        observed=observed,
        checksum=checksum,
        label=reader.label(),
        assignment=SplitAssignment(
            checksum=checksum,
            files={file_checksum(path): path.name for path in sorted(reader.used)},
            parts=by_checksum(reader.trees(reader.used)),
            divisions=divisions,
            by_row=not dataset.event_id,
        ),
    )


def needed_files(dataset: NtupleLayout, request: Request) -> dict[Path, str]:
    """Return the files that a run would read now, and the SHA-256 of each.

    Raises:
        DatasetError: If a tree is missing.
    """
    needed = dict.fromkeys((name, NOMINAL) for name in request.samples)
    if dataset.observed_name is not None:
        needed[dataset.observed_name, NOMINAL] = None
    for effect in request.effects:
        if effect.shifted_trees is not None:
            needed |= dict.fromkeys((effect.sample, Variation(effect.shifted_trees, up)) for up in DIRECTIONS)
    reader = Reader(dataset)
    paths = {path for sample, variation in needed for path, _ in reader.locate(sample, variation)}
    return {path: file_checksum(path) for path in sorted(paths)}


def assignment_of_run(
    dataset: NtupleLayout,
    request: Request,
    folder: Path,
    checksum: str,
    trees: Sequence[FileTree],
    elsewhere: str | None,
) -> SplitAssignment | None:
    """Return the division of a run: as it wrote it down, or, of a run before there was such a file, made again.

    The arguments are those of ``Dataset.assignment``.

    Raises:
        RunError: If the file is damaged.
    """
    stored = SplitAssignment.load(folder, checksum)
    if stored is not None and all((file_checksum(path), tree) in stored.parts for path, tree in trees):
        return stored
    for path in dict.fromkeys((dataset.path, elsewhere or dataset.path)):
        moved = dataset.model_copy(update={"path": path})
        try:
            if stored is None:
                found = _divided_again(moved, request, checksum)
            else:
                found = _with_trees_not_read(moved, request, stored, trees)
        except DatasetError:  # moved, or a part of it alone
            continue
        if found is not None:
            return found
    return stored


def _divided_again(dataset: NtupleLayout, request: Request, checksum: str) -> SplitAssignment | None:
    """Divide a dataset as a run did; None if the files are not those that the run read."""
    # The splits depend on the ids of the trees alone: without features and weights this needs little memory.
    shapes = tuple(effect for effect in request.effects if effect.shifted_trees is not None)
    events = read(dataset.model_copy(update={"features": ()}), replace(request, effects=shapes))
    if events.checksum != checksum or events.assignment is None:
        return None
    return events.assignment.with_parts(by_checksum(Reader(dataset).trees()))


def _with_trees_not_read(
    dataset: NtupleLayout, request: Request, stored: SplitAssignment, trees: Sequence[FileTree]
) -> SplitAssignment | None:
    """Add trees in files that the run has not read, of systematics that it left out.

    Nothing but the configuration says that they are of a sample; it does where the dataset is that of the run.
    """
    configured = Reader(dataset).trees()
    more = {tree: configured[tree] for tree in trees if tree in configured}
    if not more or set(needed_files(dataset, request).values()) != set(stored.files):
        return None
    return stored.with_parts(by_checksum(more))
