"""The last whole epoch of a training that has not finished: the same training, begun again, goes on behind it.

Lightning's checkpoint has the weights, the optimiser, the schedule and what the callbacks know. What it lacks is added:
the state of every random generator, the curves, and the weights of the selected epoch.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
            found = Interrupted.of_stored(torch.load(self.path, map_location="cpu", weights_only=True)[KEY])
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
            log.info(f"training: had ended before the run was interrupted, after epoch {len(found.epochs)}")
        else:
            log.info(f"training: goes on behind epoch {len(found.epochs)}")
        return found


@dataclass(frozen=True, eq=False)
class Interrupted:
    """What is in the file beside Lightning's checkpoint.

    Attributes:
        of: Digest, see ``Partial``.
        epochs: Training curves.
        best: Content of the checkpoint of the selected epoch.
        batches: State of the generator of the batches.
        torch_generators: Those of torch's own generators: of the CPU, then of each GPU.
        is_over: Whether there is no epoch left.
    """

    of: str
    epochs: tuple[Epoch, ...]
    best: bytes
    batches: torch.Tensor
    torch_generators: tuple[torch.Tensor, ...]
    is_over: bool

    def stored(self) -> dict[str, Any]:
        """Return what torch stores and reads without running code."""
        best = torch.frombuffer(bytearray(self.best), dtype=torch.uint8)
        epochs = [asdict(epoch) for epoch in self.epochs]
        generators = list(self.torch_generators)
        return {**vars(self), "best": best, "epochs": epochs, "torch_generators": generators}

    @classmethod
    def of_stored(cls, stored: dict[str, Any]) -> Interrupted:
        """Return the same of what was read."""
        epochs = []
        for item in stored["epochs"]:
            evaluation = Evaluation(**item["evaluation"])
            # An epoch without bins is recognised by the one object that says so.
            epochs.append(Epoch(item["number"], item["loss"], NOTHING if evaluation == NOTHING else evaluation))
        changed = {
            "epochs": tuple(epochs),
            "best": stored["best"].numpy().tobytes(),
            "torch_generators": tuple(stored["torch_generators"]),
        }
        return cls(**{**stored, **changed})

    def restore(self, best: Path) -> None:
        """Write the checkpoint of the selected epoch, which is removed when a run begins."""
        best.parent.mkdir(parents=True, exist_ok=True)
        write_whole(best, self.best)


class KeepEpoch(Checkpoint):
    """Writes the file at the end of every epoch, behind all that happens there, and restores what Lightning does not.

    Lightning calls it after the callbacks that are no ``Checkpoint``, and after those that come before it in the list.
    """

    def __init__(
        self,
        partial: Partial,
        best: ModelCheckpoint,
        epochs: Callable[[], Sequence[Epoch]],
        interrupted: Interrupted | None,
    ) -> None:
        self.partial, self.best, self.epochs, self.interrupted = partial, best, epochs, interrupted

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
        """Write the file in one step."""
        try:
            self.partial.path.parent.mkdir(parents=True, exist_ok=True)
            with whole(self.partial.path) as path:
                trainer.save_checkpoint(path)
        except OSError as error:
            raise OutputError(f"{self.partial.path} cannot be written: {error}") from error

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add what Lightning's checkpoint lacks; not called for that of the weights alone."""
        epochs = tuple(self.epochs())
        of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        found = Interrupted(
            of=self.partial.of,
            epochs=epochs,
            best=Path(self.best.best_model_path).read_bytes(),
            batches=_batches(trainer).generator.get_state(),
            torch_generators=(torch.get_rng_state(), *of_gpus),
            is_over=trainer.should_stop or len(epochs) == trainer.max_epochs,
        )
        checkpoint[KEY] = found.stored()


def _batches(trainer: pl.Trainer) -> StratifiedBatches:
    batches = trainer.train_dataloader
    assert isinstance(batches, StratifiedBatches)
    return batches
