"""Upper limit on the POI from CLs by toys, beside the asymptotic one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.share import Share
from inferno_cli.fit.starts import bent
from inferno_cli.fit.throwing import Toys
from inferno_cli.fit.toys import Exclusion, Throw, conditional, share_above

BESIDE = 1.15
"""Ratio of two values of the POI at which CLs is tested, around the asymptotic limit."""
MOST = 10
"""Values at most: CLs by toys crosses its target near the asymptotic limit."""


class Tested(NamedTuple):
    """CLs at one value of the POI: toys with a test statistic of at least that of the data, with and without signal."""

    poi: float
    signal: Share
    background: Share

    @property
    def cls(self) -> float:
        """CLs."""
        return self.signal.value / self.background.value

    @property
    def error(self) -> float:
        """Its error, binomial in both."""
        parts = self.signal.error / self.background.value, self.cls * self.background.error / self.background.value
        return math.hypot(*parts)


def limit_by_toys(
    toys: Toys, fitter: Fitter, best: Minimum, asymptotic: float, target: float
) -> tuple[float, float, list[Tested]]:
    """Find where CLs of some data falls to ``target``, 1 minus the confidence level.

    Returns:
        The limit, its error, and what was tested, rising.

    Raises:
        FitFailedError: If CLs does not cross its target near the asymptotic limit.
    """
    tested = _test(toys, fitter, best, [asymptotic / BESIDE, asymptotic, asymptotic * BESIDE])
    while len(tested) < MOST and tested[-1].cls >= target:
        tested += _test(toys, fitter, best, [tested[-1].poi * BESIDE])
    while len(tested) < MOST and tested[0].cls < target:
        tested = _test(toys, fitter, best, [tested[0].poi / BESIDE]) + tested
    for below, above in pairwise(tested):
        if below.cls >= target > above.cls:
            break
    else:
        values = f"{tested[0].poi:.4g} and {tested[-1].poi:.4g}"
        raise FitFailedError(f"CLs by toys does not cross {target:.3g} between {values}. Raise fit.toys")
    # CLs is nearly exponential in the POI; of few toys none may be left, then it is taken as a straight line.
    scale = math.log if above.cls > 0 else float
    share = (scale(below.cls) - scale(target)) / (scale(below.cls) - scale(above.cls))
    # Between neighbours the slope is noisy: that of the error is the mean one of all that were tested.
    slope = (tested[0].cls - tested[-1].cls) / (tested[-1].poi - tested[0].poi)
    if tested[-1].cls > 0:
        slope = target * math.log(tested[0].cls / tested[-1].cls) / (tested[-1].poi - tested[0].poi)
    error = max(below.error, above.error) / slope
    return below.poi + share * (above.poi - below.poi), error, tested


def _test(toys: Toys, fitter: Fitter, best: Minimum, values: list[float]) -> list[Tested]:
    """Return CLs at some values of the POI; nuisance parameters of the toys are fitted to the data at each."""
    without = conditional(fitter, best, 0.0)
    throws, mirrored = [], tuple(bent(fitter))
    for value in values:
        measure = Exclusion(value, mirrored)
        throws.append(Throw(f"POI {value:.4g}", (3,), conditional(fitter, best, value), measure))
        throws.append(Throw("no signal", (2,), without, measure))
    chunks = toys("limit", throws)
    found = []
    for value, signal, background in zip(values, chunks[::2], chunks[1::2], strict=True):
        of_data = float(Exclusion(value, mirrored)(fitter, best)[0])
        shares = share_above(signal.rows[:, 0], of_data), share_above(background.rows[:, 0], of_data)
        if not shares[1].count:
            raise FitFailedError(
                f"of {shares[1].total} toys without signal none is as far from POI {value:.4g} as the data. "
                "Raise fit.toys"
            )
        found.append(Tested(value, *shares))
    return found
