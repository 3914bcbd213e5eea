"""What toys say of the distribution of a test statistic: agreement with chi2, p-values, significances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inferno_cli.events.sample import FloatArray


def agreement(statistic: FloatArray, degrees: float) -> float:
    """Return the p-value of the Kolmogorov-Smirnov test of toys against chi2."""
    from scipy.stats import chi2, kstest

    return float(kstest(statistic, chi2(degrees).cdf).pvalue)


def sameness(statistic: FloatArray, other: FloatArray) -> float:
    """Return the p-value of the Kolmogorov-Smirnov test of two sets of toys against each other."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(statistic, other).pvalue)


def chi2_median(degrees: float) -> float:
    """Return the median of chi2."""
    from scipy.stats import chi2

    return float(chi2(degrees).median())


def median_error(degrees: float, n_toys: int) -> float:
    """Return the standard deviation of the median of so many toys from chi2."""
    from scipy.stats import chi2

    of_chi2 = chi2(degrees)
    return float(0.5 / (of_chi2.pdf(of_chi2.median()) * np.sqrt(n_toys)))


class Significance(NamedTuple):
    """How far a value of t is in the tail of the null distribution.

    Attributes:
        p: p-value by chi2.
        z: Its significance in standard deviations, Phi^-1(1 - p).
        p_toys: Share of toys that are at least as large, with one more in both counts: never 0.
        z_toys: Its significance: a lower bound where no toy is as large.
        n_above: Toys that are at least as large.
    """

    p: float
    z: float
    p_toys: float
    z_toys: float
    n_above: int


def significance(t: float, null: FloatArray, degrees: float) -> Significance:
    """Return the significance of a value of t, by chi2 and by toys of the reference."""
    from scipy.stats import chi2, norm

    n_above = int((null >= t).sum())
    p, p_toys = float(chi2(degrees).sf(t)), (n_above + 1) / (len(null) + 1)
    z = float(norm.isf(p)) if p > 0 else float(np.sqrt(max(chi2_tail(t, degrees), 0.0)))
    return Significance(p, z, p_toys, float(norm.isf(p_toys)), n_above)


def chi2_tail(t: float, degrees: float) -> float:
    """Return the square of the significance of t far in the tail of chi2, where its p-value is 0 in floats.

    From the leading terms of -2 ln p of both distributions; good to a percent there.
    """
    from scipy.special import gammaln

    logarithm = -t / 2 + (degrees / 2 - 1) * np.log(t / 2) - gammaln(degrees / 2)
    square = -2 * logarithm
    return float(square - np.log(2 * np.pi * square))


def middle(statistic: FloatArray) -> tuple[float, float, float]:
    """Return the median, and the ends of its 68% interval: order statistics, whose ranks are binomial."""
    from scipy.stats import binom

    ordered, n = np.sort(statistic), len(statistic)
    ranks = binom(n, 0.5).ppf([0.15865525, 0.84134475]).astype(int).clip(0, n - 1)
    return float(np.median(ordered)), float(ordered[ranks[0]]), float(ordered[ranks[1]])
