"""A network that is told its bins, and events that are placed in them by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import compose
from torch import Tensor, nn

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.sample import NOMINAL, Events, Sample, variations
from inferno_cli.training.module import Module
from inferno_cli.training.observable import ChannelNetworks, Observable
from inferno_cli.training.soft_likelihood import SoftLikelihood


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Table(nn.Module):
    """The feature of an event names its place; one table an epoch says which bin of the network that is."""

    tables: Tensor
    epoch: Tensor

    def __init__(self, tables: Sequence[Sequence[int]], n_bins: int) -> None:
        super().__init__()
        self.register_buffer("tables", nn.functional.one_hot(torch.tensor(tables), n_bins).float())
        self.register_buffer("epoch", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.tables[self.epoch][x[..., 0].long()]


class Told(Module):
    """A training in which the bins are told, epoch by epoch."""

    def on_train_epoch_start(self) -> None:
        self.network[0].epoch.fill_(self.trainer.current_epoch)  # type: ignore[operator, union-attr]

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        loss = 0 * self.network[1].weight.sum()  # type: ignore[operator, union-attr]
        self.losses.append(loss.detach())
        return loss


def configured(*overrides: str, bins: int = 4, epochs: int = 2) -> TrainConfig:
    """The synthetic problem's samples, signal and background, with r as the shape."""
    return compose(
        "dataset=synthetic",
        "model=inferno",
        f"model.bins={bins}",
        "model.warm_up=0",
        f"trainer.max_epochs={epochs}",
        "trainer.progress=none",
        *overrides,
    )


def told(config: TrainConfig, samples: Sequence[Sample], *tables: Sequence[int]) -> Told:
    """A module for these samples, whose templates are to be fitted."""
    likelihood = SoftLikelihood.of(Measurement.from_config(config, config.nuisance.train), samples, samples)
    n_bins = config.model.summary.n_bins
    same = nn.Linear(n_bins, n_bins, bias=False)
    nn.init.eye_(same.weight)
    network = nn.Sequential(Table(tables, n_bins), same)
    observable = Observable(network, config.model.summary, ("place",))
    return Told(ChannelNetworks.shared(observable), config.model.objective, likelihood, config.trainer, torch.ones(1))


def placed(name: str, nominal: Any, weights: Any, *, up: Any = None, down: Any = None, systematic: str = "r") -> Sample:
    """A sample whose events lie in given places, nominal and shifted."""
    views = [np.asarray(nominal)] if up is None else [np.asarray(x) for x in (nominal, up, down)]
    rows = np.stack([np.asarray(weights, dtype=float)] * len(views))
    return Sample(
        name=name,
        is_signal=name == "signal",
        group=np.arange(rows.shape[1]),
        variations=(NOMINAL,) if up is None else variations((systematic,)),
        features=np.stack(views)[..., None].astype(np.float32),
        view=tuple(range(len(views))),
        weights=rows,
    )


def events_of(samples: Sequence[Sample]) -> Events:
    """The same events in every split: what is selected is what is fitted."""
    same = tuple(samples)
    return Events("placed", "", ("place",), same, same, same, None, "0" * 64)
