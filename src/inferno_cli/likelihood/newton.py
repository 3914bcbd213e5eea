"""Newton's method on the likelihood, within limits: from near a minimum to where the gradient is rounding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from inferno_cli.likelihood.data import FloatArray, Likelihood

CONVERGED = 1e-10
"""Estimated distance to the minimum (EDM) at which it stops."""
FLAT = 1e-9
"""Rise of -2 ln L, by rounding, that the last step may have."""
NEAR = 1e-3
"""EDM of a step from which on the Hessian before it is good enough to say that the next one is not needed."""
ROUNDING = 1e-14
"""Relative error of a step to a limit."""
ONE_SIDED = 0.5
"""Least share of one direction in what a parameter does, of that in both, for a second minimum to be looked for."""
FAR = 5.0
"""Standard deviations of all bins together that data are away from what is expected, at most, in one direction."""
STEPS, HALVINGS = 50, 20
"""Most steps, and most halvings of one."""


def bent(
    likelihood: Likelihood,
    bounds: Sequence[tuple[float, float]],
    centres: FloatArray,
    varied: NDArray[np.bool_],
) -> list[int]:
    """Return the parameters that move the expected events to one side, up and down by one, as well as apart.

    The likelihood can have a minimum on either side of such a one, and from a start one finds that which is nearer.
    Along a parameter the expected events are nu + odd a + even a^2, in standard deviations of the data. The curvature
    of -ln L, 1 + odd^2 - 2 even r at its centre, is negative only where the data are r > 1 / (2 even) away from what
    is expected, and they hardly are by more than ``FAR``. Arrays have shape (n_parameters,).
    """
    here = likelihood.expected(centres)
    deviation = np.sqrt(np.maximum(here, 1.0))
    found = []
    for index in np.flatnonzero(varied).tolist():
        low, high = bounds[index]
        step = np.zeros(len(centres))
        step[index] = 1.0
        if not low < centres[index] - 1 < centres[index] + 1 < high:
            continue
        up, down = likelihood.expected(centres + step), likelihood.expected(centres - step)
        even = float(np.linalg.norm((up + down - 2 * here) / deviation)) / 2
        odd = float(np.linalg.norm((up - down) / deviation)) / 2
        if even > ONE_SIDED * odd and 2 * even * FAR > 1:
            found.append(index)
    return found


def beside(values: FloatArray, centres: FloatArray, mirrored: Iterable[int]) -> list[FloatArray]:
    """Return starts for the other minima of some parameters, those that are ``bent``: mirrored, and at +1 and -1."""
    points = []
    for index in mirrored:
        for value in (2 * centres[index] - values[index], centres[index] + 1, centres[index] - 1):
            point = values.copy()
            point[index] = value
            points.append(point)
    return points


def newton(
    likelihood: Likelihood,
    bounds: Sequence[tuple[float, float]],
    values: FloatArray,
    varied: NDArray[np.bool_],
) -> tuple[FloatArray, NDArray[np.bool_], float]:
    """Minimise -2 ln L from a start, within bounds, by moving what is varied; arrays have shape (n_parameters,).

    Returns:
        The minimum, which parameters it holds at their limits, and its EDM; infinite where no step leads on.
    """
    low, high = (np.array(side, dtype=float) for side in zip(*bounds, strict=True))
    rise = likelihood.rise(values)
    blocked, distance = np.zeros(len(values), dtype=bool), np.inf
    hessian = None
    for _ in range(STEPS):
        gradient = likelihood.gradient(values)
        blocked = varied & (((values <= low) & (gradient > 0)) | ((values >= high) & (gradient < 0)))
        free = varied & ~blocked
        room = low - values, high - values
        step = None
        if hessian is not None and distance < NEAR:
            step = _step(hessian, gradient, free, *room)
        if step is None or not -gradient @ step <= CONVERGED:
            hessian = likelihood.hessian(values, is_step=True)
            step = _step(hessian, gradient, free, *room)
        if step is None:
            hessian = likelihood.information(values)
            step = _step(hessian, gradient, free, *room)
        if step is None:
            return values, blocked, np.inf
        distance = float(-gradient @ step)
        # A step to a limit is on it: beside it, by the last digit of a sum or of MIGRAD, a parameter is free and flat.
        moved, rounding = np.clip(values + step, low, high), ROUNDING * (np.abs(values) + np.abs(step))
        moved = np.where(moved - low <= rounding, low, np.where(high - moved <= rounding, high, moved))
        if abs(distance) <= CONVERGED:
            onto = free & (((moved <= low) & (gradient > 0)) | ((moved >= high) & (gradient < 0)))
            ended = np.where(free, moved, values)
            # Along a flat direction a step without any gain may be long, and a valley is not straight.
            if likelihood.rise(ended) - rise <= FLAT:
                values, blocked = ended, blocked | onto
            break
        for _ in range(HALVINGS):
            found = likelihood.rise(values + step)
            if found < rise:
                break
            step /= 2
        else:
            break
        values, rise = np.where(varied, np.clip(values + step, low, high), values), found
    return values, blocked, distance


def _step(
    hessian: FloatArray, gradient: FloatArray, free: NDArray[np.bool_], low: FloatArray, high: FloatArray
) -> FloatArray | None:
    """Return the step to the minimum of the parabola within limits, None where the Hessian is not positive definite."""
    from scipy.linalg.lapack import dposv, dtrtrs
    from scipy.optimize import lsq_linear

    step = np.zeros(len(gradient))
    # What nothing depends on stays where it is: without signal that is a free factor of the signal alone.
    free = free & ~((gradient == 0) & (hessian == 0).all(axis=1))
    if not free.any():
        return step
    block = hessian[np.ix_(free, free)]
    diagonal = np.diag(block)
    if not (diagonal > 0).all():
        return None
    scale = np.sqrt(diagonal)
    aim = -gradient[free] / scale
    # LAPACK by itself: its checks in NumPy and SciPy take longer than what they check.
    factor, unlimited, failed = dposv(block / np.outer(scale, scale), aim, lower=1)
    if failed:
        return None
    limits = low[free] * scale, high[free] * scale
    if ((unlimited < limits[0]) | (unlimited > limits[1])).any():
        factor = np.tril(factor)
        unlimited = lsq_linear(factor.T, dtrtrs(factor, aim, lower=1)[0], limits, method="bvls").x
    step[free] = unlimited / scale
    return step
