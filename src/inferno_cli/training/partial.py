"""The last whole epoch of a training that has not finished: the same training, begun again, goes on behind it.

Lightning's checkpoint has the weights, the optimiser, the schedule and what the callbacks know. What it lacks is added:
the state of every random generator, the curves, and the weights of the selected epoch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import lightning
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from inferno_cli.errors import OutputError
from inferno_cli.files import whole, write_whole
from inferno_cli.training.batches import StratifiedBatches
from inferno_cli.training.epochs import Epoch
from inferno_cli.training.evaluation import NOTHING, Evaluation

log = logging.getLogger(__name__)

SHARE = 0.01
"""Most of the time of a training that its file may take: where epochs are shorter, some are not kept."""
KEY = "inferno_cli"
"""Of what is added to Lightning's checkpoint."""


@dataclass(frozen=True)
class Partial:
    """File that an unfinished training goes on from.

    Attributes:
        path: The file.
        of: Digest of all that decides what the training gives: no other one goes on from the file.
    """

    path: Path
    of: str

    @classmethod
    def of_training(cls, folder: Path, name: str, decides: Sequence[str]) -> Partial:
        """Return the file of a training in the folder of unfinished work.

        Args:
            folder: That folder.
            name: Name of the training's own checkpoint.
            decides: Everything that decides what it gives. The versions of the libraries and the folder are added:
                Lightning remembers the path of its checkpoint.
        """
        text = "\n".join([*decides, name, str(folder.resolve()), torch.__version__, lightning.__version__])
        return cls(folder / name, hashlib.sha256(text.encode()).hexdigest())

    def read(self) -> Interrupted | None:
        """Return what an interrupted training left; None, with a line in the log, where it is of no use."""
        if not self.path.exists():
            return None
        try:
            with ZipFile(self.path) as stored:
                damaged = stored.testzip()  # torch itself does not look at the checksums
            if damaged is not None:
                raise BadZipFile(f"the checksum of {damaged} in it is another one")
            found = Interrupted(**torch.load(self.path, map_location="cpu", weights_only=True)[KEY])
            n_epochs = len(found.epochs)
        except Exception as error:  # torch raises many kinds for a damaged file
            said = (str(error).strip().splitlines() or [""])[0]
            log.info(f"training: begins anew, as {self.path} is damaged ({type(error).__name__}: {said})")
            return None
        if found.of != self.of:
            log.info(
                f"training: begins anew, as {self.path} is of another configuration, of other data, of another version "
                "of the code or its libraries, or was moved"
            )
            return None
        if found.is_over:
            log.info(f"training: had ended before the run was interrupted, after epoch {n_epochs}")
        else:
            log.info(f"training: goes on behind epoch {n_epochs}")
        return found


@dataclass(frozen=True, eq=False)
class Interrupted:
    """What is in the file beside Lightning's checkpoint.

    Attributes:
        of: Digest, see ``Partial``.
        curves: Epochs, each as one line of JSON: torch takes long to store thousands of numbers one by one.
        best: Content of the checkpoint of the selected epoch, uint8.
        batches: State of the generator of the batches.
        torch_generators: Those of torch's own generators: of the CPU, then of each GPU.
        is_over: Whether there is no epoch left.
        snapshots: Weights of late epochs, see ``training.snapshots``.
    """

    of: str
    curves: str
    best: torch.Tensor
    batches: torch.Tensor
    torch_generators: list[torch.Tensor]
    is_over: bool
    snapshots: list[dict[str, Any]]

    @cached_property
    def epochs(self) -> tuple[Epoch, ...]:
        """Training curves."""
        found = []
        for line in self.curves.splitlines():
            number, loss, values = json.loads(line)
            evaluation = Evaluation(**values)
            # An epoch without bins is recognised by the one object that says so.
            found.append(Epoch(number, loss, NOTHING if evaluation == NOTHING else evaluation))
        return tuple(found)

    def restore(self, best: Path) -> None:
        """Write the checkpoint of the selected epoch, which is removed when a run begins."""
        best.parent.mkdir(parents=True, exist_ok=True)
        write_whole(best, self.best.numpy().tobytes())


class KeepEpoch(Checkpoint):
    """Writes the file at the end of an epoch, behind all that happens there, and restores what Lightning does not.

    Every epoch is kept, unless writing takes more than ``SHARE`` of the time since the one that was kept last.
    Lightning calls it after the callbacks that are no ``Checkpoint``, and after those that come before it in the list.
    """

    def __init__(
        self,
        partial: Partial,
        best: ModelCheckpoint,
        epochs: Callable[[], Sequence[Epoch]],
        snapshots: Callable[[], Sequence[dict[str, Any]]],
        interrupted: Interrupted | None,
    ) -> None:
        self.partial, self.best, self.epochs, self.interrupted = partial, best, epochs, interrupted
        self.snapshots = snapshots
        self.lines = [] if interrupted is None else interrupted.curves.splitlines()
        self.next = -math.inf
        """When the next epoch may be kept, in seconds of ``time.perf_counter``."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Set the generators as they were after the last epoch: nothing before has to be drawn as it was."""
        if self.interrupted is None:
            return
        of_cpu, *of_gpus = self.interrupted.torch_generators
        torch.set_rng_state(of_cpu)
        for number, state in enumerate(of_gpus):
            torch.cuda.set_rng_state(state, number)
        _batches(trainer).generator.set_state(self.interrupted.batches)
        self.interrupted = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Write the file in one step, at the end of the training in any case: what follows may be killed as well."""
        start = time.perf_counter()
        if start < self.next and not self._is_over(trainer):
            return
        try:
            self.partial.path.parent.mkdir(parents=True, exist_ok=True)
            with whole(self.partial.path) as path:
                trainer.save_checkpoint(path)
        except OSError as error:
            raise OutputError(f"{self.partial.path} cannot be written: {error}") from error
        end = time.perf_counter()
        self.next = end + (end - start) / SHARE

    def _is_over(self, trainer: pl.Trainer) -> bool:
        return trainer.should_stop or len(self.epochs()) == trainer.max_epochs

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add what Lightning's checkpoint lacks; not called for that of the weights alone."""
        for epoch in self.epochs()[len(self.lines) :]:
            self.lines.append(json.dumps([epoch.number, epoch.loss, asdict(epoch.evaluation)]))
        best = bytearray(Path(self.best.best_model_path).read_bytes())
        of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        found = Interrupted(
            of=self.partial.of,
            curves="\n".join(self.lines),
            best=torch.frombuffer(best, dtype=torch.uint8),
            batches=_batches(trainer).generator.get_state(),
            torch_generators=[torch.get_rng_state(), *of_gpus],
            is_over=self._is_over(trainer),
            snapshots=list(self.snapshots()),
        )
        checkpoint[KEY] = vars(found)


def _batches(trainer: pl.Trainer) -> StratifiedBatches:
    batches = trainer.train_dataloader
    assert isinstance(batches, StratifiedBatches)
    return batches
