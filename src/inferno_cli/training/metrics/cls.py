"""Exclusion: the expected CLs of the nominal signal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class ExclusionCls(Metric):
    """CLs of mu = 1 in the Asimov data without signal, from q-tilde."""

    kind: Literal["cls"] = "cls"
    title: ClassVar[str] = "CLs"
    form: ClassVar[str] = ".2e"
    is_foremost: ClassVar[bool] = True

    def value(self, fit: AsimovFit) -> float:
        """Return CLs."""
        import numpy as np

        from inferno_cli.likelihood.profile import log_cls

        return math.exp(float(log_cls(np.asarray(fit.q_of_exclusion))))

    def merit(self, fit: AsimovFit) -> float:
        """Return the variance that q-tilde stands for."""
        from inferno_cli.likelihood.asimov import variance_of

        return variance_of(fit.q_of_exclusion)
