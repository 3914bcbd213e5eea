"""Events shifted and selected again, in trees of their own (jet energy scale, ...)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.events.sample import DIRECTIONS, Direction
from inferno_cli.events.systematic import OneSided, Origin, ShiftedTrees

SIDES = ("{direction}", "{Direction}", "{DIRECTION}")
"""Placeholders of the direction: up, Up or UP."""


class ShapeSystematic(OneSided):
    """Events shifted and selected again, in trees of their own (jet energy scale, ...)."""

    can_be_by_era: ClassVar[bool] = True

    kind: Literal["shape"]
    """Shifted trees."""
    source: str | None = None
    """What {systematic} is in dataset.variation; the name of the systematic without."""
    directions: Annotated[tuple[Direction, ...], Field(min_length=1)] | None = None
    """Directions that have a tree; null: both, or up alone where the patterns of the systematic name no direction."""
    variation: str | None = None
    """What {variation} is, in place of dataset.variation; may hold {systematic}, and {direction}, {Direction}
    or {DIRECTION}: up, Up or UP."""
    tree: str | None = None
    """Name of the tree, in place of that of the dataset or sample; may hold {sample}, {variation} and what that may."""
    file: str | None = None
    """Glob of the files, in place of that of the dataset or sample; may hold what ``tree`` may."""
    paired: bool = True
    """Whether its trees hold the nominal events, shifted; false: other events, as those of another generator are."""

    @model_validator(mode="after")
    def _each_direction_once(self) -> Self:
        if self.directions is not None and len(set(self.directions)) < len(self.directions):
            raise ValueError(f"directions has one twice: {', '.join(self.directions)}")
        return self

    @property
    def sides(self) -> tuple[Direction, ...]:
        """Those that were said, or that the patterns of its own name."""
        if self.directions is not None:
            return self.directions
        return DIRECTIONS if self._names_direction() else DIRECTIONS[:1]

    def _names_direction(self) -> bool:
        """Whether its patterns can tell up from down; the dataset's are taken to do so."""
        of_trees = [text for text in (self.tree, self.file) if text is not None]
        if any(side in text for side in SIDES for text in of_trees):
            return True
        if of_trees and not any("{variation}" in text for text in of_trees):
            return False
        return self.variation is None or any(side in self.variation for side in SIDES)

    def check(self, key: str, dataset: Origin) -> None:
        """Refuse generated events, and such that cannot be paired."""
        if not dataset.has_files:
            raise ValueError(f"{key}: the dataset has no trees; kind 'shape' is for ntuples")
        if not dataset.id_branches:
            raise ValueError(f"{key}: pairing shifted events needs dataset.event_id")

    def shifted_trees(self, name: str) -> ShiftedTrees:
        """Return the source, or its own name, and its patterns."""
        return ShiftedTrees(
            systematic=name,
            source=self.source or name,
            directions=self.sides,
            variation=self.variation,
            tree=self.tree,
            file=self.file,
            paired=self.paired,
            by_era=self.parameter_by == "era",
        )
