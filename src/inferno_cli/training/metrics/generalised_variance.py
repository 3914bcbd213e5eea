"""The generalised variance: what the data say of all parameters together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class GeneralisedVariance(Metric):
    """-ln det I of POIs and nuisance parameters, constraint terms included: ln of the determinant of their covariance.

    The statistical errors of the templates are profiled. It is comparable among runs of the same parameters alone.
    """

    kind: Literal["generalised_variance"] = "generalised_variance"
    title: ClassVar[str] = "-ln det I"

    def value(self, fit: AsimovFit) -> float:
        """Return -ln det I."""
        import numpy as np

        return float(np.linalg.slogdet(fit.covariance)[1])

    def merit(self, fit: AsimovFit) -> float:
        """Return the root of the determinant that has the units of a variance."""
        return math.exp(self.value(fit) / len(fit.covariance))
