"""Layers that networks are made of, beside those of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inferno_cli.errors import ConfigError
from inferno_cli.events import arrays

if TYPE_CHECKING:
    from inferno_cli.training.onnx import Graph


@cache
def _has_wide_products() -> bool:
    """Whether oneDNN multiplies matrices with vectors of 512 bits here.

    So does MKL, on processors of Intel; on those of AMD it takes half as wide ones, and twice the time.
    """
    is_wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_wide and has_onednn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return A B^T of two matrices of float32 on a processor, by oneDNN; it copies A unless its rows lie together."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    """x W^T + b for x (n_rows, n_inputs) and W (n_outputs, n_inputs), and its gradient, by oneDNN.

    In memory the outputs come first, each for all rows: so none of the products has to copy a matrix with many rows.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Multiply."""
        # Detached: over a view that a function returns, the next layer could write nothing.
        return _product(weight, x).add_(bias[:, None]).T.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG004
        """Keep what the gradient takes."""
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Multiply: with torch's products where the gradient is differentiated once more, as oneDNN's cannot be."""
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradient @ weight, gradient.T @ x, gradient.sum(dim=0)
        of_x = _product(weight.T, gradient).T if ctx.needs_input_grad[0] else None
        return of_x, _product(gradient.T, x.T), gradient.sum(dim=0)


class Linear(nn.Linear):
    """A linear layer that has oneDNN multiply where it is faster; its results are torch's to rounding.

    There they have the outputs first in memory (``reshape`` takes them, ``view`` may not), and forward-mode
    derivatives and ``torch.func`` need ``nn.Linear``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, shape (..., n_outputs), for x (..., n_inputs)."""
        if not self._is_faster(x):
            return super().forward(x)
        if x.dim() > 2:
            return torch.unflatten(self.forward(x.flatten(0, -2)), 0, x.shape[:-1])
        result: Tensor = _Linear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return result

    def _is_faster(self, x: Tensor) -> bool:
        """Whether oneDNN multiplies: events of float32 on a processor, of the width of the layer; else torch says."""
        is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if is_traced or torch.is_autocast_enabled("cpu"):
            return False
        for tensor in (x, self.weight):
            if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or tensor.layout != torch.strided:
                return False
        has_events = x.dim() > 1 and x.numel() > 0 and x.shape[-1] == self.in_features
        return has_events and self.bias is not None and _has_wide_products()


class _Rectified(torch.autograd.Function):
    """The positive part of a tensor, written over it; the gradient is written over that of the result."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Rectify."""
        ctx.mark_dirty(x.clamp_min_(0))
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Keep the gradient where the result is positive; not over it where it is differentiated once more."""
        result: Tensor
        (result,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradient * (result > 0)
        kept: Tensor = torch.ops.aten.threshold_backward.grad_input(gradient, result, 0, grad_input=gradient)
        return kept


class Rectifier(nn.ReLU):
    """A ReLU between linear layers, in place in both directions.

    Nothing else needs what a linear layer has given, nor the gradient that it makes for its input: less memory passes
    the cache. Behind layers that share a gradient with others, such as a sum, torch's own has its place.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the positive part, in the memory of ``x``."""
        result: Tensor = _Rectified.apply(x)  # type: ignore[no-untyped-call]
        return result


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": Rectifier,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, both stored with the network, and shorten the tails.

    The inverse hyperbolic sine is the identity for small and a logarithm for large values: a few events with a very
    large momentum do not steer the network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise features, shape (..., n_features)."""
        standardised = (x - self.mean) / self.deviation
        return _asinh(standardised) if x.device.type == "cpu" else torch.asinh(standardised)

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        centred = graph("Sub", x, graph.constant(self.mean.cpu()))
        return graph.asinh(graph("Div", centred, graph.constant(self.deviation.cpu())))


def _asinh(x: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine on a processor, in a fifth of the time of torch's.

    That takes one number at a time; all of these have vector instructions. With the sign apart neither side cancels,
    and the derivative at 0 is 1.
    """
    one = torch.ones((), dtype=x.dtype)
    sign = torch.copysign(one, x)
    size = x * sign
    return sign * torch.log1p(size + size * (size / (1 + torch.hypot(size, one))))


