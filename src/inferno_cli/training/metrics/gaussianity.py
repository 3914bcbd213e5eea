"""How far the likelihood is from the Gaussian that its curvature says: HESSE against MINOS, in all parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit
    from inferno_cli.likelihood.data import FloatArray
    from inferno_cli.likelihood.expectation import Expectation

POINTS = 1000
"""Points at which they are compared."""
SEED = 1
"""Seed of the order of their coordinates: they are the same for all templates with as many parameters."""


class Gaussianity(Metric):
    """The mean squared difference of -ln L and its quadratic form, over points that have the covariance of the fit.

    The data are Asimov's, and the statistical errors of the templates are profiled at every point. A parameter in which
    the likelihood is Gaussian changes nothing, so the number does not depend on how many of them there are. Points at
    which a bin expects no events, or fewer, have no likelihood: these are left out.
    """

    kind: Literal["gaussianity"] = "gaussianity"
    title: ClassVar[str] = "Gaussianity"
    form: ClassVar[str] = ".3g"
    each_epoch: ClassVar[bool] = False

    def value(self, fit: AsimovFit) -> float:
        """Return the mean squared difference; infinite where no point has a likelihood."""
        import numpy as np

        profile = ProfiledRise(fit.model)
        factor = np.linalg.cholesky(fit.covariance)
        squares = []
        for point in normal_points(len(factor)):
            rise = profile(fit.model.init + factor @ point)
            if rise is not None:
                squares.append((rise - point @ point / 2) ** 2)
        return float(np.mean(squares)) if squares else math.inf

    def merit(self, fit: AsimovFit) -> float:
        """Return the mean squared difference."""
        return self.value(fit)


def normal_points(n_parameters: int) -> FloatArray:
    """Return points that are normal in each coordinate, shape (POINTS, n_parameters).

    They are a Latin hypercube: each coordinate has the same quantiles, in an order of its own. Drawn ones would leave
    the number, a sixth moment, uncertain by half of it.
    """
    import numpy as np
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(POINTS) + 0.5) / POINTS)
    order = np.random.default_rng(SEED).permuted(np.tile(quantiles, (n_parameters, 1)), axis=1)
    return np.asarray(order.T)


class ProfiledRise:
    """-ln L of Asimov data above that at the nominal parameters, the statistical errors of the templates profiled."""

    def __init__(self, model: Expectation) -> None:
        """Take the templates, arrays of numpy."""
        import numpy as np

        from inferno_cli.likelihood.rates import ExactRates

        self.model, self._rates = model, ExactRates(model)
        self._one = np.ones_like(model.gamma.init)
        self.events = self._rates.expected(np.concatenate([model.init, self._one]))

    def __call__(self, theta: FloatArray) -> float | None:
        """Return it at theta (P,); None where a bin expects no events, or fewer."""
        import numpy as np

        model, events = self.model, self.events
        # What is expected is linear in the gammas, of which each bin has one.
        once, twice = (self._rates.expected(np.concatenate([theta, times * self._one])) for times in (1, 2))
        varied = twice - once
        gamma = _best_gamma(varied, once - varied, events, model.relative_error)
        expected = once + (gamma - 1) * varied
        filled = events > 0
        if not (expected[filled] > 0).all():
            return None
        rise = (expected - events).sum() - (events[filled] * np.log(expected[filled] / events[filled])).sum()
        known = model.relative_error > 0
        rise += (((gamma - 1)[known] / model.relative_error[known]) ** 2).sum() / 2
        has_prior = model.prior.width > 0
        pulls = (theta - model.init)[has_prior] / model.prior.width[has_prior]
        return float(rise + (pulls**2).sum() / 2)


def _best_gamma(varied: FloatArray, constant: FloatArray, events: FloatArray, width: FloatArray) -> FloatArray:
    """Return the factor on each bin at the minimum of its terms of -ln L, shape (N,).

    Of gamma a + c - n ln(gamma a + c) + (gamma - 1)^2 / (2 delta^2) the derivative is 0 where
    (gamma a + c) (gamma - 1 + a delta^2) = n a delta^2; the larger root is the one with a positive expectation.
    """
    import numpy as np

    is_free = (width > 0) & (varied > 0)
    a, c, n, square = varied[is_free], constant[is_free], events[is_free], width[is_free] ** 2
    linear = c + a * (a * square - 1)
    rest = c * (a * square - 1) - n * a * square
    gamma = np.ones_like(varied)
    gamma[is_free] = (np.sqrt(linear**2 - 4 * a * rest) - linear) / (2 * a)
    return gamma
