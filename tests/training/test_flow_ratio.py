"""The ratio of two densities that flows learn: the layers are the flows, and the ratio reaches the exact one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import load, synthetic

pytest.importorskip("zuko")

from inferno_cli.errors import ConfigError
from inferno_cli.testing.parts import samples
from inferno_cli.training.densities import Autoregressive, Gaussianise
from inferno_cli.training.networks.exact import Exact
from inferno_cli.training.networks.flow_ratio import FlowRatio
from inferno_cli.training.summaries import NominalEvents

NETWORK = FlowRatio(
    members=2, transforms=3, hidden=(32,), activation="silu", epochs=25, batch_size=500, learning_rate=0.005
)


@pytest.mark.parametrize("activation", ["relu", "elu", "silu", "tanh"])
def test_the_layer_has_the_density_of_the_flow(activation):
    import zuko

    kind = {"relu": torch.nn.ReLU, "elu": torch.nn.ELU, "silu": torch.nn.SiLU, "tanh": torch.nn.Tanh}[activation]
    torch.manual_seed(1)
    flow = zuko.flows.MAF(3, transforms=3, hidden_features=(8, 5), activation=kind).double()
    layer = Autoregressive(3, (8, 5), 3, activation)
    layer.take(flow)
    x = torch.randn(50, 3, dtype=torch.float64)

    torch.testing.assert_close(layer(x)[:, 0], flow().log_prob(x))


def test_features_become_nearly_normal_and_keep_their_order():
    rng = np.random.default_rng(1)
    x = torch.from_numpy(np.stack([rng.exponential(1e-3, 20000), rng.normal(500, 70, 20000)], axis=1))
    layer = Gaussianise(2, 64)
    layer.place(x, torch.ones(20000))
    found = layer(x)

    torch.testing.assert_close(found.mean(dim=0), torch.zeros(2).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(found.std(dim=0), torch.ones(2).double(), atol=0.03, rtol=0)
    order = x[:, 0].argsort()
    assert bool((found[order, 0].diff() >= 0).all())


def test_a_feature_with_one_value_has_a_finite_number():
    layer = Gaussianise(1, 8)
    layer.place(torch.full((100, 1), 3.0), torch.ones(100))

    assert bool(torch.isfinite(layer(torch.tensor([[3.0], [4.0]]))).all())


def cross_entropy(outputs: list[torch.Tensor]) -> float:
    """Of a signal and a background that count alike."""
    signal, background = outputs
    loss = torch.nn.functional.softplus(-signal).mean() + torch.nn.functional.softplus(background).mean()
    return float(loss / 2)


def test_it_reaches_the_exact_classifier_on_the_synthetic_mixture():
    """The cross-entropy of other events is within 4% of that of the exact densities, and both are far below log 2."""
    config = synthetic("dataset.events.train=16000", "dataset.events.template=20000")
    events = load(config)
    train = [NominalEvents.of(sample) for sample in events.train]
    exact_ratio, found = config.dataset.exact_classifier(), {}
    for network in (NETWORK, Exact()):
        torch.manual_seed(1)
        built = network.build(torch.zeros(3), torch.ones(3), 1)
        with torch.no_grad():
            network.fill(built, train, exact_ratio)
            found[network.kind] = [built(torch.from_numpy(sample.features[0])) for sample in events.template]
        learnt = network.about(built)
        if learnt:
            assert 0 < learnt["mean_error_of_score"] < 0.1
    exact, flows = cross_entropy(found["exact"]), cross_entropy(found["flow_ratio"])

    assert exact < 0.5 < np.log(2)
    assert exact * 0.995 < flows < exact * 1.04


def test_weights_are_in_the_densities():
    """Half of the signal, far from the rest, has no weight: there the background has the larger density."""
    torch.manual_seed(1)
    first, second = (NominalEvents.of(sample) for sample in samples())
    shifted = first.features.clone()
    shifted[::2] += 10.0
    signal = replace(first, features=shifted, weights=first.weights.clone())
    signal.weights[::2] = 0.0
    background = replace(second, features=torch.cat([second.features, shifted[::2]]))
    background = replace(background, weights=torch.ones(len(background.features)).double())
    built = NETWORK.build(torch.zeros(3), torch.ones(3), 1)
    with torch.no_grad():
        NETWORK.fill(built, [signal, background], None)

    assert float(built(shifted[::2]).mean()) < -1 < float(built(shifted[1::2]).mean())


def test_without_background_there_is_no_ratio():
    (signal, _) = (NominalEvents.of(sample) for sample in samples())

    with pytest.raises(ConfigError, match="needs events of the background"):
        NETWORK.fill(NETWORK.build(torch.zeros(3), torch.ones(3), 1), [signal], None)
