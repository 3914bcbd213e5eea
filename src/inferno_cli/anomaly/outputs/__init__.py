"""What a decoder says of a feature: the family of densities that it has. Each is one file.

The numbers that the decoder gives, ``raw``, are 0 where the density is that of the feature over all training events:
``fitted`` measures what that takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from inferno_cli.section import Section

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph

FloatArray = NDArray[np.float64]
NARROWEST = 0.01
"""Smallest width of a density in units of that of the feature: without it the density of a constant is infinite."""
UNIT = 0.5413248546129181
"""Where softplus is 1."""


class Output(Section, ABC):
    """What every family of densities answers.

    Attributes:
        n_parameters: Numbers that the decoder gives for each event, as many as ``fitted`` returns.
        support: What values the density is made for, in words.
    """

    n_parameters: ClassVar[int] = 2
    support: ClassVar[str] = "any number"
    kind: str

    @abstractmethod
    def supports(self, values: FloatArray) -> NDArray[np.bool_]:
        """Tell which values the density is made for, shape (n_events,)."""

    @abstractmethod
    def fitted(self, values: FloatArray, weights: FloatArray) -> tuple[float, ...]:
        """Return the numbers of the density of all events of a feature, with weights that are not negative."""

    @abstractmethod
    def parameters(self, raw: Sequence[Tensor], fitted: Sequence[float]) -> tuple[Tensor, ...]:
        """Return what ``log_prob`` takes, for numbers of the decoder, shape (n_events,) each."""

    @abstractmethod
    def log_prob(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return the logarithm of the density, or of the probability, at ``x``, shape (n_events,)."""

    @abstractmethod
    def to_onnx(self, graph: Graph, x: str, raw: Sequence[str], fitted: Sequence[float]) -> str:
        """Add ``log_prob`` for numbers of the decoder; return the name of its output."""


def moments(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Return mean and standard deviation of weighted values; the second is 1 of a constant."""
    mean = float(np.average(values, weights=weights))
    deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
    return mean, deviation if deviation > 1e-6 * max(1.0, abs(mean)) else 1.0


def located(raw: Tensor, fitted: Sequence[float]) -> Tensor:
    """Return a location, given that of all events and their width."""
    return fitted[0] + fitted[1] * raw


def widened(raw: Tensor, fitted: Sequence[float]) -> Tensor:
    """Return a width, given that of all events in the second place."""
    from torch.nn.functional import softplus

    return fitted[1] * (NARROWEST + softplus(raw + UNIT))


def located_in(graph: Graph, raw: str, fitted: Sequence[float]) -> str:
    """Add ``located`` to a graph."""
    return graph("Add", graph("Mul", raw, fitted[1]), fitted[0])


def widened_in(graph: Graph, raw: str, fitted: Sequence[float]) -> str:
    """Add ``widened`` to a graph."""
    return graph("Mul", graph("Add", softplus_in(graph, graph("Add", raw, UNIT)), NARROWEST), fitted[1])


def softplus_in(graph: Graph, x: str) -> str:
    """Add the logarithm of 1 + exp(x) to a graph, which does not overflow."""
    tail = graph("Log", graph("Add", graph("Exp", graph("Neg", graph("Abs", x))), 1.0))
    return graph("Add", graph("Max", x, 0.0), tail)


def log_normal_density_in(graph: Graph, distance: str, width: str) -> str:
    """Add the logarithm of a normal density to a graph, given the distance from its mean in units of its width."""
    square = graph("Mul", graph("Mul", distance, distance), -0.5)
    return graph("Sub", graph("Sub", square, graph("Log", width)), HALF_LOG_TWO_PI)


HALF_LOG_TWO_PI = 0.9189385332046727


def as_output(value: Any) -> Any:
    """Let the name of a kind stand for the section of it."""
    return {"kind": value} if isinstance(value, str) else value
