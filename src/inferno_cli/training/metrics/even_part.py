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

        from inferno_cli.likelihood.expectation import expected_yields

        model, variance = fit.model, fit.bin_variance
        filled = variance > 0
        largest = 0.0
        for number in np.flatnonzero(model.prior.width > 0):
            step = np.zeros(len(model.parameters))
            step[number] = model.prior.width[number]
            up, down = (expected_yields(model, model.init + side * step) for side in (1, -1))
            even = (up + down) / 2 - fit.expected
            largest = max(largest, float((even[filled] ** 2 / variance[filled]).sum()))
        return math.sqrt(largest)

    def merit(self, fit: AsimovFit) -> float:
        """Return its square."""
        return self.value(fit) ** 2
