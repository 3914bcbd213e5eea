"""The densities of a decoder: they integrate or sum to 1, and are scipy's and those of their ONNX operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from scipy import integrate, special, stats

from inferno_cli.anomaly.normal import log_ndtr_in
from inferno_cli.anomaly.outputs import Output
from inferno_cli.anomaly.outputs.clipped_lognormal import ClippedLognormal
from inferno_cli.anomaly.outputs.gaussian import Gaussian
from inferno_cli.anomaly.outputs.truncated_discrete_gaussian import TruncatedDiscreteGaussian
from inferno_cli.choices import sections
from inferno_cli.training.onnx import IR_VERSION, Graph

EVERY = sections("inferno_cli.anomaly.outputs", Output)
VALUES = {"gaussian": (-3.0, 0.0, 2.5, 400.0), "clipped_lognormal": (0.0, 1e-5, 1e-4, 0.3, 45.0, 9000.0)}
VALUES["truncated_discrete_gaussian"] = (0.0, 1.0, 3.0, 12.0, 60.0)


def log_prob(output: Output, x: Any, *parameters: float) -> np.ndarray:
    values = torch.as_tensor(x, dtype=torch.float64)
    return output.log_prob(values, *(torch.full_like(values, value) for value in parameters)).numpy()


def evaluated(graph: Graph, output: str, **inputs: np.ndarray) -> np.ndarray:
    value = helper.make_tensor_value_info
    given = [value(name, TensorProto.DOUBLE, ["n", 1]) for name in inputs]
    made = helper.make_graph(graph.nodes, "g", given, [value(output, TensorProto.DOUBLE, None)], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=IR_VERSION)
    (found,) = ReferenceEvaluator(model).run(None, {name: x[:, None] for name, x in inputs.items()})
    return np.asarray(found)[:, 0]


def test_every_kind_is_tested_here():
    assert set(EVERY) == set(VALUES)


@pytest.mark.parametrize(("mean", "width"), [(0.0, 1.0), (-2.0, 0.3), (250.0, 80.0)])
def test_the_gaussian_is_that_of_scipy(mean, width):
    x = mean + width * np.linspace(-8, 8, 41)

    assert log_prob(Gaussian(), x, mean, width) == pytest.approx(stats.norm.logpdf(x, mean, width), rel=1e-12)


# ------------------------------------------------------------------------------------------------- the log-normal
LOGNORMAL = [(4.0, 0.5, -3.0), (0.0, 2.0, 0.0), (-9.0, 1.0, 1.0), (-12.0, 1.5, -1.0)]
"""Location and width of ln x, and the logit at zero; of the last two much of the log-normal is below the threshold."""


@pytest.mark.parametrize(("location", "width", "logit"), LOGNORMAL)
def test_the_clipped_lognormal_is_that_of_scipy_above_the_threshold_and_a_probability_below(location, width, logit):
    below, output = special.expit(logit), ClippedLognormal()
    x = np.geomspace(1.001e-4, 1e4, 50)
    scipy = stats.lognorm(width, scale=math.exp(location))
    wanted = scipy.logpdf(x) - scipy.logsf(1e-4) + math.log1p(-below)

    assert log_prob(output, x, location, width, logit) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert np.exp(log_prob(output, [0.0, 9e-5], location, width, logit)) == pytest.approx([below] * 2, rel=1e-12)


@pytest.mark.parametrize(("location", "width", "logit"), LOGNORMAL)
def test_the_clipped_lognormal_integrates_to_one(location, width, logit):
    output = ClippedLognormal()

    def density(t: float) -> float:  # of ln x
        return math.exp(float(log_prob(output, [math.exp(t)], location, width, logit)[0]) + t)

    start = math.log(1e-4) + 1e-12
    above, _ = integrate.quad(density, start, max(location, start) + 12 * width, limit=200)

    assert above + special.expit(logit) == pytest.approx(1, abs=1e-7)


# ------------------------------------------------------------------------------------------------- the integers
@pytest.mark.parametrize(("location", "width"), [(3.0, 1.0), (0.2, 2.5), (-4.0, 1.5), (2.0, 0.05), (10.0, 0.5)])
def test_the_probabilities_of_the_integers_are_scipys_and_sum_to_one(location, width):
    n = np.arange(60.0)
    scipy = stats.norm(location, width)
    wanted = (scipy.cdf(n + 0.5) - scipy.cdf(n - 0.5)) / scipy.sf(-0.5)
    found = np.exp(log_prob(TruncatedDiscreteGaussian(), n, location, width))

    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-13)


def test_an_integer_far_from_the_location_has_a_logarithm_that_is_right():
    n = np.array([0.0, 60.0, 200.0])  # 30 and more standard deviations, where probabilities are 0 in float64
    found = log_prob(TruncatedDiscreteGaussian(), n, 30.0, 1.0)
    nearest = special.log_ndtr(-(np.abs(n - 30.0) - 0.5))

    assert np.isfinite(found).all()
    assert found == pytest.approx(nearest, abs=1e-9)


def test_a_negative_number_has_no_probability():
    assert log_prob(TruncatedDiscreteGaussian(), [-1.0], 0.0, 1.0)[0] == -np.inf


# ---------------------------------------------------------------------------------------------------- every kind
@pytest.mark.parametrize("kind", sorted(EVERY))
@pytest.mark.parametrize("raw", [-60.0, -5.0, 0.0, 5.0, 60.0])
def test_values_and_gradients_are_finite_in_single_precision(kind, raw):
    output = EVERY[kind]()
    x = torch.tensor(VALUES[kind], dtype=torch.float32)
    numbers = torch.full((output.n_parameters, len(x)), raw, dtype=torch.float32, requires_grad=True)
    values = output.log_prob(x, *output.parameters(list(numbers), (2.0, 1.5, -1.0)[: output.n_parameters]))
    values.sum().backward()

    assert torch.isfinite(values).all()
    assert torch.isfinite(numbers.grad).all()


@pytest.mark.parametrize("kind", sorted(EVERY))
def test_a_decoder_that_says_nothing_has_the_density_of_all_events(kind):
    rng, output = np.random.default_rng(1), EVERY[kind]()
    values = rng.poisson(4.0, 4000).astype(float)
    weights = rng.uniform(0.5, 1.5, len(values))
    fitted = output.fitted(values, weights)
    likely = []
    for shift in (-0.3, 0.0, 0.3):
        raw = [torch.zeros(1, dtype=torch.float64)] * (output.n_parameters - 1)
        parameters = output.parameters([torch.tensor([shift], dtype=torch.float64), *raw], fitted)
        x = torch.from_numpy(values)
        likely.append(float((torch.from_numpy(weights) * output.log_prob(x, *parameters)).sum()))

    assert len(fitted) == output.n_parameters
    assert likely[1] > max(likely[0], likely[2])


@pytest.mark.parametrize("kind", sorted(EVERY))
def test_the_operators_of_onnx_are_the_density(kind):
    rng, output = np.random.default_rng(2), EVERY[kind]()
    x = rng.choice(VALUES[kind], 200)
    raw = rng.normal(0, 2, (output.n_parameters, 200))
    fitted = (2.0, 1.5, -1.0)[: output.n_parameters]
    graph, names = Graph(), [f"raw_{number}" for number in range(output.n_parameters)]
    name = output.to_onnx(graph, "x", names, fitted)
    found = evaluated(graph, name, x=x, **dict(zip(names, raw, strict=True)))
    parameters = output.parameters([torch.from_numpy(row) for row in raw], fitted)
    wanted = output.log_prob(torch.from_numpy(x), *parameters).numpy()

    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def test_the_logarithm_of_the_normal_distribution_in_onnx_is_right_in_both_tails():
    x = np.concatenate([np.linspace(-60, 60, 401), [-1e-9, 0.0, 1e-9]])
    graph = Graph()

    found = evaluated(graph, log_ndtr_in(graph, "x"), x=x)

    assert found == pytest.approx(special.log_ndtr(x), rel=1e-6, abs=3e-7)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("gaussian", [-1.0, np.nan], [True, False]),
        ("clipped_lognormal", [0.0, 3.0, -0.1], [True, True, False]),
        ("truncated_discrete_gaussian", [0.0, 2.0, 2.5, -1.0], [True, True, False, False]),
    ],
)
def test_a_density_says_which_values_it_is_for(kind, values, expected):
    assert EVERY[kind]().supports(np.array(values)).tolist() == expected
