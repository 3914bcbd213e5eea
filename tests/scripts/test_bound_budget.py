"""What bins lose of the Cramer-Rao bound: nothing where they are fine, little of the efficient score."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bound_budget as budget


@pytest.fixture(scope="module")
def case():
    config = budget.composed("benchmark4")
    exact = budget.exact_of(config)
    return config, exact, budget.efficient_score(exact)


def test_one_bin_for_each_point_reaches_the_bound(case):
    config, exact, _ = case
    bound = config.dataset.cramer_rao_bound(config.nuisance.fit, config.nuisance.unconstrained)
    assert budget.bound(exact) == pytest.approx(bound, rel=1e-12)
    assert budget.sigma(exact, np.arange(len(exact.expected))) == pytest.approx(bound, rel=1e-9)


def test_the_efficient_score_alone_reaches_it_and_fewer_bins_lose_more(case):
    _, exact, score = case
    lost = []
    for n_bins in (5, 20, 1000):
        bins = np.searchsorted(budget.best_edges(score, exact.expected, n_bins), score)
        lost.append(budget.sigma(exact, bins) / budget.bound(exact) - 1)
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > 0.02
    assert -1e-9 < lost[2] < 1e-3


def test_the_best_bins_are_better_than_balanced_ones(case):
    config, exact, score = case
    best = budget.best_edges(score, exact.expected, 10)
    balanced = budget.balanced_edges(score, exact, config.dataset.yields.signal, 10)
    signal, background = exact.derivatives[0], exact.expected - config.dataset.yields.signal * exact.derivatives[0]
    shares = np.bincount(np.searchsorted(balanced, score), signal / signal.sum() + background / background.sum())
    assert shares == pytest.approx(np.full(10, 0.2), abs=2e-3)
    assert budget.sigma(exact, np.searchsorted(best, score)) < budget.sigma(exact, np.searchsorted(balanced, score))


def test_the_steps_of_the_templates_are_small_enough(case):
    config, exact, _ = case
    stepped = budget.with_steps(exact, config)
    assert not np.array_equal(stepped.derivatives, exact.derivatives)
    assert budget.bound(stepped) == pytest.approx(budget.bound(exact), rel=1e-3)
