"""Train an autoencoder with Lightning, and keep the epoch that is best on the validation split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor

from inferno_cli.anomaly.background import Background
from inferno_cli.anomaly.outputs import Output
from inferno_cli.anomaly.settings import Vae
from inferno_cli.anomaly.vae import Autoencoder
from inferno_cli.config.schema import Trainer
from inferno_cli.errors import DatasetError
from inferno_cli.events.sample import generator
from inferno_cli.progress import Advance
from inferno_cli.training.environment import alone, optimiser
from inferno_cli.training.layers import moments
from inferno_cli.training.loop import best_checkpoint, lightning_trainer

MONITOR = "validation/loss"
"""What selects the epoch: the mean loss of the validation split, with the same draws of the latent variables."""
LINES = 10
"""Lines of progress in a log."""
ROWS = 10_000
"""Events of the validation split that pass the network together."""
Watch = Callable[[int, float], None]
"""Called with every epoch and the figure of merit of a search; what it raises ends the training."""


@dataclass(frozen=True)
class Epoch:
    """Mean losses of one epoch, per event: of the training split while it was trained, and of the validation split."""

    loss: float
    validation: float
    reconstruction: float
    divergence: float

    @property
    def negative_elbo(self) -> float:
        """The bound of -ln p(x), whatever beta is."""
        return self.reconstruction + self.divergence

    def as_metrics(self) -> dict[str, float]:
        """Return the numbers as they are logged."""
        return {
            "loss": self.loss,
            MONITOR: self.validation,
            "validation/reconstruction": self.reconstruction,
            "validation/divergence": self.divergence,
            "validation/negative_elbo": self.negative_elbo,
        }


@dataclass(frozen=True)
class Trained:
    """A trained autoencoder, in float64 on the CPU, with all epochs and the number of the one that it is of."""

    network: Autoencoder
    epochs: tuple[Epoch, ...]
    best: int
    seconds: float


class _Batches:
    """Events of one split in batches, shuffled anew in every epoch, on the device of the training."""

    def __init__(self, events: Background, batch_size: int, seed: int, device: torch.device) -> None:
        self.features = torch.from_numpy(events.features).to(device)
        self.weights = torch.from_numpy(events.weights.astype(np.float32)).to(device)
        self.rng = generator(seed, "anomaly batches")
        self.n_batches = max(1, round(len(events.weights) / batch_size))

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self.rng.permutation(len(self.weights))
        for rows in np.array_split(order, self.n_batches):
            chosen = torch.from_numpy(rows).to(self.features.device)
            yield self.features[chosen], self.weights[chosen]


class _Data(pl.LightningDataModule):
    """Hands out the batches."""

    def __init__(self, events: Background, batch_size: int, seed: int) -> None:
        super().__init__()
        self.events, self.batch_size, self.seed = events, batch_size, seed

    def train_dataloader(self) -> Any:
        """Return the training split."""
        assert self.trainer is not None
        return _Batches(self.events, self.batch_size, self.seed, self.trainer.strategy.root_device)


class Module(pl.LightningModule):
    """An autoencoder in training; the ``deviation`` of each feature (n_features,) is the unit of its noise."""

    deviation: Tensor

    def __init__(self, network: Autoencoder, beta: float, settings: Trainer, deviation: Tensor) -> None:
        super().__init__()
        self.network, self.beta, self.settings = network, beta, settings
        self.register_buffer("deviation", deviation)
        self.losses: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:  # noqa: ARG002
        """Return the mean loss of a batch."""
        x, weights = batch
        noise = torch.randn(len(x), self.network.latent, device=x.device)
        seen = None
        if self.settings.input_noise:
            seen = x + self.settings.input_noise * self.deviation * torch.randn_like(x)
        loss = (weights * self.network.terms(x, noise, seen).loss(self.beta)).mean()
        self.losses.append(loss.detach())
        return loss

    def mean_loss(self) -> float:
        """Return the mean over the batches since the last call."""
        mean = float(torch.stack(self.losses).mean())
        self.losses.clear()
        return mean

    def configure_optimizers(self) -> Any:
        """AdamW with the configured schedule."""
        return optimiser(self.parameters(), self.settings, int(self.trainer.estimated_stepping_batches))


class _Validation(Callback):
    """After every epoch, the mean losses of the validation split."""

    def __init__(self, events: Background, merit: str, seed: int, advance: Advance, watch: Watch | None) -> None:
        self.events, self.merit, self.seed = events, merit, seed
        self.advance, self.watch = advance, watch
        self.epochs: list[Epoch] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Move the bar, whose unit is the epoch."""
        self.advance(1 / trainer.num_training_batches, is_line=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate and log."""
        assert isinstance(pl_module, Module)
        reconstruction, divergence = mean_terms(pl_module.network, self.events, self.seed)
        validation = reconstruction + pl_module.beta * divergence
        epoch = Epoch(pl_module.mean_loss(), validation, reconstruction, divergence)
        self.epochs.append(epoch)
        pl_module.log(MONITOR, validation if math.isfinite(validation) else math.inf)
        number, most = trainer.current_epoch, trainer.max_epochs or 1
        every = max(1, most // LINES)
        said = f"epoch {number + 1:3d}/{most}  loss {epoch.loss:.4f}  validation {validation:.4f}"
        self.advance(0, said, is_line=number % every == every - 1 or number == 0)
        if self.watch is not None:
            self.watch(number, validation if self.merit == "loss" else epoch.negative_elbo)


@torch.no_grad()
def mean_terms(network: Autoencoder, events: Background, seed: int) -> tuple[float, float]:
    """Return the mean reconstruction and divergence of events, for one seeded draw of the latent variables of each."""
    drawn = generator(seed, "anomaly validation").standard_normal((len(events.weights), network.latent))
    device, dtype = network.prior.mean.device, network.prior.mean.dtype
    sums = np.zeros(2)
    for first in range(0, len(drawn), ROWS):
        rows = slice(first, first + ROWS)
        x, noise = torch.from_numpy(events.features[rows]), torch.from_numpy(drawn[rows])
        terms = network.terms(x.to(device, dtype), noise.to(device, dtype))
        weights = torch.from_numpy(events.weights[rows])
        sums += [float((weights * term.cpu().double()).sum()) for term in terms]
    reconstruction, divergence = sums / events.weights.sum()
    return float(reconstruction), float(divergence)


def train(
    vae: Vae,
    outputs: Sequence[Output],
    backgrounds: tuple[Background, Background],
    settings: Trainer,
    *,
    seed: int,
    merit: str,
    path: Path,
    watch: Watch | None = None,
) -> Trained:
    """Train an autoencoder.

    Args:
        vae: Its sizes.
        outputs: The density of each feature.
        backgrounds: Training and validation split.
        settings: How Lightning trains.
        seed: Seed of the first weights, the batches and the noise.
        merit: What ``watch`` is told of every epoch, "elbo" or "loss".
        path: The checkpoint of the epoch with the smallest loss of the validation split.
        watch: Told of every epoch.

    Raises:
        DatasetError: If no epoch has a finite loss.
    """
    start = time.perf_counter()
    training, validation = backgrounds
    mean, deviation = moments([torch.from_numpy(training.features)])
    columns = training.features.astype(np.float64).T
    fitted = [output.fitted(x, training.weights) for output, x in zip(outputs, columns, strict=True)]
    with alone(settings, seed) as advance:
        network = Autoencoder(vae, outputs, fitted, (mean, deviation))
        module = Module(network, vae.beta, settings, deviation)
        told = _Validation(validation, merit, seed, advance, watch)
        trainer = _lightning(settings, path, [told])
        trainer.fit(module, datamodule=_Data(training, settings.batch_size, seed))
    losses = np.array([epoch.validation for epoch in told.epochs])
    if not np.isfinite(losses).any():
        raise DatasetError(
            f"after none of {len(losses)} epochs the loss of the validation split is finite. Lower "
            "model.learning_rate, or choose densities that go with the features: vae.outputs"
        )
    stored = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(stored["state_dict"])
    return Trained(network.cpu().double().eval(), tuple(told.epochs), stored["epoch"], time.perf_counter() - start)


def _lightning(settings: Trainer, path: Path, callbacks: list[Callback]) -> pl.Trainer:
    callbacks = [*callbacks, best_checkpoint(path, MONITOR)]
    if settings.early_stopping is not None:
        patience = settings.early_stopping
        callbacks.append(EarlyStopping(MONITOR, patience=patience, check_on_train_epoch_end=True, check_finite=False))
    return lightning_trainer(settings, path.parent, callbacks)
