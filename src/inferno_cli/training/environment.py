"""What every training has: its device, its threads and seed, its optimiser."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from inferno_cli.config.schema import Trainer
from inferno_cli.errors import ConfigError
from inferno_cli.progress import Advance, progress


def accelerator(settings: Trainer) -> str:
    """Return what Lightning calls the device; ConfigError if it is not there."""
    # Apple's MPS has no float64, which the likelihood needs; `auto` there means the CPU.
    if settings.accelerator == "auto" and not torch.cuda.is_available():
        return "cpu"
    if settings.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator is {settings.accelerator!r}, but torch sees no CUDA device. "
            "Use trainer=cpu, or trainer=auto to take a GPU where there is one"
        )
    return settings.accelerator


def device_of(settings: Trainer) -> str:
    """Return the device of torch on which what Lightning does not train is trained."""
    chosen = accelerator(settings)
    is_gpu = chosen in ("gpu", "cuda") or (chosen == "auto" and torch.cuda.is_available())
    return "cuda" if is_gpu else "cpu"


@contextmanager
def alone(settings: Trainer, seed: int) -> Iterator[Advance]:
    """Give a training its threads, its seed and its progress, and leave those of the program as they were."""
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
            torch.manual_seed(seed)
            yield advance
    finally:
        torch.set_num_threads(threads)


def optimiser(parameters: Iterable[torch.nn.Parameter], settings: Trainer, steps: int) -> Any:
    """Return AdamW with the configured schedule over so many steps, as Lightning takes it."""
    rate, decay = settings.learning_rate, settings.weight_decay
    adam = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    if settings.schedule == "cosine":
        schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    elif settings.schedule == "one_cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, rate, steps)
    else:
        return adam
    return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
