"""What f can be: each file is a kind of function, its section of the configuration and how it is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from inferno_cli.section import Section

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from inferno_cli.events.sample import FloatArray


class Exponent(Protocol):
    """A function of the features with parameters, of many toys at once, in torch and float64.

    Attributes:
        n_parameters: P.
        bound: Largest absolute value of each parameter, shape (P,); infinity: any.
        ridge: Strength of a penalty, ridge / 2 times the square of each parameter, shape (P,).
    """

    n_parameters: int
    bound: Tensor
    ridge: Tensor

    def value(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Return the function, shape (toys, events), of features (toys, events, features)."""

    def jacobian(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the function, and its derivatives in the parameters, shape (toys, events, P)."""

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Return parameters at which a fit begins, shape (P,): the function is 0 there."""


class Alternative(Section, ABC):
    """What every kind of function answers.

    Attributes:
        has_clip: Whether a clip can be tuned: that its number of parameters is that of the degrees of freedom.
    """

    has_clip: ClassVar[bool] = False
    kind: str

    @abstractmethod
    def build(self, reference: FloatArray, rng: np.random.Generator, device: str) -> Exponent:
        """Return the function, given standardised events of the reference, shape (n_events, n_features)."""

    @property
    def clip_to_tune(self) -> tuple[float, float] | None:
        """Range in which the clip is looked for; None: there is nothing to tune."""
        return None

    def clipped(self, clip: float) -> Self:  # noqa: ARG002
        """Return the function with a clip."""
        return self
