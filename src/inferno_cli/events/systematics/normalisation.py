"""A change of the yield with a constraint."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.events.modifiers import NormSys
from inferno_cli.events.systematic import Systematic
from inferno_cli.section import Names, Positive

Change = Annotated[float, Field(gt=-1, lt=1)]


class NormalisationSystematic(Systematic):
    """A log-normal-like change of the yield, relative: one number, or one for up and one for down."""

    kind: Literal["normalisation"]
    """Yield with a constraint."""
    size: Annotated[float, Field(gt=0, lt=1)] | tuple[Change, Change]
    """Relative change of the yield at one standard deviation; two numbers: up and down."""
    scale: Positive = 1.0
    """Multiplies size."""

    @property
    def factors(self) -> tuple[float, float]:
        """Yield at +1 and at -1 standard deviation, relative to the nominal."""
        up, down = self.size if isinstance(self.size, tuple) else (self.size, -self.size)
        return 1 + self.scale * up, 1 + self.scale * down

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if min(self.factors) <= 0:
            raise ValueError(f"size times scale takes the yield to {min(self.factors):g} of the nominal; lower scale")
        return self

    def modifier(self, members: Names) -> NormSys:
        """Return a normsys."""
        return NormSys(self.factors)

    def true_yield(self, value: float) -> float:
        """Return a power of the factor at +1, or at -1: log-normal on either side."""
        up, down = self.factors
        return float(up**value if value > 0 else down**-value)
