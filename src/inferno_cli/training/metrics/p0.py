"""Discovery: the expected p-value of no signal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class DiscoveryPValue(Metric):
    """The p-value of no signal in the Asimov data of the nominal signal; 0 where it is too small for a number."""

    kind: Literal["p0"] = "p0"
    title: ClassVar[str] = "p0"
    form: ClassVar[str] = ".2e"
    is_foremost: ClassVar[bool] = True

    def value(self, fit: AsimovFit) -> float:
        """Return the p-value."""
        import numpy as np

        from inferno_cli.likelihood.profile import log_p0

        return math.exp(float(log_p0(np.asarray(fit.q0))))

    def merit(self, fit: AsimovFit) -> float:
        """Return the variance that q0 stands for."""
        from inferno_cli.likelihood.asimov import variance_of

        return variance_of(fit.q0)
