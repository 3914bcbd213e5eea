"""Networks of late epochs of a training, for a mean: late in it each of them is as good as the selected one.

From epoch to epoch weights and bins jump about, and at which jump an epoch was selected is luck. A mean over some
epochs has less of it, and costs no training.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from inferno_cli.config.schema import Trainer
from inferno_cli.training.module import Module
from inferno_cli.training.observable import ChannelNetworks

State = dict[str, Any]
"""Weights, and what the summaries learnt: of primitives and tensors alone, as a checkpoint is."""


def window(max_epochs: int) -> int:
    """Return a twentieth of the epochs: over so many a value of the validation split is a mean."""
    return max(1, max_epochs // 20)


class Snapshots(Callback):
    """Keeps the networks of the last epochs that are a window apart, behind the warm-up.

    Lightning has to call it after what places the bins of an epoch.
    """

    def __init__(self, settings: Trainer) -> None:
        self.every = window(settings.max_epochs)
        self.kept: deque[State] = deque(maxlen=settings.n_snapshots)

    def go_on(self, kept: Sequence[State]) -> None:
        """Take those of a training that was interrupted."""
        self.kept.extend(kept)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the networks of the epoch, if it is its turn."""
        assert isinstance(pl_module, Module)
        if self.kept.maxlen == 0 or pl_module.warming_up or (trainer.current_epoch + 1) % self.every:
            return
        state: State = {"state_dict": {name: value.clone() for name, value in pl_module.state_dict().items()}}
        pl_module.on_save_checkpoint(state)
        self.kept.append(state)

    @torch.no_grad()
    def networks(self, module: Module) -> tuple[ChannelNetworks, ...]:
        """Return the networks of all that are kept; the module is left with the weights of the last one."""
        found = []
        for state in self.kept:
            module.load_state_dict(state["state_dict"])
            module.restore(state)
            found.append(copy.deepcopy(module.networks))
        return tuple(found)
