"""What toys are drawn from, the expansions of nuisance parameters, chunks that are kept, and what toys say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose

from inferno_cli.config.load import resolve
from inferno_cli.config.nplm import NplmConfig
from inferno_cli.errors import ConfigError, DatasetError
from inferno_cli.events.sample import NOMINAL, Sample, Variation
from inferno_cli.nplm.distribution import agreement, chi2_tail, middle, significance
from inferno_cli.nplm.nuisances import check_order, expansion
from inferno_cli.nplm.perceptron import Perceptron
from inferno_cli.nplm.pool import Pool, WeightedEvents, pool
from inferno_cli.nplm.standard import Standard
from inferno_cli.nplm.taylor import Taylor
from inferno_cli.nplm.toys import NULL, Drawing, LearningTest, Toys, Truth
from inferno_cli.nplm.tuning import tune

VALUES = (-1.0, -0.5, 0.5, 1.0)


def configured(*overrides: str) -> NplmConfig:
    from inferno_cli.config.load import compose as composed

    return resolve(NplmConfig, composed("nplm", overrides))


def pool_of(config: NplmConfig) -> Pool:
    events = config.dataset.validated(config.request, ())
    samples = [item.events for item in events.samples if item.events.name in config.reference_samples]
    return pool(config.dataset, samples, config.request)


@pytest.fixture(scope="module")
def synthetic() -> Pool:
    """The background of the mixture, with r and lambda."""
    return pool_of(configured("dataset=synthetic", "dataset.events.template=100000", "nuisance=r_lambda"))


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    """The exponential, with 100 expected events."""
    config = configured("+experiment=exponential", "dataset.yields.background=100", "dataset.events.template=20000")
    made = pool_of(config)
    signal = WeightedEvents(np.full((9, 1), 6.4, dtype=np.float32), np.ones(9))
    return Drawing(made, signal, Standard.of(made.nominal, ("x",), (0,)), 1, n_reference=500)


# ---------------------------------------------------------------------------------------------- nuisance parameters
def delta_of(
    synthetic: Pool, name: str, events: int, values: tuple[float, ...] = (-1.0, 1.0), order: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Features of events, and delta_1, delta_2, ... there, shape (n_events, order)."""
    standard = Standard.of(synthetic.nominal, ("x0", "x1", "x2"), (0, 1, 2))
    made = expansion(synthetic, name, standard, values, order=order, hidden=(4,), events=events, seed=1, device="cpu")
    features = synthetic.nominal.features[-20_000:]
    return features, made.deltas(torch.as_tensor(standard(features)[None]))[0].numpy()


def test_the_expansion_in_r_is_that_of_the_exact_densities(synthetic: Pool) -> None:
    """For a mean of x0 that moves by nu 0.2: ln r = (x0 - 2) / 5 0.2 nu - 0.2^2 / 10 nu^2, which has no third order."""
    x, delta = delta_of(synthetic, "r", 40_000)
    exact = (x[:, 0] - 2) / 5 * 0.2
    assert np.sqrt(np.mean((delta[:, 0] - exact) ** 2)) < 0.05 * np.sqrt(np.mean(exact**2))
    assert np.sqrt(np.mean((delta[:, 1] + 0.2**2 / 10) ** 2)) < 0.05 * 0.2**2 / 10


def test_the_expansion_in_lambda_is_that_of_the_exact_densities(synthetic: Pool) -> None:
    """For a rate of x2 that moves by nu 0.5 from 3: ln r = ln(1 + nu / 6) - nu x2 / 2."""
    x, delta = delta_of(synthetic, "lambda", 12_000)
    for nu in (-1.0, 0.5, 1.0):
        exact = np.log1p(nu / 6) - 0.5 * nu * x[:, 2]
        found = delta[:, 0] * nu + delta[:, 1] * nu**2
        assert np.sqrt(np.mean((found - exact) ** 2)) < 0.1 * np.sqrt(np.mean(exact**2))


def test_a_normalisation_is_analytic(drawing: Drawing) -> None:
    made = expansion(
        drawing.pool, "norm", drawing.standard, VALUES, order=2, hidden=(2,), events=100, seed=1, device="cpu"
    )
    assert made.constants is not None
    for nu in VALUES:
        factor = 1.025**nu if nu > 0 else 0.975**-nu
        assert made.constants[0] * nu + made.constants[1] * nu**2 == pytest.approx(np.log(factor), abs=2e-4)


def test_the_order_that_is_too_low_is_seen(synthetic: Pool) -> None:
    checks = {
        (item.feature, item.order): item
        for item in check_order(synthetic, "r", ("x0", "x1"), values=(-3.0, -1.5, 1.5, 3.0))
    }
    assert checks["x0", 1].chi2 > 3 * checks["x0", 1].degrees
    assert checks["x0", 2].chi2 < 2 * checks["x0", 2].degrees
    assert checks["x0", 1].degrees == 10 * 3


