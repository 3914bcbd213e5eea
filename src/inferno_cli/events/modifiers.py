"""HistFactory's modifiers, before there are templates: what a systematic becomes in the likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Direction, Variation

MorphPart = Literal["both", "norm", "shape"]
Smoothing = Literal["353QH_twice"]


@dataclass(frozen=True)
class NormFactor:
    """A yield without a constraint; ``bounds`` is its range in the fit, in units of the nominal yield."""

    bounds: tuple[float, float]

    def yield_changes(self, yields: Mapping[Variation, float]) -> None:
        """Return None: one standard deviation has no size."""


@dataclass(frozen=True)
class NormSys:
    """A yield with a constraint; ``factors`` is the yield at +1 and at -1, relative to the nominal."""

    factors: tuple[float, float]

    def yield_changes(self, yields: Mapping[Variation, float]) -> tuple[float, float]:
        """Return the relative change of the yield, up and down."""
        return self.factors[0] - 1, self.factors[1] - 1


@dataclass(frozen=True)
class Morph:
    """Templates that move with a parameter.

    Attributes:
        members: Labels of the variations: one, or several of an envelope, which are summed in quadrature.
        scale: One standard deviation is this many times the variation.
        part: What of the change counts: all of it, that of the yield, or that of the shape.
        missing: The direction of which there are no events, and the nominal ones stand in its place.
        mirror: The missing direction is the mirror image of the other one, 2 nominal - varied; else the nominal.
        smooth: Algorithm that smooths the final templates.
    """

    members: tuple[str, ...]
    scale: float = 1.0
    part: MorphPart = "both"
    missing: Direction | None = None
    mirror: bool = False
    smooth: Smoothing | None = None

    def yield_changes(self, yields: Mapping[Variation, float]) -> tuple[float, float]:
        """Return the relative change of the yield, up and down; of an envelope the sums in quadrature."""
        if self.part == "shape":
            return 0.0, 0.0
        pairs = np.empty((len(self.members), 2))
        for i, label in enumerate(self.members):
            for j, direction in enumerate(DIRECTIONS):
                pairs[i, j] = self.scale * (yields[Variation(label, direction)] / yields[NOMINAL] - 1)
        if self.mirror and self.missing is not None:
            missing = DIRECTIONS.index(self.missing)
            pairs[:, missing] = -pairs[:, 1 - missing]
        if len(pairs) == 1:
            return float(pairs[0, 0]), float(pairs[0, 1])
        highest, lowest = pairs.max(axis=1).clip(min=0), pairs.min(axis=1).clip(max=0)
        return float(np.sqrt((highest**2).sum())), -float(np.sqrt((lowest**2).sum()))


Modifier = NormFactor | NormSys | Morph
