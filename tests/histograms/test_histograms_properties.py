"""What must hold for any events and any merging."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import make_measurement, make_templates, merge_one
from hypothesis import assume, given
from hypothesis import strategies as st

from inferno_cli.config.schema import Binning
from inferno_cli.events.sample import NOMINAL, Sample, Variation
from inferno_cli.histograms.binning import effective_events, purity
from inferno_cli.histograms.templates import fill
from inferno_cli.training.recipe import linear_fit

rules = st.builds(
    Binning,
    min_yield=st.floats(0.1, 50),
    min_effective_events=st.floats(1, 60),
    merge_noise=st.booleans(),
    max_noise_information=st.just(0.25),
)


@st.composite
def filled(draw):
    """Templates of events with random weights and migrations; some bins may be empty."""
    n_bins = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    spread = draw(st.floats(0.2, 3))
    samples, bins = [], []
    for name, n in (("signal", draw(st.integers(5, 200))), ("QCD", draw(st.integers(5, 400)))):
        nominal = np.clip(rng.normal(rng.uniform(0, n_bins, n), spread), 0, n_bins - 1).astype(int)
        moved = [np.where(rng.random(n) < 0.1, rng.integers(0, n_bins, n), nominal) for _ in range(2)]
        samples.append(
            Sample(
                name=name,
                is_signal=name == "signal",
                group=np.arange(n),
                variations=(NOMINAL, Variation("jes", "up"), Variation("jes", "down")),
                features=np.zeros((3, n, 1), dtype=np.float32),
                view=(0, 1, 2),
                weights=rng.uniform(0.05, 3, (3, n)),
            )
        )
        bins.append(np.stack([nominal, *moved]))
    return samples, fill(samples, bins, n_bins, rng.integers(0, n_bins, 30))


def fit(templates):
    measurement = make_measurement(["signal", "QCD"], shapes={"jes": True})
    if not all(pair[i].sum() > 0 for pair in templates.varied.values() for i in (0, 1)):
        return None
    return linear_fit(measurement, [templates])


@given(filled(), rules)
def test_no_pair_of_neighbours_is_left_that_lowers_the_honest_variance(case, rule):
    """But of the last two, in which a shape needs to be."""
    merged = merge_one(case[1], rule, fit(case[1]), ordered=True)
    now = fit(merged)
    if not rule.merge_noise or now is None or merged.n_bins <= 2:
        return
    for first in range(merged.n_bins - 1):
        groups = [(i,) for i in range(first)] + [(first, first + 1)] + [(i,) for i in range(first + 2, merged.n_bins)]
        assert now.grouped(groups).honest_variance() >= now.honest_variance()


@given(filled())
def test_every_event_is_in_the_templates_once(case):
    samples, templates = case
    for sample in samples:
        for row, variation in enumerate(sample.variations):
            histogram = templates.histograms[sample.name, variation]
            assert histogram.values().sum() == pytest.approx(sample.yields[row], rel=1e-12)
            assert histogram.variances().sum() == pytest.approx((sample.weights[row] ** 2).sum(), rel=1e-12)


@given(filled(), rules, st.booleans())
def test_merging_keeps_every_total_and_the_groups_are_a_partition(case, rule, ordered):
    _, templates = case
    merged = merge_one(templates, rule, fit(templates), ordered=ordered)
    for key, histogram in templates.histograms.items():
        assert merged.histograms[key].values().sum() == pytest.approx(histogram.values().sum(), rel=1e-12)
        assert merged.histograms[key].variances().sum() == pytest.approx(histogram.variances().sum(), rel=1e-12)
    for key, noise in templates.noise.items():
        assert merged.noise[key].sum(axis=1) == pytest.approx(noise.sum(axis=1), rel=1e-12)
    assert merged.observed.values().sum() == 30
    assert sorted(i for group in merged.groups for i in group) == list(range(templates.n_bins))


@given(filled(), rules, st.booleans())
def test_a_merged_bin_holds_what_its_groups_say(case, rule, ordered):
    _, templates = case
    merged = merge_one(templates, rule, fit(templates), ordered=ordered)
    for key, histogram in templates.histograms.items():
        expected = [histogram.values()[list(group)].sum() for group in merged.groups]
        np.testing.assert_allclose(merged.histograms[key].values(), expected, rtol=1e-12)


@given(filled(), rules, st.booleans())
def test_after_merging_every_bin_obeys_the_rule_or_one_is_left(case, rule, ordered):
    merged = merge_one(case[1], rule, fit(case[1]), ordered=ordered)
    if merged.n_bins > 1:
        assert merged.nominal.sum(axis=0).min() >= rule.min_yield
        assert effective_events(merged).min() >= rule.min_effective_events


@given(filled(), rules)
def test_bins_without_an_order_end_up_sorted_by_signal_to_background(case, rule):
    share = purity(merge_one(case[1], rule, fit(case[1]), ordered=False))
    assert (np.diff(share) >= -1e-12).all()


@given(filled(), rules)
def test_ordered_bins_are_merged_with_their_neighbours_alone(case, rule):
    merged = merge_one(case[1], rule, fit(case[1]), ordered=True)
    assert [i for group in merged.groups for i in group] == list(range(case[1].n_bins))


@given(filled(), rules, st.booleans())
def test_merging_again_changes_nothing(case, rule, ordered):
    once = merge_one(case[1], rule, fit(case[1]), ordered=ordered)
    assert merge_one(once, rule, fit(once), ordered=ordered).groups == once.groups


@given(filled(), rules)
def test_the_result_does_not_depend_on_the_numbers_of_the_bins(case, rule):
    """INFERNO's bins have no order: renumbering them changes their names and nothing else."""
    templates = case[1]
    order = np.random.default_rng(0).permutation(templates.n_bins)
    share = purity(templates)
    assume(len(set(share.tolist())) == templates.n_bins)
    other = templates.grouped([(int(i),) for i in order])
    renumbered = merge_one(other, rule, fit(other), ordered=False)
    assert renumbered.groups == merge_one(templates, rule, fit(templates), ordered=False).groups


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12), st.data())
def test_grouping_into_single_bins_in_another_order_loses_nothing(values, data):
    templates = make_templates({"signal": values, "QCD": values[::-1]})
    order = data.draw(st.permutations(range(len(values))))
    moved = templates.grouped([(i,) for i in order])
    np.testing.assert_array_equal(moved.values("signal"), np.asarray(values)[list(order)])
    back = moved.grouped([(i,) for i in np.argsort(order).tolist()])
    np.testing.assert_array_equal(back.nominal, templates.nominal)
    assert back.groups == templates.groups
