"""The predictions of a run for the rows of ntuples, and the ROOT files that they are written to."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.code import code_version
from inferno_cli.errors import ConfigError, DatasetError, DatasetFileError, InfernoError, OutputError, TreeNotFoundError
from inferno_cli.events.assignment import NOT_USED, SPLITS, UNKNOWN
from inferno_cli.files import file_checksum, together, user_path
from inferno_cli.runs.folder import owned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferno_cli.config.steps import PredictConfig
    from inferno_cli.events.assignment import SplitAssignment
    from inferno_cli.events.dataset import Dataset
    from inferno_cli.events.root.trees import Tree
    from inferno_cli.expressions import Expression
    from inferno_cli.progress import Advance
    from inferno_cli.runs.run_folder import RunFolder
    from inferno_cli.training.observable import Observable

    Columns = dict[str, NDArray[Any]]

log = logging.getLogger(__name__)

SCHEMA = "inferno_cli/predictions/1"


@dataclass(frozen=True)
class PredictionFile:
    """One file: what is read, and where the predictions go: a folder, and the name of the file below it."""

    source: Path
    folder: Path
    name: Path
    trees: tuple[Tree, ...]

    @property
    def target(self) -> Path:
        """The file that is written."""
        return self.folder / self.name


def plan(config: PredictConfig, finished: RunFolder) -> list[PredictionFile]:
    """Return what is read and written; the input and the output are looked at before any work."""
    from inferno_cli.events.root.trees import Tree

    needed = dict.fromkeys(config.keep, "keep")
    needed |= dict.fromkeys(finished.config.dataset.id_branches, "dataset.event_id of the run")
    inputs = finished.config.dataset.inputs
    needed |= dict.fromkeys(inputs.branches, "a feature of the network")
    lists = inputs.of_lists
    if (selection := _selection(finished.config.dataset)) is not None:
        needed |= dict.fromkeys(selection.branches, "dataset.selection of the run")
        lists = (lists - set(selection.branches)) | (set(selection.branches) if selection.takes_lists else set())
    lists -= {*config.keep, *finished.config.dataset.id_branches}
    folder = finished.folder / "predictions" if config.output is None else user_path(config.output)
    jobs: list[PredictionFile] = []
    inputs_of = _inputs(config, finished)
    for source, name in _targets(inputs_of).items():
        target = folder / name
        if target.exists() and target.samefile(source):
            raise ConfigError(f"{target} is the input itself. Choose another folder: output=...")
        if target.exists() and not config.overwrite:
            raise OutputError(f"{target} is there already. Choose another folder, output=..., or overwrite=true")
        trees = []
        for tree in inputs_of[source]:
            friends = finished.config.dataset.friends_of(source, tree)
            trees.append(Tree(source, tree, needed, lists, friends))
        jobs.append(PredictionFile(source, folder, name, tuple(trees)))
    return jobs


def _targets(sources: Collection[Path]) -> dict[Path, Path]:
    """Return the names of the files that are written, by what is read.

    Where two would have one name, as those of two eras, all keep the folders that they do not share.
    """
    names = {source: Path(source.name).with_suffix(".root") for source in sources}
    if len(set(names.values())) == len(sources):
        return names
    absolute = {source: source.absolute() for source in sources}
    common = os.path.commonpath([path.parent for path in absolute.values()])
    return {source: path.relative_to(common).with_suffix(".root") for source, path in absolute.items()}


def _selection(dataset: Dataset) -> Expression | None:
    """Return the selection of every event that the network was trained for."""
    from inferno_cli.expressions import parse

    return None if dataset.common_selection is None else parse(dataset.common_selection)


def _inputs(config: PredictConfig, finished: RunFolder) -> dict[Path, list[str]]:
    from inferno_cli.events.root.trees import find_files, tree_names

    dataset = finished.config.dataset
    pattern = config.tree or "*"
    if config.input is not None:
        return {path: tree_names(path, pattern) for path in find_files(config.input, "*.root", "input", "input")}
    if not dataset.has_files:
        raise ConfigError(
            f"input is missing: the run is on the generated dataset {dataset.name!r}, which has no files. "
            "Name a ROOT file with its features: input=PATH"
        )
    try:
        # All that the run read must be there; the trees that it left out may be missing.
        dataset.files(finished.config.request)
        trees = dataset.trees()
    except DatasetError as error:
        raise DatasetFileError(
            f"the run's dataset cannot be read: {error}; or name the files: input=PATH{dataset.location_hint}"
        ) from error
    found: dict[Path, list[str]] = {}
    for path, name in trees:
        if name == pattern or fnmatchcase(name, pattern):
            found.setdefault(path, []).append(name)
    if not found:
        known = ", ".join(sorted({name for _, name in trees}))
        raise TreeNotFoundError(f"no tree of the run's dataset matches {config.tree!r}; known: {known}. Fix tree=NAME")
    return found


def find_assignment(
    config: PredictConfig, finished: RunFolder, jobs: Sequence[PredictionFile]
) -> SplitAssignment | None:
    """Find out which rows the run trained on; None where that is the same for all of them."""
    dataset, request = finished.config.dataset, finished.config.request
    checksum = finished.results.dataset_checksum
    if not dataset.has_files:
        log.info("split: -1 everywhere, the run is on generated events")
        return None
    trees = [(job.source, tree.name) for job in jobs for tree in job.trees]
    found = dataset.assignment(request, finished.folder, checksum, trees, config.input)
    if config.input is None:
        files = dataset.files(request)
        known = {} if found is None else found.files
        other = [str(path.absolute()) for path, sha256 in files.items() if sha256 not in known]
        changed = {Path(name).name for name in other}
        gone = [
            name for sha256, name in known.items() if sha256 not in files.values() and Path(name).name not in changed
        ]
        if other or gone:
            lists = {"not as the run read it": other, "read by the run and missing": gone}
            said = "; ".join(f"{what}: {_listed(names)}" for what, names in lists.items() if names)
            raise DatasetError(
                f"{dataset.origin} have changed since the run (checksum {checksum[:12]}...; {said}). "
                f"Put them back, or predict on them as they are with input={dataset.location}, where split is -2 for "
                "an event that cannot be recognised"
            )
    if found is None:
        log.info(
            "split: -2 everywhere; the run has not written down what it used each event for, and its dataset is not "
            f"in {dataset.location} as it was"
        )
    else:
        log.info("split: 0 train, 1 validation, 2 template, -1 not used by the run, -2 unknown")
    return found


def without_observed(
    config: PredictConfig, finished: RunFolder, jobs: Sequence[PredictionFile], split: SplitAssignment | None
) -> list[PredictionFile]:
    """Leave out the trees with the observed events of the run's dataset, wherever their file is, unless asked for.

    Their bins are the histogram that is fitted. Those of other files are asked for by whoever names them.
    """
    name = finished.config.dataset.observed_name
    if config.unblind or split is None or name is None:
        return list(jobs)
    left = []
    for job in jobs:
        checksum = file_checksum(job.source)
        trees = tuple(tree for tree in job.trees if not split.holds(name, checksum, tree.name))
        for tree in job.trees:
            if tree not in trees:
                log.info(f"left out: {tree.where}, the observed events; unblind=true predicts them, too")
        if trees:
            left.append(replace(job, trees=trees))
    if not left:
        raise ConfigError("all trees hold the observed events of the run's dataset. Set unblind=true to predict them")
    return left


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def about(finished: RunFolder, observable: Observable) -> str:
    """Return what the files say of themselves, as JSON."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "label": finished.results.label,
            "run": str(finished.folder.absolute()),
            "model": finished.results.model,
            "dataset": finished.results.dataset,
            "dataset_checksum": finished.results.dataset_checksum,
            "features": observable.features,
            "inputs": finished.config.dataset.inputs.as_json(),
            "selection": finished.config.dataset.common_selection,
            "groups": observable.groups,
            "split": {name: number for number, name in enumerate(SPLITS)}
            | {"not in the training run": NOT_USED, "unknown": UNKNOWN},
            "code_version": code_version(),
        }
    )


