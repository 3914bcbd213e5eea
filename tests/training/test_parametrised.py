"""A network that is told by how much an event is varied."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import load, synthetic
from torch import Tensor, nn

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError
from inferno_cli.training.epochs import Training
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.layers import Appended
from inferno_cli.training.networks.parametrised import Parametrised
from inferno_cli.training.trainer import train


def configured(*overrides: str) -> TrainConfig:
    return synthetic(
        *("model=parametrised", "nuisance.fit=[r]", "trainer.max_epochs=4", "trainer.progress=none"),
        *("dataset.systematics.r.width=2", "dataset.systematics.r.step=2", "model.batch_size=500", "model.hidden=[24]"),
        *("model.learning_rate=0.01", *overrides),
    )


def trained(config: TrainConfig, folder: Path) -> Training:
    parts = config.model.network, config.model.summary, config.model.objective
    likelihoods, events = Likelihoods.from_config(config), load(config)
    return train(*parts, likelihoods, events, config.trainer, seed=1, folder=folder)


def inputs(network: nn.Sequential) -> list[Tensor]:
    """What goes into the first layer, call by call."""
    seen: list[Tensor] = []
    network[0].register_forward_hook(lambda layer, arguments, output: seen.append(arguments[0].detach().clone()))
    return seen


def test_a_view_comes_with_its_values_in_the_training_and_events_without_in_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Tensor]] = []
    build = Parametrised.build

    def watched(self: Parametrised, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:
        network = build(self, mean, deviation, n_outputs)
        seen.append(inputs(network))
        return network

    monkeypatch.setattr(Parametrised, "build", watched)
    config = configured("trainer.max_epochs=1")
    trained(config, tmp_path)
    told = [x for x in seen[0] if x.shape[-1] == 4]
    events = {sample.name: sample for sample in load(config).train}
    assert told
    for batch in told:
        nominal, up, down = (batch[batch[:, 3] == value] for value in (0.0, 1.0, -1.0))
        assert len(nominal) == len(up) == len(down) == len(batch) / 3
        signal, background = events["signal"].features, events["background"].features
        for rows, view in ((nominal, 0), (up, 1), (down, 2)):
            known = {tuple(row) for row in (*signal[0].tolist(), *background[view].tolist())}
            assert {tuple(row) for row in rows[:, :3].tolist()} <= known
    assert all(x.shape[-1] == 3 for x in seen[0] if x is not None and x.shape[-1] != 4)


def test_it_learns_what_it_is_told(tmp_path: Path) -> None:
    """Signal and background of a value of r are told apart best by the network that is told this value."""
    config = configured("trainer.max_epochs=15", "dataset.events.train=20000")
    network = trained(config, tmp_path).observable.network
    signal, background = (torch.from_numpy(sample.features) for sample in load(config).validation)

    def cost(x: Tensor, told: float, sign: int) -> float:
        logits = network(torch.cat([x, torch.full((len(x), 1), told)], dim=1))
        return float(nn.functional.softplus(sign * logits).mean())

    with torch.no_grad():
        for view, value in ((0, 0.0), (1, 1.0), (2, -1.0)):
            costs = {told: cost(signal[0], told, -1) + cost(background[view], told, 1) for told in (-1.0, 0.0, 1.0)}
            assert min(costs, key=lambda told: costs[told]) == value


def test_it_is_applied_at_the_values_of_the_configuration(tmp_path: Path) -> None:
    networks = {}
    for value in (None, 0.7):
        config = configured("trainer.max_epochs=1", *(() if value is None else (f"+model.network.at={{r: {value}}}",)))
        network = trained(config, tmp_path / str(value)).observable.network
        assert isinstance(network[0], Appended)
        assert network[0].values.tolist() == pytest.approx([value or 0.0])
        networks[value] = network
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        told = torch.cat([x, torch.full((10, 1), 0.7)], dim=1)
        assert torch.equal(networks[0.7](x), networks[0.7](told))
        assert torch.equal(networks[None](x), networks[None](torch.cat([x, torch.zeros(10, 1)], dim=1)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.parameters=[lambda]",), r"nothing in the training varies the features of events with it"),
        (("model.parameters=[r, nothing]",), r"model\.network\.parameters has 'nothing'"),
    ],
)
def test_what_cannot_be_told_is_an_error(overrides: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(configured(*overrides), tmp_path)


@pytest.mark.parametrize("objective", ["poi_variance", "cross_entropy"])
def test_bins_of_a_fit_and_nominal_events_are_refused(objective: str) -> None:
    with pytest.raises(ConfigError, match="choose model/objective=augmented_cross_entropy"):
        configured(f"model/objective={objective}")


def test_values_of_other_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="'s' is none of parameters"):
        configured("+model.network.at={s: 1}")
