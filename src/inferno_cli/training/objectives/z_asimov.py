"""The significance of a signal without any uncertainty: what cuts are usually tuned for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from inferno_cli.section import POI, Names
from inferno_cli.training.objectives import FigureOfMerit, FitObjective

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.likelihood.expectation import Expectation


class AsimovSignificance(FitObjective):
    """The expected significance of the nominal signal if all is known but mu (arXiv:1007.1727, equation 97).

    Z^2 = 2 sum_b [(s + b) ln(1 + s / b) - s]: no nuisance parameter and no statistical error of the templates counts.
    """

    kind: Literal["z_asimov"] = "z_asimov"
    """The expected significance without uncertainties."""

    def value(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:  # noqa: ARG002
        """1 / Z^2."""
        from inferno_cli.likelihood.profile import asimov_significance

        value: Tensor = 1 / asimov_significance(templates) ** 2
        return value

    def merit(self, pois: Names) -> FigureOfMerit:  # noqa: ARG002
        """Return 1 / Z^2."""
        return FigureOfMerit(exact=self.value)
