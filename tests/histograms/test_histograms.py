"""Filling, grouping and merging of templates."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import channel_of, make_measurement, make_templates, merge_one

from inferno_cli.config.schema import Binning
from inferno_cli.errors import SingularInformationError, TemplateError
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL, Sample, Variation
from inferno_cli.histograms.binning import effective_events, noise_information, purity
from inferno_cli.histograms.symmetry import parts, symmetrised
from inferno_cli.histograms.templates import Templates, fill, from_arrays
from inferno_cli.likelihood.information import information_matrix, poi_variance
from inferno_cli.training.recipe import linear_fit

RULE = Binning(min_yield=1.0, min_effective_events=10.0, merge_noise=True, max_noise_information=0.25)
LENIENT = Binning(min_yield=1e-6, min_effective_events=1.0, max_noise_information=0.25)
UP, DOWN = Variation("jes", "up"), Variation("jes", "down")


def sample(name: str, weights, *, is_signal: bool = False, systematics: tuple[str, ...] = (), view=None) -> Sample:
    """Events without features: the tests say into which bin each falls."""
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    names = (NOMINAL, *(Variation(key, side) for key in systematics for side in ("up", "down")))
    view = tuple(range(len(names))) if view is None else view
    n = weights.shape[1]
    return Sample(
        name=name,
        is_signal=is_signal,
        group=np.arange(n),
        variations=names,
        features=np.zeros((max(view) + 1, n, 1), dtype=np.float32),
        view=view,
        weights=weights,
    )


def two_samples() -> tuple[list[Sample], list[np.ndarray]]:
    """A signal with a shifted view and a weight systematic, and a background without any."""
    rng = np.random.default_rng(0)
    weights = np.stack([rng.uniform(0.1, 2, 60) for _ in range(5)])
    signal = sample("signal", weights, is_signal=True, systematics=("jes", "btag"), view=(0, 1, 2, 0, 0))
    background = sample("QCD", rng.uniform(0.1, 2, 80))
    return [signal, background], [rng.integers(0, 4, (3, 60)), rng.integers(0, 4, (1, 80))]


# --------------------------------------------------------------------------------------------------- filling
def test_yields_are_sums_of_weights_and_variances_sums_of_squares_for_every_variation():
    samples, bins = two_samples()
    templates = fill(samples, bins, 4)
    checked = []
    for item, numbers in zip(samples, bins, strict=True):
        for row, (variation, view) in enumerate(zip(item.variations, item.view, strict=True)):
            histogram = templates.histograms[item.name, variation]
            for number in range(4):
                inside = item.weights[row][numbers[view] == number]
                assert histogram.values()[number] == pytest.approx(inside.sum(), rel=1e-13)
                assert histogram.variances()[number] == pytest.approx((inside**2).sum(), rel=1e-13)
            checked.append((item.name, variation))
    assert set(checked) == set(templates.histograms)
    assert len(checked) == 6


def test_a_weight_systematic_is_filled_into_the_bins_of_the_nominal_events():
    weights = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    item = sample("QCD", weights, systematics=("btag",), view=(0, 0, 0))
    templates = fill([item], [np.array([[2, 0]])], 3)
    np.testing.assert_array_equal(templates.values("QCD", Variation("btag", "up")), [4, 0, 3])
    np.testing.assert_array_equal(templates.values("QCD", Variation("btag", "down")), [6, 0, 5])


def test_observed_events_count_one_each():
    templates = fill(*two_samples(), 4, np.array([0, 0, 3]))
    np.testing.assert_array_equal(templates.observed.values(), [2, 0, 0, 1])


def test_without_observed_events_there_is_no_histogram_of_them():
    assert fill(*two_samples(), 4).observed is None


def test_templates_know_their_signal_samples_and_bins():
    templates = fill(*two_samples(), 4)
    assert templates.samples == ("signal", "QCD")
    assert templates.signal == ("signal",)
    assert templates.groups == ((0,), (1,), (2,), (3,))
    np.testing.assert_array_equal(templates.is_signal, [True, False])
    assert set(templates.varied) == {("jes", "signal"), ("btag", "signal")}


# ----------------------------------------------------------------------------------------------------- noise
def noise(weights, bins, n_bins=3, view=None) -> np.ndarray:
    item = sample("QCD", weights, systematics=("jes",), view=view)
    return fill([item], [np.asarray(bins)], n_bins).noise["jes", "QCD"][0]


def test_an_event_that_stays_with_its_weight_makes_no_noise():
    np.testing.assert_array_equal(noise([[2, 3], [2, 3], [2, 3]], [[0, 1], [0, 1], [0, 1]]), [0, 0, 0])


def test_an_event_that_migrates_adds_a_quarter_of_its_squared_weight_to_both_bins():
    # Event 0 (w = 2) is in bin 0 for up and in bin 2 for down; event 1 (w = 3) stays.
    np.testing.assert_allclose(noise([[2, 3], [2, 3], [2, 3]], [[1, 1], [0, 1], [2, 1]]), [1, 0, 1])


def test_noise_of_four_events_worked_out_by_hand():
    weights = [
        [1.0, 2.0, 3.0, 4.0],
        [1.5, 2.0, 3.0, 0.0],  # up: event 0 is reweighted, event 3 is not selected
        [0.5, 2.0, 3.0, 4.0],
    ]
    bins = [[0, 0, 1, 2], [0, 0, 1, 0], [0, 1, 1, 2]]
    # bin 0: (1.5 - 0.5)^2 / 4 of event 0, 2^2 / 4 of event 1 (up); bin 1: 2^2 / 4 of event 1 (down);
    # bin 2: 4^2 / 4 of event 3 (down).
    np.testing.assert_allclose(noise(weights, bins), [0.25 + 1.0, 1.0, 4.0])


def test_noise_of_a_weight_systematic_is_the_squared_change_of_the_weights():
    np.testing.assert_allclose(noise([[1, 1], [1.2, 3], [0.8, 1]], [[0, 1]], view=(0, 0, 0)), [0.04, 1.0, 0.0])


def test_noise_is_the_variance_over_repeated_samples():
    """Poisson fluctuations of the simulation: the number of copies of each event varies, (up - down) / 2 with it."""
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.5, 2, (3, 40))
    bins = rng.integers(0, 3, (3, 40))
    copies = rng.poisson(1, (20000, 40))
    up, down = (copies * weights[i] for i in (1, 2))
    half = np.stack([(up[:, bins[1] == b].sum(1) - down[:, bins[2] == b].sum(1)) / 2 for b in range(3)])
    np.testing.assert_allclose(noise(weights, bins), half.var(axis=1), rtol=0.05)


def test_noise_information_is_the_noise_over_poisson_and_template_variance():
    templates = make_templates(
        {"signal": [10.0, 10.0], "QCD": [90.0, 40.0]}, varied={("jes", "QCD"): ([95, 41], [85, 39])},
        relative_error=0.1, noise={("jes", "QCD"): [2.0, 5.0]},
    )  # fmt: skip
    # V = 100 + 1 + 81 and 50 + 1 + 16.
    np.testing.assert_allclose(noise_information(templates)["jes"], [2 / 182, 5 / 67])


def test_noise_information_adds_the_samples_of_a_systematic():
    templates = make_templates(
        {"signal": [10.0], "QCD": [90.0]},
        varied={("jes", "QCD"): ([95], [85]), ("jes", "signal"): ([11], [9]), ("jer", "QCD"): ([91], [89])},
        relative_error=0.0,
        noise={("jes", "QCD"): [2.0], ("jes", "signal"): [3.0], ("jer", "QCD"): [1.0]},
    )
    information = noise_information(templates)
    assert {name: float(values[0]) for name, values in information.items()} == {"jes": 0.05, "jer": 0.01}


def test_noise_in_a_bin_without_expectation_is_infinite_information():
    templates = make_templates(
        {"signal": [5.0, 0.0], "QCD": [50.0, 0.0]},
        varied={("jes", "QCD"): ([50, 1], [50, 0])},
        noise={("jes", "QCD"): [0.0, 0.25]},
    )
    assert noise_information(templates)["jes"].tolist() == [0.0, np.inf]


# -------------------------------------------------------------------------------------------------- grouping
def grown() -> Templates:
    """Five bins, every kind of content."""
    return make_templates(
        {"signal": [1.0, 2, 3, 4, 5], "QCD": [50.0, 40, 30, 20, 10]},
        varied={("jes", "QCD"): ([51, 42, 33, 24, 15], [49, 38, 27, 16, 5])},
        noise={("jes", "QCD"): [0.1, 0.2, 0.3, 0.4, 0.5]},
        observed=[52, 41, 33, 25, 14],
    )


def test_grouping_adds_yields_variances_noise_and_data():
    before, after = grown(), grown().grouped([(4,), (0, 2), (1, 3)])
    np.testing.assert_allclose(after.values("signal"), [5, 4, 6])
    np.testing.assert_allclose(after.values("QCD", UP), [15, 84, 66])
    np.testing.assert_allclose(after.noise["jes", "QCD"][0], [0.5, 0.4, 0.6])
    np.testing.assert_allclose(after.observed.values(), [14, 85, 66])
    v = before.variance[1]
    np.testing.assert_allclose(after.variance[1], [v[4], v[0] + v[2], v[1] + v[3]])
    assert after.groups == ((4,), (0, 2), (1, 3))


def test_grouping_twice_names_the_bins_of_the_network():
    assert grown().grouped([(4,), (0, 2), (1, 3)]).grouped([(2,), (1, 0)]).groups == ((1, 3), (0, 2, 4))


@pytest.mark.parametrize("groups", [[(0, 1), (2, 3)], [(0, 1), (1, 2), (3, 4)], [(0, 1, 2, 3, 4, 5)]])
def test_grouping_refuses_what_is_not_a_partition(groups):
    with pytest.raises(ValueError, match="do not hold each of 5 bins once"):
        grown().grouped(groups)


def test_errors_are_scaled_by_sample_and_yields_are_not():
    before, after = grown(), grown().with_errors_scaled([2.0, 0.5])
    np.testing.assert_allclose(after.nominal, before.nominal)
    np.testing.assert_allclose(after.variance, before.variance * [[2.0], [0.5]])
    np.testing.assert_allclose(after.noise["jes", "QCD"], 0.5 * before.noise["jes", "QCD"])


# --------------------------------------------------------------------------------------------------- merging
def test_effective_events_are_those_of_the_poorer_of_signal_and_background():
    templates = make_templates({"signal": [2.0, 9.0], "QCD": [30.0, 8.0], "top": [0.0, 4.0]}, relative_error=0.5)
    # One sample with 50% has 4; QCD and top together in bin 1: 12^2 / (16 + 4) = 7.2.
    np.testing.assert_allclose(effective_events(templates), [4, 4])
    only = replace(templates, signal=("signal", "top"))
    np.testing.assert_allclose(effective_events(only), [4, 4])
    np.testing.assert_allclose(effective_events(replace(templates, signal=("QCD", "top"))), [4, 4])


@pytest.mark.parametrize("negative", ["signal", "QCD"])
def test_effective_events_of_a_negative_yield_are_zero(negative):
    """Squared, -20 of 20 events with weight -1 would count as 20."""
    templates = make_templates({"signal": [20.0, 20.0], "QCD": [40.0, 40.0]} | {negative: [-20.0, 40.0]})
    np.testing.assert_allclose(effective_events(templates), [0, 2500])


def test_a_bin_with_a_negative_background_is_merged():
    """Its 40 signal events leave it a positive yield of 20."""
    signal, background = np.ones(60), np.append(-np.ones(20), np.ones(200))
    bins = [np.repeat([[0, 1]], [40, 20], axis=1), np.repeat([[0, 1]], [20, 200], axis=1)]
    templates = fill([sample("signal", signal, is_signal=True), sample("QCD", background)], bins, 2)
    assert merge_one(templates, RULE, None, ordered=True).nominal.tolist() == [[60], [180]]


def test_effective_events_of_a_bin_without_signal_are_zero():
    assert effective_events(make_templates({"signal": [0.0, 1.0], "QCD": [5.0, 5.0]})).tolist()[0] == 0


def test_purity_is_the_share_of_the_signal():
    templates = make_templates({"signal": [1.0, 0.0, 6.0], "QCD": [9.0, 0.0, 3.0], "top": [0.0, 0.0, 3.0]})
    np.testing.assert_allclose(purity(templates), [0.1, 0.0, 0.5])


def test_merging_sorts_by_signal_to_background():
    templates = make_templates({"signal": [9.0, 1.0, 5.0], "QCD": [10.0, 90.0, 40.0]}, relative_error=0.01)
    merged = merge_one(templates, RULE, None, ordered=False)
    assert merged.groups == ((1,), (2,), (0,))
    np.testing.assert_array_equal(merged.values("signal"), [1, 5, 9])


def test_merging_keeps_the_order_of_ordered_bins():
    templates = make_templates({"signal": [9.0, 1.0, 5.0], "QCD": [10.0, 90.0, 40.0]}, relative_error=0.01)
    assert merge_one(templates, RULE, None, ordered=True).groups == ((0,), (1,), (2,))


def test_a_bin_below_the_smallest_yield_joins_the_neighbour_nearer_in_purity():
    # Purities 1/11, 0.2/0.5 = 0.4, 0.5: the poor bin in the middle is nearer to the last one.
    templates = make_templates({"signal": [10.0, 0.2, 30.0], "QCD": [100.0, 0.3, 30.0]}, relative_error=0.01)
    assert merge_one(templates, RULE, None, ordered=True).groups == ((0,), (1, 2))
    # Purities 0.05 and 0.1: nearer to the first one.
    templates = make_templates({"signal": [5.0, 0.05, 30.0], "QCD": [95.0, 0.45, 30.0]}, relative_error=0.01)
    assert merge_one(templates, RULE, None, ordered=True).groups == ((0, 1), (2,))


@pytest.mark.parametrize(("poor", "groups"), [(0, ((0, 1), (2,))), (2, ((0,), (1, 2)))])
def test_a_poor_bin_at_an_end_joins_its_only_neighbour(poor, groups):
    signal, background = np.array([1.0, 5, 30]), np.array([100.0, 60, 30])
    signal[poor] *= 0.001
    background[poor] *= 0.001
    templates = make_templates({"signal": signal, "QCD": background}, relative_error=0.01)
    assert merge_one(templates, RULE, None, ordered=True).groups == groups


@pytest.mark.parametrize("starved", ["signal", "QCD"])
def test_a_bin_with_few_simulated_events_of_either_kind_is_merged(starved):
    yields = {"signal": [5.0, 10.0, 30.0], "QCD": [95.0, 60.0, 30.0]}
    templates = make_templates(yields, relative_error=0.1)
    histogram = templates.histograms[starved, NOMINAL]
    # 9 effective events in bin 1, below the 10 of the rule.
    histogram[...] = np.stack([histogram.values(), histogram.variances() * [1, 100 / 9, 1]], axis=-1)
    assert len(merge_one(templates, RULE, None, ordered=True).groups) == 2
    assert (
        len(merge_one(templates, RULE.model_copy(update={"min_effective_events": 8.9}), None, ordered=True).groups) == 3
    )


MEASUREMENT = make_measurement(["signal", "QCD"], shapes={"jes": True})


def honest_by_hand(jacobian: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> float:
    """V_honest of mu and jes, written out: C_mumu + sum_jb n_jb (2 C_muj^2 / V_b + w_b^2)."""
    covariance = np.linalg.inv(jacobian.T @ (jacobian / variance[:, None]) + np.diag([0, 1]))
    weights = jacobian @ covariance[0] / variance
    return covariance[0, 0] + sum(
        noise[b] * (2 * covariance[0, 1] ** 2 / variance[b] + weights[b] ** 2) for b in range(len(variance))
    )


def noisy(size: float) -> Templates:
    return make_templates(
        {"signal": [5.0, 10, 30, 40], "QCD": [95.0, 60, 30, 20]},
        varied={("jes", "QCD"): ([99, 61, 29, 18], [91, 59, 31, 22])},
        relative_error=0.01,
        noise={("jes", "QCD"): [0.1, 0.1, size, 0.1]},
    )


def test_the_honest_variance_is_that_of_the_formula():
    templates = noisy(4.0)
    fit = linear_fit(MEASUREMENT, [templates])
    up, down = (np.array(values) for values in ([99.0, 61, 29, 18], [91.0, 59, 31, 22]))
    rates = up.sum() / 205, down.sum() / 205
    background = np.array([95.0, 60, 30, 20])
    # The change of the yield (code4 has half of the difference as its slope, to 1e-3), and that of the shape.
    slope = background * (rates[0] - rates[1]) / 2 + (up / rates[0] - down / rates[1]) / 2
    np.testing.assert_allclose(fit.jacobian, np.stack([[5.0, 10, 30, 40], slope], axis=1), rtol=1e-3)
    signal = np.array([5.0, 10, 30, 40])
    np.testing.assert_allclose(fit.variance, signal + background + 1e-4 * (signal**2 + background**2), rtol=1e-12)
    right = honest_by_hand(fit.jacobian, fit.variance, np.array([0.1, 0.1, 4.0, 0.1]))
    assert fit.honest_variance() == pytest.approx(right, rel=1e-9)
    assert fit.covariance()[0, 0] == pytest.approx(float(poi_variance(channel_of(MEASUREMENT, templates))), rel=1e-9)
    assert fit.honest_variance() > fit.covariance()[0, 0]


def test_the_share_of_noise_is_in_units_of_what_the_fit_knows():
    fit = linear_fit(MEASUREMENT, [noisy(4.0)])
    covariance = np.linalg.inv(fit.jacobian.T @ (fit.jacobian / fit.variance[:, None]) + np.diag([0, 1]))
    expected = (np.array([0.1, 0.1, 4.0, 0.1]) / fit.variance).sum() * covariance[1, 1]
    np.testing.assert_allclose(fit.noise_shares(), [0, expected], rtol=1e-9)


def test_neighbours_are_merged_while_the_honest_variance_gets_smaller():
    """Checked against every way to merge neighbours."""
    for size in (0.1, 4.0, 40.0, 400.0):
        templates = noisy(size)
        found = merge_one(templates, RULE, linear_fit(MEASUREMENT, [templates]), ordered=True)
        values = {}
        for cuts in itertools.product([True, False], repeat=3):
            edges = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), 4]
            groups = tuple(tuple(range(low, high)) for low, high in itertools.pairwise(edges))
            values[groups] = linear_fit(MEASUREMENT, [templates.grouped(groups)]).honest_variance()
        assert found.groups == min(values, key=lambda groups: values[groups])
    assert merge_one(noisy(0.1), RULE, linear_fit(MEASUREMENT, [noisy(0.1)]), ordered=True).n_bins == 4
    assert merge_one(noisy(400.0), RULE, linear_fit(MEASUREMENT, [noisy(400.0)]), ordered=True).n_bins < 4
    # In one bin a shape is a rate.
    assert merge_one(noisy(1e9), RULE, linear_fit(MEASUREMENT, [noisy(1e9)]), ordered=True).n_bins == 2
    assert merge_one(noisy(400.0), LENIENT, linear_fit(MEASUREMENT, [noisy(400.0)]), ordered=True).n_bins == 4


def test_more_luminosity_never_gives_a_larger_error():
    """Noise against the prior, the rule before, left two bins at 30 times the luminosity, and 0.29 for 0.21."""
    before = math.inf
    for scale in (1, 3, 10, 30, 100):
        base = noisy(2.0)
        histograms = {key: histogram_of(base.histograms[key], scale) for key in base.histograms}
        templates = replace(base, histograms=histograms, noise={key: x * scale**2 for key, x in base.noise.items()})
        merged = merge_one(templates, RULE, linear_fit(MEASUREMENT, [templates]), ordered=True)
        sigma = math.sqrt(float(poi_variance(channel_of(MEASUREMENT, merged))))
        assert sigma < before
        before = sigma


def histogram_of(histogram, scale: float):
    return from_arrays(histogram.values() * scale, histogram.variances() * scale**2)


def test_merging_stops_at_one_bin():
    templates = make_templates({"signal": [0.1, 0.2], "QCD": [0.1, 0.2]})
    assert merge_one(templates, RULE, None, ordered=False).groups == ((0, 1),)


def planted() -> Templates:
    """A bin that is empty in the nominal and holds one event of weight 3 in the upward variation."""
    rng = np.random.default_rng(1)
    signal = sample("signal", np.full(400, 0.1), is_signal=True)
    weights = np.full((3, 800), 1.0)
    weights[:, 0] = 3.0
    background = sample("QCD", weights, systematics=("jes",))
    bins = np.tile(rng.integers(0, 3, 800), (3, 1))
    bins[:, 0] = (0, 3, 0)
    return fill([signal, background], [rng.integers(0, 3, (1, 400)), bins], 4)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_planted_bin_is_merged_away_and_leaves_little_information(ordered):
    measurement = make_measurement(["signal", "QCD"], shapes={"jes": True})
    with pytest.raises(SingularInformationError):
        poi_variance(channel_of(measurement, planted()))
    fit = linear_fit(measurement, [planted()])
    assert fit.honest_variance() == math.inf
    merged = merge_one(planted(), RULE, fit, ordered=ordered)
    assert merged.nominal.sum(axis=0).min() > 100
    assert all(group != (3,) for group in merged.groups)
    matrix = information_matrix(channel_of(measurement, merged))
    assert bool(torch.isfinite(matrix).all())
    # One event of weight 3 in 270: at most (3 / 2)^2 / 270 in each of two bins, on top of the constraint's 1.
    assert 1 <= float(matrix[1, 1]) < 1.02


def test_a_nearly_empty_planted_bin_is_merged_for_its_noise_alone():
    """Enough events for the other rules, but migrations dominate its difference between up and down."""
    rng = np.random.default_rng(2)
    signal = sample("signal", np.full(4000, 0.01), is_signal=True)
    background = sample("QCD", np.ones((3, 1000)), systematics=("jes",))
    bins = np.tile(rng.integers(0, 3, 1000), (3, 1))
    bins[:, :12] = 3  # 12 events in every variation, and 12 more that come and go
    bins[1, 12:24], bins[2, 24:30] = 3, 3
    templates = fill([signal, background], [rng.integers(0, 4, (1, 4000)), bins], 4)
    fit = linear_fit(make_measurement(["signal", "QCD"], shapes={"jes": True}), [templates])
    assert merge_one(templates, RULE, None, ordered=True).n_bins == 4
    assert merge_one(templates, RULE, fit, ordered=True).n_bins == 3


# ------------------------------------------------------------------------------ rows of one generated event
def of_sources(bins, weights, source) -> Templates:
    """A background whose rows are made from fewer generated events."""
    rows = np.asarray(bins)
    background = sample("QCD", weights, systematics=("jes",) if len(rows) == 3 else ())
    background = replace(background, group=np.asarray(source))
    return fill([sample("signal", np.ones(1), is_signal=True), background], [np.zeros((1, 1), dtype=int), rows], 2)


def test_rows_of_one_generated_event_are_one_entry_of_a_bin():
    templates = of_sources([[0, 0, 0, 1]], [1.0, 2.0, 4.0, 3.0], [7, 7, 8, 7])
    # Event 7 is 1 + 2 in bin 0 and 3 in bin 1, event 8 is 4.
    np.testing.assert_allclose(templates.histograms["QCD", NOMINAL].variances(), [9 + 16, 9])
    np.testing.assert_allclose(templates.values("QCD"), [7, 3])


def test_effective_events_are_generated_events():
    rows = replace(sample("QCD", np.ones(40)), group=np.arange(40) // 4)
    assert rows.effective_events == pytest.approx(10)
    templates = of_sources([np.zeros(40, dtype=int)], np.ones(40), np.arange(40) // 4)
    total = templates.nominal[:, 0].sum() ** 2 / templates.variance[:, 0].sum()
    assert effective_events(replace(templates, signal=()))[0] == pytest.approx(total)  # no bin is made for a signal
    assert effective_events(replace(templates, is_trained=False))[0] == pytest.approx(total)
    np.testing.assert_allclose(templates.variance[1], [160, 0])


def test_the_noise_of_rows_is_the_variance_over_repeated_generated_events():
    rng = np.random.default_rng(5)
    source = np.arange(60) // 3
    weights, bins = rng.uniform(0.5, 2, (3, 60)), rng.integers(0, 2, (3, 60))
    templates = of_sources(bins, weights, source)
    copies = rng.poisson(1, (40000, 20))[:, source]

    def binned(row: int) -> np.ndarray:
        return np.stack([(copies * weights[row])[:, bins[row] == b].sum(axis=1) for b in (0, 1)])

    nominal, up, down = binned(0), binned(1), binned(2)
    np.testing.assert_allclose(templates.variance[1], nominal.var(axis=1), rtol=0.05)
    odd, even = templates.noise["jes", "QCD"]
    np.testing.assert_allclose(odd, ((up - down) / 2).var(axis=1), rtol=0.05)
    np.testing.assert_allclose(even, ((up + down) / 2 - nominal).var(axis=1), rtol=0.05)


def test_the_noise_of_events_that_are_alone_is_that_of_the_general_formula():
    rng = np.random.default_rng(6)
    weights, bins = rng.normal(1, 1, (3, 50)), rng.integers(0, 2, (3, 50))
    weights += 0.5 - weights.sum(axis=1, keepdims=True).clip(max=0) / 10
    alone = of_sources(bins, weights, np.arange(50))
    # One more row of weight 0 in a group makes the events no longer alone, and changes nothing.
    more = of_sources(
        np.append(bins, [[0]] * 3, axis=1), np.append(weights, [[0.0]] * 3, axis=1), np.append(np.arange(50), 0)
    )
    np.testing.assert_allclose(alone.noise["jes", "QCD"], more.noise["jes", "QCD"], rtol=1e-12)
    np.testing.assert_allclose(alone.variance, more.variance, rtol=1e-12)


# ----------------------------------------------------------------------------------------- odd and even parts
ON_QCD = replace(MEASUREMENT, shapes={"jes": {"QCD": Morph(("jes",))}})


def asymmetric(even: float, noise: float | None) -> Templates:
    """jes moves QCD by 4 events between two bins, and both directions by ``even`` events in the first."""
    templates = make_templates(
        {"signal": [5.0, 40.0], "QCD": [100.0, 60.0]},
        varied={("jes", "QCD"): ([104 + even, 56], [96 + even, 64])},
        relative_error=0.01,
    )
    return replace(templates, noise={("jes", "QCD"): np.array([[0, 0], [np.nan if noise is None else noise] * 2])})


def test_an_even_part_that_is_noise_is_left_out():
    before = asymmetric(3.0, noise=4.0)  # chi squared 9 / 4 of 2 bins: p = 0.32
    after = symmetrised(before, ON_QCD, 0.05)
    up, down = after.varied["jes", "QCD"]
    np.testing.assert_allclose(up, [104, 56])
    np.testing.assert_allclose(down, [96, 64])
    np.testing.assert_allclose(after.nominal, before.nominal)
    found = parts([before], [after], ON_QCD)["jes"]
    assert found.symmetrised == ("QCD",)
    assert found.even == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("noise", "smallest"), [(1.0, 0.05), (4.0, None), (4.0, 0.5), (None, 0.05), (0.0, 0.05)])
def test_an_even_part_stays_that_is_not_noise_or_not_to_be_touched(noise, smallest):
    before = asymmetric(3.0, noise)
    after = symmetrised(before, ON_QCD, smallest)
    np.testing.assert_array_equal(after.varied["jes", "QCD"][0], [107, 56])
    found = parts([before], [after], ON_QCD)["jes"]
    # In units of the bin errors: sqrt(nu) and 1% of each sample.
    variance = np.array([105 + 1e-4 * (25 + 1e4), 100 + 1e-4 * (1600 + 3600)])
    assert found.symmetrised == ()
    assert found.even == pytest.approx(3 / math.sqrt(variance[0]))
    assert found.odd == pytest.approx(math.sqrt(16 / variance[0] + 16 / variance[1]))


def test_a_planted_pair_on_one_side_is_told():
    """Up and down are the same, and not the nominal: the information matrix sees nothing, the record does."""
    templates = make_templates(
        {"signal": [5.0, 40.0], "QCD": [100.0, 60.0]}, varied={("jes", "QCD"): ([120, 60], [120, 60])}
    )
    found = parts([templates], [templates], ON_QCD)["jes"]
    assert found.odd == 0
    assert found.even > 1


# --------------------------------------------------------------------------------------------- files, errors
def same(one: Templates, two: Templates) -> bool:
    keys = one.histograms.keys() == two.histograms.keys() and one.noise.keys() == two.noise.keys()
    observed = (one.observed is None) == (two.observed is None)
    return (
        keys
        and observed
        and (one.samples, one.signal, one.groups) == (two.samples, two.signal, two.groups)
        and all(one.histograms[key] == two.histograms[key] for key in one.histograms)
        and all(np.array_equal(one.noise[key], two.noise[key], equal_nan=True) for key in one.noise)
        and (one.observed is None or bool((one.observed.values() == two.observed.values()).all()))
    )


def test_templates_survive_a_file(tmp_path):
    templates = merge_one(fill(*two_samples(), 4, np.array([0, 0, 3])), LENIENT, None, ordered=False)
    templates.save(tmp_path / "templates.root")
    assert same(Templates.load(tmp_path / "templates.root"), templates)


def test_templates_of_several_samples_and_awkward_names_survive_a_file(tmp_path):
    yields = {"ttbar_signal": [1.0, 2, 3], "other": [0.5, 1, 2], "QCD": [9.0, 8, 7], "A_first": [1.0, 1, 1]}
    templates = make_templates(
        yields,
        signal=("ttbar_signal", "other"),
        varied={("jet_energy_scale", "QCD"): ([9, 8.5, 7], [9, 7.5, 7]), ("b", "A_first"): ([2, 1, 1], [0.5, 1, 1])},
        noise={("jet_energy_scale", "QCD"): [0.5, 0.25, 0.125]},
    ).grouped([(2, 0), (1,)])
    templates.save(tmp_path / "templates.root")
    loaded = Templates.load(tmp_path / "templates.root")
    assert loaded.groups == ((0, 2), (1,))
    assert same(loaded, templates)


def test_a_file_of_one_merged_bin_survives(tmp_path):
    templates = grown().grouped([(0, 1, 2, 3, 4)])
    templates.save(tmp_path / "templates.root")
    assert same(Templates.load(tmp_path / "templates.root"), templates)


def test_a_bin_without_expectation_cannot_be_fitted():
    templates = make_templates({"signal": [1.0, 0.0], "QCD": [9.0, 0.0]})
    with pytest.raises(TemplateError, match=r"bin 1 expects 0 events.*binning\.min_yield"):
        templates.require_positive()


@pytest.mark.parametrize(("direction", "total"), [("up", 0.0), ("down", -2.0)])
def test_a_varied_template_without_positive_yield_cannot_be_fitted(direction, total):
    pair = {"up": [4.0, 5.0], "down": [5.0, 4.0]} | {direction: [total, 0.0]}
    templates = make_templates(
        {"signal": [1.0, 2.0], "QCD": [9.0, 8.0]}, varied={("jes", "QCD"): (pair["up"], pair["down"])}
    )
    with pytest.raises(TemplateError, match=rf"sample 'QCD', jes_{direction}.*yield is {total:g}"):
        templates.require_positive()


def test_good_templates_pass_the_check():
    assert grown().require_positive() is None


def test_a_variation_that_takes_a_bin_below_zero_is_refused():
    """A scale of 6 made templates of -364 events, in silence."""
    templates = make_templates(
        {"signal": [5.0, 40.0], "QCD": [100.0, 60.0]}, varied={("jes", "QCD"): ([210, 30], [-10, 90])}
    )
    with pytest.raises(
        TemplateError, match=r"jes_down: bin 0 would have -5 events, nominal 105; .*systematics\.jes\.scale"
    ):
        templates.require_positive()
