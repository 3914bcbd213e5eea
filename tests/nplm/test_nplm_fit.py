"""The fit of f: derivatives, minima in closed form, stacks, and the statistic with nuisance parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.utils._python_dispatch import TorchDispatchMode

from inferno_cli.nplm import minimum
from inferno_cli.nplm.gaussians import Gaussians
from inferno_cli.nplm.minimum import losses, minimise
from inferno_cli.nplm.perceptron import Perceptron
from inferno_cli.nplm.statistic import Data, Hypothesis, Stack, Statistics, statistics
from inferno_cli.nplm.taylor import Expansion, Taylor

NONE = Taylor([])


class Line:
    """f = a + b x."""

    n_parameters = 2
    bound = torch.full((2,), torch.inf, dtype=torch.float64)
    ridge = torch.zeros(2, dtype=torch.float64)

    def value(self, x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return parameters[:, :1] + parameters[:, 1:] * x[..., 0]

    def jacobian(self, x: torch.Tensor, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.value(x, parameters), torch.cat([torch.ones_like(x), x], dim=2)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(2)


class Constant(Line):
    """f = a."""

    n_parameters = 1
    bound, ridge = Line.bound[:1], Line.ridge[:1]

    def value(self, x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return parameters.expand(-1, x.shape[1])

    def jacobian(self, x: torch.Tensor, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.value(x, parameters), torch.ones_like(x)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(1)


def exponential(seed: int, n_data: int, expected: float, n_reference: int = 4000, auxiliary: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    weights = np.full(n_reference, expected / n_reference)
    reference = rng.exponential(size=(n_reference, 1))
    return Data(rng.exponential(size=(n_data, 1)), reference, weights, rng.normal(size=auxiliary))


def fitted(exponent: object, sets: list[Data], taylor: Taylor = NONE, restarts: int = 1) -> Statistics:
    starts = np.zeros((restarts, len(sets), exponent.n_parameters))  # type: ignore[attr-defined]
    for restart in range(restarts):
        for number in range(len(sets)):
            starts[restart, number] = exponent.start(np.random.default_rng([restart, number]))  # type: ignore[attr-defined]
    return statistics(Stack.of(sets, taylor, "cpu"), taylor, exponent, starts)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------- functions
@pytest.mark.parametrize("exponent", [Perceptron((2, 4, 3, 1), 2.0), Gaussians(np.eye(2), 1.0, 0.1)])
def test_the_jacobian_is_that_of_automatic_differentiation(exponent: Perceptron | Gaussians) -> None:
    rng = np.random.default_rng(1)
    x = torch.as_tensor(rng.normal(size=(3, 5, 2)))
    parameters = torch.as_tensor(rng.normal(size=(3, exponent.n_parameters)), dtype=torch.float64)
    value, jacobian = exponent.jacobian(x, parameters)
    expected = torch.autograd.functional.jacobian(lambda at: exponent.value(x, at), parameters)
    torch.testing.assert_close(value, exponent.value(x, parameters))
    for toy in range(3):
        torch.testing.assert_close(jacobian[toy], expected[toy, :, toy])


def test_a_network_begins_at_zero_and_has_the_published_number_of_parameters() -> None:
    for sizes, number in (((5, 5, 5, 5, 1), 96), ((5, 7, 7, 1), 106), ((7, 16, 16, 1), 417), ((1, 4, 1), 13)):
        network = Perceptron(sizes, 2.16)
        assert network.n_parameters == number
        start = torch.as_tensor(network.start(np.random.default_rng(1))[None])
        assert not network.value(torch.ones(1, 3, sizes[0], dtype=torch.float64), start).any()
        assert (start.abs() <= network.bound).all()


# ------------------------------------------------------------------------------------------------- closed forms
def test_one_constant_is_a_counting_experiment() -> None:
    sets = [exponential(seed, n, 100.0) for seed, n in enumerate((80, 100, 130))]
    n = np.array([80.0, 100.0, 130.0])
    np.testing.assert_allclose(fitted(Constant(), sets).t, 2 * (n * np.log(n / 100) - (n - 100)), atol=1e-6)


def test_f_is_the_logarithm_of_the_ratio_of_two_exponentials() -> None:
    rng, n = np.random.default_rng(5), 20_000
    reference = rng.exponential(size=(10 * n, 1))
    data = Data(rng.exponential(1 / 0.8, size=(n, 1)), reference, np.full(10 * n, 0.1), np.zeros(0))
    intercept, slope = fitted(Line(), [data]).parameters[0]
    assert slope == pytest.approx(0.2, abs=0.03)
    assert intercept == pytest.approx(np.log(0.8), abs=0.03)


def test_delta_of_a_normalisation_is_the_profile_of_one_bin() -> None:
    taylor = Taylor([Expansion("norm", (0.025,))])
    data = exponential(3, 2100, 2000.0, auxiliary=1)
    (a,) = data.auxiliary

    def loss(nu: float) -> float:
        return 2000 * np.expm1(0.025 * nu) - 2100 * 0.025 * nu + (nu - a) ** 2 / 2

    best = minimize_scalar(loss, bounds=(-9, 9), method="bounded", options={"xatol": 1e-9})
    found = fitted(Constant(), [data], taylor)
    assert found.delta[0] == pytest.approx(-2 * (best.fun - a**2 / 2), abs=1e-5)
    assert found.reference_nuisance[0, 0] == pytest.approx(best.x, abs=1e-3)
    # With f the yield is free, and the nuisance parameter is where its auxiliary measurement is.
    assert found.nuisance[0, 0] == pytest.approx(a, abs=1e-3)
    assert found.t[0] >= 0


# -------------------------------------------------------------------------------------------------------- stacks
def test_a_toy_is_the_same_alone_and_in_a_stack() -> None:
    network = Perceptron((1, 3, 1), 3.0)
    sets = [exponential(seed, 150 + 30 * seed, 200.0, 1000) for seed in range(3)]
    together = fitted(network, sets).t
    for number, data in enumerate(sets):
        starts = network.start(np.random.default_rng([0, number]))[None, None]
        alone = statistics(Stack.of([data], NONE, "cpu"), NONE, network, starts)
        assert alone.t[0] == pytest.approx(together[number], rel=1e-6, abs=1e-6)


def test_ten_toys_take_as_many_operations_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a GPU waits for is the number of kernels, not their size: where all events fit in one block, as there, a
    # stack costs what one toy does.
    monkeypatch.setattr(minimum, "BLOCK", minimum.GPU_BLOCK)
    network, toy = Perceptron((1, 4, 1), 3.0), exponential(1, 100, 100.0)
    start = torch.as_tensor(network.start(np.random.default_rng(1)))
    kernels, steps = [], []
    for number in (1, 10):
        hypothesis = Hypothesis(Stack.of([toy] * number, NONE, "cpu"), NONE, network)
        with Kernels() as count:
            steps += minimise(hypothesis, start.expand(number, -1), steps=20).steps.tolist()
        kernels.append(count.number)
    assert set(steps) == {20}
    assert kernels[1] == kernels[0] > 100


class Kernels(TorchDispatchMode):
    """Count the operations that calculate something."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += not function.is_view
        return function(*args, **(kwargs or {}))


