"""The nominal events with other weights: efficiencies, parton densities, ..."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from inferno_cli.events.sample import Direction
from inferno_cli.events.systematic import MorphSystematic, Origin
from inferno_cli.section import parsable

MEMBER = "{member}"
"""In the expressions of eigenvectors, the number of one."""


def _parsable_for_member(text: str) -> str:
    parsable(text.replace(MEMBER, "0"))
    return text


VariedWeight = Annotated[str, AfterValidator(_parsable_for_member)]
"""An expression of branches, of ``weight``, and of the number of an eigenvector."""


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
    """One parameter for the sum of eigenvectors in quadrature; without it one each, NAME_MEMBER."""

    @model_validator(mode="after")
    def _members(self) -> Self:
        for key in ("up", "down"):
            if (self.members is not None) != (MEMBER in getattr(self, key)):
                raise ValueError(
                    f"{key} is {getattr(self, key)!r} and members is {self.members}: eigenvectors need {{member}} in "
                    "both expressions, and members for their number"
                )
        return self

    def check(self, key: str, dataset: Origin) -> None:
        """Refuse generated events."""
        if not dataset.has_files:
            raise ValueError(f"{key}: the dataset has no weight branches; kind 'weight' is for ntuples")

    def parameters(self, name: str, sample: str) -> dict[str, dict[str, int]]:
        """Return one parameter, or one for each eigenvector."""
        (parameter,) = found = super().parameters(name, sample)
        if self.members is None:
            return found
        labels = {f"{parameter}_{number}": number for number in range(self.members)}
        if self.envelope:
            return {parameter: labels}
        return {label: {label: number} for label, number in labels.items()}

    def varied_weight(self, direction: Direction, number: int) -> str:
        """Return the expression of one eigenvector."""
        text = self.up if direction == "up" else self.down
        return text.replace(MEMBER, str(number))
