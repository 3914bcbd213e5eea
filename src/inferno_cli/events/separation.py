"""How far one feature by itself separates two samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.sample import FloatArray


class Separation(NamedTuple):
    """Separation by one feature.

    Attributes:
        auc: Probability that the value of a signal event is above that of a background event, ties count half: 0.5
            where the feature says nothing, below 0.5 where the signal has the smaller values.
        ks: Kolmogorov-Smirnov distance, the largest difference of the two cumulative distributions.
    """

    auc: float
    ks: float


def separation(
    signal: NDArray[Any], signal_weights: FloatArray, background: NDArray[Any], background_weights: FloatArray
) -> Separation:
    """Compare two weighted samples of one finite number; weights may be negative, but have a positive sum.

    Example:
        >>> one = np.ones(2)
        >>> separation(np.array([1.0, 2.0]), one, np.array([0.0, 1.0]), one)
        Separation(auc=0.875, ks=0.5)
    """
    values, number = np.unique(np.concatenate([signal, background]), return_inverse=True)
    n = len(values)
    s = np.bincount(number[: len(signal)], signal_weights, n) / signal_weights.sum()
    b = np.bincount(number[len(signal) :], background_weights, n) / background_weights.sum()
    below = np.cumsum(b) - b
    return Separation(float((s * (below + b / 2)).sum()), float(np.abs(np.cumsum(s - b)).max()))
