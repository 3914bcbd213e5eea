"""How many events each cut leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALL = "all events"


@dataclass(frozen=True)
class CutFlow:
    """How many events, and which sum of weights, are left after each cut; the first is every event."""

    cuts: tuple[str, ...]
    events: tuple[int, ...]
    weights: tuple[float, ...]

    def __add__(self, other: CutFlow) -> CutFlow:
        """Cut flow of both sets of events."""
        if self.cuts != other.cuts:
            raise ValueError(f"cut flows of different selections: {self.cuts} and {other.cuts}")
        return CutFlow(
            self.cuts,
            tuple(a + b for a, b in zip(self.events, other.events, strict=True)),
            tuple(a + b for a, b in zip(self.weights, other.weights, strict=True)),
        )

    def scaled(self, factor: float) -> CutFlow:
        """Return the same with every weight multiplied."""
        return CutFlow(self.cuts, self.events, tuple(factor * weight for weight in self.weights))

    def lines(self, title: str) -> Iterable[str]:
        """Yield the rows of a table: the cut, events left, and their share of the cut before."""
        width = max(map(len, (*self.cuts, title)))
        yield f"{title:<{width}}  {'events':>10}  {'of before':>9}  {'weighted':>12}"
        before = self.events[0]
        for cut, number, weight in zip(self.cuts, self.events, self.weights, strict=True):
            share = f"{number / before:9.1%}" if before else f"{'-':>9}"
            yield f"{cut:<{width}}  {number:>10}  {share}  {weight:>12.6g}"
            before = number