def test_no_fit_ends_above_its_start_or_outside_of_its_bounds() -> None:
    network = Perceptron((1, 4, 1), 1.5)
    stack = Stack.of([exponential(seed, 300, 200.0, 800) for seed in range(4)], NONE, "cpu")
    model, rng = Hypothesis(stack, NONE, network), np.random.default_rng(2)
    start = torch.as_tensor(rng.normal(size=(4, network.n_parameters)))
    found = minimise(model, start, steps=60)
    clamped = torch.maximum(torch.minimum(start, network.bound), -network.bound)
    assert (found.loss <= losses(model, clamped)).all()
    assert (found.parameters.abs() <= network.bound).all()
    torch.testing.assert_close(found.loss, losses(model, found.parameters))


def test_t_grows_with_restarts_and_is_never_negative() -> None:
    taylor = Taylor([Expansion("norm", (0.05,))])
    sets = [exponential(seed, 190, 200.0, 1000, auxiliary=1) for seed in range(4)]
    network = Perceptron((1, 3, 1), 4.0)
    once, thrice = fitted(network, sets, taylor), fitted(network, sets, taylor, restarts=3)
    assert (once.t >= 0).all()
    assert (thrice.t >= once.t - 1e-9).all()
    assert (thrice.t > once.t + 0.01).any()


