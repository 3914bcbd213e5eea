"""ROC, AUC, efficiency and significance, against sums over pairs, formulas and repeated experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from inferno_cli.anomaly.evaluation import Labelled, Ranking, asimov_significance, judge
from inferno_cli.errors import DatasetError


def normal(n_signal: int, n_background: int, shift: float, seed: int) -> tuple[Labelled, np.ndarray]:
    """Events of N(shift, 1) and of N(0, 1), which expect 10 and 1000 events; the score is the number itself."""
    rng = np.random.default_rng(seed)
    is_signal = np.arange(n_signal + n_background) < n_signal
    score = rng.normal(shift * is_signal)
    weights = np.where(is_signal, 10 / n_signal, 1000 / n_background)
    return Labelled(is_signal, weights, np.arange(len(score))), score


def test_the_area_is_the_share_of_the_pairs_in_which_the_signal_is_above():
    rng = np.random.default_rng(1)
    is_signal = rng.uniform(size=60) < 0.4
    score, weights = rng.integers(0, 8, 60).astype(float), rng.normal(1, 0.7, 60)  # ties, and negative weights
    events = Labelled(is_signal, weights, np.arange(60))
    s, b = (np.flatnonzero(x) for x in (is_signal, ~is_signal))
    above = (score[s, None] > score[b]) + 0.5 * (score[s, None] == score[b])
    wanted = weights[s] @ above @ weights[b] / (weights[s].sum() * weights[b].sum())

    assert Ranking.of(score).curve(events, weights).area == pytest.approx(wanted, rel=1e-12)


def test_area_efficiency_and_significance_are_the_formulas():
    events, score = normal(40_000, 40_000, 1.5, seed=2)
    (found,) = judge({"x": score}, events, (0.1, 0.01), np.random.default_rng(3), 50)

    assert found.area.value == pytest.approx(stats.norm.cdf(1.5 / math.sqrt(2)), abs=4 * found.area.error)
    for point, rate in zip(found.points, (0.1, 0.01), strict=True):
        wanted = stats.norm.sf(stats.norm.isf(rate) - 1.5)
        s, b = 10 * wanted, 1000 * rate
        assert point.efficiency.value == pytest.approx(wanted, abs=4 * point.efficiency.error)
        assert point.background == pytest.approx(b)
        assert point.simulated == pytest.approx(40_000 * rate, abs=1)
        z = math.sqrt(2 * ((s + b) * math.log(1 + s / b) - s))
        assert point.z_asimov.value == pytest.approx(z, abs=4 * point.z_asimov.error)


def test_the_errors_are_the_spread_of_repeated_experiments():
    areas, efficiencies = [], []
    for seed in range(80):
        events, score = normal(300, 600, 1.0, seed)
        curve = Ranking.of(score).curve(events, events.weights)
        areas.append(curve.area)
        efficiencies.append(curve.efficiency(0.1))
    events, score = normal(300, 600, 1.0, seed=100)
    (found,) = judge({"x": score}, events, (0.1,), np.random.default_rng(4), 300)

    assert found.area.error == pytest.approx(np.std(areas), rel=0.35)
    assert found.points[0].efficiency.error == pytest.approx(np.std(efficiencies), rel=0.35)


def test_rows_of_one_generated_event_fluctuate_together():
    events, score = normal(300, 600, 1.0, seed=5)
    four_times = Labelled(*(np.tile(x, 4) for x in (events.is_signal, events.weights / 4, events.group)))
    one, four = (
        judge({"x": x}, item, (0.1,), np.random.default_rng(6), 100)[0].area
        for x, item in ((score, events), (np.tile(score, 4), four_times))
    )

    assert four.value == pytest.approx(one.value)
    assert four.error == pytest.approx(one.error)


def test_the_difference_of_two_scores_knows_that_the_events_are_the_same():
    events, score = normal(500, 500, 1.0, seed=7)
    blurred = score + np.random.default_rng(8).normal(0, 0.1, len(score))
    first, second = judge({"x": score, "y": blurred}, events, (0.1,), np.random.default_rng(9), 100)

    assert first.difference is None
    assert second.difference is not None
    assert second.difference.value == pytest.approx(second.area.value - first.area.value)
    assert second.difference.error < 0.3 * second.area.error


def test_the_significance_is_worked_out_by_hand():
    assert asimov_significance(np.array([0.0, 1.0, 10.0]), 100.0) == pytest.approx([0, 0.09983388, 0.98393], rel=1e-4)


def test_a_signal_without_yield_cannot_be_judged():
    events, score = normal(10, 10, 1.0, seed=1)
    with pytest.raises(DatasetError, match="must be positive"):
        judge(
            {"x": score}, Labelled(events.is_signal, -events.weights, events.group), (0.1,), np.random.default_rng(), 10
        )
