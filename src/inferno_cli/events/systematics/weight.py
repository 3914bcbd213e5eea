"""The nominal events with other weights: efficiencies, parton densities, ..."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from inferno_cli.events.sample import DIRECTIONS, Direction
from inferno_cli.events.systematic import OneSided, Origin
from inferno_cli.section import parsable

MEMBER = "{member}"
"""In the expressions of eigenvectors, the number of one."""


def _parsable_for_member(text: str) -> str:
    parsable(text.replace(MEMBER, "0"))
    return text


VariedWeight = Annotated[str, AfterValidator(_parsable_for_member)]
"""An expression of branches, of ``weight``, and of the number of an eigenvector."""


class WeightSystematic(OneSided):
    """The nominal events with other weights; expressions may use ``weight`` for the nominal one."""

    can_be_by_era: ClassVar[bool] = True

    kind: Literal["weight"]
    """Other weights."""
    up: VariedWeight
    """Weight at +1, an expression of branches."""
    down: VariedWeight | None = None
    """Weight at -1; null: there is none, see ``symmetrise``."""
    members: Annotated[int, Field(ge=2)] | None = None
    """Eigenvector pairs: {member} in ``up`` and ``down`` counts from 0."""
    envelope: bool = True
    """One parameter for the sum of eigenvectors in quadrature; without it one each, NAME_MEMBER."""

    @model_validator(mode="after")
    def _members(self) -> Self:
        for key in self.sides:
            text = self.up if key == "up" else self.down or ""
            if (self.members is not None) != (MEMBER in text):
                raise ValueError(
                    f"{key} is {text!r} and members is {self.members}: eigenvectors need {{member}} in "
                    "both expressions, and members for their number"
                )
        return self

    @property
    def sides(self) -> tuple[Direction, ...]:
        """Both, or up alone."""
        return DIRECTIONS[:1] if self.down is None else DIRECTIONS

    def check(self, key: str, dataset: Origin) -> None:
        """Refuse generated events."""
        if not dataset.has_files:
            raise ValueError(f"{key}: the dataset has no weight branches; kind 'weight' is for ntuples")

    def parameters(self, name: str, sample: str, part: str = "") -> dict[str, dict[str, int]]:
        """Return one parameter, or one for each eigenvector."""
        (parameter,) = found = super().parameters(name, sample, part)
        if self.members is None:
            return found
        labels = {f"{parameter}_{number}": number for number in range(self.members)}
        if self.envelope:
            return {parameter: labels}
        return {label: {label: number} for label, number in labels.items()}

    def varied_weight(self, direction: Direction, number: int) -> str | None:
        """Return the expression of one eigenvector; None: there is no such direction."""
        text = self.up if direction == "up" else self.down
        return None if text is None else text.replace(MEMBER, str(number))
