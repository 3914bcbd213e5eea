"""A log-normal density with some probability at zero, for a momentum or a mass (arXiv:1811.10276).

P(x) = alpha3 delta(x) below a threshold, and (1 - alpha3) times the log-normal density above it, which is divided by
its part there, so that all of it integrates to 1. Published without that division (where x is in GeV it does nothing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from inferno_cli.anomaly.outputs import (
    HALF_LOG_TWO_PI,
    FloatArray,
    Output,
    located,
    located_in,
    log_normal_density_in,
    moments,
    softplus_in,
    widened,
    widened_in,
)
from inferno_cli.section import Positive

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.onnx import Graph

RAREST = 1e-4
"""Smallest probability at zero, and above it, that the decoder begins with."""


class ClippedLognormal(Output):
    """A log-normal density above a threshold, and a probability below it."""

    n_parameters: ClassVar[int] = 3
    support: ClassVar[str] = "a number that is not negative"
    kind: Literal["clipped_lognormal"] = "clipped_lognormal"
    """A log-normal density with some probability at zero."""
    threshold: Positive = 1e-4
    """What is below, in units of the feature, is zero."""

    def supports(self, values: FloatArray) -> NDArray[np.bool_]:
        """All that are not negative."""
        return np.isfinite(values) & (values >= 0)

    def fitted(self, values: FloatArray, weights: FloatArray) -> tuple[float, ...]:
        """Return mean and standard deviation of ln x above the threshold, and the logit of what is below."""
        above = values >= self.threshold
        below = float(weights[~above].sum() / weights.sum())
        share = min(max(below, RAREST), 1 - RAREST)
        logit = math.log(share / (1 - share))
        if not weights[above].sum() > 0:
            return 0.0, 1.0, logit
        return *moments(np.log(values[above]), weights[above]), logit

    def parameters(self, raw: Sequence[Tensor], fitted: Sequence[float]) -> tuple[Tensor, ...]:
        """Return location and width of ln x, and the logit of the probability at zero."""
        return located(raw[0], fitted), widened(raw[1], fitted), raw[2] + fitted[2]

    def log_prob(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return the logarithm of the density above the threshold, and of the probability below it.

        The parameters are location and width of ln x, and the logit of the probability at zero.
        """
        import torch
        from torch.nn.functional import logsigmoid

        location, width, logit = parameters
        is_above = x >= self.threshold
        logarithm = torch.where(is_above, x, torch.ones_like(x)).log()  # of what is below, a gradient would be NaN
        density = -0.5 * ((logarithm - location) / width).square() - width.log() - HALF_LOG_TWO_PI - logarithm
        kept = torch.special.log_ndtr((location - math.log(self.threshold)) / width)
        return torch.where(is_above, density - kept + logsigmoid(-logit), logsigmoid(logit))

    def to_onnx(self, graph: Graph, x: str, raw: Sequence[str], fitted: Sequence[float]) -> str:
        """Add the logarithm of the density, or of the probability."""
        from inferno_cli.anomaly.normal import log_ndtr_in

        location, width = located_in(graph, raw[0], fitted), widened_in(graph, raw[1], fitted)
        logit = graph("Add", raw[2], fitted[2])
        logarithm = graph("Log", graph("Max", x, self.threshold))
        distance = graph("Div", graph("Sub", logarithm, location), width)
        density = graph("Sub", log_normal_density_in(graph, distance, width), logarithm)
        kept = log_ndtr_in(graph, graph("Div", graph("Sub", location, math.log(self.threshold)), width))
        above = graph("Sub", graph("Sub", density, kept), softplus_in(graph, logit))
        below = graph("Neg", softplus_in(graph, graph("Neg", logit)))
        return graph("Where", graph("Less", x, self.threshold), below, above)
