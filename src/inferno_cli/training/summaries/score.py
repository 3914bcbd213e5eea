"""The score of a classifier: the sigmoid of its one output, in bins of equal width or at quantiles of events.

Where the events of a classifier are between 0 and 1 depends on how it is trained: bins of equal width may have few of
them. Edges at quantiles follow the events, and any increasing function of the score has the same bins. At quantiles of
the signal, most of the background is in the first bins. Balanced, signal and background have half of the weight each,
as they have in the cross-entropy: then both ends of the score have bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.section import Names, Positive
from inferno_cli.training.summaries import NominalEvents, Summary

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph


class Score(Summary):
    """Bins of the score, which is between 0 and 1."""

    ordered: ClassVar[bool] = True
    smoothing: ClassVar[str] = "edge_width"
    learnt: ClassVar[Names] = ("edges_at",)
    kind: Literal["score"] = "score"
    """The sigmoid of the one output."""
    bins: Annotated[int, Field(ge=2, le=200)]
    """Bins before sparse ones are merged."""
    edges: Literal["uniform", "signal", "balanced"] = "uniform"
    """Edges of the bins: `uniform`, or at quantiles of `signal`, or of signal and background, half each: `balanced`."""
    edges_at: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    """Scores of the inner edges at quantiles: the training places and stores them."""
    edge_width: Positive
    """Width of the smoothed edges of the bins, in bins: of the soft templates alone."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.edges_at is None:
            return self
        if self.edges == "uniform":
            raise ValueError("edges_at has edges at quantiles, and edges is uniform; leave edges_at out")
        if len(self.edges_at) != self.bins - 1:
            raise ValueError(
                f"edges_at has the edges of {len(self.edges_at) + 1} bins, and bins is {self.bins}; leave edges_at out"
            )
        if any(low > high for low, high in pairwise(self.edges_at)):
            raise ValueError(f"edges_at does not rise: {self.edges_at}")
        return self

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
        from inferno_cli.training.edges import position, smooth

        score = self.response(outputs)[..., 0]
        scaled = score * self.bins if self.edges == "uniform" else position(score, self._inner(score), 0.0, 1.0)
        return smooth(scaled, self.bins, self.edge_width)

    def hard(self, outputs: Tensor) -> Tensor:
        """Bins whose lower edge belongs to them."""
        from inferno_cli.training.edges import number

        score = self.response(outputs)[..., 0]
        if self.edges == "uniform":
            return (score * self.bins).long().clamp_max(self.bins - 1)
        return number(score, self._inner(score))

    def margin(self, outputs: Tensor) -> Tensor:
        """Difference of the score from the nearest edge."""
        score = self.response(outputs)
        if self.edges != "uniform":
            return (score - self._inner(score)).abs().amin(dim=-1)
        scaled = score[..., 0] * self.bins
        return (scaled - scaled.round()).abs() / self.bins

    def response(self, outputs: Tensor) -> Tensor:
        """The score."""
        return outputs.double().sigmoid()

    def placed(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> Self:
        """Place the edges at quantiles, so that every bin has the same share of the events."""
        import torch

        from inferno_cli.training.quantiles import quantiles

        if self.edges == "uniform":
            return self
        scores, weights = [], []
        for is_signal in (True, False) if self.edges == "balanced" else (True,):
            chosen = [sample for sample in samples if sample.is_signal == is_signal]
            total = sum(float(sample.weights.sum()) for sample in chosen)
            for sample in chosen:
                scores.append(self.response(outputs(sample.features))[..., 0])
                weights.append(sample.weights / total)
        return self.model_copy(update={"edges_at": quantiles(torch.cat(scores), torch.cat(weights), self.bins)})

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add the sigmoid, and its bin."""
        import numpy as np

        response = graph("Sigmoid", outputs)
        axis = graph.constant([-1], np.int64)
        if self.edges != "uniform":
            above = graph("GreaterOrEqual", response, graph.constant(self._edges_at))
            return response, graph("ReduceSum", graph.cast(above, np.int64), axis, keepdims=0)
        number = graph.cast(graph("Mul", response, float(self.bins)), np.int64)
        last = graph.constant(self.bins - 1, np.int64)
        return response, graph("Squeeze", graph("Min", number, last), axis)

    @property
    def _edges_at(self) -> tuple[float, ...]:
        if self.edges_at is None:
            raise ValueError(f"the edges are at quantiles ({self.edges}), and no training has placed them yet")
        return self.edges_at

    def _inner(self, score: Tensor) -> Tensor:
        """Return the edges between bins, shape (bins - 1,)."""
        return score.new_tensor(self._edges_at)
