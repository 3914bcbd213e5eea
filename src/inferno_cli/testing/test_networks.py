"""What every network has to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inferno_cli.events.dataset import LogRatio
from inferno_cli.testing.parts import each, normal, samples
from inferno_cli.training.layers import last_linear
from inferno_cli.training.networks import Network
from inferno_cli.training.observable import Observable
from inferno_cli.training.onnx import export
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.summaries.score import Score
from inferno_cli.training.summaries.softmax import Softmax

MEAN, DEVIATION = torch.tensor([0.0, 100.0, -3.0]), torch.tensor([1.0, 1000.0, 1e-3])
every_network = pytest.mark.parametrize("network", each("network"), ids=lambda network: network.kind)


def n_outputs(network: Network) -> int:
    """Return a number of outputs that a network can have."""
    return network.only_outputs or 5


def built(network: Network) -> nn.Sequential:
    """Build a network for three features on very different scales, and set what is not trained."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = network.build(MEAN.clone(), DEVIATION.clone(), n_outputs(network))
    with torch.no_grad():
        network.fill(made, events(), LogRatio(np.array([0.1, 0, 1]), np.array([1.0, -0.01, 30.0]), 0.5, 0.1))
    return made


def events() -> list[NominalEvents]:
    """Return a signal and a background of features on these scales."""
    found = []
    for sample in samples():
        nominal = NominalEvents.of(sample)
        found.append(replace(nominal, features=MEAN + DEVIATION * nominal.features))
    return found


def features(n_events: int) -> Tensor:
    """Return features of these scales."""
    return MEAN + DEVIATION * normal(n_events, 3)


@every_network
def test_each_event_has_its_outputs_whatever_is_beside_it(network: Network) -> None:
    made, x = built(network).double(), features(20).double()
    with torch.no_grad():
        outputs = made(x)
        alone = torch.cat([made(row[None]) for row in x])

    assert outputs.shape == (20, n_outputs(network))
    assert bool(torch.isfinite(outputs).all())
    torch.testing.assert_close(alone, outputs)


@every_network
def test_the_same_seed_builds_the_same_network(network: Network) -> None:
    with torch.no_grad():
        assert torch.equal(built(network)(features(20)), built(network)(features(20)))


@every_network
def test_its_state_makes_another_one_the_same(network: Network) -> None:
    """One that is built for an applied network knows neither the moments nor the seed."""
    first, second = built(network), network.build(torch.zeros(3), torch.ones(3), n_outputs(network))
    second.load_state_dict(first.state_dict())

    with torch.no_grad():
        assert torch.equal(second(features(20)), first(features(20)))


@every_network
def test_what_is_trained_has_gradients_and_ends_in_a_linear_layer(network: Network) -> None:
    made = built(network)
    if network.is_trained:
        assert last_linear(made).out_features == n_outputs(network)
        made(features(50)).square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@every_network
def test_nothing_is_left_on_the_cpu(network: Network) -> None:
    made = built(network).to("meta")

    assert all(x.is_meta for x in made.state_dict().values())
    assert made(features(20).to("meta")).is_meta


@every_network
def test_the_onnx_file_agrees(network: Network, tmp_path: Path) -> None:
    score, softmax = Score(bins=5, edge_width=0.1), Softmax(bins=max(2, n_outputs(network)), temperature=0.1)
    summary = score if network.only_outputs == 1 else softmax
    observable = Observable(built(network), summary, ("x", "y", "z"))

    assert export(observable, tmp_path / "model.onnx", features(200).numpy()) < 1e-6


@every_network
def test_it_is_read_back_as_it_was_written(network: Network) -> None:
    assert type(network).model_validate_json(network.model_dump_json()) == network
