"""The synthetic mixture: what is drawn, the exact transforms, and the Cramer-Rao bound."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import changed, compose, load, observed, synthetic

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.events.sources.synthetic import draw_background, draw_signal, transform

N = 200_000


def within(values: np.ndarray, expected: float, deviation: float) -> bool:
    """Whether a mean is within five standard errors of what is expected."""
    return abs(values.mean(dtype=float) - expected) < 5 * deviation / np.sqrt(len(values))


# --------------------------------------------------------------------------------------- drawn distributions
def test_background_has_the_published_means_and_variances():
    x = draw_background(np.random.default_rng(0), N, r=0.3, rate=3.0).astype(float)
    assert within(x[:, 0], 2.3, 5**0.5)
    assert within(x[:, 1], 0.0, 3.0)
    assert within(x[:, 2], 1 / 3, 1 / 3)
    # The variance of a variance is 2 sigma^4 / n for a normal, 8 sigma^4 / n for an exponential.
    np.testing.assert_allclose(x.var(axis=0), [5, 9, 1 / 9], rtol=5 * (8 / N) ** 0.5)


@pytest.mark.parametrize("mean", [(0.0, 0.0), (1.0, 1.0)])
def test_signal_has_unit_variance_around_its_mean_and_rate_two(mean):
    x = draw_signal(np.random.default_rng(0), N, mean).astype(float)
    assert within(x[:, 0], mean[0], 1)
    assert within(x[:, 1], mean[1], 1)
    assert within(x[:, 2], 0.5, 0.5)
    np.testing.assert_allclose(x.var(axis=0), [1, 1, 0.25], rtol=5 * (8 / N) ** 0.5)


def test_features_are_not_correlated():
    x = draw_background(np.random.default_rng(1), N, r=0.0, rate=3.0)
    assert np.abs(np.corrcoef(x.T) - np.eye(3)).max() < 5 / N**0.5


# ---------------------------------------------------------------------------------------------- transforms
@pytest.mark.parametrize("shift", [0.2, -0.4])
def test_r_moves_x0_by_exactly_r_and_nothing_else(shift):
    x = draw_background(np.random.default_rng(2), 1000, r=0.0, rate=3.0)
    moved = transform(x, "r", shift, 3.0)
    np.testing.assert_array_equal(moved[:, 0], x[:, 0] + np.float32(shift))
    np.testing.assert_array_equal(moved[:, 1:], x[:, 1:])


@pytest.mark.parametrize(("shift", "mean"), [(0.5, 1 / 3.5), (-0.5, 1 / 2.5)])
def test_lambda_gives_x2_the_mean_of_the_new_rate(shift, mean):
    x = draw_background(np.random.default_rng(3), N, r=0.0, rate=3.0)
    moved = transform(x, "lambda", shift, 3.0)
    assert within(moved[:, 2], mean, mean)
    # An exponential has as large a deviation as its mean.
    assert moved[:, 2].std(dtype=float) == pytest.approx(mean, rel=0.02)
    np.testing.assert_array_equal(moved[:, :2], x[:, :2])


def test_transforms_leave_the_given_events_alone():
    x = draw_background(np.random.default_rng(4), 100, r=0.0, rate=3.0)
    before = x.copy()
    transform(x, "r", 0.2, 3.0)
    transform(x, "lambda", 0.5, 3.0)
    np.testing.assert_array_equal(x, before)


def test_a_transformed_event_has_the_density_of_the_varied_mixture():
    """Drawing at lambda = 3.5 and scaling what was drawn at 3 are the same thing, random number by random number."""
    drawn = draw_background(np.random.default_rng(5), 1000, r=0.3, rate=3.5)
    nominal = draw_background(np.random.default_rng(5), 1000, r=0.0, rate=3.0)
    moved = transform(transform(nominal, "r", 0.3, 3.0), "lambda", 0.5, 3.0)
    np.testing.assert_allclose(moved, drawn, rtol=1e-5, atol=1e-6)


# -------------------------------------------------------------------------------------------------- events
def test_each_split_has_its_size_half_of_it_signal():
    events = load(synthetic())
    sizes = {
        name: [len(sample.group) for sample in getattr(events, name)] for name in ("train", "validation", "template")
    }
    assert sizes == {"train": [200, 200], "validation": [150, 150], "template": [250, 250]}


def test_every_split_and_variation_has_the_expected_yields():
    events = load(synthetic("dataset.yields.signal=20.0", "dataset.downsample_factor=0.5"))
    for split in (events.train, events.validation, events.template):
        np.testing.assert_allclose(split[0].yields, [10], rtol=1e-12)
        np.testing.assert_allclose(split[1].yields, [500] * 5, rtol=1e-12)


def test_the_background_has_a_view_for_each_transform_and_the_signal_none():
    signal, background = load(synthetic("nuisance=r_lambda")).template
    assert (signal.name, signal.is_signal, signal.variations) == ("signal", True, (NOMINAL,))
    assert (background.name, background.is_signal) == ("background", False)
    assert background.systematics == ("r", "lambda")
    features = {
        variation: background.features[view]
        for variation, view in zip(background.variations, background.view, strict=True)
    }
    np.testing.assert_array_equal(features[Variation("r", "up")][:, 0], features[NOMINAL][:, 0] + np.float32(0.2))
    np.testing.assert_array_equal(features[Variation("r", "down")][:, 0], features[NOMINAL][:, 0] - np.float32(0.2))
    np.testing.assert_allclose(features[Variation("lambda", "up")][:, 2], features[NOMINAL][:, 2] * 3 / 3.5, rtol=1e-6)
    np.testing.assert_allclose(
        features[Variation("lambda", "down")][:, 2], features[NOMINAL][:, 2] * 3 / 2.5, rtol=1e-6
    )


def test_templates_of_a_smaller_step_are_extrapolated_to_one_standard_deviation():
    config = synthetic("nuisance=r_lambda", "dataset.systematics.lambda={width:1.0,step:0.25}")
    assert Measurement.from_config(config, ("lambda",)).shapes["lambda"]["background"].scale == 4.0
    background = load(config).template[1]
    nominal, up = (
        background.features[background.view[background.variations.index(variation)]][:, 2]
        for variation in (NOMINAL, Variation("lambda", "up"))
    )
    np.testing.assert_allclose(up, nominal * 3 / 3.25, rtol=1e-6)
    unset = synthetic("nuisance=r_lambda", "dataset.systematics.lambda.width=1.0")
    assert Measurement.from_config(unset, ("lambda",)).shapes["lambda"]["background"].scale == 1.0


def test_a_yield_uncertainty_needs_no_events_of_its_own():
    assert load(synthetic("nuisance=r_lambda_b")).template[1].systematics == ("r", "lambda")
    assert load(synthetic("nuisance=none")).template[1].systematics == ()


def test_the_nominal_parameters_move_the_background():
    moved = load(synthetic("dataset.nominal.r=50.0", "nuisance=none"))
    assert moved.template[1].features[0, :, 0].mean() == pytest.approx(52, abs=1)
    assert abs(moved.template[0].features[0, :, 0].mean()) < 1


def test_pseudo_data_has_as_many_events_as_expected_and_poisson_fluctuates():
    counts = [len(observed(load(changed(synthetic(), seed=seed)))) for seed in range(20)]
    assert abs(np.mean(counts) - 1050) < 5 * (1050 / 20) ** 0.5
    assert 10 < np.std(counts) < 70
    halved = load(synthetic("dataset.downsample_factor=0.5"))
    assert abs(len(observed(halved)) - 525) < 5 * 525**0.5


def same(one, two) -> bool:
    return all(
        np.array_equal(a.features, b.features) and np.array_equal(a.weights, b.weights)
        for split in ("train", "validation", "template")
        for a, b in zip(getattr(one, split), getattr(two, split), strict=True)
    ) and np.array_equal(observed(one), observed(two))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_events_and_checksum(seed):
    one, two = load(synthetic(f"seed={seed}")), load(synthetic(f"seed={seed}", "model=bce"))
    assert same(one, two)
    assert one.checksum == two.checksum


def test_another_seed_gives_other_events_and_another_checksum():
    one, two = load(synthetic("seed=0")), load(synthetic("seed=1"))
    assert one.checksum != two.checksum
    assert not np.intersect1d(one.train[0].features, two.train[0].features).size


def test_the_splits_share_no_event_with_each_other_or_the_data():
    events = load(synthetic())
    parts = [
        np.concatenate([sample.features[0] for sample in split])
        for split in (events.train, events.validation, events.template)
    ]
    numbers = np.concatenate([*parts, observed(events)])[:, 0]
    assert len(np.unique(numbers)) == len(numbers)


def test_the_choice_of_nuisance_parameters_does_not_change_the_nominal_events():
    one, two = load(synthetic("nuisance=none")), load(synthetic("nuisance=r_lambda"))
    np.testing.assert_array_equal(one.template[1].features[0], two.template[1].features[0])


def test_synthetic_events_have_no_label():
    assert load(synthetic()).label == ""


# ----------------------------------------------------------------------------------------- Cramer-Rao bound
# Monte-Carlo integration with 4e6 events.
BOUNDS = {
    (0.0, 0.0): {0: 14.708, 1: 15.506, 2: 15.638, 3: 15.608, 4: 16.879},
    (1.0, 1.0): {0: 16.156, 1: 16.430, 2: 16.620, 3: 16.609, 4: 18.284},
}


def bound_of(config):
    return config.dataset.cramer_rao_bound(config.nuisance.fit, config.nuisance.unconstrained)


@pytest.mark.parametrize("benchmark", range(5))
@pytest.mark.parametrize("mean", list(BOUNDS))
def test_cramer_rao_bound_of_the_benchmarks(mean, benchmark):
    config = compose(f"+experiment=benchmark{benchmark}", f"dataset.signal_mean=[{mean[0]},{mean[1]}]")
    assert bound_of(config) == pytest.approx(BOUNDS[mean][benchmark], rel=1e-3)


# The same file, thesis_cases_signal_mean_0_0.
@pytest.mark.parametrize(("width", "bound"), [(0.5, 15.531), (1.4, 15.535)])
def test_cramer_rao_bound_of_the_thesis_cases(width, bound):
    config = compose("+experiment=synthetic", f"dataset.systematics.lambda.width={width}")
    assert bound_of(config) == pytest.approx(bound, rel=1e-3)


def test_cramer_rao_bound_of_a_known_model_is_that_of_counting_when_nothing_separates():
    """Far from the signal the background does not matter: sigma(s) is the square root of s."""
    config = compose("+experiment=benchmark0", "dataset.signal_mean=[40.0,0.0]")
    assert bound_of(config) == pytest.approx(50**0.5, rel=1e-3)


def test_cramer_rao_bound_counts_downsampled_events():
    full = compose("+experiment=benchmark0")
    half = compose("+experiment=benchmark0", "dataset.downsample_factor=0.5")
    ratio = bound_of(half) / bound_of(full)
    assert ratio == pytest.approx(0.5**0.5, rel=1e-6)