def test_a_kernel_has_one_minimum_and_less_freedom_with_a_larger_penalty() -> None:
    data, values = exponential(4, 250, 200.0, 1000), []
    centres = data.reference[:20]
    for penalty in (0.01, 0.1, 1.0):
        kernel = Gaussians(centres, 1.0, penalty)
        model = Hypothesis(Stack.of([data], NONE, "cpu"), NONE, kernel)
        far = torch.as_tensor(np.random.default_rng(1).normal(size=(1, kernel.n_parameters)))
        ends = [minimise(model, start, tolerance=1e-8).loss.item() for start in (0 * far, far)]
        assert ends[0] == pytest.approx(ends[1], abs=1e-4)
        values.append(fitted(kernel, [data]).t[0])
    assert values[0] > values[1] > values[2] > 0


# ------------------------------------------------------------------------------------------------ reconstruction
def test_the_reweighted_reference_has_an_injected_bump() -> None:
    rng = np.random.default_rng(7)
    bump = rng.normal(4.0, 0.15, size=(200, 1))
    data = exponential(8, 2000, 2000.0, 10_000)
    data = data._replace(data=np.concatenate([data.data, bump]))
    network = Perceptron((1, 4, 1), 20.0)
    found = fitted(network, [data], restarts=2)
    f = network.value(torch.as_tensor(data.reference[None]), torch.as_tensor(found.parameters))[0].numpy()
    for low, high in ((3.6, 4.4), (0.0, 1.0), (1.0, 3.0)):
        inside, events = (data.reference > low) & (data.reference < high), (data.data > low) & (data.data < high)
        n = events.sum()
        assert (data.weights * np.exp(f))[inside[:, 0]].sum() == pytest.approx(n, abs=3 * n**0.5)
        if low == 3.6:
            assert data.weights[inside[:, 0]].sum() < n - 10 * n**0.5


# ------------------------------------------------------------------------------- shapes, and what f sees of features
def rate(size: float) -> Expansion:
    """ln r of exp(-x) whose rate is 1 + size nu: ln(1 + size nu) - size nu x, to third order in the constant."""
    line = Perceptron((1, 1), np.inf)
    constants = (size, -(size**2) / 2, size**3 / 3)
    slopes = (-size, 0.0, 0.0)
    parameters = tuple(np.array(pair) for pair in zip(slopes, constants, strict=True))
    return Expansion("rate", None, (line,) * 3, parameters)


def test_f_sees_features_standardised_in_the_reference_with_the_fitted_nuisance_parameters() -> None:
    sets = []
    for seed, stretch in enumerate((0.8, 1.0, 1.25)):
        item = exponential(seed, 2000, 2000.0, 40_000, auxiliary=1)
        sets.append(item._replace(data=item.data * stretch))
    taylor = Taylor([rate(0.1)])
    assert taylor.has_shapes
    found = fitted(Perceptron((1, 2, 1), 1.0), sets, taylor)
    fitted_rate = 1 + 0.1 * found.reference_nuisance
    np.testing.assert_allclose(1 / fitted_rate[:, 0], (0.8, 1.0, 1.25), rtol=0.07)
    np.testing.assert_allclose(found.deviation, 1 / fitted_rate, rtol=0.03)
    np.testing.assert_allclose(found.mean, 0, atol=0.03)


def test_f_sees_features_as_they_are_where_no_shape_changes() -> None:
    taylor = Taylor([Expansion("norm", (0.025, 0.0))])
    assert not taylor.has_shapes
    found = fitted(Perceptron((1, 2, 1), 1.0), [exponential(1, 200, 200.0, auxiliary=1)], taylor)
    assert found.mean.tolist() == [[0.0]]
    assert found.deviation.tolist() == [[1.0]]


def test_the_envelope_is_the_largest_change_by_one_sigma() -> None:
    x = torch.tensor([[[0.0], [1.0], [5.0]]], dtype=torch.float64)
    found = Taylor([rate(0.1), Expansion("norm", (0.05, 0.0))]).envelope(x)[0]
    exact = np.exp([max(0.05, np.log1p(s * 0.1) - s * 0.1 * y) for y, s in ((0, 1), (1, 1), (5, -1))])
    np.testing.assert_allclose(found, exact, rtol=1e-4)
    np.testing.assert_array_equal(NONE.envelope(x), np.ones((1, 3)))
