"""A dataset whose events are drawn: one signal and one background of known densities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inferno_cli.events.dataset import Request
from inferno_cli.events.drawn import DrawnDataset
from inferno_cli.events.sample import generator
from inferno_cli.section import POI, Names, Positive, Section

GeneratedCount = Annotated[int, Field(ge=100)]


class ExpectedYields(Section):
    """Expected events."""

    signal: Positive
    """Expected events of the signal."""
    background: Positive
    """Expected events of the background."""


class GeneratedEvents(Section):
    """Generated events of each split, half of them signal."""

    train: GeneratedCount
    """Events for the training."""
    validation: GeneratedCount
    """Events that choose the epoch."""
    template: GeneratedCount
    """Events for the templates that are fitted."""


class GeneratedDataset(DrawnDataset):
    """What every generated dataset has; a kind adds ``features``, its own keys (to ``made_by`` too) and ``draw``."""

    yields: ExpectedYields
    events: GeneratedEvents

    sample_names: ClassVar[Names] = ("signal", "background")
    signal_names: ClassVar[Names] = ("signal",)
    made_by: ClassVar[Names] = ("events", "downsample_factor", "yields")

    @property
    def expected(self) -> tuple[float, float]:
        """Expected events of signal and background."""
        return self.yields.signal * self.downsample_factor, self.yields.background * self.downsample_factor

    @abstractmethod
    def draw(self, rng: np.random.Generator, signal: int, background: int) -> list[NDArray[np.float32]]:
        """Draw so many events of the signal, then of the background, shape (n, n_features) each."""

    @property
    def split_sizes(self) -> dict[str, int]:
        """Events of each split, signal and background together."""
        return dict(self.events)

    @property
    def expected_yields(self) -> dict[str, float]:
        """Expected events of both samples."""
        return dict(zip(self.sample_names, self.expected, strict=True))

    def drawn(self, seed: int, split: str, size: int, names: Names) -> dict[str, NDArray[np.float32]]:
        """Draw both samples, half of the events each, whatever ``names`` are."""
        both = self.draw(generator(seed, split), size // 2, size - size // 2)
        return dict(zip(self.sample_names, both, strict=True))

    def drawn_observed(self, seed: int, names: Names) -> NDArray[np.float32]:
        """Draw Poisson numbers of both."""
        rng = generator(seed, "observed")
        return np.concatenate(self.draw(rng, *rng.poisson(self.expected)))

    def pseudo_data(
        self, request: Request, mu: float, values: Mapping[str, float], rng: np.random.Generator
    ) -> NDArray[np.float32] | None:
        """Draw Poisson numbers of nominal events, and change each as the true parameters do."""
        counts = []
        for name, expected in zip(self.sample_names, self.expected, strict=True):
            rate = expected * (mu if name in self.pois[POI] else 1.0) * (name in request.samples)
            for effect in request.effects_on(name):
                factor = effect.definition.true_yield(values[effect.parameter]) if effect.parameter in values else 1.0
                if factor is None:
                    return None
                rate *= factor
            counts.append(rng.poisson(rate))
        parts = []
        for name, features in zip(self.sample_names, self.draw(rng, *counts), strict=True):
            for effect in request.effects_on(name):
                if effect.parameter in values:
                    features = effect.definition.true_features(features, values[effect.parameter], self)
            parts.append(features)
        return np.concatenate(parts)
