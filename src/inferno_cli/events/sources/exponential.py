"""One variable that falls exponentially: the tutorial problem of the New Physics Learning Machine.

arXiv:1806.02350, section 4.1: the reference is exp(-x); a signal is a peak in the tail or the bulk, or an excess in the
tail, x^2 exp(-x) / 2.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator

from inferno_cli.events.generated import GeneratedDataset
from inferno_cli.section import Names, Positive, Section


class Peak(Section):
    """A Gaussian peak."""

    kind: Literal["peak"]
    """A peak."""
    mean: Positive
    """Its mean."""
    width: Positive
    """Its standard deviation."""

    def draw(self, rng: np.random.Generator, number: int) -> NDArray[np.float64]:
        """Draw so many events; the few below 0 are taken at their absolute value."""
        return np.abs(rng.normal(self.mean, self.width, number))


class Tail(Section):
    """An excess of events in the tail, with the density x^2 exp(-x) / 2."""

    kind: Literal["tail"]
    """A tail."""

    def draw(self, rng: np.random.Generator, number: int) -> NDArray[np.float64]:
        """Draw so many events."""
        return rng.gamma(3.0, 1.0, number)


class ExponentialDataset(GeneratedDataset):
    """An exponential background in one variable, and a signal in it."""

    kind: Literal["exponential"]
    """An exponential."""
    signal: Annotated[Peak | Tail, Discriminator("kind")]
    """Density of the signal."""

    features: ClassVar[Names] = ("x",)
    made_by: ClassVar[Names] = (*GeneratedDataset.made_by, "signal")

    def draw(self, rng: np.random.Generator, signal: int, background: int) -> list[NDArray[np.float32]]:
        """Draw so many events of the signal, then of the background."""
        drawn = (self.signal.draw(rng, signal), rng.exponential(1.0, background))
        return [values[:, None].astype(np.float32) for values in drawn]
