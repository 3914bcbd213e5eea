"""A Gaussian process of ln yield recovers smooth yields, and is never negative."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

pytest.importorskip("sklearn")

from inferno_cli.interpolation.yields import Yields


def smooth(at: np.ndarray) -> np.ndarray:
    """Yields that fall by a factor of thousand over the grid."""
    return 50 * np.exp(-at[:, 0] / 100 + 0.3 * np.sin(at[:, 1] / 60))


def grid() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(200, 900, 8), np.linspace(50, 350, 6))
    return np.stack([x.ravel(), y.ravel()], axis=1)


@cache
def fitted(relative: float) -> tuple[Yields, np.ndarray, np.ndarray]:
    at = grid()
    yields = smooth(at) * np.exp(relative * np.random.default_rng(3).normal(size=len(at)))
    return Yields.fit(at, yields, relative * yields, seed=1), at, yields


def test_yields_between_the_points_are_recovered_within_the_error():
    process, _, _ = fitted(0.03)
    new = np.array([[333.0, 170.0], [650.0, 111.0], [444.0, 290.0]])
    predicted, error = process.predict(new)

    assert (error < 0.1).all()
    assert (np.abs(np.log(predicted / smooth(new))) < 3 * error).all()


def test_points_left_out_have_pulls_of_width_one():
    process, _, yields = fitted(0.03)
    predicted, error = process.left_out()
    pulls = np.log(predicted / yields) / error

    assert abs(pulls.mean()) < 0.5
    assert 0.6 < pulls.std() < 1.4


def test_a_left_out_point_is_what_a_process_without_it_says():
    process, at, _ = fitted(0.03)
    kept = np.arange(len(at)) != 20
    covariance = process.process.kernel_((at - process.mean) / process.deviation)
    total = covariance + np.diag(process.errors**2 + 1e-12)
    expected = covariance[20, kept] @ np.linalg.solve(total[np.ix_(kept, kept)], process.target[kept])

    predicted, _ = process.left_out()
    assert np.log(predicted[20]) - process.offset == pytest.approx(expected, rel=1e-6)


def test_far_away_a_yield_is_positive_and_its_error_large():
    process, _, _ = fitted(0.03)
    predicted, error = process.predict(np.array([[5000.0, -3000.0]]))

    assert predicted[0] > 0
    assert error[0] > 0.5