class Appended(nn.Module):
    """Values behind the features of every event, shape (n_values,), unless they come with some of their own."""

    values: Tensor

    def __init__(self, n_features: int, values: Tensor) -> None:
        super().__init__()
        self.n_features = n_features
        self.register_buffer("values", values)

    def forward(self, x: Tensor) -> Tensor:
        """Return features and values, shape (..., n_features + n_values)."""
        if x.shape[-1] > self.n_features:
            return x
        return torch.cat([x, self.values.to(x).expand(*x.shape[:-1], -1)], dim=-1)

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        n_values = len(self.values)
        identity = graph.constant(torch.eye(self.n_features, self.n_features + n_values))
        values = graph.constant(torch.cat([torch.zeros(self.n_features).to(self.values), self.values]).cpu())
        return graph("Add", graph("MatMul", x, identity), values)


class Quadratic(nn.Module):
    """A polynomial of second order without mixed terms, in float64; its coefficients are not trained."""

    square: Tensor
    linear: Tensor
    constant: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("square", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("linear", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("constant", torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate at features, shape (..., n_features); the result has shape (..., 1)."""
        x = x.double()
        return (x * (self.square * x + self.linear)).sum(dim=-1, keepdim=True) + self.constant

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        square, linear, constant = (graph.constant(part.cpu()) for part in (self.square, self.linear, self.constant))
        slope = graph("Add", graph("Mul", x, square), linear)
        ones = graph.constant(torch.ones(len(self.linear), 1))
        return graph("Add", graph("MatMul", graph("Mul", x, slope), ones), constant)


class Columns(nn.Module):
    """Some of the features as they are; which ones is stored with the network."""

    columns: Tensor

    def __init__(self, columns: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns))

    def forward(self, x: Tensor) -> Tensor:
        """Take them from features, shape (..., n_features)."""
        return x[..., self.columns]

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        import numpy as np

        return graph("Gather", x, graph.constant(self.columns.cpu(), np.int64), axis=-1)


class Memberships(nn.Module):
    """A softmax with a temperature."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """Return memberships of outputs, shape (..., n_outputs)."""
        return (x / self.temperature).softmax(dim=-1)

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        return graph("Softmax", graph("Div", x, self.temperature), axis=-1)


class Mean(nn.Module):
    """The mean of the outputs of several networks."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean for features, shape (..., n_features)."""
        return torch.stack([part(x) for part in self.parts]).mean(dim=0)

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the networks and their mean; return the name of its output."""
        total = graph.layer(self.parts[0], x)
        for part in self.parts[1:]:
            total = graph("Add", total, graph.layer(part, x))
        return graph("Div", total, float(len(self.parts)))


def first_member(network: nn.Sequential) -> nn.Sequential:
    """Return the first of the networks that one is the mean of, as it was trained; of any other network, itself."""
    if not isinstance(network[0], Mean):
        return network
    part: nn.Sequential = network[0].parts[0]  # type: ignore[assignment]
    return part[0] if isinstance(part[0], nn.Sequential) else part


def last_linear(network: nn.Sequential) -> nn.Linear:
    """Return the last layer of a network.

    Raises:
        ConfigError: If it is not linear: its weights could not be scaled, nor its place be taken.
    """
    layer = network[-1]
    if not isinstance(layer, nn.Linear):
        raise ConfigError(
            f"the network of model.network ends in {type(layer).__name__}; with this model.summary and "
            "model.objective its last layer has to be nn.Linear"
        )
    return layer


@torch.no_grad()
def scale_outputs(network: nn.Sequential, features: Tensor, deviation: float) -> None:
    """Give every output mean 0 and a standard deviation over features, shape (n_events, n_features)."""
    outputs, last = network(features), last_linear(network)
    factor = deviation / outputs.std(dim=0)
    last.weight *= factor[:, None]
    last.bias.copy_((last.bias - outputs.mean(dim=0)) * factor)


def spread_outputs(network: nn.Sequential, features: Tensor, deviation: float) -> None:
    """Do as ``scale_outputs`` does, but for a network that is not trained: its outputs stay what they are."""
    if isinstance(network[-1], nn.Linear):
        scale_outputs(network, features, deviation)


def _mean(values: Tensor, power: int) -> Tensor:
    """Mean of a power of each column, in float64; a sum over chunks."""
    total = values.new_zeros(values.shape[1:], dtype=torch.float64)
    for chunk in torch.split(values, arrays.CHUNK):
        total += chunk.double().pow(power).sum(dim=0)
    return total / len(values)


def moments(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over several samples, each counted alike.

    A feature that is constant keeps its scale.
    """
    means, squares = (torch.stack([_mean(x, power) for x in features]) for power in (1, 2))
    mean = means.mean(dim=0)
    deviation = (squares.mean(dim=0) - mean**2).clamp_min(0).sqrt()
    constant = deviation <= 1e-6 * squares.mean(dim=0).sqrt()
    return mean.float(), torch.where(constant, torch.ones_like(deviation), deviation).float()