class Writer:
    """Writes what an observable says of trees."""

    def __init__(
        self,
        observable: Observable,
        split: SplitAssignment | None,
        dataset: Dataset,
        keep: tuple[str, ...],
        chunk: int,
    ) -> None:
        self.observable, self.split, self.chunk = observable, split, chunk
        self.event_id, self.unknown = dataset.id_branches, 0
        self.inputs, self.selection = dataset.inputs, _selection(dataset)
        self.otherwise = UNKNOWN if dataset.has_files else NOT_USED
        """Split of every row where no event of the run is known."""
        self.copied = tuple(dict.fromkeys((*self.event_id, *keep)))
        self.outputs = observable.summary.response_names
        self.types = {"split": "int8", "bin": "int32", "network_bin": "int32"} | dict.fromkeys(self.outputs, "float32")
        for name in self.copied:
            if name in self.types:
                raise ConfigError(f"branch {name!r} would be there twice: the predictions have one of this name")

    def write(self, file: PredictionFile, path: Path, about: str, advance: Advance) -> None:
        """Write the predictions of one file."""
        import numpy as np
        import uproot

        checksum = "" if self.split is None else file_checksum(file.source)
        made_types = {name: np.dtype(kind) for name, kind in self.types.items()}
        with uproot.recreate(path) as output:
            output["inferno_cli"] = about
            for tree in file.trees:
                written = output.mktree(tree.name, {name: tree.types[name] for name in self.copied} | made_types)
                first_row = 0
                for columns in tree.chunks(self.chunk):
                    written.extend(self.rows(checksum, tree, columns, first_row))
                    new = len(next(iter(columns.values())))
                    first_row += new
                    is_last = True if first_row == tree.rows else None
                    advance(new, f"predict: {tree.name} {first_row}/{tree.rows}", is_line=is_last)

    def rows(self, checksum: str, tree: Tree, columns: Columns, first_row: int) -> Columns:
        """Return the branches of one chunk, which begins with the row ``first_row`` of the tree.

        A row that the selection leaves out is in no bin, -1, and has no response.
        """
        import numpy as np

        from inferno_cli.events.root.trees import id_columns

        n = len(next(iter(columns.values())))
        taken = self._selected(columns, n, tree.where)
        chosen = {name: columns[name][taken] for name in self.inputs.branches}
        features = self.inputs.table(chosen, len(taken), tree.where, rows=taken + first_row)
        prediction = self.observable.apply(features)
        split = np.full(n, self.otherwise)
        if self.split is not None:
            ids = id_columns({name: columns[name] for name in self.event_id}, n, tree.where)
            of_any = np.full((n, features.shape[1]), np.nan, dtype=np.float32)
            of_any[taken] = features
            split = self.split.of_rows(checksum, tree.name, ids, of_any, first_row)
            split[~np.isin(np.arange(n), taken)] = NOT_USED
            self.unknown += int((split == UNKNOWN).sum())
        made: Columns = {"split": split}
        for name, values in {"bin": prediction.bin, "network_bin": prediction.network_bin}.items():
            made[name] = np.full(n, -1)
            made[name][taken] = values
        for name, response in zip(self.outputs, prediction.response.T, strict=True):
            made[name] = np.full(n, np.nan)
            made[name][taken] = response
        return {name: columns[name] for name in self.copied} | {
            name: values.astype(self.types[name]) for name, values in made.items()
        }

    def _selected(self, columns: Columns, n: int, where: str) -> NDArray[Any]:
        """Return the rows of one chunk that the selection of the run takes, shape (n_selected,)."""
        import numpy as np

        from inferno_cli.events.root.rows import passed

        if self.selection is None:
            return np.arange(n)
        needed = {name: columns[name] for name in self.selection.branches}
        is_taken = passed(self.selection, needed, self.inputs.missing, where, "dataset.selection of the run")
        return np.flatnonzero(np.broadcast_to(is_taken, n))


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Own the folder of the output, and give one to write to; the files move when all of them are whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with owned(folder, "Choose another folder: output=..."), together(folder) as scratch:
            yield scratch
    except InfernoError:
        raise
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}. Choose another folder: output=...") from error
