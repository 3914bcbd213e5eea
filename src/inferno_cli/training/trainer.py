"""Train a network with Lightning, and keep the epoch that is best on the validation split."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Trainer
from inferno_cli.errors import SingularInformationError
from inferno_cli.events.arrays import of_rows
from inferno_cli.events.channel import SHARED
from inferno_cli.events.dataset import LogRatio
from inferno_cli.events.sample import Events, Sample
from inferno_cli.progress import Advance
from inferno_cli.section import Names
from inferno_cli.training.batches import StratifiedBatches, to_tensors
from inferno_cli.training.environment import alone
from inferno_cli.training.epochs import Epoch, Training
from inferno_cli.training.evaluation import NOTHING, Likelihoods, evaluate, judge
from inferno_cli.training.layers import moments
from inferno_cli.training.loop import best_checkpoint, lightning_trainer
from inferno_cli.training.module import Module
from inferno_cli.training.networks import Network
from inferno_cli.training.objectives import Objective
from inferno_cli.training.observable import NETWORK, SUMMARY, ChannelNetworks, Observable, checkpoint_name, key_of
from inferno_cli.training.partial import KeepEpoch, Partial
from inferno_cli.training.snapshots import Snapshots, window
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries import NominalEvents, Summary

log = logging.getLogger(__name__)

MONITOR = "selection"
"""What selects the epoch: the figure of merit of the hard bins of the validation split, its root; with the noise of the
variations in it. Of one POI it is sigma(mu).

