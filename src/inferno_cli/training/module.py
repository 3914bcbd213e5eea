"""The Lightning module: a network in training for an objective. It knows neither bins nor the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from inferno_cli.config.schema import Trainer
from inferno_cli.training.batches import Batch, StratifiedBatches
from inferno_cli.training.objectives import Objective
from inferno_cli.training.observable import SUMMARY, Observable
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries import NominalEvents, Summary

SPREAD_EVENTS = 10_000
"""Most nominal events of each sample over which the bins are spread."""


class Module(pl.LightningModule):
    """An observable in training, in place; the ``deviation`` of each feature (n_features,) is the unit of its noise.

    The ``numbers`` are what the summary has of its own to be trained, shape (n_trained,).
    """

    deviation: Tensor
    numbers: nn.Parameter | None

    def __init__(
        self,
        observable: Observable,
        objective: Objective,
        likelihood: SoftLikelihood,
        settings: Trainer,
        deviation: Tensor,
    ) -> None:
        super().__init__()
        self.observable, self.objective, self.likelihood = observable, objective, likelihood
        self.settings, self.network = settings, observable.network
        self.head = objective.warm_up_head(self.network, max(likelihood.categories) + 1)
        self.warm_up_epochs = objective.warm_up_epochs(settings.max_epochs)
        n_trained = observable.summary.n_trained
        self.register_parameter("numbers", nn.Parameter(torch.zeros(n_trained)) if n_trained else None)
        self.register_buffer("deviation", deviation, persistent=False)

    @property
    def warming_up(self) -> bool:
        """Whether the epoch prepares the network and its bins mean nothing yet."""
        return self.trainer.current_epoch < self.warm_up_epochs

    def on_fit_start(self) -> None:
        """Take what is constant to the device, once."""
        self.likelihood = self.likelihood.on(self.device)

    def on_train_epoch_start(self) -> None:
        """Place the bins once the network is prepared."""
        if self.trainer.current_epoch == self.warm_up_epochs:
            batches = self.trainer.train_dataloader
            assert isinstance(batches, StratifiedBatches)
            if isinstance(self.head, nn.Linear):
                self.observable.summary.take_over(self.network, self.head, self.likelihood.is_signal)
            self.observable.summary.spread(self.network, batches.nominal_features(SPREAD_EVENTS))
            self.place_bins()

    @property
    def summary(self) -> Summary:
        """The summary at the values of now of what is trained of it."""
        summary = self.observable.summary
        return summary if self.numbers is None else summary.at(self.numbers)

    def place_bins(self) -> None:
        """Place the bins of a summary that has them where the events are."""
        batches = self.trainer.train_dataloader
        assert isinstance(batches, StratifiedBatches)
        samples = []
        for stratum, (features, weights) in zip(self.likelihood.strata, batches.tensors, strict=True):
            samples.append(NominalEvents(stratum.name, stratum.is_signal, features[0], weights[0]))
        self.observable = replace(self.observable, summary=self.summary).placed(samples)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what the summary learnt."""
        checkpoint[SUMMARY] = self.observable.summary.state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what the summary had learnt before the training was interrupted."""
        summary = self.observable.summary.restored(checkpoint[SUMMARY])
        self.observable = replace(self.observable, summary=summary)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # noqa: ARG002
        """One forward pass over nominal and varied events of all samples together."""
        nominal = self.warming_up or self.objective.nominal_only
        blocks = self.smeared([features[:1] if nominal else features for features, _ in batch])
        if self.warming_up:
            assert self.head is not None
            outputs = forward_together(nn.Sequential(self.network[:-1], self.head), blocks)
            loss = self.objective.warm_up_loss(outputs, batch, self.likelihood)
        else:
            outputs = forward_together(self.network, blocks)
            loss = self.objective.loss(outputs, batch, self.summary, self.likelihood)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def smeared(self, blocks: list[Tensor]) -> list[Tensor]:
        """Blocks of features with noise, the same for all views of an event: what a systematic changes stays."""
        if not self.settings.input_noise:
            return blocks
        width = self.settings.input_noise * self.deviation
        return [block + width * torch.randn_like(block[0]) for block in blocks]

    def configure_optimizers(self) -> Any:
        """AdamW with the configured schedule."""
        settings, steps = self.settings, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        if settings.schedule == "cosine":
            schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        elif settings.schedule == "one_cycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, steps)
        else:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def forward_together(network: nn.Module, blocks: Sequence[Tensor]) -> list[Tensor]:
    """One forward pass over the blocks of all samples, each (n_views, n_events, n_features)."""
    flat = [block.flatten(0, 1) for block in blocks]
    outputs = network(torch.cat(flat)).split([len(block) for block in flat])
    return [output.unflatten(0, block.shape[:2]) for output, block in zip(outputs, blocks, strict=True)]
