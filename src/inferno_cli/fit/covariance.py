"""The covariance of a fit, the inverse of its Hessian, and what there is to say where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import FitFailedError
from inferno_cli.likelihood.data import FloatArray

SMALLEST_PIVOT = 1e-12
"""Smallest eigenvalue of the Hessian with unit diagonal: below this it is the rounding of a flat direction."""


def inverse(hessian: FloatArray, chosen: NDArray[np.bool_], labels: Sequence[str], where: str) -> FloatArray:
    """Return the covariance of the chosen parameters, zero elsewhere, shape (n_parameters, n_parameters).

    Args:
        hessian: Of -ln L, of that shape.
        chosen: The parameters that are free, shape (n_parameters,).
        labels: Names of the parameters.
        where: Names the workspace in errors.

    Raises:
        FitFailedError: If the Hessian of the chosen ones is not positive definite; it names what is flat.
    """
    covariance = np.zeros_like(hessian)
    if not chosen.any():
        return covariance
    kept = np.ix_(chosen, chosen)
    block = hessian[kept]
    if flat := flat_direction(block, [labels[index] for index in np.flatnonzero(chosen).tolist()]):
        raise FitFailedError(f"no errors of the fit on {where}: {flat}")
    scale = np.sqrt(np.diag(block))
    covariance[kept] = np.linalg.inv(block / np.outer(scale, scale)) / np.outer(scale, scale)
    return covariance


def flat_direction(hessian: FloatArray, names: Sequence[str]) -> str:
    """Say which parameters have no effect, or cannot be told apart; "" where the Hessian is positive definite."""
    if not names:
        return ""
    diagonal = np.diag(hessian)
    if not np.isfinite(hessian).all():
        return "the second derivatives of the likelihood are not finite. Check the templates"
    remedy = "Fix it (`fixed: true` in the measurement), or take it out of the workspace"
    if (dead := diagonal <= 0).any():
        said = ", ".join(names[index] for index in np.flatnonzero(dead).tolist())
        return f"{said} has no effect on the expected events, and no constraint. {remedy}"
    scaled = hessian / np.sqrt(np.outer(diagonal, diagonal))
    values, vectors = np.linalg.eigh(scaled)
    if values[0] > SMALLEST_PIVOT:
        return ""
    direction = vectors[:, 0]
    parts = [index for index in np.argsort(-np.abs(direction)).tolist() if abs(direction[index]) > 0.1]
    said = " and ".join(names[index] for index in parts)
    return f"the data cannot tell {said} apart: they only act together. Fix one, or constrain one of them"
