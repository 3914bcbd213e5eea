"""Other starts of the fit, where the likelihood may have two minima (``likelihood.newton.bent``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from inferno_cli.errors import DeeperMinimumError, FitFailedError
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import DEEPER, Fitter
from inferno_cli.likelihood import newton

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
    """Return a deeper minimum beside that of one of some parameters, those that are ``bent``; None without."""
    for values in newton.beside(found.values, fitter.likelihood.reference, mirrored):
        with suppress(FitFailedError):  # it was only a try
            other = fitter.minimum("the fit", best=fitter.at(values))
            if other.rise < found.rise - DEEPER:
                return other
    return None


def lowest(
    fitter: Fitter, what: str, held: Mapping[int, float], starts: Sequence[Minimum | None], mirrored: Iterable[int]
) -> Minimum:
    """Return the deepest minimum with parameters held, from some starts, and beside it in those that are ``bent``.

    Raises:
        FitFailedError: If a fit from one of the starts fails.
    """
    found = min((fitter.minimum(what, held, start) for start in starts), key=lambda minimum: minimum.rise)
    for values in newton.beside(found.values, fitter.likelihood.reference, mirrored):
        with suppress(FitFailedError):  # it was only a try
            other = fitter.minimum(what, held, fitter.at(values))
            if other.rise < found.rise - DEEPER:
                found = other
    return found


def bent(fitter: Fitter) -> list[int]:
    """Return the parameters in which the likelihood may have two minima (``likelihood.newton.bent``)."""
    problem, likelihood = fitter.problem, fitter.likelihood
    return newton.bent(likelihood, problem.bounds, likelihood.reference, ~np.array(problem.fixed))