def test_the_events_of_a_moved_parameter_are_the_nominal_ones_moved(synthetic: Pool) -> None:
    nominal, moved = synthetic.nominal, synthetic.at("r", -0.5)
    np.testing.assert_allclose(moved.features[:, 0] - nominal.features[:, 0], -0.1, atol=1e-5)
    np.testing.assert_array_equal(moved.weights, nominal.weights)
    assert synthetic.values("r", VALUES) == VALUES


def test_simulated_variations_are_taken_where_events_cannot_be_moved() -> None:
    config = configured("+experiment=top11004", "nuisance=jes", "nplm.reference=[WZJets]")
    made = pool_of(config)
    assert made.values("jes", VALUES) == (-1.0, 1.0)
    (part,) = made.parts
    up = part.events.variations.index(Variation("jes", "up"))
    np.testing.assert_array_equal(made.at("jes", 1.0).weights, part.events.weights[up])
    np.testing.assert_array_equal(made.at("jes", 1.0).features, part.events.features[part.events.view[up]])
    assert made.at("jes", 1.0).expected > made.nominal.expected > made.at("jes", -1.0).expected


def test_a_free_yield_is_refused() -> None:
    config = configured("+experiment=top11004", "nuisance=qcd_norm", "nplm.reference=[QCD]")
    with pytest.raises(ConfigError, match=r"QCD_norm.* has no constraint"):
        pool(config.dataset, [_sample("QCD")], config.request)


def _sample(name: str, weights: np.ndarray | None = None) -> Sample:
    weights = np.ones(50) if weights is None else weights
    features = np.zeros((1, len(weights), 1), dtype=np.float32)
    return Sample(name, False, np.arange(len(weights)), (NOMINAL,), features, (0,), weights[None])


# -------------------------------------------------------------------------------------------------------- drawing
def test_events_are_drawn_in_proportion_to_their_weights() -> None:
    events = WeightedEvents(np.zeros((4, 1), dtype=np.float32), np.array([1.0, 0.0, 2.0, 7.0]))
    counts = np.bincount(events.drawn(np.random.default_rng(1), 10_000), minlength=4)
    np.testing.assert_allclose(counts, [1000, 0, 2000, 7000], atol=250)
    assert counts[1] == 0


def test_negative_weights_are_refused() -> None:
    events = WeightedEvents(np.zeros((2, 1), dtype=np.float32), np.array([1.0, -0.1]))
    with pytest.raises(DatasetError, match="1 of 2 events have negative weights"):
        events.require_positive("nplm.reference (A)")


def test_the_reference_of_a_toy_has_none_of_its_data_and_sums_to_what_is_expected(drawing: Drawing) -> None:
    source = drawing.source(NULL)
    counts = []
    for toy in range(200):
        features, rows = drawing.features(NULL, source, toy)
        counts.append(len(rows))
        if toy < 5:
            reference = drawing.reference(f"x {toy}", rows)
            assert reference.weights.sum() == pytest.approx(100)
            assert len(reference.weights) == 500
            assert not set(features[:, 0].tolist()) & set(reference.features[:, 0].tolist())
    assert np.mean(counts) == pytest.approx(100, abs=4 * 10 / 200**0.5)
    assert np.var(counts) == pytest.approx(100, rel=0.4)  # Poisson


def test_a_reference_with_more_of_some_events_describes_the_same(drawing: Drawing) -> None:
    """Of the events above 2, exp(-2) of all, ten times as many are drawn, with a tenth of the weight."""
    nominal = drawing.pool.nominal
    envelope = np.where(nominal.features[:, 0] > 2, 10.0, 1.0)
    share = nominal.weights[envelope > 1].sum() / nominal.expected
    more = replace(drawing, envelope=envelope, n_reference=2000)
    numbers, found = [], []
    for toy in range(20):
        _, rows = more.features(NULL, nominal, toy)
        reference = more.reference(f"x {toy}", rows)
        assert reference.weights.sum() == pytest.approx(100)
        assert not set(nominal.features[rows, 0].tolist()) & set(reference.features[:, 0].tolist())
        is_above = reference.features[:, 0] > 2
        assert reference.weights[~is_above].mean() == pytest.approx(10 * reference.weights[is_above].mean())
        numbers.append(len(is_above))
        found.append(reference.weights[is_above].sum() / 100)
    assert np.mean(numbers) == pytest.approx(2000, rel=0.02)
    assert np.mean(is_above) == pytest.approx(10 * share / (1 + 9 * share), abs=0.04)
    assert np.mean(found) == pytest.approx(share, rel=0.02)


def test_a_toy_is_drawn_again_and_has_the_signal_and_the_true_nuisance_parameter(drawing: Drawing) -> None:
    truth = Truth("x", (("norm", 1.0),), signal=30.0)
    source = drawing.source(truth)
    assert source.expected == pytest.approx(102.5)
    first, again = drawing.toy(truth, source, 3), drawing.toy(truth, source, 3)
    np.testing.assert_array_equal(first.data, again.data)
    np.testing.assert_array_equal(first.reference, again.reference)
    assert (np.isclose(first.data, drawing.standard(np.array([[6.4]], dtype=np.float32)))).sum() > 10
    auxiliary = [drawing.toy(truth, source, toy).auxiliary[0] for toy in range(50)]
    assert np.mean(auxiliary) == pytest.approx(1, abs=4 / 50**0.5)


