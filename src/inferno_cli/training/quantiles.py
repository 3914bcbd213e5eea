"""Quantiles of weighted events, some of whose weights may be negative."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def quantiles(values: Tensor, weights: Tensor, n_parts: int) -> tuple[float, ...]:
    """Return the ``n_parts - 1`` values that divide events into parts of equal weight, in rising order.

    Negative weights make the sum of the weights below a value fall in places. The mean of the largest sum so far and
    the smallest from there on never falls, and has no preference for either side.

    Args:
        values: Shape (n_events,).
        weights: Shape (n_events,), with a positive sum.
        n_parts: Number of parts.
    """
    known, weight = (array.detach().cpu().double().numpy() for array in (values, weights))
    order = np.argsort(known, kind="stable")
    known, below = known[order], np.cumsum(weight[order])
    # One value is one event: an edge cannot divide those that share it.
    last = np.flatnonzero(np.append(np.diff(known) > 0, True))
    known, below = known[last], below[last]
    risen = np.maximum.accumulate(below)
    to_come = np.minimum.accumulate(below[::-1])[::-1]
    rising = (risen + to_come) / 2
    wanted = below[-1] * np.arange(1, n_parts) / n_parts
    found = np.searchsorted(rising, wanted).clip(max=len(known) - 1)
    after = (found + 1).clip(max=len(known) - 1)
    # Between two events, far from both: rounding moves neither over the edge.
    return tuple(((known[found] + known[after]) / 2).tolist())
