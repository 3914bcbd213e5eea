"""The networks of a run: trained, one or several members for each fold and what is made of them, or of another run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import OutputError, SingularInformationError
from inferno_cli.progress import Stopwatch

if TYPE_CHECKING:
    from inferno_cli.events.sample import Events
    from inferno_cli.runs.run_folder import RunFolder
    from inferno_cli.shard import Shard
    from inferno_cli.training.epochs import Training

log = logging.getLogger(__name__)

Task = tuple[int, int]
"""A fold, and the number of a member."""
REMEDY = "Trainings that had ended are kept: repeat the command with fewer trainer.workers=..."


@dataclass(frozen=True)
class Networks:
    """The events of a run and its networks.

    Attributes:
        events: All events.
        chosen: The training of each fold whose networks make the templates, or the mean of its members.
        members: All trainings of each fold, by number, where there are several; one that failed is missing.
    """

    events: Events
    chosen: tuple[Training, ...]
    members: tuple[dict[int, Training], ...] = ()

    @property
    def complete(self) -> dict[int, tuple[Training, ...]]:
        """The trainings of all folds of each member that failed in none."""
        found = {}
        for number in self.members[0] if self.members else ():
            if all(number in of_fold for of_fold in self.members):
                found[number] = tuple(of_fold[number] for of_fold in self.members)
        return found


def networks(config: TrainConfig, folder: Path, clock: Stopwatch, point: str, pretrained: RunFolder | None) -> Networks:
    """Read the events, and train networks on them, or take those of another run."""
    from inferno_cli.runs.pretrained import earlier, require_same_channels
    from inferno_cli.training.pretrained import require_same

    model, request = config.model, config.request
    if pretrained is not None:
        there = pretrained.config
        require_same(config.dataset.inputs, model, there.dataset.inputs, there.model, pretrained.folder)
        _ = pretrained.observables  # a checkpoint that is missing is told before the events are read
        require_same_channels(config, pretrained)
        request = replace(request, earlier=earlier(config, pretrained))
    else:
        model.network.require(config.dataset.features)  # what it lacks is told before the events are read
        if config.combines and config.trainer.combine == "mean":
            model.summary.require_average()
    with clock.part("events", f"events: {config.dataset.name}"):
        events = config.dataset.load(request)
    if events.label:
        log.info(f"events: {events.label}")
    if events.assignment is not None:
        events.assignment.save(folder)
        events = replace(events, assignment=None)  # as large as the ids of all events
    if pretrained is not None:
        return _all_taken(config, folder, clock, events, pretrained)
    epochs = f"at most {config.trainer.max_epochs} epochs" if model.is_trained else "not trained"
    of_folds = "" if events.n_folds == 1 else f", {events.n_folds} folds"
    of_members = "" if config.n_members == 1 else f", {config.n_members} members"
    with clock.part("training", f"training: {model.name}, {epochs}{of_folds}{of_members}"):
        return _all_trained(config, folder, events, point)


def train_part(config: TrainConfig, folder: Path, point: str, shard: Shard) -> str:
    """Train the networks of a shard, which the run goes on behind; return what was done."""
    config.model.network.require(config.dataset.features)
    log.info(f"events: {config.dataset.name}")
    events = replace(config.dataset.load(config.request), assignment=None)
    tasks = _tasks(config, events.n_folds)
    own = shard.take(tasks)
    for task, result in _trainings(config, folder, events, point, own):
        if isinstance(result, SingularInformationError):
            log.info(f"training: {_said(config, events.n_folds, task)} failed, and will in the run as well: {result}")
    toys = ", none of the toys," if config.throws_toys else ""
    return f"{len(own)} of {len(tasks)} trainings{toys}"


def _tasks(config: TrainConfig, n_folds: int) -> list[Task]:
    return [(fold, number) for fold in range(n_folds) for number in range(config.n_members)]


def _all_trained(config: TrainConfig, folder: Path, events: Events, point: str) -> Networks:
    """Train every member of every fold, and make one network of them for each fold."""
    from inferno_cli.training.average import averaged
    from inferno_cli.training.evaluation import Likelihoods
    from inferno_cli.training.observable import CHECKPOINTS, checkpoint_name

    members: tuple[dict[int, Training], ...] = tuple({} for _ in range(events.n_folds))
    failed: SingularInformationError | None = None
    for (fold, number), result in _trainings(config, folder, events, point, _tasks(config, events.n_folds)):
        if isinstance(result, SingularInformationError):
            failed = result
            log.info(f"training: member {number + 1} of {config.n_members} failed: {result}")
        else:
            members[fold][number] = result
    if failed is not None and not all(members):
        raise failed
    if not config.combines:
        return Networks(events, tuple(of_fold[0] for of_fold in members))
    in_order = tuple(dict(sorted(of_fold.items())) for of_fold in members)
    chosen = []
    for fold, of_fold in enumerate(in_order):
        path = folder / CHECKPOINTS / checkpoint_name(fold, events.n_folds)
        if config.trainer.combine == "best":
            chosen.append(_kept(path, of_fold))
        else:
            chosen.append(averaged(tuple(of_fold.values()), Likelihoods.from_config(config), events.fold(fold), path))
    return Networks(events, tuple(chosen), in_order)


def _trainings(
    config: TrainConfig, folder: Path, events: Events, point: str, tasks: list[Task]
) -> Iterator[tuple[Task, Training | SingularInformationError]]:
    """Yield every training as it ends, or why it failed; in several processes, with the same results, if asked for."""
    from inferno_cli.workers import in_workers

    if config.trainer.workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, _trained(task, config, folder, events, point)
        return
    quiet = config.model_copy(update={"trainer": config.trainer.model_copy(update={"progress": "none"})})
    work = partial(_trained, config=quiet, folder=folder, events=events, point=point)
    for task, result in in_workers(work, tasks, config.trainer.workers, remedy=REMEDY):
        log.info(f"training: {_said(config, events.n_folds, task)} has ended")
        yield task, result


def _trained(
    task: Task, config: TrainConfig, folder: Path, events: Events, point: str
) -> Training | SingularInformationError:
    """Train a member of a fold, or go on where the same training was interrupted."""
    from inferno_cli.runs.folder import PARTIAL
    from inferno_cli.runs.search import watcher
    from inferno_cli.training.evaluation import Likelihoods
    from inferno_cli.training.observable import CHECKPOINTS, checkpoint_name
    from inferno_cli.training.partial import Partial
    from inferno_cli.training.trainer import train

    fold, number = task
    n_folds, of_fold = events.n_folds, events.fold(fold)
    name = checkpoint_name(fold, n_folds, number if config.combines else None)
    if (said := _said(config, n_folds, task)) and config.trainer.workers == 1:
        log.info(f"training: {said}")
    try:
        return train(
            config.model.network,
            config.model.summary,
            config.model.objective,
            Likelihoods.from_config(config),
            of_fold,
            config.trainer,
            seed=config.seed_of(fold, number),
            folder=folder / CHECKPOINTS,
            name=name,
            log_ratio=config.dataset.exact_classifier(),
            watch=watcher(config.trainer.max_epochs) if task == (0, 0) else None,
            partial=Partial.of_training(folder / PARTIAL, name, (point, events.checksum)),
        )
    except SingularInformationError as error:
        if config.n_members == 1:
            raise
        return error


def _said(config: TrainConfig, n_folds: int, task: Task) -> str:
    """Say which training a task is, where there are several."""
    fold, number = task
    texts = []
    if n_folds > 1:
        texts.append(f"fold {fold + 1} of {n_folds}")
    if config.n_members > 1:
        texts.append(f"member {number + 1} of {config.n_members}")
    return ", ".join(texts)


def _kept(path: Path, members: dict[int, Training]) -> Training:
    """Return the member of a fold that the validation split finds best, its checkpoint copied to ``path``."""
    from inferno_cli.training.members import best

    chosen = best(members.values())
    try:
        shutil.copyfile(chosen.checkpoint, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    return chosen


def _all_taken(config: TrainConfig, folder: Path, clock: Stopwatch, events: Events, pretrained: RunFolder) -> Networks:
    """Take the network of every fold of another run."""
    from inferno_cli.events.earlier import said
    from inferno_cli.runs.folder import CONFIG_FILE
    from inferno_cli.runs.pretrained import TRAINED_IN, require_same_division

    if events.recognised is None:
        require_same_division(config, pretrained, events.checksum)
    else:
        log.info(f"events: {said(events.recognised)}")
    shutil.copyfile(pretrained.folder / CONFIG_FILE, folder / TRAINED_IN)
    with clock.part("training", f"training: none, the network of {pretrained.folder}"):
        taken = [_taken(config, folder, events.fold(fold), fold, pretrained) for fold in range(events.n_folds)]
    return Networks(events, tuple(taken))


def _taken(config: TrainConfig, folder: Path, events: Events, fold: int, pretrained: RunFolder) -> Training:
    """Take the network of one fold of another run."""
    from inferno_cli.training.evaluation import Likelihoods
    from inferno_cli.training.observable import checkpoint_name
    from inferno_cli.training.pretrained import retaken, take_pretrained

    of_fold = retaken(pretrained.observables.networks[fold], config.model.summary, events.train)
    likelihoods, name = Likelihoods.from_config(config), checkpoint_name(fold, events.n_folds)
    return take_pretrained(of_fold, likelihoods, events, pretrained.folder, folder, name)
