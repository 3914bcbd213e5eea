"""The Lightning module: a network in training for an objective. It knows neither bins nor the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from inferno_cli.config.schema import Trainer
from inferno_cli.likelihood.information import DeferredCheck
from inferno_cli.training.batches import Batch, StratifiedBatches
from inferno_cli.training.environment import optimiser
from inferno_cli.training.objectives import Objective
from inferno_cli.training.observable import NETWORK, SUMMARY, ChannelNetworks, Observable, key_of
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries import NominalEvents, Summary

ROWS = 3_000
"""Most rows that pass a network together on a processor: what is between its layers stays in the cache."""
SPREAD_EVENTS = 10_000
"""Most nominal events of each sample over which the bins are spread, and in which empty ones are looked for."""


@dataclass
class Part:
    """One of the networks of a training.

    Attributes:
        observable: The network and its bins, in training, in place.
        head: What takes the place of its last layer in the warm-up.
        numbers: What its summary has of its own to be trained, shape (n_trained,).
        rows: The samples of a batch that it evaluates.
    """

    observable: Observable
    head: nn.Module | None
    numbers: nn.Parameter | None
    rows: tuple[int, ...]

    @property
    def summary(self) -> Summary:
        """The summary at the values of now of what is trained of it."""
        summary = self.observable.summary
        return summary if self.numbers is None else summary.at(self.numbers)

    def outputs(self, blocks: Sequence[Tensor], *, warming_up: bool) -> list[Tensor]:
        """Outputs for its samples, given the features of all; in the warm-up those of the head."""
        network = self.observable.network
        if warming_up:
            assert self.head is not None
            network = nn.Sequential(network[:-1], self.head)
        return forward_together(network, [blocks[row] for row in self.rows])


class Module(pl.LightningModule):
    """Networks in training, in place; the ``deviation`` of each feature (n_features,) is the unit of its noise.

    What is ``told`` of every view of each sample, shape (n_views, n_columns), is behind the features of its events.
    """

    deviation: Tensor

    def __init__(
        self,
        networks: ChannelNetworks,
        objective: Objective,
        likelihood: SoftLikelihood,
        settings: Trainer,
        deviation: Tensor,
        told: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.told = told
        self.likelihood, self.settings = likelihood, settings
        self.objective, self.beside = objective.begun(likelihood)
        self.warm_up_epochs = objective.warm_up_epochs(settings.max_epochs)
        self.name_of = networks.name_of
        self.parts = {name: self._part(name, networks) for name in networks.by_name}
        self.register_buffer("deviation", deviation, persistent=False)
        self.singular = DeferredCheck()
        self.losses: list[Tensor] = []

    def _part(self, name: str, networks: ChannelNetworks) -> Part:
        """Register what is trained of one network."""
        observable = networks.by_name[name]
        n_trained = observable.summary.n_trained
        head = self.objective.warm_up_head(observable.network, max(self.likelihood.categories) + 1)
        numbers = nn.Parameter(torch.zeros(n_trained)) if n_trained else None
        self.add_module(key_of(NETWORK, name), observable.network)
        self.add_module(key_of("head", name), head)
        self.register_parameter(key_of("numbers", name), numbers)
        channels = [stratum.channel for stratum in self.likelihood.strata]
        rows = [row for row, channel in enumerate(channels) if networks.of(channel) is observable]
        return Part(observable, head, numbers, tuple(rows))

    @property
    def networks(self) -> ChannelNetworks:
        """The networks of now, with the bins that were placed last."""
        return ChannelNetworks({name: part.observable for name, part in self.parts.items()}, self.name_of)

    @property
    def warming_up(self) -> bool:
        """Whether the epoch prepares the network and its bins mean nothing yet."""
        return self.trainer.current_epoch < self.warm_up_epochs

    def on_fit_start(self) -> None:
        """Take what is told to the device, once."""
        if self.told is not None:
            self.told = [values.to(self.device) for values in self.told]

    def on_train_epoch_start(self) -> None:
        """Place the bins once the network is prepared; later, revive those that have lost their events."""
        if self.trainer.current_epoch == self.warm_up_epochs:
            batches = self.trainer.train_dataloader
            assert isinstance(batches, StratifiedBatches)
            for part in self.parts.values():
                summary, network = part.observable.summary, part.observable.network
                if isinstance(part.head, nn.Linear):
                    summary.take_over(network, part.head, self.likelihood.is_signal)
                summary.spread(network, batches.nominal_features(SPREAD_EVENTS, part.rows))
            self.place_bins()
        elif not self.warming_up:
            self.revive_bins()

    def place_bins(self) -> None:
        """Place the bins of a summary that has them where the events are."""
        samples = self._nominal_events()
        for part in self.parts.values():
            own = [samples[row] for row in part.rows]
            part.observable = replace(part.observable, summary=part.summary).placed(own)

    def revive_bins(self) -> None:
        """Give bins without events a part of others; what the optimiser knows of these holds for the copies."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        epoch, n_epochs = self.trainer.current_epoch, self.settings.max_epochs
        passed = (epoch - self.warm_up_epochs) / (n_epochs - self.warm_up_epochs)
        samples = self._nominal_events(SPREAD_EVENTS)
        for part in self.parts.values():
            network = part.observable.network
            copies = part.summary.revive(network, [samples[row] for row in part.rows], passed)
            for parameter in network[-1].parameters() if copies else ():
                for value in optimizer.state[parameter].values():
                    if value.shape == parameter.shape:  # not the number of steps
                        for copy, original in copies.items():
                            value[copy] = value[original]

    def _nominal_events(self, most: int | None = None) -> list[NominalEvents]:
        """Return those of each sample in the training split, or at most so many, all over it."""
        batches = self.trainer.train_dataloader
        assert isinstance(batches, StratifiedBatches)
        samples = []
        for stratum, (features, weights) in zip(self.likelihood.strata, batches.tensors, strict=True):
            step = 1 if most is None else max(1, -(-weights.shape[1] // most))
            about = stratum.name, stratum.channel, stratum.is_signal
            samples.append(NominalEvents(*about, features[0, ::step], weights[0, ::step]))
        return samples

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Give the summaries what they had learnt when a checkpoint was written."""
        for name, part in self.parts.items():
            summary = part.observable.summary.restored(checkpoint[key_of(SUMMARY, name)])
            part.observable = replace(part.observable, summary=summary)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what the summaries learnt."""
        for name, part in self.parts.items():
            checkpoint[key_of(SUMMARY, name)] = part.observable.summary.state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what the summaries had learnt before the training was interrupted."""
        self.restore(checkpoint)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Return the batch, which is there."""
        return batch

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # noqa: ARG002
        """One forward pass of each network over nominal and varied events of all its samples together.

        Nothing in it looks at a number, which would wait for the device: see ``mean_loss``.
        """
        nominal = self.warming_up or self.objective.nominal_only
        blocks = self.with_told(self.smeared([features[:1] if nominal else features for features, _ in batch]))
        outputs: dict[int, Tensor] = {}
        summaries: dict[int, Summary] = {}
        for part in self.parts.values():
            own = part.outputs(blocks, warming_up=self.warming_up)
            outputs |= dict(zip(part.rows, own, strict=True))
            summaries |= dict.fromkeys(part.rows, part.summary)
        in_order = [outputs[row] for row in range(len(batch))]
        with self.singular.instead():
            if self.warming_up:
                loss = self.objective.warm_up_loss(in_order, batch, self.likelihood)
            else:
                of_each = [summaries[row] for row in range(len(batch))]
                loss = self.objective.loss(in_order, batch, of_each, self.likelihood)
        self.losses.append(loss.detach())
        return loss

    def mean_loss(self) -> float:
        """Return the mean loss of the steps since this was asked last: an epoch's.

        Raises:
            SingularInformationError: If in one of them the data could not tell parameters apart.
        """
        self.singular.require()
        losses, self.losses = self.losses, []
        return float(torch.stack(losses).mean())

    def smeared(self, blocks: list[Tensor]) -> list[Tensor]:
        """Blocks of features with noise, the same for all views of an event: what a systematic changes stays."""
        if not self.settings.input_noise:
            return blocks
        sizes = [block.shape[1] for block in blocks]
        width = self.settings.input_noise * self.deviation
        noise = width * torch.randn(sum(sizes), len(width), dtype=width.dtype, device=width.device)
        return [block + own for block, own in zip(blocks, torch.split(noise, sizes), strict=True)]

    def with_told(self, blocks: list[Tensor]) -> list[Tensor]:
        """Blocks of features with what is told of their views."""
        if self.told is None:
            return blocks
        found = []
        for block, values in zip(blocks, self.told, strict=True):
            own = values[: len(block), None].expand(-1, block.shape[1], -1)
            found.append(torch.cat([block, own], dim=-1))
        return found

    def configure_optimizers(self) -> Any:
        """AdamW with the configured schedule."""
        return optimiser(self.parameters(), self.settings, int(self.trainer.estimated_stepping_batches))


def forward_together(network: nn.Module, blocks: Sequence[Tensor]) -> list[Tensor]:
    """One forward pass over the blocks of all samples, each (n_views, n_events, n_features)."""
    flat = [block.flatten(0, 1) for block in blocks]
    outputs = torch.split(_forward(network, torch.cat(flat)), [len(block) for block in flat])
    return [torch.unflatten(output, 0, block.shape[:2]) for output, block in zip(outputs, blocks, strict=True)]


def _forward(network: nn.Module, rows: Tensor) -> Tensor:
    """Outputs of rows, shape (n_rows, n_outputs), a part of them after the other where that is faster."""
    # What normalises over a batch has to see all of it.
    if rows.device.type != "cpu" or any(
        isinstance(layer, nn.modules.batchnorm._NormBase) for layer in network.modules()
    ):
        outputs: Tensor = network(rows)
        return outputs
    return torch.cat([network(part) for part in torch.chunk(rows, -(-len(rows) // ROWS))])
