"""A histogram of one feature or of several: template fits before there were networks.

An event is in the bin that numpy.histogramdd counts it in; what is below the first edge or above the last is in the
outer bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.section import Finite, Names, Positive
from inferno_cli.training.summaries import NominalEvents, Summary

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph

MOST_BINS = 1000
"""Bins of all features together, at most."""
NumberOfBins = Annotated[int, Field(ge=1)]
Edges = Annotated[tuple[Finite, ...], Field(min_length=2)]


class Histogram(Summary):
    """Bins between edges of each output, and their products."""

    smoothing: ClassVar[str] = "edge_width"
    fixed: ClassVar[Names] = ("features", "bins")
    learnt: ClassVar[Names] = ("edges_at",)
    kind: Literal["histogram"] = "histogram"
    """One output or several between edges, without a network those of features."""
    features: NumberOfBins | Annotated[Names, Field(min_length=1)] | dict[str, NumberOfBins | Edges]
    """Features with edges, {NAME: [0, 50, 100]}, or numbers of equal bins; names alone, or how many of the first."""
    bins: NumberOfBins
    """Equal bins of a feature for which nothing else is said, from its smallest to its largest value."""
    edge_width: Positive
    """Width of the smoothed edges of the bins, in bins: of the soft templates alone."""
    edges_at: tuple[tuple[float, ...], ...] | None = None
    """Edges of each feature, the outer ones too: the training places and stores them."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, binning in zip(self.response_names, self._binnings, strict=True):
            if not isinstance(binning, int) and any(low >= high for low, high in pairwise(binning)):
                raise ValueError(f"the edges of {name} do not rise: {list(binning)}")
        if not 2 <= self.n_bins <= MOST_BINS:
            raise ValueError(f"features and bins make {self.n_bins} bins, expected 2 to {MOST_BINS}")
        return self

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        """Whether there is one feature."""
        return self.n_outputs == 1

    @property
    def _binnings(self) -> tuple[int | tuple[float, ...], ...]:
        """Number of bins, or edges, of each feature."""
        if isinstance(self.features, dict):
            return tuple(self.features.values())
        return (self.bins,) * self.n_outputs

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of bins of each feature."""
        return tuple(item if isinstance(item, int) else len(item) - 1 for item in self._binnings)

    @property
    def n_outputs(self) -> int:
        """One for each feature."""
        return self.features if isinstance(self.features, int) else len(self.features)

    @property
    def n_bins(self) -> int:
        """Bins of all features together; those of the last one are next to each other."""
        return prod(self.sizes)

    @property
    def response_names(self) -> Names:
        """The features."""
        if isinstance(self.features, int):
            return tuple(f"feature_{number}" for number in range(self.features))
        return tuple(self.features)

    def placed(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> Self:
        """Give what has no edges equal bins between the smallest and the largest value."""
        import torch

        values = torch.cat([outputs(sample.features).double() for sample in samples])
        found = []
        for column, binning in enumerate(self._binnings):
            if isinstance(binning, int):
                low, high = values[:, column].aminmax()
                binning = tuple(torch.linspace(float(low), float(high), binning + 1, dtype=torch.float64).tolist())
            found.append(binning)
        return self.model_copy(update={"edges_at": tuple(found)})

    def soft(self, outputs: Tensor) -> Tensor:
        """Products of bins with smooth edges."""
        from inferno_cli.training.constants import constant
        from inferno_cli.training.edges import position, smooth

        own = outputs.double()
        shares = own.new_ones(*own.shape[:-1], 1)
        for column, edges in enumerate(self._known):
            positions = position(own[..., column], constant(edges[1:-1], own), edges[0], edges[-1])
            part = smooth(positions, len(edges) - 1, self.edge_width)
            shares = (shares[..., :, None] * part[..., None, :]).flatten(-2)
        return shares

    def hard(self, outputs: Tensor) -> Tensor:
        """Bins whose lower edge belongs to them."""
        from inferno_cli.training.edges import number

        own = outputs.double()
        found = own[..., 0].new_zeros(own.shape[:-1]).long()
        for column, edges in enumerate(self._known):
            found = found * (len(edges) - 1) + number(own[..., column], own.new_tensor(edges[1:-1]))
        return found

    def margin(self, outputs: Tensor) -> Tensor:
        """Distance from the nearest edge between two bins, in units of its feature."""
        import torch

        own, distances = outputs.double(), []
        for column, edges in enumerate(self._known):
            if len(edges) > 2:
                distances.append((own[..., column, None] - own.new_tensor(edges[1:-1])).abs().amin(dim=-1))
        return torch.stack(distances).amin(dim=0)

    def response(self, outputs: Tensor) -> Tensor:
        """The features."""
        return outputs.double()

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add the features, and their bin."""
        import numpy as np

        axis, found = graph.constant([-1], np.int64), ""
        for column, edges in enumerate(self._known):
            own = graph("Gather", outputs, graph.constant([column], np.int64), axis=-1)
            above = graph("GreaterOrEqual", own, graph.constant([*edges[1:-1], np.inf]))
            number = graph("ReduceSum", graph.cast(above, np.int64), axis, keepdims=0)
            if found:
                number = graph("Add", graph("Mul", found, graph.constant(len(edges) - 1, np.int64)), number)
            found = number
        return graph("Identity", outputs), found

    @property
    def _known(self) -> tuple[tuple[float, ...], ...]:
        if self.edges_at is None:
            raise ValueError("the edges of the histogram are not placed by a training yet")
        return self.edges_at
