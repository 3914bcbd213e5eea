"""The clip at which the median of t of toys is that of chi2 (arXiv:1912.12155), by bisection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inferno_cli.events.sample import FloatArray
from inferno_cli.nplm.distribution import chi2_median, median_error

log = logging.getLogger(__name__)

CLOSE = 0.75
"""A median that is so near, in units of its own error, needs no better clip: that of other toys differs by more."""
TRIALS = 8
"""Clips that are tried at most."""


@dataclass(frozen=True)
class Trial:
    """One clip that was tried: the 10%, 25%, 50%, 75% and 90% quantiles of t of its toys."""

    clip: float
    quantiles: tuple[float, ...]


QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Tuning:
    """The clip that was chosen, and what was tried.

    Attributes:
        clip: The clip.
        trials: In their order.
        is_met: Whether the median of t is that of chi2 there, within its error.
    """

    clip: float
    trials: tuple[Trial, ...]
    is_met: bool


def tune(throw: Callable[[float], FloatArray], degrees: float, within: tuple[float, float]) -> Tuning:
    """Look for the clip: t grows with it.

    Args:
        throw: Returns t of toys, the same ones for every clip.
        degrees: Those of chi2.
        within: Smallest and largest clip.
    """
    low, high = np.log(within[0]), np.log(within[1])
    wanted, trials = chi2_median(degrees), list[Trial]()
    best, smallest, is_met = within[0], np.inf, False
    for _ in range(TRIALS):
        clip = float(np.round(np.exp((low + high) / 2), 3))
        t = throw(clip)
        trials.append(Trial(clip, tuple(float(x) for x in np.quantile(t, QUANTILES))))
        missing = wanted - float(np.median(t))
        error = median_error(degrees, len(t))
        log.info(f"clip {clip:g}: median of t {wanted - missing:.2f}, of chi2 {wanted:.2f} (error {error:.2f})")
        if abs(missing) < smallest:
            best, smallest = clip, abs(missing)
            is_met = abs(missing) < 2 * error
        if abs(missing) < CLOSE * error:
            break
        if missing > 0:
            low = np.log(clip)
        else:
            high = np.log(clip)
    return Tuning(best, tuple(trials), is_met)
