"""Order the bins, and merge those that the simulation cannot support.

1. Order the bins by signal-to-background (a classifier's bins are in that order already; they keep theirs).
2. While a bin has less than ``min_yield`` expected events, or its signal or its background has less than
   ``min_effective_events`` effective simulated events, merge the poorest one with the neighbour that is nearer in
   signal-to-background. Of several signals a neighbour may be full of another one, which a merged bin could not tell
   apart: there it is the bin with which the honest variance (3.) stays smallest.
3. While that makes the honest variance of mu smaller (``merge_noise``), merge the pair of neighbours that lowers it
   most; never to one bin, in which a shape is a rate. Of several POIs it is what the objective makes of their honest
   covariance (``FigureOfMerit``).

The honest variance counts the noise of the variations. A bin that the nominal hardly fills and a variation does makes
fake information: the squared noise of (up - down) / 2, divided by a tiny expectation, looks like a constraint of the
nuisance parameter. With the covariance C of the fit of these bins, the derivatives J of the expectation, the variance V
of each bin, the weights w = C_mu . J^T / V with which the bins make up mu, and the noise n_jb of the derivative of
parameter j in bin b,

    V_honest = C_mumu + sum_jb n_jb (2 C_muj^2 / V_b + w_b^2):

what the noise fakes as knowledge of j, and what it moves mu by when j is one standard deviation off. The covariance of
two POIs has the products of both in the place of the squares. So noise counts by what the fit makes of it: where the
data know a parameter much better than its prior does, a little noise is no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config.schema import Binning
from inferno_cli.histograms.templates import FloatArray, Templates

SMALLEST_PIVOT = 1e-12
"""Smallest eigenvalue of the information with unit diagonal: below this it is the rounding of a flat direction."""


@dataclass(frozen=True)
class LinearFit:
    """The Asimov fit of some bins near the nominal parameters, of which mu is the first.

    Attributes:
        jacobian: d nu_b / d theta_i, nuisance parameters in units of their prior, shape (B, P).
        prior: Information of the constraint of each parameter, 1 or 0, shape (P,).
        variance: Of each bin: Poisson, and the statistical error of the templates, shape (B,).
        noise: Variance that the simulation's noise gives to ``jacobian``, shape (B, P).
        merit: Takes a covariance of the parameters, shape (P, P), to the number that bins are chosen by.
        several: Whether there are several POIs.
    """

    jacobian: FloatArray
    prior: FloatArray
    variance: FloatArray
    noise: FloatArray
    merit: Callable[[FloatArray], float]
    several: bool = False

    def grouped(self, groups: Sequence[Sequence[int]]) -> LinearFit:
        """Return the fit of merged bins; of an envelope, whose changes are not additive, an upper bound."""
        parts = [list(group) for group in groups]
        jacobian, variance, noise = (
            np.stack([array[part].sum(axis=0) for part in parts])
            for array in (self.jacobian, self.variance, self.noise)
        )
        return LinearFit(jacobian, self.prior, variance, noise, self.merit, self.several)

    def usable(self) -> LinearFit:
        """Return the fit of the bins that have a positive variance."""
        kept = self.variance > 0
        jacobian, variance, noise = self.jacobian[kept], self.variance[kept], self.noise[kept]
        return replace(self, jacobian=jacobian, variance=variance, noise=noise)

    def covariance(self) -> FloatArray | None:
        """Return the covariance of the parameters, shape (P, P); None where the bins cannot constrain them."""
        if not (self.variance > 0).all():
            return None
        information = self.jacobian.T @ (self.jacobian / self.variance[:, None]) + np.diag(self.prior)
        scale = np.sqrt(np.diag(information))
        if not (np.isfinite(scale) & (scale > 0)).all():
            return None
        values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
        if values[0] < SMALLEST_PIVOT:
            return None
        return np.asarray((vectors / values) @ vectors.T / np.outer(scale, scale))

    def honest_covariance(self) -> FloatArray | None:
        """Return the covariance of the parameters with the noise of the variations, shape (P, P); None as above."""
        covariance = self.covariance()
        if covariance is None:
            return None
        weights = self.jacobian @ covariance / self.variance[:, None]
        faked = 2 * (self.noise / self.variance[:, None]).sum(axis=0)
        moved = weights.T @ (weights * self.noise.sum(axis=1)[:, None])
        return np.asarray(covariance + covariance @ (faked[:, None] * covariance) + moved)

    def honest_variance(self) -> float:
        """Return the variance of mu with the noise of the variations; infinite where the bins cannot constrain it."""
        covariance = self.honest_covariance()
        return np.inf if covariance is None else float(covariance[0, 0])

    def honest_merit(self) -> float:
        """Return the figure of merit with the noise of the variations; infinite where the bins cannot constrain it."""
        covariance = self.honest_covariance()
        return np.inf if covariance is None else float(self.merit(covariance))

    def noise_shares(self) -> FloatArray:
        """Return the information that noise makes on each parameter, in units of all that the fit knows, shape (P,).

        The sum over the bins of n_jb / V_b, times C_jj.
        """
        covariance = self.covariance()
        if covariance is None:
            return np.full(len(self.prior), np.inf)
        return np.asarray((self.noise / self.variance[:, None]).sum(axis=0) * np.diag(covariance))


def noise_information(templates: Templates) -> dict[str, FloatArray]:
    """Information on each nuisance parameter that the simulation's noise alone makes in a channel, shape (B,)."""
    nominal = templates.nominal.sum(axis=0)
    total = nominal + templates.variance.sum(axis=0)
    by_systematic: dict[str, FloatArray] = {}
    for (systematic, _), (odd, _) in templates.noise.items():
        by_systematic[systematic] = by_systematic.get(systematic, 0.0) + odd
    for name, noise in by_systematic.items():
        by_systematic[name] = np.divide(noise, total, out=np.where(noise > 0, np.inf, 0.0), where=total > 0)
    return by_systematic


