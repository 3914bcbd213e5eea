"""Several signals: the sum of the logarithms of the variances of their POIs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from inferno_cli.section import Names
from inferno_cli.training.objectives import FigureOfMerit, FitObjective


def geometric_mean(covariance: Any) -> Any:
    """Return the geometric mean of the variances, given the covariance of K POIs, shape (K, K).

    Its minimum is that of the sum of their logarithms, and it has the units of a variance.
    """
    from array_api_compat import array_namespace

    xp = array_namespace(covariance)
    return xp.exp(xp.mean(xp.log(xp.linalg.diagonal(covariance))))


class LogVariances(FitObjective):
    """The sum of the logarithms of the variances of POIs, each with all others profiled.

    A relative gain counts the same for each POI, however large its error is.
    """

    fixed: ClassVar[Names] = ("pois",)
    kind: Literal["log_variances"] = "log_variances"
    """The sum of the logarithms of the variances of several POIs."""
    pois: Annotated[Names, Field(min_length=1)] | None = None
    """The POIs; null: all."""

    def merit(self, pois: Names) -> FigureOfMerit:
        """Return the geometric mean of their variances."""
        return FigureOfMerit(self.pois or pois, geometric_mean)
