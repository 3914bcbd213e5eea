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
from typing import TYPE_CHECKING, Any, Protocol

from inferno_cli.code import code_version
from inferno_cli.errors import ConfigError, DatasetError, DatasetFileError, InfernoError, OutputError, TreeNotFoundError
from inferno_cli.events.assignment import NOT_USED, SPLITS, UNKNOWN
from inferno_cli.files import file_checksum, together, user_path
from inferno_cli.runs.folder import owned
from inferno_cli.runs.recorded import Recorded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferno_cli.config.steps import PredictConfig, TrainConfig
    from inferno_cli.events.assignment import SplitAssignment
    from inferno_cli.events.root.trees import Tree
    from inferno_cli.expressions import Expression
    from inferno_cli.progress import Advance
    from inferno_cli.training.observables import Observables

    Columns = dict[str, NDArray[Any]]

log = logging.getLogger(__name__)

SCHEMA = "inferno_cli/predictions/1"


class Said(Recorded, Protocol):
    """What the record of a run with networks says of it."""

    @property
    def model(self) -> str | None:
        """Name of its model."""


class Applied(Protocol):
    """A finished run whose networks can be applied to ntuples."""

    @property
    def folder(self) -> Path:
        """Its folder."""

    @property
    def config(self) -> TrainConfig:
        """Its configuration."""

    @property
    def results(self) -> Said:
        """Its record."""

    @property
    def observables(self) -> Observables:
        """Its networks, with their bins."""


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


def plan(config: PredictConfig, finished: Applied) -> list[PredictionFile]:
    """Return what is read and written; the input and the output are looked at before any work."""
    from inferno_cli.events.root.trees import Tree

    needed = dict.fromkeys(config.keep, "keep")
    needed |= dict.fromkeys(finished.config.dataset.id_branches, "dataset.event_id of the run")
    inputs = finished.config.dataset.inputs
    needed |= dict.fromkeys(inputs.branches, "a feature of the network")
    lists = inputs.of_lists
    for key, expression in _expressions(finished.config).items():
        needed |= dict.fromkeys(expression.branches, f"{key} of the run")
        lists = (lists - set(expression.branches)) | (set(expression.branches) if expression.takes_lists else set())
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


SELECTION = "dataset.selection"
"""Key of the selection of every event that a network was trained for."""


def _expressions(config: TrainConfig) -> dict[str, Expression]:
    """Return what says which events are in which channel of a run, by key of the configuration."""
    from inferno_cli.events.channels import Channels
    from inferno_cli.expressions import parse

    texts = {} if config.dataset.common_selection is None else {SELECTION: config.dataset.common_selection}
    return {key: parse(text) for key, text in {**texts, **Channels(config.channels).texts()}.items()}


def _inputs(config: PredictConfig, finished: Applied) -> dict[Path, list[str]]:
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


def find_assignment(config: PredictConfig, finished: Applied, jobs: Sequence[PredictionFile]) -> SplitAssignment | None:
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
    config: PredictConfig, finished: Applied, jobs: Sequence[PredictionFile], split: SplitAssignment | None
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


def about(finished: Applied, observables: Observables, origin: str) -> str:
    """Return what the files say of themselves, as JSON; ``origin`` is where the run is."""
    trained = [observables.name(name, fold) for name in observables.channels.trained for fold in observables.folds]
    groups = observables.groups[trained[0]] if len(observables.names) == 1 else observables.groups
    number = {name: i for i, name in enumerate(SPLITS)}
    if len(observables.networks) > 1:
        number = {f"fold {fold}": fold for fold in observables.folds}
    return json.dumps(
        {
            "schema": SCHEMA,
            "label": finished.results.label,
            "run": origin,
            "model": finished.results.model,
            "dataset": finished.results.dataset,
            "dataset_checksum": finished.results.dataset_checksum,
            "features": observables.features,
            "inputs": finished.config.dataset.inputs.as_json(),
            "selection": finished.config.dataset.common_selection,
            "channels": {name: i for i, name in enumerate(observables.channels.by_name)},
            "groups": groups,
            "split": number | {"not in the training run": NOT_USED, "unknown": UNKNOWN},
            "code_version": code_version(),
        }
    )


