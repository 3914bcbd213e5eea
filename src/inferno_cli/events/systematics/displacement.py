"""Events displaced by a vector, another one on each side: a mean that is known to lie between two points."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inferno_cli.errors import closest
from inferno_cli.events.sample import Sample
from inferno_cli.events.systematic import MorphSystematic, Origin
from inferno_cli.section import Finite

Displacement = Annotated[dict[str, Finite], Field(min_length=1)]


class DisplacementSystematic(MorphSystematic):
    """The nominal events displaced by a vector at +1 and by another one at -1, without a change of the yield."""

    kind: Literal["displacement"]
    """Displaced events."""
    up: Displacement
    """What is added to features at +1, in their units; the others stay."""
    down: Displacement
    """What is added to features at -1."""

    def check(self, key: str, dataset: Origin) -> None:
        """Refuse features that the dataset does not have."""
        for side, displacement in (("up", self.up), ("down", self.down)):
            for feature in displacement:
                if feature not in dataset.features:
                    near = closest(feature, dataset.features)
                    raise ValueError(f"{key}.{side}: {feature!r} is not in dataset.features{near}")

    def vary(self, sample: Sample, parameter: str, dataset: Origin) -> Sample:
        """Add the events displaced to both sides, which are the nominal ones, one by one."""
        sides = []
        for value in (1.0, -1.0):
            sides.append((self._displaced(sample.features[0], value, dataset), sample.weights[0]))
        return sample.with_variation(parameter, *sides)

    def true_yield(self, value: float) -> float:
        """Return 1: no event is lost."""
        return 1.0

    def true_features(self, features: NDArray[np.float32], value: float, dataset: Origin) -> NDArray[np.float32]:
        """Return the events displaced by a share of the vector of their side."""
        return self._displaced(features, self.scale * value if self.part != "norm" else 0.0, dataset)

    def _displaced(self, features: NDArray[np.float32], value: float, dataset: Origin) -> NDArray[np.float32]:
        moved = features.copy()
        for feature, change in (self.up if value > 0 else self.down).items():
            moved[:, dataset.features.index(feature)] += abs(value) * change
        return moved
