"""The error of the POI from the curvature of the likelihood, as HESSE has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class SigmaMu(Metric):
    """The standard deviation of the POI in closed form, everything else profiled."""

    kind: Literal["sigma_mu"] = "sigma_mu"
    title: ClassVar[str] = "sigma(mu)"

    def value(self, fit: AsimovFit) -> float:
        """Return the standard deviation."""
        return math.sqrt(fit.variance)

    def merit(self, fit: AsimovFit) -> float:
        """Return the variance."""
        return fit.variance
