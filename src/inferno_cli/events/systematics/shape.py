"""Events shifted and selected again, in trees of their own (jet energy scale, ...)."""

from __future__ import annotations

from typing import Literal

from inferno_cli.events.systematic import MorphSystematic, Origin


class ShapeSystematic(MorphSystematic):
    """Events shifted and selected again, in trees of their own (jet energy scale, ...)."""

    kind: Literal["shape"]
    """Shifted trees."""
    source: str | None = None
    """What {systematic} is in dataset.variation; the name of the systematic without."""

    def check(self, key: str, dataset: Origin) -> None:
        """Refuse generated events, and such that cannot be paired."""
        if not dataset.has_files:
            raise ValueError(f"{key}: the dataset has no trees; kind 'shape' is for ntuples")
        if not dataset.id_branches:
            raise ValueError(f"{key}: pairing shifted events needs dataset.event_id")

    def shifted_trees(self, name: str) -> str:
        """Return the source, or its own name."""
        return self.source or name
