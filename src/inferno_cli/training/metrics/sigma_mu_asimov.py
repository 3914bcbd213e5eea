"""The error of the POI that the expected discovery stands for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class SigmaMuAsimov(Metric):
    """The standard deviation of the POI from q0, 1 / sqrt(q0): what the likelihood says between mu = 1 and 0.

    Of a Gaussian likelihood it is that of the curvature at mu = 1.
    """

    kind: Literal["sigma_mu_asimov"] = "sigma_mu_asimov"
    title: ClassVar[str] = "sigma(mu) of q0"

    def value(self, fit: AsimovFit) -> float:
        """Return the standard deviation."""
        return math.sqrt(self.merit(fit))

    def merit(self, fit: AsimovFit) -> float:
        """Return the variance."""
        from inferno_cli.likelihood.asimov import variance_of

        return variance_of(fit.q0)
