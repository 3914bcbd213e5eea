"""Lightning's part of every training: its loop, and the checkpoint of the best epoch."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from inferno_cli.config.schema import Trainer
from inferno_cli.training.environment import accelerator


def best_checkpoint(path: Path, monitor: str) -> ModelCheckpoint:
    """Return what keeps the weights of the epoch in which a logged value is smallest, in one file."""
    return ModelCheckpoint(
        dirpath=path.parent,
        filename=path.stem,
        enable_version_counter=False,  # a second run into the folder replaces it
        monitor=monitor,
        save_on_train_epoch_end=True,
        save_weights_only=True,
    )


def lightning_trainer(settings: Trainer, folder: Path, callbacks: list[Callback]) -> pl.Trainer:
    """Return Lightning's trainer with the configured settings; what it says, its callbacks say."""
    return pl.Trainer(
        accelerator=accelerator(settings),
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
