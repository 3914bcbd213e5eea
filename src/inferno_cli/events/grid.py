"""A dataset that is drawn: signals on a grid of parameters, such as masses, and one background."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inferno_cli.events.drawn import DrawnDataset
from inferno_cli.events.sample import generator
from inferno_cli.section import Finite, Names, Positive, Section

EventsPerSample = Annotated[int, Field(ge=10)]
Axis = Annotated[tuple[Finite, ...], Field(min_length=1)]
Point = Annotated[tuple[Finite, ...], Field(min_length=1)]
Values = tuple[float, ...]
"""Values of the parameters of a signal, in their order."""
BACKGROUND = "background"


class GridEvents(Section):
    """Generated events of each split, of every sample."""

    train: EventsPerSample
    """Events for the training."""
    validation: EventsPerSample
    """Events that choose the epoch."""
    template: EventsPerSample
    """Events for the templates that are fitted."""


class GridYields(Section):
    """Expected events."""

    signal: Positive
    """Expected events of a signal."""
    background: Positive
    """Expected events of the background."""


class GridDataset(DrawnDataset):
    """Signals on a grid; a kind adds ``features``, its own keys (to ``made_by`` too), and how both are drawn."""

    grid: Annotated[dict[str, Axis], Field(min_length=1)]
    """Values of each parameter, by name; every combination is a signal."""
    absent: tuple[Point, ...] = ()
    """Points of the grid that have no signal, each as a list of values."""
    events: GridEvents
    yields: GridYields

    made_by: ClassVar[Names] = ("grid", "absent", "events", "downsample_factor", "yields")

    @abstractmethod
    def draw_signal(self, rng: np.random.Generator, n: int, at: Values) -> NDArray[np.float64]:
        """Draw events of the signal with these parameters, shape (n, n_features)."""

    @abstractmethod
    def draw_background(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw events of the background, shape (n, n_features)."""

    def has_signal(self, at: Values) -> bool:
        """Whether there is such a signal at all."""
        return True

    def acceptance(self, at: Values) -> float:
        """Share of ``yields.signal`` that is selected of a signal."""
        return 1.0

    # ------------------------------------------------------------------------------------------ what it holds
    @property
    def points(self) -> dict[str, Values]:
        """Parameters of every signal, by the name of its sample."""
        found = {}
        for at in itertools.product(*self.grid.values()):
            if at not in self.absent and self.has_signal(at):
                found["_".join(["signal", *(f"{value:g}" for value in at)])] = at
        return found

    @property
    def sample_parameters(self) -> dict[str, dict[str, float]]:
        """Values of the parameters of every signal, by sample."""
        return {name: dict(zip(self.grid, at, strict=True)) for name, at in self.points.items()}

    @property
    def signal_names(self) -> Names:
        """One for each point."""
        return tuple(self.points)

    @property
    def sample_names(self) -> Names:
        """The signals, and the background."""
        return (*self.signal_names, BACKGROUND)

    @property
    def split_sizes(self) -> dict[str, int]:
        """Events of each split, of every sample."""
        return dict(self.events)

    @property
    def expected_yields(self) -> dict[str, float]:
        """Expected events of each sample."""
        found = {BACKGROUND: self.yields.background * self.downsample_factor}
        for name, at in self.points.items():
            found[name] = self.yields.signal * self.acceptance(at) * self.downsample_factor
        return found

    def drawn(self, seed: int, split: str, size: int, names: Names) -> dict[str, NDArray[np.float32]]:
        """Draw the samples that are asked for, each from a generator of its own."""
        found = {}
        for name in self.sample_names:
            if name in names:
                found[name] = self._events(generator(seed, f"{split} {name}"), size, name)
        return found

    def drawn_observed(self, seed: int, names: Names) -> NDArray[np.float32]:
        """Draw Poisson numbers of the samples that are asked for."""
        parts = []
        for name, expected in self.expected_yields.items():
            if name in names:
                rng = generator(seed, f"observed {name}")
                parts.append(self._events(rng, int(rng.poisson(expected)), name))
        return np.concatenate(parts)

    def _events(self, rng: np.random.Generator, n: int, name: str) -> NDArray[np.float32]:
        if name == BACKGROUND:
            return self.draw_background(rng, n).astype(np.float32)
        return self.draw_signal(rng, n, self.points[name]).astype(np.float32)

    # ------------------------------------------------------------------------------------------------- checks
    def check(self) -> None:
        """Refuse points that are none of the grid, and a grid without signals."""
        for at in self.absent:
            if at not in set(itertools.product(*self.grid.values())):
                raise ValueError(f"absent: {list(at)} is no point of the grid of {', '.join(self.grid)}")
        if not self.points:
            raise ValueError("grid: no point of it has a signal")
