"""A normal density, for a feature of any sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from inferno_cli.anomaly.outputs import (
    HALF_LOG_TWO_PI,
    FloatArray,
    Output,
    located,
    located_in,
    log_normal_density_in,
    moments,
    widened,
    widened_in,
)

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph


class Gaussian(Output):
    """A normal density, whose mean and width the decoder gives."""

    kind: Literal["gaussian"] = "gaussian"
    """A normal density."""

    def supports(self, values: FloatArray) -> NDArray[np.bool_]:
        """All that are finite."""
        return np.isfinite(values)

    def fitted(self, values: FloatArray, weights: FloatArray) -> tuple[float, ...]:
        """Return mean and standard deviation."""
        return moments(values, weights)

    def parameters(self, raw: Sequence[Tensor], fitted: Sequence[float]) -> tuple[Tensor, ...]:
        """Return mean and width."""
        return located(raw[0], fitted), widened(raw[1], fitted)

    def log_prob(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return the logarithm of the density; the parameters are mean and width."""
        mean, width = parameters
        return -0.5 * ((x - mean) / width).square() - width.log() - HALF_LOG_TWO_PI

    def to_onnx(self, graph: Graph, x: str, raw: Sequence[str], fitted: Sequence[float]) -> str:
        """Add the logarithm of the density."""
        width = widened_in(graph, raw[1], fitted)
        distance = graph("Div", graph("Sub", x, located_in(graph, raw[0], fitted)), width)
        return log_normal_density_in(graph, distance, width)
