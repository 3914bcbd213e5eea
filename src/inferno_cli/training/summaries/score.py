"""The score of a classifier: the sigmoid of its one output, in equal bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from inferno_cli.section import Names, Positive
from inferno_cli.training.summaries import Summary

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph


class Score(Summary):
    """Equal bins between 0 and 1."""

    ordered: ClassVar[bool] = True
    smoothing: ClassVar[str] = "edge_width"
    kind: Literal["score"] = "score"
    """The sigmoid of the one output."""
    bins: Annotated[int, Field(ge=2, le=200)]
    """Bins before sparse ones are merged."""
    edge_width: Positive
    """Width of the smoothed edges of the bins, in bins: of the soft templates alone."""

    @property
    def n_outputs(self) -> int:
        """The logit of the score."""
        return 1

    @property
    def n_bins(self) -> int:
        """Bins before sparse ones are merged."""
        return self.bins

    @property
    def response_names(self) -> Names:
        """The score."""
        return ("score",)

    def soft(self, outputs: Tensor) -> Tensor:
        """Bins with smooth edges: what falls into a bin after smearing the score by a share of the bin width."""
        import torch

        score = self.response(outputs)
        edges = torch.arange(1, self.bins, dtype=score.dtype, device=score.device) / self.bins
        above = torch.sigmoid((score - edges) * self.bins / self.edge_width)
        ones, zeros = torch.ones_like(score), torch.zeros_like(score)
        return torch.cat([ones, above], dim=-1) - torch.cat([above, zeros], dim=-1)

    def hard(self, outputs: Tensor) -> Tensor:
        """Equal bins of the score."""
        return (self.response(outputs)[..., 0] * self.bins).long().clamp_max(self.bins - 1)

    def margin(self, outputs: Tensor) -> Tensor:
        """Difference of the score from the next edge."""
        scaled = self.response(outputs)[..., 0] * self.bins
        return (scaled - scaled.round()).abs() / self.bins

    def response(self, outputs: Tensor) -> Tensor:
        """The score."""
        return outputs.double().sigmoid()

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add the sigmoid, and its bin."""
        import numpy as np

        response = graph("Sigmoid", outputs)
        number = graph.cast(graph("Mul", response, float(self.bins)), np.int64)
        last = graph.constant(self.bins - 1, np.int64)
        return response, graph("Squeeze", graph("Min", number, last), graph.constant([-1], np.int64))
