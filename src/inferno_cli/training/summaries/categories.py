"""The categories of a multi-class classifier: an event is in that of the largest output, binned in its own score.

As in analyses with a multi-class network: a region enriched in the signal, and one in each background, which measures
what that background does. The score of a category is the softmax of its output; its bins are at quantiles of the events
in it, of which every sample has the same weight, as in the training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from inferno_cli.errors import ConfigError
from inferno_cli.section import Names, Positive
from inferno_cli.training.summaries import NominalEvents, Summary

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph

NEVER = 2.0
"""An edge above every score, in the place of one that a category with fewer bins does not have."""


class Categories(Summary):
    """One category for each sample, in bins of its score."""

    ordered: ClassVar[bool] = False
    smoothing: ClassVar[str] = "edge_width"
    fixed: ClassVar[Names] = ("bins",)
    learnt: ClassVar[Names] = ("samples", "edges_at")
    one_output_a_sample: ClassVar[bool] = True
    kind: Literal["categories"] = "categories"
    """The sample with the largest output, and its score."""
    bins: Annotated[int, Field(ge=2, le=200)]
    """Bins of all categories together: half of them of the signals, half of the backgrounds, at least one each."""
    edge_width: Positive
    """Width of the smoothed edges of the bins, in bins, and temperature between categories: of the soft templates."""
    samples: dict[str, bool] | None = None
    """The samples, and which of them are signal: from the training."""
    edges_at: tuple[tuple[float, ...], ...] | None = None
    """Scores of the inner edges in each category: the training places and stores them."""

    @property
    def n_outputs(self) -> int:
        """One for each sample; 0 before they are known."""
        return len(self.samples or {})

    @property
    def n_bins(self) -> int:
        """Bins of all categories."""
        return self.bins

    @property
    def bins_of_each(self) -> tuple[int, ...]:
        """Bins of each category: those of the signals share one half, those of the backgrounds the other."""
        roles = list((self.samples or {}).values())
        n_signal, n_background = roles.count(True), roles.count(False)
        background = max(n_background, self.bins // 2) if n_background else 0
        parts = {True: _shared(self.bins - background, n_signal), False: _shared(background, n_background)}
        return tuple(parts[role].pop(0) for role in roles)

    @property
    def response_names(self) -> Names:
        """The scores by the number of the sample."""
        return tuple(f"score_{i}" for i in range(self.n_outputs))

    def for_samples(self, samples: Mapping[str, bool]) -> Self:
        """Take the samples of a training.

        Raises:
            ConfigError: If there are not enough bins for them.
        """
        known = self.model_copy(update={"samples": dict(samples)})
        if not samples or min(known.bins_of_each) < 1:
            raise ConfigError(
                f"model.bins is {self.bins}, and {len(samples)} samples have at least one bin each "
                f"({', '.join(samples)}). Use more bins, or fewer samples: likelihood.samples"
            )
        return known

    def placed(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> Self:
        """Place the edges of each category at quantiles of the events in it."""
        import torch

        from inferno_cli.training.quantiles import quantiles

        logits = [outputs(sample.features) for sample in samples]
        scores = torch.cat([self.response(part) for part in logits])
        winner = torch.cat([part.argmax(dim=-1) for part in logits])
        weights = torch.cat([sample.weights / sample.weights.sum() for sample in samples])
        edges = []
        for category, n_bins in enumerate(self.bins_of_each):
            own = winner == category
            inside = own if float(weights[own].sum()) > 0 else torch.ones_like(own)  # nobody's yet: the scores of all
            edges.append(quantiles(scores[inside, category], weights[inside], n_bins))
        return self.model_copy(update={"edges_at": tuple(edges)})

    def soft(self, outputs: Tensor) -> Tensor:
        """Categories with a small temperature, times bins with smooth edges."""
        import torch

        from inferno_cli.training.constants import constant
        from inferno_cli.training.edges import position, smooth

        share = (outputs.double() / self.edge_width).softmax(dim=-1)
        scores, parts = self.response(outputs), []
        for category, edges in enumerate(self._edges_at):
            score = scores[..., category]
            positions = position(score, constant(edges, score), 0.0, 1.0)
            parts.append(share[..., category, None] * smooth(positions, len(edges) + 1, self.edge_width))
        return torch.cat(parts, dim=-1)

    def hard(self, outputs: Tensor) -> Tensor:
        """The bin of the largest output's category in which its score is."""
        winner = outputs.argmax(dim=-1, keepdim=True)
        numbers = (self.response(outputs)[..., None] >= self._padded(outputs)).sum(dim=-1)
        return (numbers + numbers.new_tensor(self._offsets)).gather(-1, winner)[..., 0]

    def margin(self, outputs: Tensor) -> Tensor:
        """Difference of the two largest outputs, or of the score from its nearest edge where that is smaller."""
        import torch

        first, second = outputs.topk(2, dim=-1).values.unbind(dim=-1)
        distance = (self.response(outputs)[..., None] - self._padded(outputs)).abs().amin(dim=-1)
        winner = outputs.argmax(dim=-1, keepdim=True)
        return torch.minimum(first - second, distance.gather(-1, winner)[..., 0].to(first.dtype))

    def response(self, outputs: Tensor) -> Tensor:
        """The softmax of the outputs."""
        return outputs.double().softmax(dim=-1)

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add the softmax, and the bin in the category of the largest output."""
        import numpy as np

        last = graph.constant([-1], np.int64)
        response = graph("Softmax", outputs, axis=-1)
        above = graph("GreaterOrEqual", graph("Unsqueeze", response, last), graph.constant(self._table))
        numbers = graph("ReduceSum", graph.cast(above, np.int64), last, keepdims=0)
        numbers = graph("Add", numbers, graph.constant(self._offsets, np.int64))
        winner = graph("ArgMax", outputs, axis=-1, keepdims=1)
        is_own = graph("Equal", winner, graph.constant(range(self.n_outputs), np.int64))
        return response, graph("ReduceSum", graph("Mul", numbers, graph.cast(is_own, np.int64)), last, keepdims=0)

    @property
    def _edges_at(self) -> tuple[tuple[float, ...], ...]:
        if self.edges_at is None:
            raise ValueError("the edges of the categories are not placed by a training yet")
        return self.edges_at

    @property
    def _table(self) -> list[list[float]]:
        """Inner edges of each category, filled up to the same number, at least one: shape (n_outputs, n_edges)."""
        longest = max(1, *map(len, self._edges_at))
        return [[*edges, *[NEVER] * (longest - len(edges))] for edges in self._edges_at]

    def _padded(self, like: Tensor) -> Tensor:
        """Return ``_table`` as a tensor on the device of another, in float64."""
        return like.new_tensor(self._table).double() if like.is_meta else like.double().new_tensor(self._table)

    @property
    def _offsets(self) -> list[int]:
        """Number of the first bin of each category."""
        sizes = self.bins_of_each
        return [sum(sizes[:category]) for category in range(len(sizes))]


def _shared(n_bins: int, n_categories: int) -> list[int]:
    """Divide bins evenly; the first categories have one more where that does not work out."""
    return [(n_bins + n_categories - 1 - i) // n_categories for i in range(n_categories)]
