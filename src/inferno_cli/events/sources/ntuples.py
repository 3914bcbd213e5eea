"""Flat ntuples read with uproot."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from inferno_cli.errors import DatasetError, RunError
from inferno_cli.events.assignment import Division, FileTree, Parts, SplitAssignment, by_checksum
from inferno_cli.events.cache import cached
from inferno_cli.events.dataset import Dataset, Request
from inferno_cli.events.earlier import TEMPLATE, Earlier, Recognised
from inferno_cli.events.root.alignment import Alignment
from inferno_cli.events.root.catalogue import Catalogue
from inferno_cli.events.root.histograms import Histograms, observed_checksum
from inferno_cli.events.root.layout import NtupleLayout, NtupleSample
from inferno_cli.events.root.reader import Reader
from inferno_cli.events.root.validate import validated
from inferno_cli.events.sample import NOMINAL, Events, Folds, Sample, Variation
from inferno_cli.events.validation import Validated
from inferno_cli.files import file_checksum, user_path
from inferno_cli.remote import is_remote
from inferno_cli.section import EMBEDDED, Names

log = logging.getLogger(__name__)


class NtupleDataset(NtupleLayout):
    """Flat ntuples read with uproot."""

    kind: Literal["ntuples"]
    """Ntuples."""

    has_files: ClassVar[bool] = True

    @property
    def has_observed(self) -> bool:
        """Whether a sample has the role "data"."""
        return self.observed_name is not None

    @property
    def location(self) -> str:
        """Where its files are."""
        return ", ".join(self.paths)

    @property
    def location_hint(self) -> str:
        """Say that the path is relative, and to what."""
        relative = [path for path in self.paths if path != EMBEDDED and not is_remote(path)]
        relative = [path for path in relative if not Path(path).expanduser().is_absolute()]
        if not relative:
            return ""
        return f" (dataset.path={', '.join(relative)} is relative, and the command runs in {Path.cwd()})"

    def load(self, request: Request) -> Events:
        """Read the files and divide their events, or take those that an earlier run has kept in ``cache``."""
        if self.cache is None or request.earlier is not None:
            return self._read(request)
        channels = {name: channel.model_dump(mode="json") for name, channel in request.channels.by_name.items()}
        key = {
            "dataset": self.model_dump(mode="json", by_alias=True, exclude={"cache"}),
            "files": {str(path.absolute()): checksum for path, checksum in self.files(request).items()},
            "request": (request.samples, list(map(repr, request.effects)), request.seed, channels),
        }
        return cached(user_path(self.cache), key, partial(self._read, request))

    def _read(self, request: Request) -> Events:
        """Read the files and divide their events."""
        reader, alignment = Reader(self, request.channels), Alignment(self, request.channels)
        histograms = Histograms(self, request)
        ready = histograms.samples()
        counts = histograms.observed(ready)
        fixed: list[Sample] = list(ready)
        splits: list[list[Sample]] = [[] for _ in self.splits.shares]
        divisions: dict[str, Division] = {}
        recognised: dict[str, Recognised] = {}
        for name in self._with_events(request):
            effects = request.effects_on(name)
            sample = alignment.aligned(name, reader.tables(name, effects), effects)
            if request.earlier is None:
                rows = used = alignment.split(sample, request.seed)
            else:
                rows, recognised[name] = alignment.as_earlier(sample, request.earlier)
                used = rows if self.splits.folds else rows[TEMPLATE:]
            own, parts = alignment.in_splits(sample, used, request)
            fixed += own
            for split, part in zip(splits[-len(used) :], parts, strict=True):
                split += part
            divisions |= alignment.divisions(sample, rows)
            del sample, rows, used  # as large as the next one, which is read now
        request.require_acting([*fixed, *splits[-1]])
        _tell_absent(request, [*fixed, *splits[-1]])
        observed = reader.used_data(reader.observed(), request.seed)
        if observed is not None:
            observed += histograms.used_data(counts)
        reader.used |= histograms.used
        assignment = SplitAssignment(
            checksum=reader.checksum(),
            files={file_checksum(path): path.name for path in sorted(reader.used)},
            parts=by_checksum(reader.catalogue.trees(reader.used)),
            divisions=divisions,
            by_row=not self.event_id,
            n_eras=len(self.eras),
        )
        if request.earlier is not None:
            assignment = request.earlier.with_those_of_the_run(assignment)
        return Events(
            name=self.name,
            features=self.features,
            **self._used_for(splits, request.seed),
            fixed=tuple(sorted(fixed, key=lambda sample: request.samples.index(sample.name))),
            observed=observed,
            checksum=assignment.checksum,
            observed_checksum=observed_checksum(reader.observed_checksum(), counts),
            label=reader.label(),
            recognised=recognised or None,
            assignment=assignment,
        )

    def _with_events(self, request: Request) -> Names:
        """Return the samples that have files of events."""
        return tuple(name for name in request.samples if self.has_events(name))

    def _used_for(self, splits: Sequence[Sequence[Sample]], seed: int) -> dict[str, Any]:
        """Return what events are used for, as ``Events`` has it: in three splits, or in folds."""
        if self.splits.folds is None:
            return dict(zip(("train", "validation", "template"), map(tuple, splits), strict=True))
        k, template = self.splits.folds, list[Sample]()
        for fold, samples in enumerate(splits):
            template += [replace(sample.scaled(1 / k), fold=fold) for sample in samples]
        folds = Folds(k, self.splits.validation, seed)
        return {"train": (), "validation": (), "template": tuple(template), "folds": folds}

    def validated(self, request: Request, source_branches: Names) -> Validated:
        """Read every row."""
        return validated(self, request, source_branches)

    # ---------------------------------------------------------------------------------------- what a run used it for
    def division(self, request: Request) -> dict[str, Any]:
        """Return the keys on which the seeded draw over the events depends."""
        shapes = _with_trees(request).effects
        return {
            "the seed of the data": request.seed,
            "dataset.splits": str(self.splits),
            "dataset.event_id": self.event_id,
            "dataset.samples": {name: str(self._undivided(name)) for name in self._with_events(request)},
            "the shape systematics in nuisance.fit": sorted(
                (effect.sample, effect.systematic, str(effect.definition)) for effect in shapes
            ),
            "dataset.file": (self.file, self.tree, self.variation),
            "dataset.eras": tuple(self.eras),
        }

    def earlier(self, trained_on: Dataset, stored: SplitAssignment) -> Earlier | None:
        """Compare ids; rows without any, or of source events that are not in them, cannot be recognised."""
        if not isinstance(trained_on, NtupleDataset) or stored.by_row or not self.event_id:
            return None
        same = {
            "dataset.event_id": (self.event_id, trained_on.event_id),
            "dataset.splits.folds": (self.splits.folds, trained_on.splits.folds),
        }
        columns: dict[str, tuple[int, ...]] = {}
        for name in self.sample_names:
            split_by = self.samples[name].split_by
            if name in trained_on.samples:
                same[f"dataset.samples.{name}.split_by"] = split_by, trained_on.samples[name].split_by
            if not set(split_by or ()) <= set(self.event_id):
                raise RunError(
                    f"dataset.samples.{name}.split_by is {', '.join(split_by or ())}, not in dataset.event_id: "
                    "nothing says whether the network was trained on events of the same source. Use the files of its "
                    "training, or train a network"
                )
            columns[name] = tuple(self.event_id.index(branch) for branch in split_by or self.event_id)
        for key, (here, there) in same.items():
            if here != there:
                raise RunError(
                    f"{key} is {here}, and {there} where the network was trained: the events that it was trained on "
                    "cannot be recognised. Use the same"
                )
        of_run = tuple(trained_on.eras)
        eras: list[tuple[int | None, ...]] = []
        for era in self.era_keys:
            if not of_run:
                eras.append((None,))
            elif self.eras:
                eras.append((of_run.index(era),) if era in of_run else ())
            else:  # which one the events are of is not known
                eras.append(tuple(range(len(of_run))))
        return Earlier(stored, tuple(eras), bool(self.eras), columns, self.splits.n_folds)

    def _undivided(self, name: str) -> NtupleSample:
        """Return a sample without its selection, norm and parameters, on which the division does not depend."""
        without: dict[str, Any] = {"selection": None, "norm": None, "constants": {}, "parameters": {}}
        return self.samples[name].model_copy(update=without)

    def files(self, request: Request) -> dict[Path, str]:
        """Return the files of the samples, of the data and of the shape systematics that are needed."""
        names = {*self._with_events(request)}
        if self.observed_name is not None:
            names.add(self.observed_name)
        catalogue, histograms = Catalogue(self), Histograms(self, request)
        histograms.observed(histograms.samples())
        paths: set[Path] = set(histograms.used)
        for name in names:
            paths |= catalogue.files(name, NOMINAL)
        for effect in request.effects:
            if effect.sample in names and (shifted := effect.shifted_trees) is not None:
                for direction in shifted.directions:
                    variation = Variation(shifted.source, direction)
                    paths |= catalogue.files(effect.sample, variation, shifted, effect.era)
        return {path: file_checksum(path) for path in sorted(paths)}

    def friends_of(self, path: Path, tree: str) -> tuple[FileTree, ...]:
        """Return the trees with more branches of the rows of a tree."""
        return Catalogue(self).friends_of(path, tree)

    def trees(self) -> Mapping[FileTree, Parts]:
        """Return every tree of the configuration that is there."""
        return Catalogue(self).trees()

    def assignment(
        self, request: Request, folder: Path, checksum: str, trees: Sequence[FileTree], elsewhere: str | None
    ) -> SplitAssignment | None:
        """Return what the run wrote down; of a run before there was such a file the division is made again."""
        stored = SplitAssignment.load(folder, checksum)
        if stored is not None and all((file_checksum(path), tree) in stored.parts for path, tree in trees):
            return stored
        for path in dict.fromkeys((self.path, elsewhere or self.path)):
            moved = self.model_copy(update={"path": path})
            try:
                if stored is None:
                    found = moved._divided_again(request, checksum)
                else:
                    found = moved._with_trees_not_read(request, stored, trees)
            except DatasetError:  # moved, or a part of it alone
                continue
            if found is not None:
                return found
        return stored

    def _divided_again(self, request: Request, checksum: str) -> SplitAssignment | None:
        """Divide the events as a run did; None if the files are not those that the run read."""
        # The splits depend on the ids of the trees alone: without features and weights this needs little memory.
        events = self.model_copy(update={"declared_features": (), "missing": {}})._read(_with_trees(request))
        if events.checksum != checksum or events.assignment is None:
            return None
        return events.assignment.with_parts(by_checksum(self.trees()))

    def _with_trees_not_read(
        self, request: Request, stored: SplitAssignment, trees: Sequence[FileTree]
    ) -> SplitAssignment | None:
        """Add trees in files that the run has not read, of systematics that it left out.

        Nothing but the configuration says that they are of a sample; it does where the dataset is that of the run.
        """
        configured = self.trees()
        more = {tree: configured[tree] for tree in trees if tree in configured}
        if not more or set(self.files(request).values()) != set(stored.files):
            return None
        return stored.with_parts(by_checksum(more))


def _tell_absent(request: Request, samples: Sequence[Sample]) -> None:
    """Say which samples have no event in a channel that could have them."""
    present = {(sample.channel, sample.name) for sample in samples}
    for name, channel in request.channels.by_name.items():
        if not channel.observable.has_events:  # the file says which it has
            continue
        wanted = [sample for sample in request.samples if channel.has(sample)]
        absent = [sample for sample in wanted if (name, sample) not in present]
        if absent:
            log.info(f"events: no event of {', '.join(absent)} is in channel {name}")


def _with_trees(request: Request) -> Request:
    """Return the same with the effects alone that have trees of their own."""
    return replace(request, effects=tuple(effect for effect in request.effects if effect.shifted_trees is not None))
