"""The simple analysis: the optima of an independent calculation, and a gradient that is the derivative."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import toy_analysis

from inferno_cli.likelihood.profile import log_p0, q0


@pytest.mark.parametrize(
    ("error", "optimum", "smallest", "at_0", "at_10"),
    [("Gaussian", 4.84, 0.00293, 0.0170, 0.0225), ("Poisson", 4.64, 0.00308, 0.0170, 0.0433)],
)
def test_p0_is_smallest_where_an_independent_calculation_has_it(error, optimum, smallest, at_0, at_10):
    assert toy_analysis.p_value(optimum, error) == pytest.approx(smallest, abs=5e-6)
    for beside in (optimum - 0.05, optimum + 0.05):
        assert toy_analysis.p_value(beside, error) > toy_analysis.p_value(optimum, error)
    assert toy_analysis.p_value(0.0, error) == pytest.approx(at_0, abs=5e-5)
    assert toy_analysis.p_value(10.0, error) == pytest.approx(at_10, abs=5e-5)


def test_without_an_error_the_best_point_is_the_one_that_is_worst_with_it():
    known = [toy_analysis.p_value(phi, "none") for phi in (0.0, 5.0, 10.0)]
    assert known == sorted(known, reverse=True)
    assert toy_analysis.p_value(10.0, "Gaussian") > toy_analysis.p_value(0.0, "Gaussian")


@pytest.mark.parametrize("error", toy_analysis.ERRORS)
def test_the_gradient_is_the_derivative_of_the_scan(error):
    phi = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    log_p0(q0(toy_analysis.model(phi, error))).backward()
    up, down = (
        float(log_p0(q0(toy_analysis.model(torch.tensor(x, dtype=torch.float64), error)))) for x in (3.01, 2.99)
    )
    assert float(phi.grad) == pytest.approx((up - down) / 0.02, rel=1e-4)


def test_the_gradient_finds_the_optimum(monkeypatch):
    monkeypatch.setattr(toy_analysis, "LEARNING_RATE", 0.2)
    assert toy_analysis.trained("Gaussian", steps=100) == pytest.approx(4.84, abs=0.05)
