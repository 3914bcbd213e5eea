"""The determinant of a covariance: of all parameters of the fit, or of the POIs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from inferno_cli.section import POI, Names
from inferno_cli.training.objectives import FigureOfMerit, FitObjective

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.likelihood.expectation import Expectation


def root_of_determinant(covariance: Any) -> Any:
    """Return the K-th root of the determinant of the covariance of K parameters, shape (K, K).

    It is exp(-ln det I / K), I the information on them with everything else profiled, in the units of a variance.
    """
    from array_api_compat import array_namespace

    xp = array_namespace(covariance)
    return xp.exp(xp.linalg.slogdet(covariance)[1] / len(covariance))


class GeneralisedVariance(FitObjective):
    """The determinant of the covariance of parameters (Wilks' generalised variance): their contour's volume, squared.

    With the nuisance parameters it is -ln det I of the whole information matrix, constraint terms included and the
    statistical errors of the templates profiled: the network learns to measure everything, mu as well as what it
    depends on. Of the POIs alone, what the data say of any combination of them counts, also where they cannot tell one
    from another: the variances of both are large then, and the determinant is not.
    """

    fixed: ClassVar[Names] = ("nuisance", "pois")
    kind: Literal["generalised_variance"] = "generalised_variance"
    """The determinant of the covariance of the parameters."""
    nuisance: bool = True
    """Of the nuisance parameters and free yields as well; false: of the POIs alone, everything else profiled."""
    pois: Annotated[Names, Field(min_length=1)] | None = None
    """The POIs, others are profiled; null: all."""

    def value(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:
        """Root of the determinant, of as many parameters as it has."""
        from inferno_cli.likelihood.information import poi_covariance

        names = self.pois or pois
        if self.nuisance:
            names = (*names, *(name for name in templates.parameters if name not in (*names, *pois)))
        value: Tensor = root_of_determinant(poi_covariance(templates, names))
        return value

    def merit(self, pois: Names) -> FigureOfMerit:
        """Return the value; bins are merged by that of the POIs alone."""
        exact = self.value if self.nuisance else None
        return FigureOfMerit(self.pois or pois, root_of_determinant, exact=exact)
