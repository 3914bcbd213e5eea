"""An artificial shift of one feature, of any size, as in closure studies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inferno_cli.errors import closest
from inferno_cli.events.sample import Sample
from inferno_cli.events.systematic import MorphSystematic, Origin
from inferno_cli.section import Finite


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

    def check(self, key: str, dataset: Origin) -> None:
        """Refuse a feature that the dataset does not have."""
        if self.feature not in dataset.features:
            near = closest(self.feature, dataset.features)
            raise ValueError(f"{key}.feature: {self.feature!r} is not in dataset.features{near}")

    def vary(self, sample: Sample, parameter: str, dataset: Origin) -> Sample:
        """Add the events with the feature and the weight changed."""
        column, sides = dataset.features.index(self.feature), []
        for sign in (1, -1):
            moved = sample.features[0].copy()
            moved[:, column] += sign * self.size * (moved[:, column] if self.relative else 1)
            sides.append((moved, sample.weights[0] * (1 + sign * self.yield_change)))
        return sample.with_variation(parameter, *sides)
