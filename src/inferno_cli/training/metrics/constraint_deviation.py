"""How much the data constrain the nuisance parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class ConstraintDeviation(Metric):
    """The sum of (1 - sigma)^2 over nuisance parameters, sigma their errors after the fit in units of the prior's.

    0 without a nuisance parameter, or where the data know nothing of them.
    """

    kind: Literal["constraint_deviation"] = "constraint_deviation"
    title: ClassVar[str] = "sum (1-sigma)^2"
    form: ClassVar[str] = ".3g"

    def value(self, fit: AsimovFit) -> float:
        """Return the sum."""
        import numpy as np

        has_prior = fit.model.prior.width > 0
        errors = np.sqrt(np.diag(fit.covariance)[has_prior]) / fit.model.prior.width[has_prior]
        return float(((1 - errors) ** 2).sum())

    def merit(self, fit: AsimovFit) -> float:
        """Return the sum."""
        return self.value(fit)
