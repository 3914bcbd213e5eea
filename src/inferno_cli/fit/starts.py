"""Other starts of the fit, where the likelihood may have two minima.

A shape whose variations both move a bin to the same side is nearly the same at +1 and at -1: the likelihood can have a
minimum on either side, and a minimiser finds the one that is nearer to its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np

from inferno_cli.errors import DeeperMinimumError, FitFailedError
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import DEEPER, Fitter

MOST = 4
"""Fits: each begins at a deeper minimum than that of the one before."""


def global_fit(fitter: Fitter, minos: Sequence[str]) -> Minimum:
    """Fit from the start of the workspace, and again from every deeper minimum that is met.

    Raises:
        FitFailedError: If there is no valid minimum.
        DeeperMinimumError: If there always is a deeper one.
    """
    start: Minimum | None = None
    mirrored = bent(fitter)
    for _ in range(MOST):
        try:
            found = fitter.fit(minos=minos, best=start)
        except DeeperMinimumError as error:
            near = None if error.values is None else fitter.at(error.values)
            start = fitter.minimum("the fit", best=near or start)
            if near is None:
                start = deeper_beside(fitter, start, mirrored)
            if start is None:
                raise
            continue
        start = deeper_beside(fitter, found, mirrored)
        if start is None:
            return found
    raise DeeperMinimumError(
        f"the likelihood of {fitter.problem.where} has more than {MOST} minima. Remove the shapes whose variations "
        "both move the templates to one side"
    )


def deeper_beside(fitter: Fitter, found: Minimum, mirrored: Iterable[int]) -> Minimum | None:
    """Return a deeper minimum on the other side of one of some parameters, those that are ``bent``; None without."""
    centres = fitter.likelihood.reference
    for index in mirrored:
        values = found.values.copy()
        values[index] = 2 * centres[index] - values[index]
        with suppress(FitFailedError):  # it was only a try
            other = fitter.minimum("the fit", best=fitter.at(values))
            if other.rise < found.rise - DEEPER:
                return other
    return None


def bent(fitter: Fitter) -> list[int]:
    """Return the parameters that move the expected events more to one side than apart, up and down by one."""
    problem, likelihood, centres = fitter.problem, fitter.likelihood, fitter.likelihood.reference
    here = likelihood.expected(centres)
    found = []
    for index in np.flatnonzero(~np.array(problem.fixed)):
        low, high = problem.bounds[index]
        step = np.zeros(len(centres))
        step[index] = 1.0
        if not low < centres[index] - 1 < centres[index] + 1 < high:
            continue
        up, down = likelihood.expected(centres + step), likelihood.expected(centres - step)
        even, odd = up + down - 2 * here, up - down
        if np.abs(even).sum() > np.abs(odd).sum():
            found.append(int(index))
    return found
