"""Axes of features in plots."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.sample import FloatArray

MOST = 5
"""Integers in one bin; where more would be, the axis is as that of any number."""


def integer_edges(values: NDArray[Any], limits: tuple[float, float], bins: int) -> FloatArray | None:
    """Return edges halfway between integers, for a feature of which every value is one; None for any other.

    A bin holds one integer; more, but each bin as many, where there are more integers than ``bins``.

    Args:
        values: Those that are finite, shape (n,).
        limits: The smallest and the largest integer that are drawn.
        bins: Of the axis, at most.
    """
    if not len(values) or not np.array_equal(values, np.round(values)):
        return None
    low, high = float(np.ceil(limits[0])), float(np.floor(limits[1]))
    width = int(np.ceil((high - low + 1) / bins))
    if not low <= high or width > MOST:
        return None
    n_bins = int(np.ceil((high - low + 1) / width))
    return low - 0.5 + width * np.arange(n_bins + 1, dtype=np.float64)
