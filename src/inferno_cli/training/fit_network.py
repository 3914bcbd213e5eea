"""Train a network with Lightning, and keep the epoch that is best on the validation split."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from inferno_cli.config import Binning, Measurement, TrainConfig, Trainer
from inferno_cli.errors import ConfigError, SingularInformationError
from inferno_cli.events import Events, Sample
from inferno_cli.progress import Advance, progress
from inferno_cli.training.batches import StratifiedBatches
from inferno_cli.training.epochs import CHECKPOINT, Epoch, Training
from inferno_cli.training.evaluation import NOTHING, evaluate, judge
from inferno_cli.training.modules import SummaryModule, create
from inferno_cli.training.optimal import exact

log = logging.getLogger(__name__)

MONITOR = "selection"
"""What selects the epoch: sigma(mu) of the hard bins of the validation split, with the noise of the variations in it.

The mean over the last epochs, 5% of all. Without the noise, an epoch whose bins make information of it would win.
"""
Watch = Callable[[int, float], None]
"""Called with every epoch and the value that selects; what it raises ends the training."""
LINES = 10
"""Lines of progress in a log."""


class Validation(Callback):
    """After every epoch, one evaluation over the whole validation split; it selects the checkpoint."""

    def __init__(
        self, samples: Sequence[Sample], rule: Binning, fitted: Measurement, advance: Advance, watch: Watch | None
    ) -> None:
        self.samples, self.rule, self.fitted, self.advance, self.watch = samples, rule, fitted, advance, watch
        self.epochs: list[Epoch] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Move the bar, whose unit is the epoch."""
        self.advance(1 / trainer.num_training_batches, is_line=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate and log."""
        assert isinstance(pl_module, SummaryModule)
        evaluation = NOTHING if pl_module.warming_up else evaluate(pl_module, self.samples, self.rule, self.fitted)
        epoch = Epoch(trainer.current_epoch, float(trainer.callback_metrics["loss"]), evaluation)
        self.epochs.append(epoch)
        pl_module.log(MONITOR, self._smoothed(trainer.max_epochs))
        every = max(1, (trainer.max_epochs or 1) // LINES)
        said = f"epoch {epoch.number + 1:3d}/{trainer.max_epochs}  loss {epoch.loss:.4f}  {epoch.said()}"
        self.advance(0, said, is_line=epoch.number % every == every - 1 or epoch.number == 0)
        if self.watch is not None:
            self.watch(epoch.number, self._smoothed(trainer.max_epochs))

    def _smoothed(self, max_epochs: int | None) -> float:
        """Mean of the honest value over the last epochs; infinite before there are as many.

        Hard bins jump from epoch to epoch, and the smallest of many noisy values is a lucky early one.
        """
        window = max(1, (max_epochs or 1) // 20)
        last = [math.sqrt(epoch.evaluation.honest) for epoch in self.epochs[-window:]]
        return sum(last) / window if len(last) == window else math.inf


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


def _accelerator(settings: Trainer) -> str:
    # Apple's MPS has no float64, which the likelihood needs; `auto` there means the CPU.
    if settings.accelerator == "auto" and not torch.cuda.is_available():
        return "cpu"
    if settings.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator is {settings.accelerator!r}, but torch sees no CUDA device. "
            "Use trainer=cpu, or trainer=auto to take a GPU where there is one"
        )
    return settings.accelerator


def train(config: TrainConfig, events: Events, folder: Path, watch: Watch | None = None) -> Training:
    """Train the configured model.

    Args:
        config: The whole configuration.
        events: Events of the three splits.
        folder: Where the checkpoint goes.
        watch: Told of every epoch.

    Returns:
        The network of the epoch with the smallest honest validation value, as a running mean (``MONITOR``).

    Raises:
        SingularInformationError: If no epoch gave a finite hard validation value.
    """
    if config.model.kind == "optimal":
        return exact(config, events, folder)
    start = time.perf_counter()
    settings = config.trainer
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with (
            torch.random.fork_rng(),
            warnings.catch_warnings(),
            progress(settings.progress, "training", settings.max_epochs) as advance,
        ):
            warnings.filterwarnings("ignore", category=UserWarning, module=r"lightning\.")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's use of torch's pytree
            logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
            torch.manual_seed(config.seed)
            measurement = Measurement.from_config(config, config.nuisance.train)
            train_split = [sample.only(measurement.variations) for sample in events.train]
            module = create(config.model, settings, measurement, train_split, events.template)
            fitted = Measurement.from_config(config, config.nuisance.fit)
            validation = Validation(events.validation, config.binning, fitted, advance, watch)
            checkpoint = ModelCheckpoint(
                dirpath=folder,
                filename=CHECKPOINT.stem,
                enable_version_counter=False,  # a second run into the folder replaces it
                monitor=MONITOR,
                save_on_train_epoch_end=True,
                save_weights_only=True,
            )
            callbacks: list[Callback] = [validation, checkpoint]
            if settings.early_stopping is not None:
                callbacks.append(
                    _EarlyStopping(
                        MONITOR,
                        patience=settings.early_stopping,
                        check_on_train_epoch_end=True,
                        check_finite=False,
                    )
                )
            trainer = pl.Trainer(
                accelerator=_accelerator(settings),
                devices=settings.devices,
                max_epochs=settings.max_epochs,
                gradient_clip_val=settings.gradient_clip or None,
                callbacks=callbacks,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                default_root_dir=folder,
            )
            trainer.fit(module, datamodule=_Data(train_split, config.model.batch_size, config.seed))
    finally:
        torch.set_num_threads(threads)
    epochs = tuple(validation.epochs)
    path = Path(checkpoint.best_model_path)
    stored = torch.load(path, map_location=module.device, weights_only=True)
    best = epochs[stored["epoch"]]
    if not math.isfinite(best.evaluation.hard):
        raise SingularInformationError(
            f"after none of {len(epochs)} epochs could the hard bins of the validation split constrain "
            f"{', '.join(measurement.parameters)}. Train longer, use more bins, or lower binning.min_effective_events; "
            "and no two parameters may do the same to every template"
        )
    module.load_state_dict(stored["state_dict"])
    validation_of_fit = best.evaluation if measurement == fitted else judge(module, config, events)
    return Training(module, epochs, best, validation_of_fit, path, time.perf_counter() - start)
