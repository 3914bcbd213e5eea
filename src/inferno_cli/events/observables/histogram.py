"""A histogram of an expression of branches, with edges of the user's."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from inferno_cli.events.channel import NO_BIN, ChannelObservable
from inferno_cli.section import ExpressionText, Finite, Shown, with_unit


class Histogram(ChannelObservable):
    """A histogram of an expression."""

    kind: Literal["histogram"] = "histogram"
    """A histogram of an expression."""
    expression: ExpressionText
    """What is histogrammed, an expression of branches."""
    edges: Annotated[tuple[Finite, ...], Field(min_length=2)]
    """Edges of the bins, ascending; a bin has its lower edge."""
    overflow: bool = False
    """Count what is beyond the edges in the first and the last bin; else it is in no bin."""
    title: Shown | None = None
    """What plots call it; null: the expression."""
    unit: Shown | None = None
    """Its unit in plots, such as GeV."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(high <= low for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"edges are {list(self.edges)}, expected ascending numbers")
        return self

    @property
    def variable(self) -> str:
        """The expression."""
        return self.expression

    @property
    def n_bins(self) -> int:
        """One less than edges."""
        return len(self.edges) - 1

    @property
    def edges_of_bins(self) -> tuple[float, ...]:
        """The edges."""
        return self.edges

    @property
    def axis(self) -> str:
        """The title and the unit."""
        return with_unit(self.title or self.expression, self.unit)

    def bins(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the bin between whose edges a value is."""
        found = np.searchsorted(np.array(self.edges), values, side="right") - 1
        if self.overflow:
            return found.clip(0, self.n_bins - 1).astype(np.int32)
        return np.where((found >= 0) & (found < self.n_bins), found, NO_BIN).astype(np.int32)
