"""What all steps have in common whose folders are runs: a run begins, ends, is logged and is shown in one way."""

from __future__ import annotations

import logging
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from inferno_cli.config.schema import Tracking
    from inferno_cli.runs.mlflow.run import Run
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.shard import Shard

log = logging.getLogger("inferno_cli.steps")


class Kept(Protocol):
    """The record of a run."""

    def save(self, path: Path) -> None:
        """Write it in one step."""


RecordT = TypeVar("RecordT", bound=Kept)


@dataclass(frozen=True)
class Called:
    """What a run is called in the store, unless it is one of a sweep, and its tags."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A run that is asked for.

    Attributes:
        composed: Its configuration, which is written down.
        tracking: Where it is logged.
        overwrite: Whether it replaces a finished one.
        job: The job of Hydra's, whose folder is that of the run.
        point: Digest of what is run.
        called: What it is called in the store.
    """

    composed: DictConfig
    tracking: Tracking
    overwrite: bool
    job: HydraJob
    point: str
    called: Called

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.job.folder


class RunStep(ABC, Generic[RecordT]):
    """A step whose folders are runs: what its record is, says and logs. The step's module has it as ``RUN``."""

    file: ClassVar[str]
    """Name of the record, which is written last of all files."""
    shown: ClassVar[str]
    """Name of the file that is named at the end."""

    @abstractmethod
    def load(self, folder: Path) -> RecordT:
        """Read the record of a finished run."""

    @abstractmethod
    def called(self, record: RecordT) -> Called:
        """Return what the run of a record is called."""

    @abstractmethod
    def headline(self, record: RecordT) -> str:
        """Return what was found, in a few words."""

    @abstractmethod
    def show(self, record: RecordT) -> None:
        """Print what was found."""

    @abstractmethod
    def log(self, logged: Run, folder: Path, record: RecordT, *, checkpoint: bool) -> str:
        """Log what was found, and files of the folder, with the network where ``checkpoint`` says so.

        Returns:
            The description of the run in Markdown.
        """

    # ---------------------------------------------------------------------------------------- the same for all steps
    def once(self, work: Callable[[], RecordT], asked: Asked, *, is_spare: bool = False) -> RecordT | None:
        """Do the work in the folder of the run, unless this very run has finished there: then show that one.

        ``work`` returns the record. A finished run of another configuration is replaced if it ``is_spare``.

        Returns:
            The record; None where a search stopped the trial early.

        Raises:
            OutputError: If another run has finished there.
        """
        from inferno_cli.runs.folder import begin, verify
        from inferno_cli.runs.mlflow.store import check

        if asked.overwrite:  # before anything is removed
            check(asked.tracking)
        if begin(asked.folder, asked.composed, asked.point, overwrite=asked.overwrite, is_spare=is_spare):
            return self.begun(work, asked)
        verify(asked.folder)
        log.info("this run has finished here before, with the same settings; overwrite=true does it again")
        record = self.load(asked.folder)
        self.tell(asked.folder, record)
        return record

    def begun(self, work: Callable[[], RecordT], asked: Asked) -> RecordT | None:
        """Do the work of a run that has begun in its folder, write its record, log it, and show what it found.

        The store is asked before the work and told after it: what has finished is whole, whatever becomes of that.

        Returns:
            The record; None where a search stopped the trial early.
        """
        from omegaconf import OmegaConf

        from inferno_cli.files import write_whole
        from inferno_cli.runs.folder import CONFIG_FILE, finish, holds_finished
        from inferno_cli.runs.mlflow.run import log_configuration, result_stays, tracked
        from inferno_cli.runs.mlflow.store import check
        from inferno_cli.runs.search import Pruned

        folder, tracking, job = asked.folder, asked.tracking, asked.job
        write_whole(folder / CONFIG_FILE, OmegaConf.to_yaml(asked.composed, resolve=True))
        check(tracking)
        name = asked.called.name if job.sweep is None else job.name
        params, tags = resolved(asked.composed), asked.called.tags
        record: RecordT | None = None
        try:
            with (
                result_stays(tracking, folder),
                tracked(tracking, name=name, params=params, tags=tags, sweep_folder=job.sweep, folder=folder) as logged,
            ):
                if logged is not None:
                    log_configuration(logged, folder)
                try:
                    record = work()
                except Pruned as stop:
                    _prune(asked, logged, str(stop))
                    return None
                record.save(folder / self.file)
                finish(folder, asked.point)  # whatever becomes of the tracking
                if logged is not None:
                    self.log_finished(logged, folder, record, tracking)
        finally:
            if record is not None and holds_finished(folder):
                self.tell(folder, record)
        return record

    def log_finished(self, logged: Run, folder: Path, record: RecordT, tracking: Tracking) -> None:
        """Log what a finished run found, and register its network where that is asked for."""
        from inferno_cli.runs.mlflow.registry import register

        description = self.log(logged, folder, record, checkpoint=tracking.log_checkpoint)
        if tracking.register_as is not None:
            register(logged, folder, tracking.register_as, description)

    def tell(self, folder: Path, record: RecordT | None = None) -> None:
        """Print what a finished run found, where its record is given, and where that is."""
        if record is not None:
            self.show(record)
        sys.stdout.write(f"results: {folder / self.shown}\n")


def _prune(asked: Asked, logged: Run | None, why: str) -> None:
    """Say that a search stopped a trial early."""
    from inferno_cli.runs import search
    from inferno_cli.runs.folder import PARTIAL, Status

    Status("pruned", asked.point, error=why).write(asked.folder)  # whatever becomes of the tracking
    shutil.rmtree(asked.folder / PARTIAL, ignore_errors=True)
    search.log.info(f"pruned: {why}")
    if logged is not None:
        logged.tags({"pruned": why})


def do_part(text: str, asked: Asked, work: Callable[[Shard], str]) -> None:
    """Do a part of a run, such as 2/4, where others may be at work; nothing is logged. ``work`` returns what it did."""
    from inferno_cli.runs.shards import sharing
    from inferno_cli.shard import Shard

    shard = Shard.of(text)
    with sharing(asked.folder, asked.composed, asked.point, shard) as has_work:
        done = work(shard) if has_work else ""
    if done:
        said = f"{done} in {asked.folder}; when all shards have ended, the command without --shard collects them"
    else:
        said = f"nothing to do, the run in {asked.folder} has finished"
    sys.stdout.write(f"shard {shard}: {said}\n")


def resolved(composed: DictConfig) -> dict[str, Any]:
    """Return a configuration as nested mappings, without interpolations."""
    from omegaconf import OmegaConf

    params = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(params, dict)
    return {str(key): value for key, value in params.items()}


def run_steps() -> dict[str, RunStep[Any]]:
    """Return the steps whose folders are runs, by name."""
    from inferno_cli.choices import STEPS, choices

    found: dict[str, RunStep[Any]] = {}
    for name, step in choices(STEPS).items():
        run = getattr(step.load(), "RUN", None)
        if isinstance(run, RunStep):
            found[name] = run
    return found
