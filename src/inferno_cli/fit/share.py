"""A share that was counted, with the error of the counting."""

from __future__ import annotations

import math

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Share:
    """So many of all."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share."""
        return self.count / self.total

    @property
    def error(self) -> float:
        """Half of Wilson's interval of one standard deviation: the binomial error, and not 0 of none and of all."""
        share, n = self.value, self.total
        return math.sqrt(share * (1 - share) / n + 1 / (4 * n * n)) / (1 + 1 / n)

    def __str__(self) -> str:
        return f"{self.value:.3g} ±{self.error:.2g}"