# --------------------------------------------------------------------------------------------------------- chunks
def test_toys_that_are_finished_are_kept_and_give_the_same(drawing: Drawing, tmp_path: Path) -> None:
    test = LearningTest(Taylor([]), Perceptron((1, 2, 1), 2.0), "a", 1, 1, "cpu")
    plain = replace(
        drawing, pool=Pool(tuple(replace(part, effects={}) for part in drawing.pool.parts), drawing.pool.dataset)
    )
    expected = Toys(plain, None, "key", 2, "none")("toys", test, NULL, 5)

    toys = Toys(plain, tmp_path, "key", 2, "none")
    toys("toys", test, NULL, 4)  # killed behind its second chunk
    assert len(list(tmp_path.iterdir())) == 2
    thrown: list[str] = []

    class Watched(LearningTest):
        def __call__(self, sets: list, streams: list[str]):  # type: ignore[no-untyped-def, type-arg]
            thrown.extend(streams)
            return super().__call__(sets, streams)

    found = toys("toys", Watched(**vars(test)), NULL, 5)
    assert thrown == ["null 4"]
    np.testing.assert_array_equal(found.t, expected.t)
    next(tmp_path.iterdir()).write_bytes(b"damaged")
    np.testing.assert_array_equal(toys("toys", test, NULL, 5).t, expected.t)
    Toys(plain, tmp_path, "other data", 2, "none")("toys", test, NULL, 2)
    assert len(list(tmp_path.iterdir())) == 4


# --------------------------------------------------------------------------------------------------- what toys say
def test_the_clip_is_found_by_bisection() -> None:
    chi2 = np.random.default_rng(1).chisquare(13, 400)
    found = tune(lambda clip: chi2 * (clip / 7.0) ** 0.5, 13, (1.0, 40.0))
    assert found.is_met
    assert found.clip == pytest.approx(7.0, rel=0.15)
    never = tune(lambda clip: chi2 * 0.3, 13, (1.0, 40.0))
    assert not never.is_met


def test_significances_by_chi2_and_by_toys() -> None:
    from scipy.stats import chi2, norm

    null = chi2(13).ppf((np.arange(1000) + 0.5) / 1000)
    assert agreement(null, 13) > 0.99
    assert agreement(null, 16) < 1e-6
    found = significance(float(chi2(13).isf(norm.sf(2.0))), null, 13)
    assert found.z == pytest.approx(2.0)
    assert found.z_toys == pytest.approx(2.0, abs=0.05)
    assert significance(1000.0, null, 13).n_above == 0
    assert significance(1000.0, null, 13).p_toys == pytest.approx(1 / 1001)
    for t in (300.0, 900.0):
        assert chi2_tail(t, 13) ** 0.5 == pytest.approx(float(norm.isf(chi2(13).sf(t))), rel=0.01)
    assert significance(1e5, null, 13).z == pytest.approx(1e5**0.5, rel=0.01)
    assert middle(np.arange(101.0)) == (50.0, 45.0, 56.0)


# -------------------------------------------------------------------------------------------------- configuration
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nplm.reference=[backgruond]", "unknown sample 'backgruond'; closest: 'background'"),
        ("nplm.data=background", "is in the reference"),
        ("nplm.features=[y]", "unknown feature 'y'"),
        ("nplm.data=observed", "blinded; set unblind=true"),
        ("+nplm.inject={sample: noise}", "inject.sample: unknown sample 'noise'"),
        ("nplm.model.clip_range=[3.0, 2.0]", "the first must be smaller"),
        ("nplm.shape.values=[0.0, 1.0]", "0 is the nominal one"),
    ],
)
def test_what_contradicts_itself_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured("+experiment=exponential", override.lstrip("+") if "inject" in override else override)


def test_observed_data_need_a_null_distribution() -> None:
    with pytest.raises(ConfigError, match="no null distribution yet"):
        configured("+experiment=exponential", "nplm.data=observed", "unblind=true")


def test_the_tutorial_has_its_densities() -> None:
    config = compose("+experiment=exponential")
    events = config.dataset.load(config.request)
    signal, background = events.template
    assert background.yields[0] == pytest.approx(2000)
    assert background.features[0].mean() == pytest.approx(1, abs=0.01)
    assert signal.features[0].mean() == pytest.approx(6.4, abs=0.01)
    assert signal.features[0].std() == pytest.approx(0.16, abs=0.01)
    tail = configured("dataset=exponential", "nuisance=none", "~dataset.signal", "+dataset.signal={kind: tail}").dataset
    assert tail.draw(np.random.default_rng(1), 50_000, 1)[0].mean() == pytest.approx(3.0, abs=0.05)