class Writer:
    """Writes what the observables of a run say of trees."""

    def __init__(
        self,
        observables: Observables,
        split: SplitAssignment | None,
        config: TrainConfig,
        keep: tuple[str, ...],
        chunk: int,
    ) -> None:
        dataset = config.dataset
        self.observables, self.split, self.chunk = observables, split, chunk
        self.event_id, self.unknown = dataset.id_branches, 0
        self.inputs, self.expressions = dataset.inputs, _expressions(config)
        self.otherwise = UNKNOWN if dataset.has_files else NOT_USED
        """Split of every row where no event of the run is known."""
        self.copied = tuple(dict.fromkeys((*self.event_id, *keep)))
        self.outputs = observables.first.summary.response_names
        self.types = {"split": "int8", "bin": "int32", "network_bin": "int32"}
        if not observables.channels.is_everything:
            self.types["channel"] = "int8"
        if len(observables.networks) > 1:
            self.types["fold"] = "int8"
        self.types |= dict.fromkeys(self.outputs, "float32")
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

        A row that is in no channel is in no bin, -1, and one that no network evaluates has no response.
        """
        import numpy as np

        from inferno_cli.events.assignment import folds_of
        from inferno_cli.events.channel import NO_BIN
        from inferno_cli.events.root.trees import id_columns

        n = len(next(iter(columns.values())))
        cells = self._cells(columns, n, tree.where)
        starts = self.observables.channels.starts
        seen = np.flatnonzero(np.isin(cells, [starts[name] for name in self.observables.channels.trained]))
        chosen = {name: columns[name][seen] for name in self.inputs.branches}
        features = np.full((n, len(self.inputs.names)), np.nan, dtype=np.float32)
        features[cells != NO_BIN] = 0  # as the run has the events that no network sees
        features[seen] = self.inputs.table(chosen, len(seen), tree.where, rows=seen + first_row)
        split, folds = np.full(n, self.otherwise), np.zeros(n, dtype=np.intp)
        ids = id_columns({name: columns[name] for name in self.event_id}, n, tree.where)
        if self.split is not None:
            split = self.split.of_rows(checksum, tree.name, ids, features, first_row)
            split[cells == NO_BIN] = NOT_USED
            self.unknown += int((split == UNKNOWN).sum())
        if len(self.observables.networks) > 1:
            folds = np.where(split >= 0, split, folds_of(ids, len(self.observables.networks)))
        made = self._evaluated(cells, folds, features) | {"split": split}
        if "fold" in self.types:
            made["fold"] = np.where(np.isin(np.arange(n), seen), folds, -1)
        return {name: columns[name] for name in self.copied} | {
            name: made[name].astype(kind) for name, kind in self.types.items()
        }

    def _evaluated(self, cells: NDArray[Any], folds: NDArray[Any], features: NDArray[Any]) -> Columns:
        """Return the channel, the bins and the responses of rows, given their cells, folds and features."""
        import numpy as np

        n, channels = len(cells), self.observables.channels
        made: Columns = {name: np.full(n, -1) for name in ("channel", "bin", "network_bin")}
        made |= {name: np.full(n, np.nan) for name in self.outputs}
        for number, (name, channel) in enumerate(channels.by_name.items()):
            if not channel.observable.has_events:
                continue
            first, n_bins = channels.starts[name], channel.observable.n_bins
            inside = (cells >= first) & (cells < first + n_bins)
            made["channel"][inside] = number
            if not channel.observable.is_trained:
                made["bin"][inside] = self.observables.final(name, n_bins)[cells[inside] - first]
                continue
            for fold in self.observables.folds:
                rows = np.flatnonzero(inside & (folds == fold))
                prediction = self.observables.of(name, fold).apply(features[rows])
                made["bin"][rows], made["network_bin"][rows] = prediction.bin, prediction.network_bin
                for output, response in zip(self.outputs, prediction.response.T, strict=True):
                    made[output][rows] = response
        return made

    def _cells(self, columns: Columns, n: int, where: str) -> NDArray[Any]:
        """Return the cells of the rows of one chunk, shape (n,); of those that the selection leaves out ``NO_BIN``."""
        import numpy as np

        from inferno_cli.events.channel import NO_BIN
        from inferno_cli.events.features import evaluated, without_sentinels
        from inferno_cli.events.root.rows import passed

        def needed(key: str) -> Columns:
            return {name: columns[name][taken] for name in self.expressions[key].branches}

        def truth(_: str, key: str) -> NDArray[Any]:
            return passed(self.expressions[key], needed(key), self.inputs.missing, where, f"{key} of the run")

        def numbers(_: str, key: str) -> NDArray[Any]:
            values = without_sentinels(needed(key), self.inputs.missing)
            return evaluated(self.expressions[key], values, {}, f"{key} of the run", where)

        taken = np.arange(n)
        if SELECTION in self.expressions:
            taken = np.flatnonzero(np.broadcast_to(truth("", SELECTION), n))
        cells = np.full(n, NO_BIN, dtype=np.int32)
        cells[taken] = self.observables.channels.cells(len(taken), where, truth, numbers)
        return cells


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
