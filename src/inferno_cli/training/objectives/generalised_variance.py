"""Several signals: the determinant of the covariance of their POIs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from inferno_cli.section import Names
from inferno_cli.training.objectives import FigureOfMerit, FitObjective


def root_of_determinant(covariance: Any) -> Any:
    """Return the K-th root of the determinant of the covariance of K POIs, shape (K, K), in the units of a variance."""
    from array_api_compat import array_namespace

    xp = array_namespace(covariance)
    return xp.exp(xp.linalg.slogdet(covariance)[1] / len(covariance))


class GeneralisedVariance(FitObjective):
    """The determinant of the covariance of POIs (Wilks' generalised variance): the area of their contour, squared.

    What the data say of any combination of the POIs counts, also where they cannot tell one POI from another: the
    variances of both are large then, and the determinant is not.
    """

    fixed: ClassVar[Names] = ("pois",)
    kind: Literal["generalised_variance"] = "generalised_variance"
    """The determinant of the covariance of several POIs."""
    pois: Annotated[Names, Field(min_length=1)] | None = None
    """The POIs; null: all."""

    def merit(self, pois: Names) -> FigureOfMerit:
        """Return the root of the determinant."""
        return FigureOfMerit(self.pois or pois, root_of_determinant)
