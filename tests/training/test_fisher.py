"""Fisher's discriminant: the closed form, the optimum where there is a known one, and what it cannot be made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import load, synthetic, train
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.training.networks.fisher import Fisher
from inferno_cli.training.summaries import NominalEvents

MEANS = {True: np.array([0.5, 1.0, -2.0]), False: np.array([0.0, 0.0, -2.0])}
COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, 0.3], [0.0, 0.3, 0.5]])


def events(n: int = 100_000, scale: float = 1.0, **weights: float) -> list[NominalEvents]:
    """Two backgrounds of one distribution with other weights, and a signal; some weights are negative."""
    rng, found = np.random.default_rng(3), []
    for name, is_signal in (("signal", True), ("first", False), ("second", False)):
        values = rng.multivariate_normal(MEANS[is_signal], COVARIANCE, n) * scale
        weight = np.where(rng.random(n) < 0.1, -0.5, 1.0) * weights.get(name, 1.0)
        features = torch.from_numpy(values.astype(np.float32))
        found.append(NominalEvents(name, "SR", is_signal, features, torch.from_numpy(weight)))
    return found


def coefficients(samples: list[NominalEvents]) -> tuple[NDArray[np.float64], float]:
    network = Fisher()
    n_features = samples[0].features.shape[1]
    made = network.build(torch.zeros(n_features), torch.ones(n_features), 1)
    with torch.no_grad():
        network.fill(made, samples, None)
    about = network.about(made)
    return np.array(about["linear"]), about["constant"]


def test_it_is_the_closed_form() -> None:
    samples = events(2000, second=3.0)
    means, covariances = [], []
    for role in (True, False):
        values = np.concatenate([x.features.double().numpy() for x in samples if x.is_signal == role])
        weights = np.concatenate([x.weights.numpy() for x in samples if x.is_signal == role])
        mean = weights @ values / weights.sum()
        means.append(mean)
        covariances.append((values - mean).T @ np.diag(weights) @ (values - mean) / weights.sum())
    want = np.linalg.inv(sum(covariances) / 2) @ (means[0] - means[1])
    linear, constant = coefficients(samples)

    np.testing.assert_allclose(linear, want, rtol=1e-9)
    assert constant == pytest.approx(-want @ (means[0] + means[1]) / 2)
    # No direction has a larger ratio of the squared distance to the sum of the variances.
    rng = np.random.default_rng(1)

    def separation(w: NDArray[np.float64]) -> float:
        return float((w @ (means[0] - means[1])) ** 2 / (w @ sum(covariances) @ w))

    assert all(separation(want + 0.1 * rng.normal(size=3)) < separation(linear) for _ in range(50))


def test_for_gaussians_of_one_covariance_it_is_the_logarithm_of_their_ratio() -> None:
    linear, constant = coefficients(events())
    inverse = np.linalg.inv(COVARIANCE)
    want = inverse @ (MEANS[True] - MEANS[False])

    np.testing.assert_allclose(linear, want, atol=0.02)
    assert constant == pytest.approx(-want @ (MEANS[True] + MEANS[False]) / 2, abs=0.05)


def test_scales_and_distances_from_zero_do_not_matter() -> None:
    samples = events(2000)
    linear, _ = coefficients(samples)
    moved = [
        NominalEvents(x.name, x.channel, x.is_signal, (x.features.double() * 1000 + 1e5), x.weights) for x in samples
    ]

    np.testing.assert_allclose(coefficients(moved)[0] * 1000, linear, rtol=1e-6)


def test_what_is_constant_or_said_twice_adds_nothing() -> None:
    samples = events(2000)
    linear, _ = coefficients(samples)
    more = []
    for x in samples:
        features = torch.cat([x.features, torch.full((2000, 1), 7.0), 2 * x.features[:, :1]], dim=1)
        more.append(NominalEvents(x.name, x.channel, x.is_signal, features, x.weights))
    wider, _ = coefficients(more)

    assert wider[3] == 0
    np.testing.assert_allclose(wider[1:3], linear[1:3], rtol=1e-6)
    assert wider[0] + 2 * wider[4] == pytest.approx(linear[0], rel=1e-6)


@pytest.mark.parametrize(
    ("weights", "says"),
    [({"signal": 0.0}, "the signal in the training split has the weight 0"), ({"first": -2.0}, "is not positive")],
)
def test_what_it_cannot_be_made_of_is_told(weights: dict[str, float], says: str) -> None:
    samples = events(500, **weights)
    if "first" in weights:  # the sum is positive, and the variance is not
        wide = NominalEvents("first", "SR", False, 10 * samples[1].features, 0.2 * samples[1].weights)
        samples = [samples[0], wide, samples[2]]
    with pytest.raises(DatasetError, match=says):
        coefficients(samples)


def test_without_a_training_it_is_between_one_feature_and_the_best_classifier(tmp_path: Path) -> None:
    found = []
    for model in (("optimal",), ("fisher",), ("histogram", "model.features={x1: 5}")):
        config = synthetic(f"model={model[0]}", *model[1:], "nuisance=none", "model.bins=5", "trainer.progress=none")
        trained = train(config, load(config), folder=tmp_path / model[0])
        assert len(trained.epochs) == 1
        found.append(trained.best.evaluation.hard)

    assert found[0] < found[1] < found[2]
