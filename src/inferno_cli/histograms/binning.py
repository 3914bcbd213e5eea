"""Order the bins, and merge those that the simulation cannot support.

A bin that the nominal hardly fills and a variation does makes fake information: the squared noise of (up - down) / 2,
divided by a tiny expectation, looks like a constraint of the nuisance parameter. Merging bins removes it. The rule:

1. Order the bins by signal-to-background (a classifier's bins are in that order already; they keep theirs).
2. While a bin has less than ``min_yield`` expected events, or its signal or its background has less than
   ``min_effective_events`` effective simulated events, merge the poorest one with a neighbour.
3. The information on a nuisance parameter that noise alone makes is estimated from the events themselves,
   sum_b Var[(up - down) / 2]_b / V_b, in units of its constraint. While it is above ``max_noise_information`` for
   some parameter, merge the bin that contributes most with a neighbour.

The neighbour is the one that is nearer in signal-to-background.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import Binning
from inferno_cli.histograms.templates import FloatArray, Templates


def noise_information(templates: Templates) -> dict[str, FloatArray]:
    """Information on each nuisance parameter that the simulation's noise alone makes, by bin, shape (B,)."""
    nominal = templates.nominal.sum(axis=0)
    total = nominal + templates.variance.sum(axis=0)
    by_systematic: dict[str, FloatArray] = {}
    for (systematic, _), noise in templates.noise.items():
        by_systematic[systematic] = by_systematic.get(systematic, 0.0) + noise
    return {
        name: np.divide(noise, total, out=np.where(noise > 0, np.inf, 0.0), where=total > 0)
        for name, noise in by_systematic.items()
    }


def effective_events(templates: Templates) -> FloatArray:
    """Effective simulated events of each bin, the smaller of signal and background, shape (B,).

    (sum of w)^2 / (sum of w^2); 0 where the yield is not positive: however many events say so, no template can be made.
    """
    parts = []
    for mask in (templates.is_signal, ~templates.is_signal):
        yields = templates.nominal[mask].sum(axis=0)
        variance = templates.variance[mask].sum(axis=0)
        parts.append(np.divide(yields**2, variance, out=np.zeros_like(yields), where=(variance > 0) & (yields > 0)))
    return np.asarray(np.minimum(*parts))


def purity(templates: Templates) -> FloatArray:
    """Share of signal in each bin, shape (B,); rises with signal-to-background. Empty bins: 0."""
    nominal = templates.nominal
    total = nominal.sum(axis=0)
    signal = nominal[templates.is_signal].sum(axis=0)
    return np.asarray(np.divide(signal, total, out=np.zeros_like(total), where=total > 0))


def _poorest(templates: Templates, rule: Binning) -> int | None:
    """Return the bin to merge next, or None when all are supported."""
    yields, effective = templates.nominal.sum(axis=0), effective_events(templates)
    support: NDArray[np.float64] = np.minimum(yields / rule.min_yield, effective / rule.min_effective_events)
    if support.min() < 1:
        return int(support.argmin())
    information = noise_information(templates)
    name = max(information, key=lambda key: information[key].sum(), default=None)
    if name is not None and information[name].sum() > rule.max_noise_information:
        return int(information[name].argmax())
    return None


def merge(templates: Templates, rule: Binning, *, ordered: bool) -> Templates:
    """Order the bins by signal-to-background, and merge those that are not supported.

    Args:
        templates: One bin per bin of the network.
        rule: The thresholds.
        ordered: The bins have an order of their own, which is kept.

    Returns:
        The merged templates; ``groups`` tells which bins each is made of.
    """
    if not ordered:
        order = np.argsort(purity(templates), kind="stable")
        templates = templates.grouped([(int(i),) for i in order])
    while templates.n_bins > 1 and (poorest := _poorest(templates, rule)) is not None:
        share = purity(templates)
        below, above = poorest - 1, poorest + 1
        if below < 0 or (
            above < templates.n_bins and abs(share[above] - share[poorest]) < abs(share[below] - share[poorest])
        ):
            first = poorest
        else:
            first = below
        groups: list[tuple[int, ...]] = [(i,) for i in range(templates.n_bins) if i != first + 1]
        groups[first] = (first, first + 1)
        templates = templates.grouped(groups)
    return templates
