"""The fit of the Asimov data of templates, of which several numbers are made: what they share is calculated once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inferno_cli.likelihood.data import FloatArray
from inferno_cli.likelihood.expectation import Expectation, expected_yields, sample_yields
from inferno_cli.likelihood.information import bin_variance, covariance
from inferno_cli.likelihood.profile import asimov_significance, q0, q_of_exclusion, without_graph


@dataclass(frozen=True, eq=False)
class AsimovFit:
    """The fit of the data that templates make expected at their nominal parameters.

    A number that cannot be had raises SingularInformationError or FitFailedError.

    Attributes:
        model: The templates, arrays of numpy.
    """

    model: Expectation

    @classmethod
    def of(cls, model: Expectation) -> AsimovFit:
        """Return the fit of templates of numpy or torch; nothing can be differentiated through it."""
        return cls(without_graph(model))

    @cached_property
    def covariance(self) -> FloatArray:
        """Covariance of the parameters but those of single bins, which are profiled, shape (P, P)."""
        return np.asarray(covariance(self.model))

    @property
    def variance(self) -> float:
        """Variance of the POI, everything else profiled."""
        return float(self.covariance[self.model.poi, self.model.poi])

    @cached_property
    def q0(self) -> float:
        """Statistic of no signal, in data of the nominal signal."""
        return float(q0(self.model))

    @cached_property
    def q_of_exclusion(self) -> float:
        """Statistic of the nominal signal, in data without signal: q-tilde."""
        return float(q_of_exclusion(self.model))

    @cached_property
    def z_asimov(self) -> float:
        """Significance of the nominal signal if nothing but the POI is unknown."""
        return float(asimov_significance(self.model))

    @cached_property
    def expected(self) -> FloatArray:
        """Expected events of each bin at the nominal parameters, shape (N,)."""
        return np.asarray(expected_yields(self.model, self.model.init))

    @cached_property
    def bin_variance(self) -> FloatArray:
        """Variance of each bin's content, Poisson and simulation, shape (N,)."""
        return np.asarray(bin_variance(self.model, sample_yields(self.model, self.model.init)))


def variance_of(statistic: float) -> float:
    """Return the variance of the POI that a statistic of two hypotheses at a distance of 1 stands for.

    It is (mu - mu')^2 / q (arXiv:1007.1727, equation 32), infinite where they cannot be told apart.
    """
    return 1 / statistic if statistic > 0 else math.inf
