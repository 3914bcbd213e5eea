"""A minimum of the likelihood with its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from inferno_cli.fit.verdict import Verdict
from inferno_cli.likelihood.data import FloatArray


@dataclass(frozen=True)
class Minimum:
    """A valid minimum.

    Attributes:
        labels: Names of the parameters.
        values: Their values, shape (n_parameters,).
        rise: -2 ln L there, above that of the reference of the likelihood.
        hesse: Standard deviations, shape (n_parameters,); 0 for a constant. Of a parameter at its limit: from the
            curvature there.
        covariance: Of the parameters that are not at their limits, the others held there; shape (n_parameters,
            n_parameters), zero rows for those and for constants.
        at_limit: Physical limits at which parameters are.
        minos: Intervals of the profile likelihood, where they do not end at a physical limit.
        notes: What has no meaning, and why.
        verdict: What MINUIT says of it; None of one that it was not asked for.
    """

    labels: tuple[str, ...]
    values: FloatArray
    rise: float
    hesse: FloatArray
    covariance: FloatArray
    at_limit: Mapping[str, float] = field(default_factory=dict)
    minos: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None

    @property
    def errors(self) -> FloatArray:
        """Standard deviations of the covariance, shape (n_parameters,): 0 at a limit."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def correlation(self) -> FloatArray:
        """Correlation matrix, shape (n_parameters, n_parameters); zero rows where the error is 0."""
        errors = self.errors
        scale = np.outer(errors, errors)
        return np.divide(self.covariance, scale, out=np.zeros_like(scale), where=scale > 0)
