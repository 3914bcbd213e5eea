"""A NormFactor: the yield of the samples floats without a constraint."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from inferno_cli.events.modifiers import NormFactor
from inferno_cli.events.systematic import Systematic
from inferno_cli.section import Finite, Names


class FreeNormalisation(Systematic):
    """A NormFactor: the yield of the samples floats without a constraint."""

    kind: Literal["free"]
    """Yield without a constraint."""
    bounds: tuple[Finite, Finite] = (0.0, 10.0)
    """Range in the fit, in units of the nominal yield."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.bounds[0] < 1 < self.bounds[1]:
            raise ValueError(f"bounds {list(self.bounds)} do not contain the nominal value 1")
        return self

    def modifier(self, members: Names) -> NormFactor:
        """Return a NormFactor."""
        return NormFactor(self.bounds)

    def true_yield(self, value: float) -> float:
        """Return the factor itself."""
        return value
