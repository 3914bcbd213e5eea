"""Systematic uncertainties: what can vary, and how."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.config.section import Finite, Names, Positive, Section


class Systematic(Section):
    """What every systematic uncertainty has."""

    samples: Annotated[Names, Field(min_length=1)]
    """The samples that it touches."""


class ShapeSystematic(Systematic):
    """Events shifted and selected again, in trees of their own (jet energy scale, ...)."""

    kind: Literal["shape"]
    normalisation: bool = True
    """Keep the change of the yield; without it only the shape varies."""


class WeightSystematic(Systematic):
    """The nominal events with other weights; expressions may use ``weight`` for the nominal one."""

    kind: Literal["weight"]
    up: str
    down: str
    normalisation: bool = True


class TransformSystematic(Systematic):
    """An exact change of one parameter of the synthetic mixture by ``width``."""

    kind: Literal["transform"]
    parameter: Literal["r", "lambda"]
    width: Positive
    """One standard deviation of the constraint, and the step of the templates."""


class NormalisationSystematic(Systematic):
    """A log-normal-like change of the yield, relative: one number, or one for up and one for down."""

    kind: Literal["normalisation"]
    size: (
        Annotated[float, Field(gt=0, lt=1)]
        | tuple[Annotated[float, Field(gt=-1, lt=1)], Annotated[float, Field(gt=-1, lt=1)]]
    )

    @property
    def factors(self) -> tuple[float, float]:
        """Yield at +1 and at -1 standard deviation, relative to the nominal."""
        up, down = self.size if isinstance(self.size, tuple) else (self.size, -self.size)
        return 1 + up, 1 + down


class FreeNormalisation(Systematic):
    """A NormFactor: the yield of the samples floats without a constraint."""

    kind: Literal["free"]
    bounds: tuple[Finite, Finite] = (0.0, 10.0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.bounds[0] < 1 < self.bounds[1]:
            raise ValueError(f"bounds {list(self.bounds)} do not contain the nominal value 1")
        return self


AnySystematic = Annotated[
    ShapeSystematic | WeightSystematic | TransformSystematic | NormalisationSystematic | FreeNormalisation,
    Field(discriminator="kind"),
]
