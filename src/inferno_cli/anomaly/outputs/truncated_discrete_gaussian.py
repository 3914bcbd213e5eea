"""The probability of an integer from 0 up, for a number of jets: a normal density around it (arXiv:1811.10276).

P(n) = [Phi((n + 1/2 - alpha1) / alpha2) - Phi((n - 1/2 - alpha1) / alpha2)] / [1 - Phi((-1/2 - alpha1) / alpha2)]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from inferno_cli.anomaly.outputs import FloatArray, Output, located, located_in, moments, widened, widened_in

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph


class TruncatedDiscreteGaussian(Output):
    """A normal density between half integers, from -1/2 up."""

    support: ClassVar[str] = "an integer that is not negative"
    kind: Literal["truncated_discrete_gaussian"] = "truncated_discrete_gaussian"
    """Probabilities of the integers from 0 up."""

    def supports(self, values: FloatArray) -> NDArray[np.bool_]:
        """Integers from 0 up."""
        return np.asarray(np.isfinite(values) & (values >= 0) & (values == np.round(values)))

    def fitted(self, values: FloatArray, weights: FloatArray) -> tuple[float, ...]:
        """Return mean and standard deviation."""
        return moments(values, weights)

    def parameters(self, raw: Sequence[Tensor], fitted: Sequence[float]) -> tuple[Tensor, ...]:
        """Return location and width of the normal density."""
        return located(raw[0], fitted), widened(raw[1], fitted)

    def log_prob(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return the logarithm of the probability; minus infinity of a negative number.

        The parameters are location and width of the normal density. The difference is taken on the side of the smaller
        of both tails, of their logarithms: nothing cancels far from the location.
        """
        import torch
        from torch.special import log_ndtr

        location, width = parameters
        distance = (x - location).abs()
        large, small = log_ndtr((0.5 - distance) / width), log_ndtr((-0.5 - distance) / width)
        inside = large + torch.log(-torch.expm1(small - large))
        known = log_ndtr((location + 0.5) / width)
        return torch.where(x < 0, torch.full_like(inside, -torch.inf), inside - known)

    def to_onnx(self, graph: Graph, x: str, raw: Sequence[str], fitted: Sequence[float]) -> str:
        """Add the logarithm of the probability."""
        from inferno_cli.anomaly.normal import log_ndtr_in

        location, width = located_in(graph, raw[0], fitted), widened_in(graph, raw[1], fitted)
        distance = graph("Abs", graph("Sub", x, location))
        large = log_ndtr_in(graph, graph("Div", graph("Sub", 0.5, distance), width))
        small = log_ndtr_in(graph, graph("Div", graph("Sub", -0.5, distance), width))
        share = graph("Sub", 1.0, graph("Exp", graph("Sub", small, large)))
        known = log_ndtr_in(graph, graph("Div", graph("Add", location, 0.5), width))
        inside = graph("Sub", graph("Add", large, graph("Log", share)), known)
        return graph("Where", graph("Less", x, 0.0), -np.inf, inside)
