"""Signals on a grid: what they are generated with, what of them trains flows, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ntuples
from hypothesis import given
from hypothesis import strategies as st
from interpolations import configured, small_grid

from inferno_cli.config.load import compose, resolve
from inferno_cli.errors import ConfigError
from inferno_cli.interpolation.grid import Table, is_inside
from inferno_cli.interpolation.settings import InterpolateConfig


def test_every_point_of_the_grid_is_a_signal():
    config = configured("means")

    assert len(config.points) == 9
    assert config.points["signal_-1_1"] == (-1, 1)
    assert config.sample_names[-1] == "background"


@pytest.mark.parametrize("name", ["means", "firework"])
def test_every_experiment_has_both_sizes(name):
    for scale, iterations in (("quick", 800), ("published", 3000)):
        composed = compose("interpolate", ["~job", f"+experiment={name}", f"scale={scale}"])
        config = resolve(InterpolateConfig, composed)
        assert config.flow.iterations == iterations
        assert config.dataset.events.template == 10000
        assert len(config.held_out) == 6


def test_the_firework_has_no_signal_at_the_origin_where_its_covariance_is_singular():
    assert "signal_0_0" not in configured("firework").points
    assert len(configured("firework").points) == 8


def test_the_firework_is_narrow_along_the_line_to_the_origin():
    dataset = configured("firework").dataset
    events = dataset.draw_signal(np.random.default_rng(1), 20000, (4.0, 4.0)) - 4.0
    along = (events[:, 0] + events[:, 1]) / np.sqrt(2)
    across = (events[:, 0] - events[:, 1]) / np.sqrt(2)

    assert along.std() == pytest.approx(1 / np.hypot(4, 4), rel=0.03)
    assert across.std() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("kind", ["means", "firework"])
def test_the_density_is_that_of_the_events(kind):
    """The mean of p/q over events of q is 1 for the density p of the events and any q: here q is a wide normal."""
    dataset = configured(kind).dataset
    at = dataset.points["signal_1_1"]
    wide = np.random.default_rng(2).normal(at, 2.5, size=(200000, 2))
    log_wide = -(((wide - np.array(at)) / 2.5) ** 2).sum(axis=1) / 2 - np.log(2 * np.pi * 2.5**2)
    found = dataset.log_density("signal_1_1", wide)

    assert np.exp(found - log_wide).mean() == pytest.approx(1.0, abs=0.02)
    assert dataset.log_density("background", wide) is None


def test_held_out_points_are_marked_and_all_others_train():
    grid = small_grid("held_out=[0, 0]")

    assert grid.names[int(np.flatnonzero(grid.is_held_out)[0])] == "signal_0_0"
    assert grid.is_held_out.sum() == 1


def test_leave_one_out_leaves_every_other_point_out_once():
    grid = small_grid("held_out=[0, 0]")
    rng = np.random.default_rng(1)
    numbers = np.concatenate(grid.folds("leave_one_out", rng))

    np.testing.assert_array_equal(numbers, np.flatnonzero(~grid.is_held_out))
    np.testing.assert_array_equal(np.sort(np.concatenate(grid.folds(3, rng))), numbers)
    assert grid.folds(None, rng) == []


@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=12))
def test_a_point_counts_as_its_events_do_whatever_its_yield(weights):
    point = np.arange(len(weights)) % 2
    table = Table(np.zeros((len(weights), 1)), np.array(weights), point)

    np.testing.assert_allclose(np.bincount(point, table.balanced()), np.bincount(point))


def test_inside_is_the_convex_hull():
    corners = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])

    assert is_inside(np.array([0.5, 0.5]), corners)
    assert not is_inside(np.array([1.5, 1.5]), corners)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("held_out=[0.5, 0]", r"held_out: \[0.5, 0.0\] is no point of the grid; the nearest is"),
        ("at=[1, 2, 3]", "at: .* has 3 values, and the signals have the parameters mean_x, mean_y"),
        ("at=[[0.5, 0.5], [0.50000001, 0.5]]", "at: a point is there twice"),
        ("held_out=[[0, 0], [0, 0]]", "held_out: a point is there twice"),
        ("folds=10", "folds is 10, and 9 points are left to divide; take at most 9"),
        ("pulls.features=[z]", "pulls.features: unknown feature 'z'"),
        ("pulls.features=[x, x]", "pulls.features: x, x has a feature twice"),
        ("dataset.absent=[[7, 7]]", "is no point of the grid of mean_x, mean_y"),
        ("likelihood.samples=[signal_0_0, signal_1_1, background]", "2 signals with parameters are left to train on"),
    ],
)
def test_what_cannot_be_interpolated_is_told_with_the_key(override, message):
    with pytest.raises(ConfigError, match=message):
        configured("means", override)


def test_a_network_with_the_parameters_as_inputs_needs_a_model_that_is_trained():
    with pytest.raises(ConfigError, match="nothing of model 'histogram' is trained"):
        configured("means", "at=[0.5, 0.5]", "parametrised=true")


def test_a_template_needs_a_yield():
    with pytest.raises(ConfigError, match="yields is null; set yields=gp"):
        configured("means", "at=[0.5, 0.5]", "yields=null")


def test_samples_of_ntuples_have_parameters_too(tmp_path):
    samples = {"ttbar": {"role": "signal", "parameters": {"m_X": 300}}, "QCD": {"role": "background"}}
    dataset = ntuples(tmp_path, samples=samples, systematics={}).dataset

    assert dataset.sample_parameters == {"ttbar": {"m_X": 300}}