The mean over the last epochs, 5% of all. Without the noise, an epoch whose bins make information of it would win.
"""
Watch = Callable[[int, float], None]
"""Called with every epoch and the value that selects; what it raises ends the training."""
LINES = 10
"""Lines of progress in a log."""


class Validation(Callback):
    """After every epoch, one evaluation over the whole validation split; it selects the checkpoint."""

    def __init__(
        self,
        events: Events,
        likelihoods: Likelihoods,
        likelihood: SoftLikelihood,
        advance: Advance,
        watch: Watch | None,
    ) -> None:
        self.samples, self.likelihoods, self.likelihood = events.validation, likelihoods, likelihood
        self.advance, self.watch = advance, watch
        self.fixed = likelihoods.fixed(events, likelihoods.fitted)
        self.epochs: list[Epoch] = []

    def go_on(self, epochs: Sequence[Epoch]) -> None:
        """Take the epochs of a training that was interrupted."""
        self.epochs = list(epochs)
        self.advance(len(epochs), is_line=False)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Move the bar, whose unit is the epoch."""
        self.advance(1 / trainer.num_training_batches, is_line=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate and log."""
        assert isinstance(pl_module, Module)
        loss = pl_module.mean_loss()
        evaluation, judges = NOTHING, self.likelihoods
        if not pl_module.warming_up:
            pl_module.place_bins()
            networks = pl_module.networks
            evaluation = evaluate(networks, self.likelihood, self.samples, judges.binning, judges.fitted, self.fixed)
        epoch = Epoch(trainer.current_epoch, loss, evaluation)
        self.epochs.append(epoch)
        pl_module.log(MONITOR, self._smoothed(trainer.max_epochs))
        every = max(1, (trainer.max_epochs or 1) // LINES)
        said = f"epoch {epoch.number + 1:3d}/{trainer.max_epochs}  loss {epoch.loss:.4f}  {epoch.said()}"
        self.advance(0, said, is_line=epoch.number % every == every - 1 or epoch.number == 0)
        if self.watch is not None:
            self.watch(epoch.number, self._smoothed(trainer.max_epochs))

    def _smoothed(self, max_epochs: int | None) -> float:
        """Mean of the figure of merit over the last epochs; infinite before there are as many.

        Hard bins jump from epoch to epoch, and the smallest of many noisy values is a lucky early one.
        """
        number = window(max_epochs or 1)
        last = [math.sqrt(epoch.evaluation.merit) for epoch in self.epochs[-number:]]
        return sum(last) / number if len(last) == number else math.inf


class _EarlyStopping(EarlyStopping):
    """Early stopping that counts from the first finite value: not the warm-up, nor the running mean's first epochs."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check, once the bins mean something."""
        if math.isfinite(float(trainer.callback_metrics[MONITOR])):
            super().on_train_epoch_end(trainer, pl_module)


class _Data(pl.LightningDataModule):
    """Hands out batches of tensors that already are on the trainer's device."""

    def __init__(self, samples: Sequence[Sample], batch_size: int, seed: int) -> None:
        super().__init__()
        self.samples, self.batch_size, self.seed = samples, batch_size, seed

    def train_dataloader(self) -> Any:
        """Return the training split."""
        assert self.trainer is not None
        return StratifiedBatches(self.samples, self.batch_size, self.seed, self.trainer.strategy.root_device)


def train(
    network: Network,
    summary: Summary,
    objective: Objective,
    likelihoods: Likelihoods,
    events: Events,
    settings: Trainer,
    *,
    seed: int,
    folder: Path,
    name: str = checkpoint_name(0, 1),
    log_ratio: LogRatio | None = None,
    watch: Watch | None = None,
    partial: Partial | None = None,
) -> Training:
    """Train a network, or those of several channels with one loss, or take one that is exact as it is.

    Args:
        likelihoods: What the loss has of the analysis, and what is fitted of it.
        seed: Seed of the first weights, the batches and the noise.
        folder: Folder of the checkpoint.
        name: Name of its file.
        log_ratio: The exact densities, for a network that is made of them.
        watch: Told of every epoch.
        partial: Where every epoch is kept, so that the same training goes on from there; None: nowhere.

    Returns:
        The network of the epoch with the smallest honest validation value, as a running mean (``MONITOR``).

    Raises:
        SingularInformationError: If no epoch gave a finite hard validation value.
    """
    summary = summary.for_samples({sample.name: sample.is_signal for sample in events.train})
    network = network.for_features(events.features)
    if not (network.is_trained or summary.n_trained):
        return _as_it_is(network, summary, objective, likelihoods, events, folder / name, log_ratio)
    start = time.perf_counter()
    path = folder / name
    trained, channels = likelihoods.trained, likelihoods.channels.networks
    own = [sample.only(trained.variations) for sample in events.train]
    samples = network.prepared(own)
    likelihood = likelihoods.soft(trained, samples, events)
    with alone(settings, seed) as advance:
        parts = network, summary, objective
        module = create(*parts, likelihood, samples, events.features, settings, channels, log_ratio)
        validation = Validation(events, likelihoods, likelihoods.soft(trained, own, events), advance, watch)
        snapshots = Snapshots(settings)
        _fit(module, validation, snapshots, _Data(samples, settings.batch_size, seed), settings, path, partial)
    epochs, late = tuple(validation.epochs), snapshots.networks(module)
    best = _take_best(module, epochs, path, likelihoods.trained)
    is_fitted = likelihoods.trained == likelihoods.fitted
    judged = best.evaluation if is_fitted else judge(module.networks, likelihoods, events)
    return Training(module.networks, epochs, best, judged, path, time.perf_counter() - start, late)


def _fit(
    module: Module,
    validation: Validation,
    snapshots: Snapshots,
    data: _Data,
    settings: Trainer,
    path: Path,
    partial: Partial | None,
) -> None:
    """Train a module, from its last whole epoch where that is kept; ``path`` is the checkpoint of the selected one."""
    checkpoint = best_checkpoint(path, MONITOR)
    callbacks: list[Callback] = [validation, snapshots, checkpoint]
    interrupted = None if partial is None else partial.read()
    if partial is not None:
        kept = partial, checkpoint, lambda: validation.epochs, lambda: snapshots.kept, interrupted
        callbacks.append(KeepEpoch(*kept))
    if interrupted is not None:
        validation.go_on(interrupted.epochs)
        snapshots.go_on(interrupted.snapshots)
        interrupted.restore(path)
    if interrupted is None or not interrupted.is_over:
        before = None if interrupted is None or partial is None else partial.path
        trainer = _lightning(settings, path.parent, callbacks)
        trainer.fit(module, datamodule=data, ckpt_path=before, weights_only=True)


def _take_best(module: Module, epochs: Sequence[Epoch], path: Path, measurement: Measurement) -> Epoch:
    """Give a module the weights of the selected epoch."""
    stored = torch.load(path, map_location=module.device, weights_only=True)
    best: Epoch = epochs[stored["epoch"]]
    if not math.isfinite(best.evaluation.hard):
        raise SingularInformationError(
            f"after none of {len(epochs)} epochs could the hard bins of the validation split constrain "
            f"{', '.join(measurement.parameters)}. Train longer, use more bins, or lower "
            "binning.min_effective_events; and no two parameters may do the same to every template"
        )
    module.load_state_dict(stored["state_dict"])
    module.restore(stored)
    return best


def create(
    network: Network,
    summary: Summary,
    objective: Objective,
    likelihood: SoftLikelihood,
    samples: Sequence[Sample],
    features: Names,
    settings: Trainer,
    channels: Mapping[str, Names] | None = None,
    log_ratio: LogRatio | None = None,
) -> Module:
    """Create the module of a training, standardised on the nominal events of its ``samples``, the training split.

    Args:
        channels: Those of each network; None: there is one.
    """
    nominal = [torch.from_numpy(of_rows(sample.features[:1], sample.weights[0] != 0)[0]) for sample in samples]
    mean, deviation = moments(nominal)
    networks = _built(network, summary, samples, features, (mean, deviation), channels or {}, log_ratio)
    return Module(networks, objective, likelihood, settings, deviation, network.told(samples))


@torch.no_grad()
def _built(
    network: Network,
    summary: Summary,
    samples: Sequence[Sample],
    features: Names,
    standard: tuple[torch.Tensor, torch.Tensor],
    channels: Mapping[str, Names],
    log_ratio: LogRatio | None,
) -> ChannelNetworks:
    """Build the network of each of some channels, or the one of all, and set what is not trained on its own events.

    Args:
        samples: The training split.
        standard: Mean and standard deviation of each feature.
        channels: Those of each network; empty: there is one.
    """
    networks = ChannelNetworks.by_channels({}, channels)
    nominal = [NominalEvents.of(sample) for sample in samples]
    by_name = {}
    for name in channels or (SHARED,):
        built = network.build(*standard, summary.n_outputs)
        own = [sample for sample in nominal if networks.name_of.get(sample.channel, SHARED) == name]
        network.fill(built, own, log_ratio)
        by_name[name] = Observable(built, summary, features)
    return ChannelNetworks(by_name, networks.name_of)


def _lightning(settings: Trainer, folder: Path, callbacks: list[Callback]) -> pl.Trainer:
    if settings.early_stopping is not None:
        stopping = _EarlyStopping(
            MONITOR, patience=settings.early_stopping, check_on_train_epoch_end=True, check_finite=False
        )
        callbacks = [*callbacks, stopping]
    return lightning_trainer(settings, folder, callbacks)


@torch.no_grad()
def _as_it_is(
    network: Network,
    summary: Summary,
    objective: Objective,
    likelihoods: Likelihoods,
    events: Events,
    path: Path,
    log_ratio: LogRatio | None,
) -> Training:
    """Return a network that is not trained as if after one epoch, whose loss is that of the validation split."""
    start = time.perf_counter()
    standard = torch.zeros(len(events.features)), torch.ones(len(events.features))
    channels = likelihoods.channels.networks
    networks = _built(network, summary, events.train, events.features, standard, channels, log_ratio)
    networks = networks.placed([NominalEvents.of(sample) for sample in events.train])
    samples = [sample.only(likelihoods.trained.variations) for sample in events.validation]
    likelihood = likelihoods.soft(likelihoods.trained, samples, events)
    fixed = likelihoods.fixed(events, likelihoods.fitted)
    evaluation = evaluate(networks, likelihood, events.validation, likelihoods.binning, likelihoods.fitted, fixed)
    if not math.isfinite(evaluation.hard):
        raise SingularInformationError(
            f"the bins of the network {network.kind!r} cannot constrain {', '.join(likelihoods.trained.parameters)} on "
            "the validation split. Use more bins, more events, or lower binning.min_effective_events"
        )
    batch = to_tensors(samples, "cpu")
    summaries = [networks.of(sample.channel).summary for sample in samples]
    loss = objective.loss([networks.outputs(sample) for sample in samples], batch, summaries, likelihood)
    epoch = Epoch(0, float(loss), evaluation)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights, states = {}, {}
    for name, observable in networks.by_name.items():
        states[key_of(SUMMARY, name)] = observable.summary.state
        for key, value in observable.network.state_dict().items():
            weights[f"{key_of(NETWORK, name)}.{key}"] = value
    torch.save({"epoch": 0, "state_dict": weights, **states}, path)
    judged = judge(networks, likelihoods, events)
    return Training(networks, (epoch,), epoch, judged, path, time.perf_counter() - start)
