"""Parameters as inputs of one classifier for all signals, and the invented search that they are for."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import compose
from interpolations import configured, small_grid

from inferno_cli.interpolation.context import at_values, of_all_signals

RESONANCE = ("dataset.events={train: 200, validation: 50, template: 300}",)


def test_a_signal_has_its_own_parameters_and_the_background_those_of_any():
    config, grid = configured("means", "held_out=[0, 0]"), small_grid("held_out=[0, 0]")
    events = config.dataset.load(config.request)
    own = of_all_signals(events, grid, ("background",), "signal_1_1", seed=1)
    signal, background = own.train

    assert own.features == ("x", "y", "mean_x", "mean_y")
    assert (signal.name, background.name) == ("signal_1_1", "background")
    values, counts = np.unique(signal.features[0][:, 2:], axis=0, return_counts=True)
    np.testing.assert_array_equal(values, grid.at[grid.is_trained_on].astype(np.float32))
    assert set(counts) == {800}
    # The mean of a signal is its parameter: columns that were mixed up would not follow.
    assert np.abs((signal.features[0][:, :2] - signal.features[0][:, 2:]).mean(axis=0)).max() < 0.05
    assert {tuple(x) for x in background.features[0][:, 2:]} <= {tuple(x) for x in values}
    assert np.abs(np.corrcoef(background.features[0].T)[:2, 2:]).max() < 0.15, "they say nothing of an event"


def test_an_event_of_the_background_comes_with_several_values_and_its_whole_weight():
    config, grid = configured("means"), small_grid()
    events = config.dataset.load(config.request)
    before, after = events.train[-1], of_all_signals(events, grid, ("background",), "signal_1_1", seed=1).train[-1]

    assert after.yields[0] == pytest.approx(before.yields[0])
    assert after.effective_events == pytest.approx(before.effective_events), "copies fluctuate together"
    own = after.features[0][after.group == before.group[7]]
    np.testing.assert_array_equal(np.unique(own[:, :2], axis=0), before.features[0][7:8])
    assert len(np.unique(own[:, 2:], axis=0)) > 3


def test_every_signal_has_the_same_yield_in_the_training():
    grid = small_grid()
    config = configured("means")
    own = of_all_signals(config.dataset.load(config.request), grid, ("background",), "signal_1_1", seed=1)
    signal = own.train[0]
    number = np.unique(signal.features[0][:, 2:], axis=0, return_inverse=True)[1].ravel()

    np.testing.assert_allclose(np.bincount(number, signal.weights[0]), grid.yields.mean() / 9)


def test_a_template_is_made_with_the_same_parameters_for_all():
    grid, config = small_grid(), configured("means")
    own = at_values(config.dataset.load(config.request), grid, np.array([0.5, -0.25]))

    for sample in own.template:
        np.testing.assert_array_equal(np.unique(sample.features[0][:, 2:], axis=0), [[0.5, -0.25]])


# ------------------------------------------------------------------------------------------------ the invented search
def test_there_is_no_signal_below_the_threshold():
    points = compose("dataset=resonance", "nuisance=none").dataset.points.values()

    assert min(m_x - m_s - 125 for m_x, m_s in points) > 0
    assert (600, 220) not in points
    assert len(points) == 35


def test_signals_are_at_their_masses_and_the_background_falls():
    dataset = compose("dataset=resonance", "nuisance=none").dataset
    rng = np.random.default_rng(1)
    signal, background = dataset.draw_signal(rng, 20000, (400, 170)), dataset.draw_background(rng, 20000)

    np.testing.assert_allclose(np.median(signal, axis=0), [400, 170], rtol=0.01)
    assert np.corrcoef(signal.T)[0, 1] > 0.5
    counts, _ = np.histogram(background[:, 1], bins=np.arange(40, 400, 40))
    assert (np.diff(counts) < 0).all()
    assert (background[:, 0] > background[:, 1] + 100).all()


def test_the_label_says_that_it_is_invented():
    config = compose("dataset=resonance", "nuisance=none", *RESONANCE)

    assert config.dataset.load(config.request).label == "invented resonances, of no experiment"


def test_yields_rise_from_the_threshold():
    dataset = compose("dataset=resonance", "nuisance=none").dataset

    assert dataset.expected_yields["signal_300_170"] < dataset.expected_yields["signal_400_170"] < 30
    assert dataset.acceptance((300, 174.9)) == pytest.approx(0.2, abs=1e-3)
