"""The gradient of a binned density estimate: the exact one, and which bandwidth is best for how many events."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bandwidth_study as study


def test_the_exact_gradient_is_the_derivative_of_the_content():
    mu, step = np.linspace(-2, 2, 9), 1e-5
    for spread in (1.0, 1.3):
        difference = (study.content(mu + step, spread) - study.content(mu - step, spread)) / (2 * step)
        assert study.exact_slope(mu, spread) == pytest.approx(difference, abs=1e-9)


def test_the_slope_of_a_share_is_its_derivative():
    x, step = np.linspace(-1, 1, 11), 1e-5
    difference = (study.shares(x + step, 0.3) - study.shares(x - step, 0.3)) / (2 * step)
    assert study.slopes(x, 0.3) == pytest.approx(difference, abs=1e-8)


def test_with_many_events_and_a_narrow_kernel_the_content_is_as_good_as_a_histogram():
    n_events = 5000
    for mu in (-1.0, 0.0, 0.5):
        events = mu + np.random.default_rng(1).normal(size=n_events)
        exact = float(study.content(np.array(mu)))
        statistical = math.sqrt(exact * (1 - exact) / n_events)
        counted = np.mean((events > study.LOW) & (events < study.HIGH))
        assert abs(study.shares(events, 0.05).mean() - counted) < statistical
        assert study.shares(events, 1e-9).mean() == pytest.approx(counted, abs=1e-12)


def test_the_best_bandwidth_falls_with_the_number_of_events():
    best = []
    for n_events in (20, 100, 1000, 100_000):
        errors = [study.expected_error(n_events, h) for h in study.BANDWIDTHS]
        best.append(study.BANDWIDTHS[int(np.argmin(errors))])
    assert best == sorted(best, reverse=True)
    assert best[0] >= 0.5
    assert best[-1] <= 0.1


def test_samples_have_the_error_that_is_expected_of_them():
    measured = np.mean([study.measured_error(500, 0.3, seed) for seed in range(40)])
    assert measured == pytest.approx(study.expected_error(500, 0.3), rel=0.25)
