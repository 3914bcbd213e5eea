"""Summaries: from the outputs of a network to the bins of a histogram, soft for the gradient and hard for the fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from inferno_cli.section import Names, Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.training.onnx import Graph


class Summary(Section, ABC):
    """What every summary answers. Outputs have shape (..., n_outputs), on any device.

    Attributes:
        ordered: Whether the bins have an order of their own, which merging keeps.
        smoothing: Key whose value makes the soft bins the hard ones as it falls.
        fixed: Keys that belong to the trained network: who reuses it cannot choose them anew.
    """

    ordered: ClassVar[bool]
    smoothing: ClassVar[str]
    fixed: ClassVar[Names] = ()
    kind: str

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Outputs of the network for each event."""

    @property
    @abstractmethod
    def n_bins(self) -> int:
        """Bins of the histogram before sparse ones are merged."""

    @property
    @abstractmethod
    def response_names(self) -> Names:
        """Names of the numbers in ``response``."""

    @abstractmethod
    def soft(self, outputs: Tensor) -> Tensor:
        """Membership of each bin, shape (..., n_bins), float64; rows sum to 1."""

    @abstractmethod
    def hard(self, outputs: Tensor) -> Tensor:
        """Bin of each event, shape (...): the limit of ``soft``."""

    @abstractmethod
    def margin(self, outputs: Tensor) -> Tensor:
        """Distance of each event from the edge of its bin, shape (...): rounding moves nothing that is far from it."""

    @abstractmethod
    def response(self, outputs: Tensor) -> Tensor:
        """What is told of each event beside its bin, shape (..., n_responses), float64."""

    @abstractmethod
    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add ``response`` and ``hard`` to a graph; return the names of both."""

    def spread(self, network: nn.Sequential, features: Tensor) -> None:
        """Scale the last layer to features, shape (n_events, n_features), so that every bin has a share of them."""
