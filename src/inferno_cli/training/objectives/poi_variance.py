"""INFERNO (arXiv:1806.04743): the variance of a POI in the fit of the soft templates."""

from __future__ import annotations

from typing import ClassVar, Literal

from inferno_cli.section import POI, Names
from inferno_cli.training.objectives import FigureOfMerit, FitObjective


class PoiVariance(FitObjective):
    """The variance of one POI, everything else profiled, other POIs too."""

    fixed: ClassVar[Names] = ("poi",)
    kind: Literal["poi_variance"] = "poi_variance"
    """The variance of one POI in the fit."""
    poi: str = POI
    """The POI."""

    def merit(self, pois: Names) -> FigureOfMerit:  # noqa: ARG002
        """Return its variance."""
        return FigureOfMerit((self.poi,))
