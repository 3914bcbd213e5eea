"""Derivatives of the expected events where a division by a factor has none, and in sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspaces import model_of, random_point, workspaces

from inferno_cli.likelihood import rates
from inferno_cli.likelihood.expectation import expectation
from inferno_cli.likelihood.rates import ExactRates
from inferno_cli.likelihood.readers import pyhf as reader


def exact(model: Any) -> ExactRates:
    observations = {name: np.zeros(size) for name, size in model.config.channel_nbins.items()}
    spec = reader.specification(model, observations, "m")
    return ExactRates(expectation(spec), spec.labels)


def signal(**factors: str) -> dict[str, Any]:
    modifiers = [{"name": name, "type": kind, "data": None} for name, kind in factors.items()]
    shape = {"name": "jes", "type": "histosys", "data": {"hi_data": [4.0, 9.0], "lo_data": [2.5, 6.0]}}
    rate = {"name": "xsec", "type": "normsys", "data": {"hi": 1.2, "lo": 0.7}}
    background = {"name": "background", "data": [50.0, 40.0], "modifiers": [rate]}
    sample = {"name": "signal", "data": [3.0, 8.0], "modifiers": [*modifiers, shape, rate]}
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": [sample, background]}],
        "observations": [{"name": "SR", "data": [50.0, 50.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }


@pytest.mark.parametrize("zeros", [["mu"], ["mu", "k"], ["mu", "k", "free[0]"]])
def test_factors_of_zero_have_the_derivatives_of_the_product(zeros):
    """Of a product of factors: nothing is 0 / 0, and a double 0 has the mixed derivative of the rest."""
    model, _ = model_of(signal(mu="normfactor", k="normfactor", free="shapefactor"))
    labels = list(model.config.par_names)
    point = np.array(model.config.suggested_init(), dtype=float)
    point[labels.index("jes")], point[labels.index("xsec")] = 0.6, -1.4
    point[[labels.index(name) for name in zeros]] = 0.0
    found, slope = exact(model), np.array([0.7, -0.3])

    def theirs(theta: np.ndarray) -> np.ndarray:
        return np.asarray(model.main_model.expected_data(theta))

    # Linear in every factor, and smooth in the two pulls.
    steps = np.diag([1e-4 if name in ("jes", "xsec") else 0.5 for name in labels])
    jacobian = np.stack([(theirs(point + s) - theirs(point - s)) / (2 * s.sum()) for s in steps], axis=1)
    np.testing.assert_allclose(found.expected(point), theirs(point), rtol=1e-13)
    np.testing.assert_allclose(found.jacobian(point), jacobian, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.gradient(point, slope), slope @ jacobian, rtol=1e-6, atol=1e-7)
    columns = []
    for step in steps:
        ends = (slope @ exact(model).jacobian(point + sign * step) for sign in (1, -1))
        columns.append((next(ends) - next(ends)) / (2 * step.sum()))
    bent = found.hessian(point, slope, np.zeros(2))
    np.testing.assert_allclose(bent, np.stack(columns, axis=1), rtol=1e-6, atol=1e-6)


@given(workspaces(), st.integers(0, 2**32 - 1))
def test_sparse_matrices_have_the_same_numbers(content, seed):
    model, _ = model_of(content)
    rng = np.random.default_rng(seed)
    point = random_point(model, rng)
    dense = exact(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "SPARSE_SIZE", 0)
        patch.setattr(rates, "SPARSE_SHARE", 1.1)
        sparse = exact(model)
    slope, curvature = rng.normal(size=(2, model.config.nmaindata))
    np.testing.assert_allclose(sparse.expected(point), dense.expected(point), rtol=1e-12)
    np.testing.assert_allclose(sparse.gradient(point, slope), dense.gradient(point, slope), rtol=1e-9, atol=1e-9)
    found = sparse.hessian(point, slope, curvature)
    np.testing.assert_allclose(found, dense.hessian(point, slope, curvature), rtol=1e-9, atol=1e-9)


def test_the_samples_are_pyhfs_in_the_order_of_the_workspace():
    model, _ = model_of(signal(mu="normfactor"))
    point = random_point(model, np.random.default_rng(3))
    (ours,) = exact(model).samples(point)
    theirs = np.asarray(model.main_model.expected_data(point, return_by_sample=True))
    assert model.config.samples == ["background", "signal"]
    np.testing.assert_allclose(ours, theirs[::-1], rtol=1e-13)
