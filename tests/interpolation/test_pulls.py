"""Pulls of a comparison in bins, with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_cli.interpolation.pulls import Comparison, Spread, compare, spreads


def by_hand() -> Comparison:
    # Mean of the members 20, 12, 40; their standard deviations 4, 0, 2 (of two: half the difference times sqrt(2)).
    half = np.array([4.0, 0.0, 2.0]) / np.sqrt(2)
    flows = np.array([20.0, 12.0, 40.0]) + np.array([[1.0], [-1.0]]) * half
    simulated = np.array([16.0, 9.0, 36.0])
    return Comparison((np.arange(4.0),), simulated, simulated, flows)


def test_the_definitions_differ_in_the_error_alone():
    pulls = by_hand().pulls(min_events=5)

    np.testing.assert_allclose(pulls["statistical"], [1.0, 1.0, 4 / 6])
    np.testing.assert_allclose(pulls["ensemble"], [1.0, 0.0, 2.0], err_msg="without a spread there is no pull")
    np.testing.assert_allclose(pulls["larger"], [1.0, 1.0, 4 / 6])
    np.testing.assert_allclose(pulls["both"], [4 / np.sqrt(32), 1.0, 4 / np.sqrt(40)])


def test_bins_with_few_events_are_left_out():
    assert len(by_hand().pulls(min_events=10)["larger"]) == 2


def test_members_are_scaled_to_the_simulation_whatever_its_weights():
    rng = np.random.default_rng(1)
    events = rng.normal(size=(4000, 1))
    flows = rng.normal(size=(2, 40000, 1))
    plain = compare(events, np.ones(4000), flows, bins=5, half_range=8.0)
    scaled = compare(events, np.full(4000, 1e-4), flows, bins=5, half_range=8.0)

    assert plain.flows.sum(axis=1) == pytest.approx([4000, 4000])
    np.testing.assert_allclose(scaled.simulated, plain.simulated)
    np.testing.assert_allclose(scaled.flows, plain.flows)


def test_negative_weights_subtract_and_add_to_the_variance():
    events, weights = np.array([[0.2], [0.2], [0.8], [0.8]]), np.array([3.0, -1.0, 1.0, 1.0])
    found = compare(events, weights, np.array([[[0.2]], [[0.8]]]), bins=2, half_range=2.0)

    np.testing.assert_allclose(found.simulated, [2.0, 2.0])
    np.testing.assert_allclose(found.variance, [10.0, 2.0])


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20))
def test_a_spread_is_that_of_a_fitted_normal_density(values):
    found = Spread.of(np.array(values))

    assert found is not None
    assert found.n_bins == len(values)
    assert min(values) - 1e-9 <= found.mean <= max(values) + 1e-9
    assert found.width == pytest.approx(np.std(values))


def test_one_pull_has_no_width():
    assert Spread.of(np.ones(1)) is None
    assert spreads([{name: np.zeros(0) for name in ("ensemble", "statistical", "larger", "both")}]) == {}
