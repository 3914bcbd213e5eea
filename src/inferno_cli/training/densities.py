"""Layers of trained densities: what a flow learnt, without the library that trained it, and as ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from inferno_cli.training.onnx import Graph

SLOPE = math.log(1e-3)
"""Logarithm of the smallest scale factor of a transform, that of zuko's ``MonotonicAffineTransform``."""
LOG_NORMAL = -0.5 * math.log(2 * math.pi)
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


class Gaussianise(nn.Module):
    """Each feature by a rising piecewise linear function to what is nearly a standard normal number, in float64.

    Attributes:
        knots: Where the slope changes, shape (n_features, n_knots).
        changes: By how much, shape (n_features, n_knots).
        slope, offset: Below the first knot, shape (n_features,) each; the offset is the value at the first knot.
    """

    knots: Tensor
    changes: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, n_features: int, n_knots: int) -> None:
        super().__init__()
        self.register_buffer("knots", _zeros(n_features, n_knots))
        self.register_buffer("changes", _zeros(n_features, n_knots))
        self.register_buffer("slope", torch.ones(n_features, dtype=torch.float64))
        self.register_buffer("offset", _zeros(n_features))

    @torch.no_grad()
    def place(self, features: Tensor, weights: Tensor) -> None:
        """Place the knots at equally probable values of weighted events, shapes (n_events, n_features) and (n_events,).

        Negative weights count as 0: where a quantile is makes no difference to a ratio of two densities.
        """
        n_knots = self.knots.shape[1]
        levels = (torch.arange(n_knots, dtype=torch.float64, device=features.device) + 0.5) / n_knots
        normal = math.sqrt(2) * torch.erfinv(2 * levels - 1)
        for column in range(features.shape[1]):
            values, order = features[:, column].double().sort()
            total = weights.double().clamp(min=0)[order].cumsum(0)
            rows = torch.searchsorted(total / total[-1], levels).clamp(max=len(values) - 1)
            self._draw(column, values[rows], normal)

    def _draw(self, column: int, knots: Tensor, values: Tensor) -> None:
        """Draw the line through points; of knots that are one, as at a spike, the slope is that of its sides."""
        width = (knots[-1] - knots[0]) / len(knots)
        width = width if width > 0 else torch.ones_like(width)
        steps = (knots[1:] - knots[:-1]).clamp(min=1e-6 * float(width))
        slopes = (values[1:] - values[:-1]) / steps
        # Beyond the ends as between them on the way, and never steeper than what the outer steps have.
        inner = torch.cat([slopes[:1], slopes, slopes[-1:]])
        self.knots[column] = torch.cat([knots[:1], knots[:1] + steps.cumsum(0)])
        self.changes[column] = inner[1:] - inner[:-1]
        self.slope[column], self.offset[column] = inner[0], values[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers for features, shape (..., n_features)."""
        x = x.double()
        bends = ((x[..., None] - self.knots).clamp(min=0) * self.changes).sum(dim=-1)
        return self.offset + self.slope * (x - self.knots[:, 0]) + bends

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        import numpy as np

        last = graph.constant([-1], np.int64)
        wide = graph("Unsqueeze", x, last)
        above = graph("Max", graph("Sub", wide, graph.constant(self.knots.cpu())), 0.0)
        bends = graph("ReduceSum", graph("Mul", above, graph.constant(self.changes.cpu())), last, keepdims=0)
        first = graph("Sub", x, graph.constant(self.knots[:, 0].cpu()))
        line = graph("Add", graph("Mul", first, graph.constant(self.slope.cpu())), graph.constant(self.offset.cpu()))
        return graph("Add", line, bends)


class Autoregressive(nn.Module):
    """The logarithm of the density of a masked autoregressive flow with affine transforms, in float64."""

    def __init__(self, n_features: int, hidden: Sequence[int], transforms: int, activation: str) -> None:
        super().__init__()
        self.n_features, self.n_transforms, self.n_layers = n_features, transforms, len(hidden) + 1
        self.activation = ACTIVATIONS[activation]()
        sizes = [n_features, *hidden, 2 * n_features]
        for number in range(transforms):
            for layer in range(self.n_layers):
                self.register_buffer(f"weight_{number}_{layer}", _zeros(sizes[layer], sizes[layer + 1]))
                self.register_buffer(f"bias_{number}_{layer}", _zeros(sizes[layer + 1]))

    @torch.no_grad()
    def take(self, flow: nn.Module) -> None:
        """Take the weights of a flow of zuko, with its masks in them; the scales behind the shifts."""
        transforms: list[nn.Module] = list(flow.transform.transforms)  # type: ignore[union-attr, arg-type]
        for number, transform in enumerate(transforms):
            linear = [part for part in transform.hyper if hasattr(part, "weight")]  # type: ignore[union-attr]
            for layer, part in enumerate(linear):
                weight, bias = (part.weight * part.mask).T.double(), part.bias.double()
                if layer == self.n_layers - 1:  # zuko has shift and scale of each feature next to each other
                    weight = torch.cat([weight[:, 0::2], weight[:, 1::2]], dim=1)
                    bias = torch.cat([bias[0::2], bias[1::2]])
                self._buffer("weight", number, layer).copy_(weight)
                self._buffer("bias", number, layer).copy_(bias)

    def _buffer(self, kind: str, number: int, layer: int) -> Tensor:
        buffer: Tensor = getattr(self, f"{kind}_{number}_{layer}")
        return buffer

    def forward(self, x: Tensor) -> Tensor:
        """Return log q, shape (..., 1), for features, shape (..., n_features)."""
        volume = torch.zeros_like(x[..., :1])
        for number in range(self.n_transforms):
            inner = x
            for layer in range(self.n_layers):
                inner = self.activation(inner) if layer else inner
                inner = inner @ self._buffer("weight", number, layer) + self._buffer("bias", number, layer)
            shift, raw = inner[..., : self.n_features], inner[..., self.n_features :]
            logarithm = raw / (1 + (raw / SLOPE).abs())
            x = x * logarithm.exp() + shift
            volume = volume + logarithm.sum(dim=-1, keepdim=True)
        return volume + (LOG_NORMAL - x.square() / 2).sum(dim=-1, keepdim=True)

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        n = self.n_features
        first, second = torch.eye(2 * n)[:, :n], torch.eye(2 * n)[:, n:]
        ones, total = torch.ones(n, 1), ""
        for number in range(self.n_transforms):
            inner = x
            for layer in range(self.n_layers):
                inner = graph.layer(self.activation, inner) if layer else inner
                weight = graph.constant(self._buffer("weight", number, layer).cpu())
                bias = graph.constant(self._buffer("bias", number, layer).cpu())
                inner = graph("Add", graph("MatMul", inner, weight), bias)
            shift, raw = graph("MatMul", inner, graph.constant(first)), graph("MatMul", inner, graph.constant(second))
            logarithm = graph("Div", raw, graph("Add", graph("Abs", graph("Div", raw, SLOPE)), 1.0))
            x = graph("Add", graph("Mul", x, graph("Exp", logarithm)), shift)
            volume = graph("MatMul", logarithm, graph.constant(ones))
            total = graph("Add", total, volume) if total else volume
        square = graph("MatMul", graph("Mul", x, x), graph.constant(-ones / 2))
        return graph("Add", graph("Add", total, square), n * LOG_NORMAL)


class Ratio(nn.Module):
    """log(q_signal / q_background) of two ensembles of densities of the same features."""

    error: Tensor
    seed: Tensor

    def __init__(self, first: Gaussianise, signal: Sequence[Autoregressive], background: Sequence[Autoregressive]):
        super().__init__()
        self.first = first
        self.signal, self.background = nn.ModuleList(signal), nn.ModuleList(background)
        self.register_buffer("error", _zeros(1))
        self.register_buffer("seed", torch.zeros(1, dtype=torch.int64))

    def log_densities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q of every member, shape (..., n_members), of signal and background.

        Of the features after the common transform: its Jacobian is the same for both, and cancels in the ratio.
        """
        inner = self.first(x)
        signal = torch.cat([part(inner) for part in self.signal], dim=-1)
        return signal, torch.cat([part(inner) for part in self.background], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithm of the ratio of the mean densities, shape (..., 1)."""
        signal, background = self.log_densities(x)
        return signal.logsumexp(dim=-1, keepdim=True) - background.logsumexp(dim=-1, keepdim=True)

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the layer; return the name of its output."""
        inner = self.first.to_onnx(graph, x)
        sums = []
        for parts in (self.signal, self.background):
            names = [graph.layer(part, inner) for part in parts]
            joined = graph("Concat", *names, axis=-1)
            sums.append(graph("ReduceLogSumExp", joined, axes=[-1], keepdims=1))
        return graph("Sub", *sums)
