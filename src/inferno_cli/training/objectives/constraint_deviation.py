"""The constraints of nuisance parameters: how far the fit is from knowing as much of them as their priors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from inferno_cli.errors import ConfigError, closest
from inferno_cli.section import POI, Names, NonNegative
from inferno_cli.training.objectives import FigureOfMerit, FitObjective

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.likelihood.expectation import Expectation


class ConstraintDeviation(FitObjective):
    """The sum of (1 - sigma)^2 over nuisance parameters, sigma their errors after the fit in units of the prior's.

    Its minimum is a fit that learns nothing of them: a network that does not lean on how a variation is modelled. So it
    is a term of a sum with an objective that measures (``weighted_sum``), and not one by itself.
    """

    fixed: ClassVar[Names] = ("parameters",)
    kind: Literal["constraint_deviation"] = "constraint_deviation"
    """The constraints of nuisance parameters by the data."""
    parameters: dict[str, NonNegative] | None = Field(default=None, min_length=1)
    """Weight of each nuisance parameter; null: 1 for each that has a constraint."""

    def value(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:  # noqa: ARG002
        """Weighted sum.

        Raises:
            ConfigError: If a parameter has no constraint term.
        """
        import torch

        from inferno_cli.likelihood.information import poi_covariance
        from inferno_cli.training.constants import constant

        weights = self._weights(templates)
        names = tuple(weights)
        deviations = poi_covariance(templates, names).diagonal().sqrt()
        index = constant((templates.parameters.index(name) for name in names), deviations, torch.int64)
        errors = deviations / templates.prior.width.index_select(0, index)
        value: Tensor = (constant(weights.values(), errors) * (1 - errors) ** 2).sum()
        return value

    def cost(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:
        """Value itself: 0 is a fine one."""
        return self.value(templates, pois)

    def merit(self, pois: Names) -> FigureOfMerit:  # noqa: ARG002
        """Return the value."""
        return FigureOfMerit(exact=self.value)

    def _weights(self, templates: Expectation) -> dict[str, float]:
        pairs = zip(templates.parameters, templates.constrained, strict=True)
        known = [name for name, is_constrained in pairs if is_constrained]
        if not known:
            raise ConfigError(
                "model.objective: 'constraint_deviation' is of nuisance parameters with a constraint, and the "
                "likelihood of the training has none; choose another nuisance, or another model/objective"
            )
        if self.parameters is None:
            return dict.fromkeys(known, 1.0)
        for name in self.parameters:
            if name not in known:
                raise ConfigError(
                    f"model.objective.parameters: {name!r} is no constrained parameter of the likelihood of the "
                    f"training{closest(name, known)}"
                )
        return self.parameters
