"""A change of the yield with a constraint."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.events.modifiers import Morph, NormSys
from inferno_cli.events.sample import DIRECTIONS, Direction
from inferno_cli.events.systematic import Systematic
from inferno_cli.section import Names, Positive

Change = Annotated[float, Field(gt=-1, lt=1)]


class NormalisationSystematic(Systematic):
    """A log-normal-like change of the yield, relative: one number, or one for up and one for down.

    Of one era it changes the weights of the events of that era: in the templates of all eras that is a change of the
    yield and, where the eras differ, of the shape.
    """

    can_be_by_era: ClassVar[bool] = True

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

    def modifier(self, members: Names) -> NormSys | Morph:
        """Return a normsys; of one era a shape, whose templates are those of the varied weights."""
        return Morph(members) if self.parameter_by == "era" else NormSys(self.factors)

    def varied_weight(self, direction: Direction, number: int) -> str | None:
        """Return the weight of the events of an era; None: the yield of the templates is changed, not the events."""
        if self.parameter_by != "era":
            return None
        return f"weight * {self.factors[DIRECTIONS.index(direction)]!r}"

    def true_yield(self, value: float) -> float | None:
        """Return a power of the factor at +1, or at -1: log-normal on either side; None for one era."""
        if self.parameter_by == "era":
            return None
        up, down = self.factors
        return float(up**value if value > 0 else down**-value)
