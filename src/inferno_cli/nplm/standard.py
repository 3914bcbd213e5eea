"""Features as the test sees them: chosen, and with mean 0 and standard deviation 1 in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.events.sample import FloatArray

if TYPE_CHECKING:
    from inferno_cli.nplm.pool import WeightedEvents


@dataclass(frozen=True, eq=False)
class Standard:
    """How features are standardised.

    Attributes:
        columns: Features that the test sees, by their number.
        mean, deviation: Of these in the reference, shape (n_columns,) each.
    """

    columns: tuple[int, ...]
    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def of(cls, events: WeightedEvents, names: Sequence[str], columns: Sequence[int]) -> Self:
        """Take them from the weighted events of the reference."""
        features = events.features[:, list(columns)].astype(float)
        mean = np.average(features, axis=0, weights=events.weights)
        deviation = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=events.weights))
        for column, size in zip(columns, deviation, strict=True):
            if not size > 0:
                raise DatasetError(f"feature {names[column]!r} is the same in all events; leave it out")
        return cls(tuple(columns), mean, deviation)

    def __call__(self, features: NDArray[np.float32]) -> FloatArray:
        """Return standardised features, shape (n_events, n_columns)."""
        return (features[:, list(self.columns)] - self.mean) / self.deviation
