"""The Gaussian blobs: what is drawn, the events of the three means, and the exact classifier."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import changed, compose, load, observed

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError
from inferno_cli.events.sample import NOMINAL, Variation

MEANS = {
    NOMINAL: (1, -1),
    Variation("background_mean", "up"): (2.5, 2),
    Variation("background_mean", "down"): (-2.5, -1.5),
}
"""Published means of the background."""


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return compose("+experiment=blobs")


def test_yields_and_points_are_the_published_ones(config: TrainConfig) -> None:
    events = load(config)
    for split, points in ((events.train, 10_000), (events.validation, 10_000), (events.template, 100_000)):
        signal, background = split
        assert (len(signal.group), len(background.group)) == (points, points)
        np.testing.assert_allclose(signal.yields, [20], rtol=1e-12)
        np.testing.assert_allclose(background.yields, [100, 100, 100], rtol=1e-12)


def test_blobs_have_the_published_means_and_unit_covariance(config: TrainConfig) -> None:
    signal, background = load(config).template
    blobs = [(signal.features[0], (-1, 1))]
    assert set(background.variations) == set(MEANS)
    for variation, view in zip(background.variations, background.view, strict=True):
        blobs.append((background.features[view], MEANS[variation]))
    for features, mean in blobs:
        points = features.astype(float)
        n = len(points)
        np.testing.assert_allclose(points.mean(axis=0), mean, atol=5 / n**0.5)
        # The variance of a variance is 2 / n, that of a covariance 1 / n.
        np.testing.assert_allclose(np.cov(points.T), np.eye(2), atol=5 * (2 / n) ** 0.5)


def test_the_events_of_the_three_means_are_the_same(config: TrainConfig) -> None:
    _, background = load(config).train
    assert background.weights.min() == background.weights.max() > 0
    nominal = background.features[0]
    for variation, view in zip(background.variations, background.view, strict=True):
        displacement = np.subtract(MEANS[variation], MEANS[NOMINAL])
        np.testing.assert_allclose(
            background.features[view] - nominal, np.tile(displacement, (len(nominal), 1)), atol=1e-6
        )


def test_events_depend_on_the_seed_and_the_means(config: TrainConfig) -> None:
    few = ("dataset.events={train: 400, validation: 400, template: 400}",)
    overrides = {"same": (), "seed": ("seed=2",), "mean": ("dataset.background_mean=[1.0,-0.9]",)}
    checksums = {name: load(compose("+experiment=blobs", *few, *texts)).checksum for name, texts in overrides.items()}
    assert checksums["same"] == load(compose("+experiment=blobs", *few)).checksum
    assert len(set(checksums.values())) == 3
    assert config.dataset.made_by == ("events", "downsample_factor", "yields", "signal_mean", "background_mean")


def test_observed_events_are_poisson_numbers_of_nominal_ones(config: TrainConfig) -> None:
    data = observed(load(config))
    assert len(data) == pytest.approx(120, abs=5 * 120**0.5)


def test_the_exact_classifier_is_the_ratio_of_the_densities(config: TrainConfig) -> None:
    points = np.array([[0.0, 0.0], [-1.0, 1.0], [0.3, -2.0]])
    signal, background = (
        yields * np.exp(-((points - mean) ** 2).sum(axis=1) / 2) for yields, mean in ((20, (-1, 1)), (100, (1, -1)))
    )
    share = config.dataset.exact_classifier().signal_share(points)
    np.testing.assert_allclose(share, signal / (signal + background), rtol=1e-12)


def test_between_the_means_the_events_are_displaced_in_part(config: TrainConfig) -> None:
    systematic, dataset = config.dataset.systematics["background_mean"], config.dataset
    events = np.array([[1.0, -1.0]], dtype=np.float32)
    for value, mean in ((0.5, (1.75, 0.5)), (-0.5, (-0.75, -1.25)), (2.0, (4.0, 5.0))):
        np.testing.assert_allclose(systematic.true_features(events, value, dataset), [mean], rtol=1e-6)
    np.testing.assert_array_equal(events, [[1, -1]])


def test_a_feature_that_the_blobs_lack_is_named(config: TrainConfig) -> None:
    systematics = {
        "background_mean": {"kind": "displacement", "up": {"x2": 1}, "down": {"x0": 1}, "samples": ["signal"]}
    }
    dataset = config.dataset.model_dump(mode="json") | {"systematics": systematics}
    with pytest.raises((ConfigError, ValueError), match=r"background_mean.up: 'x2' is not in dataset.features"):
        changed(config, dataset=dataset)
