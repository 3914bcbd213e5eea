"""Networks of late epochs: which are kept, and what a mean makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import load, synthetic

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError
from inferno_cli.events.sample import Events
from inferno_cli.training.average import averaged
from inferno_cli.training.epochs import Training
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.observable import ChannelNetworks
from inferno_cli.training.trainer import train


def configured(*overrides: str) -> TrainConfig:
    small = "trainer.threads=1", "trainer.progress=none", "model.batch_size=200", "model.hidden=[16]", "model.warm_up=0"
    return synthetic("model=inferno", "trainer.schedule=constant", *small, *overrides)


@pytest.fixture(scope="module")
def events() -> Events:
    return load(configured())


def trained(events: Events, folder: Path, *overrides: str) -> Training:
    config = configured(*overrides)
    parts = config.model.network, config.model.summary, config.model.objective
    return train(*parts, Likelihoods.from_config(config), events, config.trainer, seed=1, folder=folder)


def weights(networks: ChannelNetworks) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in networks.only.network.parameters()])


def test_the_last_epochs_are_kept_in_order(events: Events, tmp_path: Path) -> None:
    """The schedule is constant, so a training of three epochs is the beginning of one of four."""
    shorter = trained(events, tmp_path / "3", "trainer.max_epochs=3", "trainer.snapshots=1")
    longer = trained(events, tmp_path / "4", "trainer.max_epochs=4", "trainer.snapshots=2")
    assert (len(shorter.snapshots), len(longer.snapshots)) == (1, 2)
    assert torch.equal(weights(longer.snapshots[0]), weights(shorter.snapshots[0]))
    assert not torch.equal(weights(longer.snapshots[0]), weights(longer.snapshots[1]))
    last = torch.load(longer.checkpoint, weights_only=True)
    if last["epoch"] == 3:
        assert torch.equal(weights(longer.snapshots[1]), weights(longer.networks))


def test_they_are_a_twentieth_of_the_training_apart(events: Events, tmp_path: Path) -> None:
    long = trained(events, tmp_path / "40", "trainer.max_epochs=40", "trainer.snapshots=2")
    short = trained(events, tmp_path / "38", "trainer.max_epochs=38", "trainer.snapshots=1")  # each epoch
    assert len(long.snapshots) == 2
    assert torch.equal(weights(long.snapshots[0]), weights(short.snapshots[0]))  # epoch 38 of both


def test_none_is_kept_before_the_bins_are_there(events: Events, tmp_path: Path) -> None:
    found = trained(events, tmp_path, "trainer.max_epochs=4", "model.warm_up=0.5", "trainer.snapshots=4")
    assert len(found.snapshots) == 2


def test_the_mean_of_one_training_has_them_all(events: Events, tmp_path: Path) -> None:
    config = configured("trainer.max_epochs=3", "trainer.snapshots=2")
    found = trained(events, tmp_path, "trainer.max_epochs=3", "trainer.snapshots=2")
    mean = averaged([found], Likelihoods.from_config(config), events, tmp_path / "mean.ckpt")
    members = mean.networks.only.network[0].parts
    assert len(members) == 3
    for member, networks in zip(members, (found.networks, *found.snapshots), strict=True):
        # Behind its own layers each member has what makes scores of its outputs.
        own = weights(networks)
        assert torch.equal(torch.nn.utils.parameters_to_vector(member.parameters())[: len(own)], own)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), 0),
        (("trainer.members=2",), 4),
        (("trainer.members=2", "trainer.combine=best"), 0),
        (("trainer.members=2", "trainer.snapshots=0"), 0),
        (("trainer.snapshots=3",), 3),
    ],
)
def test_how_many_there_are(overrides: tuple[str, ...], expected: int) -> None:
    assert configured(*overrides).trainer.n_snapshots == expected


def test_the_best_member_has_none() -> None:
    with pytest.raises(ConfigError, match="combine is 'best'"):
        configured("trainer.members=2", "trainer.combine=best", "trainer.snapshots=3")
