"""Systematic uncertainties: what can vary, how, and with which nuisance parameter."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from inferno_cli.section import Finite, Names, Positive, Section, parsable

MEMBER = "{member}"
"""In the expressions of eigenvectors, the number of one."""


def _parsable_for_member(text: str) -> str:
    parsable(text.replace(MEMBER, "0"))
    return text


VariedWeight = Annotated[str, AfterValidator(_parsable_for_member)]
"""An expression of branches, of ``weight``, and of the number of an eigenvector."""


class Systematic(Section):
    """What every systematic uncertainty has."""

    samples: Annotated[Names, Field(min_length=1)]
    """The samples that it touches."""
    modifier_name: str | None = None
    """Its nuisance parameter, if not its own name: systematics that share one are fully correlated."""
    correlated: bool = True
    """One nuisance parameter for all samples; without it each sample has its own, NAME_SAMPLE."""
    group: str | None = None
    """Part of the error of mu that it is counted in; without it the fit groups by the type of the modifier."""

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if self.modifier_name is not None and not self.correlated:
            raise ValueError(
                f"modifier_name {self.modifier_name!r} shares one parameter, and correlated=false asks for one per "
                "sample; drop one of the two"
            )
        return self


class MorphSystematic(Systematic):
    """A systematic that moves events between bins, so that its templates can be scaled."""

    scale: Positive = 1.0
    """Size of one standard deviation in units of what the up and down variations are."""
    normalisation: bool = True
    """Keep the change of the yield; without it only the shape varies."""


class ShapeSystematic(MorphSystematic):
    """Events shifted and selected again, in trees of their own (jet energy scale, ...)."""

    kind: Literal["shape"]
    """Shifted trees."""
    source: str | None = None
    """What {systematic} is in dataset.variation; the name of the systematic without."""


class WeightSystematic(MorphSystematic):
    """The nominal events with other weights; expressions may use ``weight`` for the nominal one."""

    kind: Literal["weight"]
    """Other weights."""
    up: VariedWeight
    """Weight at +1, an expression of branches."""
    down: VariedWeight
    """Weight at -1."""
    members: Annotated[int, Field(ge=2)] | None = None
    """Eigenvector pairs: {member} in ``up`` and ``down`` counts from 0."""
    envelope: bool = True
    """Of eigenvectors: one parameter for their sum in quadrature; without it one each, NAME_MEMBER."""

    @model_validator(mode="after")
    def _members(self) -> Self:
        for key in ("up", "down"):
            if (self.members is not None) != (MEMBER in getattr(self, key)):
                raise ValueError(
                    f"{key} is {getattr(self, key)!r} and members is {self.members}: eigenvectors need {{member}} in "
                    "both expressions, and members for their number"
                )
        return self


class ShiftSystematic(MorphSystematic):
    """An artificial shift of one feature, with a change of the yield, as in closure studies."""

    kind: Literal["shift"]
    """Artificial shift."""
    feature: str
    """The feature that is shifted."""
    size: Finite
    """Added to the feature at +1 and subtracted at -1, in its units; with ``relative`` a fraction of its value."""
    relative: bool = False
    """Shift by a fraction of the value."""
    yield_change: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    """Relative change of the yield at +1, the opposite at -1."""


class TransformSystematic(Systematic):
    """An exact change of one parameter of the synthetic mixture."""

    kind: Literal["transform"]
    """Exact transformation."""
    parameter: Literal["r", "lambda"]
    """Parameter of the mixture."""
    width: Positive
    """One standard deviation of the constraint."""
    step: Positive | None = None
    """How far the templates are from the nominal; null: ``width``. Beyond a smaller step they are extrapolated."""

    @property
    def moved(self) -> float:
        """Change of the parameter in the varied events."""
        return self.width if self.step is None else self.step

    @property
    def scale(self) -> float:
        """One standard deviation, in units of the change in the varied events."""
        return self.width / self.moved


class NormalisationSystematic(Systematic):
    """A log-normal-like change of the yield, relative: one number, or one for up and one for down."""

    kind: Literal["normalisation"]
    """Yield with a constraint."""
    size: (
        Annotated[float, Field(gt=0, lt=1)]
        | tuple[Annotated[float, Field(gt=-1, lt=1)], Annotated[float, Field(gt=-1, lt=1)]]
    )
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


AnySystematic = Annotated[
    ShapeSystematic
    | WeightSystematic
    | ShiftSystematic
    | TransformSystematic
    | NormalisationSystematic
    | FreeNormalisation,
    Field(discriminator="kind"),
]