def effective_events(templates: Templates) -> FloatArray:
    """Effective simulated events of each bin, the smaller of signal and background, shape (B,).

    (sum of w)^2 / (sum of w^2); 0 where the yield is not positive: however many events say so, no template can be made.
    In a channel whose bins are not made to tell signal and background apart, or that has one of them alone, the
    effective events are those of all samples together.
    """
    parts, is_signal = [], templates.is_signal
    masks = [is_signal, ~is_signal]
    if not templates.is_trained or is_signal.all() or not is_signal.any():
        masks = [np.ones_like(is_signal)] * 2
    for mask in masks:
        yields, variance = templates.nominal[mask].sum(axis=0), templates.variance[mask].sum(axis=0)
        parts.append(np.divide(yields**2, variance, out=np.zeros_like(yields), where=(variance > 0) & (yields > 0)))
    return np.asarray(np.minimum(*parts))


def purity(templates: Templates) -> FloatArray:
    """Share of signal in each bin, shape (B,); rises with signal-to-background. Empty bins: 0."""
    nominal = templates.nominal
    total = nominal.sum(axis=0)
    signal = nominal[templates.is_signal].sum(axis=0)
    return np.asarray(np.divide(signal, total, out=np.zeros_like(total), where=total > 0))


def merge(channels: Sequence[Templates], rule: Binning, fit: LinearFit | None) -> tuple[Templates, ...]:
    """Order the bins of each channel by signal-to-background, and merge those of one channel that are not supported.

    Args:
        channels: One bin per bin of the network, or of the channel.
        rule: The thresholds.
        fit: Fit of these templates, whose bins are those of all channels; None: whatever the noise of the variations.
    """
    found = list(channels)
    for number, templates in enumerate(found):
        if not templates.ordered:
            order: list[Sequence[int]] = [(int(i),) for i in np.argsort(purity(templates), kind="stable")]
            fit = None if fit is None else fit.grouped(_of_all(found, number, order))
            found[number] = templates.grouped(order)
    while (pair := _next_pair(found, rule, fit)) is not None:
        number, first, second = pair
        groups = _joined(found[number].n_bins, first, second)
        fit = None if fit is None else fit.grouped(_of_all(found, number, groups))
        found[number] = found[number].grouped(groups)
    return tuple(found)


def _of_all(channels: Sequence[Templates], number: int, groups: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Return groups of the bins of all channels, of which one is grouped and the others stay as they are."""
    first, found = 0, list[Sequence[int]]()
    for i, templates in enumerate(channels):
        own = groups if i == number else [(j,) for j in range(templates.n_bins)]
        found += [tuple(first + j for j in group) for group in own]
        first += templates.n_bins
    return found


def _joined(n_bins: int, first: int, second: int) -> list[Sequence[int]]:
    """Return groups of one bin each, but two bins that are one, in the place of ``first``."""
    groups: list[Sequence[int]] = []
    for i in range(n_bins):
        if i != second:
            groups.append((first, second) if i == first else (i,))
    return groups


def _next_pair(channels: Sequence[Templates], rule: Binning, fit: LinearFit | None) -> tuple[int, int, int] | None:
    """Return the channel in which two bins are merged next, and these; None: all may stay."""
    for number, templates in enumerate(channels):
        poorest = _unsupported(templates, rule) if templates.n_bins > 1 else None
        if poorest is None:
            continue
        if fit is not None and fit.several and not templates.ordered:
            second = _cheapest(channels, number, poorest, fit)
            if second is not None:
                return number, min(poorest, second), max(poorest, second)
        first = _nearer(purity(templates), poorest)
        return number, first, first + 1
    return None if fit is None or not rule.merge_noise else _noisy(channels, fit)


def _unsupported(templates: Templates, rule: Binning) -> int | None:
    """Return the poorest of the bins that want events, or None when all have enough."""
    yields, effective = templates.nominal.sum(axis=0), effective_events(templates)
    support: NDArray[np.float64] = np.minimum(yields / rule.min_yield, effective / rule.min_effective_events)
    return None if support.min() >= 1 else int(support.argmin())


def _nearer(share: FloatArray, poorest: int) -> int:
    """Return the first of a bin and its neighbour that is nearer in the share of signal, shape (B,)."""
    below, above = poorest - 1, poorest + 1
    if below < 0:
        return poorest
    if above < len(share) and abs(share[above] - share[poorest]) < abs(share[below] - share[poorest]):
        return poorest
    return below


def _cheapest(channels: Sequence[Templates], number: int, poorest: int, fit: LinearFit) -> int | None:
    """Return the bin of a channel with which another leaves the smallest honest merit; None where all are infinite."""
    best, found = np.inf, None
    for other in range(channels[number].n_bins):
        if other != poorest:
            pair = min(poorest, other), max(poorest, other)
            groups = _of_all(channels, number, _joined(channels[number].n_bins, *pair))
            # Another bin may have no template yet: it says nothing until its turn comes.
            if (merit := fit.grouped(groups).usable().honest_merit()) < best:
                best, found = merit, other
    return found


def _noisy(channels: Sequence[Templates], fit: LinearFit) -> tuple[int, int, int] | None:
    """Return the neighbours whose merging lowers the honest merit most, or None where none does."""
    best, found = fit.honest_merit(), None
    for number, templates in enumerate(channels):
        if templates.n_bins <= 2:
            continue
        for first in range(templates.n_bins - 1):
            groups = _of_all(channels, number, _joined(templates.n_bins, first, first + 1))
            if (variance := fit.grouped(groups).honest_merit()) < best:
                best, found = variance, (number, first, first + 1)
    return found
