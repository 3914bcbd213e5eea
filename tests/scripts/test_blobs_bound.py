"""The bound on every summary of the blobs: against the integrals, which are known for two Gaussians alike."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import blobs_bound


def test_the_bound_is_that_of_the_exact_classifier() -> None:
    """The logarithm of the ratio of the densities is normal, at a distance of 8^(1/2) standard deviations."""
    distance, nodes = 8**0.5, np.linspace(-12, 15, 20_001)
    s, b = (yields * np.exp(-((nodes - mean) ** 2) / 2) for yields, mean in ((20, distance), (100, 0)))
    step = (nodes[1] - nodes[0]) / (2 * np.pi) ** 0.5
    best = blobs_bound.bound(0.05)
    assert best.sigma_mu == pytest.approx(((s**2 / (s + b)).sum() * step) ** -0.5, rel=1e-3)
    assert best.q0 == pytest.approx(2 * ((s + b) * np.log1p(s / b) - s).sum() * step, rel=1e-3)
    assert best.q == pytest.approx(2 * (s - b * np.log1p(s / b)).sum() * step, rel=1e-3)
