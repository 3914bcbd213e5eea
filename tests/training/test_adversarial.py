"""The adversarial baseline: its value, its gradients, and that it makes an output forget a systematic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_measurement
from torch import Tensor, nn

from inferno_cli.errors import ConfigError
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL, Sample, variations
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.module import forward_together
from inferno_cli.training.objectives.adversarial import Adversarial
from inferno_cli.training.objectives.cross_entropy import CrossEntropy
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries.score import Score

SUMMARIES = [Score(bins=4, edge_width=0.1)] * 2
SHIFT = 1.5
"""How far the systematic moves the first feature of the background."""


def samples() -> list[Sample]:
    """Signal and background, which both features divide, the first one better; a systematic moves it."""
    rng = np.random.default_rng(1)
    signal = rng.normal([2.0, 1.0], 1, (1, 500, 2)).astype(np.float32)
    background = np.tile(rng.normal(0, 1, (1, 500, 2)), (3, 1, 1)).astype(np.float32)
    background[1, :, 0] += SHIFT
    background[2, :, 0] -= SHIFT
    ids, weights = np.arange(500), np.ones((3, 500))
    return [
        Sample("signal", True, ids, (NOMINAL,), signal, (0,), weights[:1]),
        Sample("background", False, ids, variations(("shape",)), background, (0, 1, 2), weights),
    ]


MEASUREMENT = replace(
    make_measurement(["signal", "background"], signal=("signal",)), shapes={"shape": {"background": Morph(("shape",))}}
)
LIKELIHOOD = SoftLikelihood.of(MEASUREMENT, samples(), samples())
BATCH = to_tensors(samples(), "cpu")


def begun(strength: float) -> tuple[Adversarial, nn.Module]:
    torch.manual_seed(1)
    return Adversarial(strength=strength, adversary=(16,)).begun(LIKELIHOOD)


def loss(objective: Adversarial, network: nn.Module) -> Tensor:
    outputs = forward_together(network, [features for features, _ in BATCH])
    return objective.loss(outputs, BATCH, SUMMARIES, LIKELIHOOD)


def test_an_adversary_that_knows_nothing_has_the_logarithm_of_three() -> None:
    objective, adversary = begun(2.0)
    network = nn.Linear(2, 1)
    for parameter in adversary.parameters():
        nn.init.zeros_(parameter)
    nominal = forward_together(network, [features[:1] for features, _ in BATCH])
    alone = CrossEntropy().loss(nominal, BATCH, SUMMARIES, LIKELIHOOD)

    torch.testing.assert_close(loss(objective, network), alone - 2 * math.log(3))
    torch.testing.assert_close(loss(Adversarial(strength=2.0, adversary=(16,)), network), alone)


def test_the_classifier_lowers_the_loss_and_the_adversary_its_own_cross_entropy() -> None:
    """Both gradients against central differences of the loss, from which the adversary's is turned around."""
    strength, step = 2.0, 1e-3
    objective, adversary = begun(strength)
    network = nn.Linear(2, 1)
    for module in (adversary, network):
        module.double()
    batch = [(features.double(), weights) for features, weights in BATCH]

    def value() -> Tensor:
        outputs = forward_together(network, [features for features, _ in batch])
        return objective.loss(outputs, BATCH, SUMMARIES, LIKELIHOOD)

    value().backward()  # type: ignore[no-untyped-call]
    last = list(adversary.parameters())[-1]
    for parameter, factor in ((network.weight, 1.0), (last, -1 / strength)):
        assert parameter.grad is not None
        entry, sides = parameter.detach().flatten()[:1], []
        for sign in (1, -1):
            entry += sign * step
            sides.append(value().item())
            entry -= sign * step
        expected = factor * (sides[0] - sides[1]) / (2 * step)
        assert parameter.grad.flatten()[0].item() == pytest.approx(expected, rel=1e-4)


def test_the_output_forgets_what_the_systematic_moves() -> None:
    shares = {}
    for strength in (0.0, 20.0):
        objective, adversary = begun(strength)
        network = nn.Linear(2, 1)
        optimizer = torch.optim.Adam([*network.parameters(), *adversary.parameters()], lr=0.02)
        for _ in range(300):
            optimizer.zero_grad()
            loss(objective, network).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        moved, other = network.weight[0].tolist()
        shares[strength] = abs(moved / other)

    assert shares[0.0] > 1
    assert shares[20.0] < 0.3


def test_without_a_systematic_there_is_no_adversary() -> None:
    nominal = [sample.only((NOMINAL,)) for sample in samples()]
    bare = replace(MEASUREMENT, shapes={})

    with pytest.raises(ConfigError, match="nothing that an adversary could tell apart"):
        Adversarial(strength=1.0, adversary=(16,)).begun(SoftLikelihood.of(bare, nominal, nominal))
