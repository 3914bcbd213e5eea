"""An artificial shift of one feature, of any size, as in closure studies."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
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
        sides = []
        for sign in (1, -1):
            moved = self._shifted(sample.features[0], sign, dataset)
            sides.append((moved, sample.weights[0] * (1 + sign * self.yield_change)))
        return sample.with_variation(parameter, *sides)

    def _shifted(self, features: NDArray[np.float32], steps: float, dataset: Origin) -> NDArray[np.float32]:
        column, moved = dataset.features.index(self.feature), features.copy()
        moved[:, column] += steps * self.size * (moved[:, column] if self.relative else 1)
        return moved

    def true_yield(self, value: float) -> float:
        """Return the change of the yield, which is linear."""
        return 1 + self.scale * value * self.yield_change if self.part != "shape" else 1.0

    def true_features(self, features: NDArray[np.float32], value: float, dataset: Origin) -> NDArray[np.float32]:
        """Return the events shifted so many times."""
        return self._shifted(features, self.scale * value, dataset)

    def is_possible(self, value: float, dataset: Origin) -> bool:
        """Whether the yield is not negative."""
        return self.true_yield(value) >= 0
