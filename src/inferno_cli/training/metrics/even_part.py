"""How far a variation is from moving the templates up and down by the same: what the information does not see."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class EvenPart(Metric):
    """The largest even part of a nuisance parameter, A = (up + down) / 2 - nominal, in units of the bin errors.

    The bins are added in quadrature. The record of a run has it of every shape, beside the odd part
    S = (up - down) / 2, which is what the training and HESSE see.
    """

    kind: Literal["even_part"] = "even_part"
    title: ClassVar[str] = "even part"

    def value(self, fit: AsimovFit) -> float:
        """Return the largest one; 0 without a nuisance parameter."""
        import numpy as np

        model, variance = fit.model, fit.bin_variance
        has_prior, filled = model.prior.width > 0, variance > 0
        # At one standard deviation the interpolations are the templates and factors themselves; a NormFactor is linear.
        sides = model.normsys[:, has_prior, :, None] * (model.nominal + model.histosys[:, has_prior])
        factors = np.where(model.norm_factor, model.init[:, None], 1.0).prod(axis=0)
        even = model.total(factors[:, None] * (sides.mean(axis=0) - model.nominal))
        return math.sqrt((even[:, filled] ** 2 / variance[filled]).sum(axis=1).max(initial=0.0))

    def merit(self, fit: AsimovFit) -> float:
        """Return its square."""
        return self.value(fit) ** 2
