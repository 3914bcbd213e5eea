"""The two interpolations between down, nominal and up that pyhf calls code4 and code4p.

Both agree with pyhf to rounding; alpha is the nuisance parameter in units of sigma. A training differentiates them with
respect to up and down, and takes ``code4`` and ``code4p``. A fit has these constant and wants the second derivative in
alpha, too: it takes ``Code4`` and ``even_part``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from inferno_cli.likelihood.modifiers import Array

FloatArray = NDArray[np.float64]


@cache
def _coefficients(xp: Any, dtype: Any, at: Any) -> tuple[Array, Array]:
    """Powers 1 to 6 of alpha, and the matrix that takes conditions at alpha = +1 and -1 to the coefficients of these.

    The conditions are value, first and second derivative, each as up, down; the matrix is the inverse of the
    Vandermonde-like one written out here, shape (6, 6).
    """
    options = {"dtype": dtype, "device": at}
    powers = xp.arange(1, 7, dtype=xp.float64)
    ones = xp.ones(6, dtype=xp.float64)
    rows = []
    for order, scale in enumerate([ones, powers, powers * (powers - 1)]):
        rows += [sign ** (powers - order) * scale for sign in (1.0, -1.0)]
    return xp.asarray(powers, **options), xp.asarray(xp.linalg.inv(xp.stack(rows)), **options)


def _polynomial(up: Array, down: Array) -> tuple[Array, Array, Array]:
    """Coefficients of alpha to the powers 1 to 6 within one sigma, shape (..., 6), and logarithms of the factors."""
    xp = array_namespace(up)
    matrix = _coefficients(xp, up.dtype, device(up))[1]
    log_up, log_down = xp.log(up), xp.log(down)
    conditions = xp.stack(
        [up - 1, down - 1, up * log_up, -down * log_down, up * log_up**2, down * log_down**2], axis=-1
    )
    return xp.matmul(conditions, matrix.T), log_up, log_down


def code4(alpha: Array, up: Array, down: Array) -> tuple[Array, Array]:
    """Multiplicative factor of a normsys at ``alpha`` (1 at 0), and its derivative.

    It is polynomial within one sigma, exponential outside; ``up`` and ``down`` are the factors at +1 and -1, positive.
    """
    xp = array_namespace(up)
    powers = _coefficients(xp, up.dtype, device(up))[0]
    coefficients, log_up, log_down = _polynomial(up, down)
    inside = xp.abs(alpha) <= 1
    # Each branch of a `where` is differentiated: keep the one that is not taken inside its own range.
    near = xp.where(inside, alpha, xp.zeros_like(alpha))[..., None]
    far = xp.where(inside, xp.ones_like(alpha), alpha)
    rate = xp.where(far > 0, log_up, -log_down)
    exponential = xp.exp(far * rate)
    value = xp.where(inside, 1 + xp.sum(coefficients * near**powers, axis=-1), exponential)
    slope = xp.sum(coefficients * (powers * near ** (powers - 1)), axis=-1)
    return value, xp.where(inside, slope, rate * exponential)


def code4_slope_at_0(factors: Array) -> Array:
    """Return the derivative of ``code4`` at alpha = 0, given the factors at +1 and -1, shape (2, ...).

    It is the coefficient of the first power: f(up) - f(down) with f(x) = x (15 - 7 ln x + ln^2 x) / 16.
    """
    logarithm = array_namespace(factors).log(factors)
    part = factors * (logarithm * (logarithm - 7) + 15)
    up, down = array_namespace(factors).unstack(part)
    return (up - down) / 16


def code4p(alpha: Array, up: Array, down: Array) -> tuple[Array, Array]:
    """Additive change of a histosys at ``alpha`` (0 at 0), and its derivative, (up - down) / 2 at 0.

    It is polynomial within one sigma, linear outside; ``up`` and ``down`` are varied minus nominal at +1 and -1.
    """
    xp = array_namespace(up)
    slope, curve = (up - down) / 2, (up + down) / 16
    square = alpha**2
    inside = xp.abs(alpha) <= 1
    polynomial = alpha * (slope + alpha * curve * (15 + square * (3 * square - 10)))
    polynomial_slope = slope + alpha * curve * (30 + square * (18 * square - 40))
    linear_slope = xp.where(alpha > 0, up, -down)
    return xp.where(inside, polynomial, alpha * linear_slope), xp.where(inside, polynomial_slope, linear_slope)


class Code4:
    """``code4`` of constant factors up and down, shape (n,), with its first and second derivative in alpha."""

    def __init__(self, up: FloatArray, down: FloatArray) -> None:
        coefficients, log_up, self._log_down = _polynomial(up, down)
        self._log_up = log_up
        powers = np.arange(1, 7)
        value = np.concatenate([np.ones((len(up), 1)), coefficients], axis=1).T
        slope = (coefficients * powers).T
        # By falling power, (3, 7, n): value, slope and curvature are one Horner scheme.
        self._falling = np.zeros((7, 3, len(up)))
        self._falling[:, 0] = value[::-1]
        self._falling[1:, 1] = slope[::-1]
        self._falling[2:, 2] = (slope[1:] * powers[:-1, None])[::-1]

    def __call__(self, alpha: FloatArray) -> FloatArray:
        """Return value, slope and curvature at ``alpha`` (n,), shape (3, n)."""
        inside = np.abs(alpha) <= 1
        near = np.where(inside, alpha, 0.0)
        result = self._falling[0]
        for coefficient in self._falling[1:]:
            result = result * near + coefficient
        if not inside.all():
            rate = np.where(alpha > 0, self._log_up, -self._log_down)
            exponential = np.exp(np.where(inside, 0.0, alpha * rate))
            result = np.where(inside, result, exponential * np.stack([np.ones_like(rate), rate, rate**2]))
        return np.asarray(result)


def even_part(alpha: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return e(alpha) with its first and second derivative, for ``alpha`` (n,).

    The change of a histosys is alpha (up - down) / 2 + e(alpha) (up + down) / 2, up and down less the nominal: linear
    in two constant templates. e is |alpha| beyond one sigma, a polynomial within.
    """
    square = alpha**2
    inside = square <= 1
    if inside.all():
        value = square * (15 + square * (3 * square - 10)) / 8
        slope = alpha * (15 + square * (9 * square - 20)) / 4
        return value, slope, (15 + square * (45 * square - 60)) / 4
    near = np.where(inside, square, 0.0)
    value = np.where(inside, near * (15 + near * (3 * near - 10)) / 8, np.abs(alpha))
    slope = np.where(inside, alpha * (15 + near * (9 * near - 20)) / 4, np.sign(alpha))
    return value, slope, np.where(inside, (15 + near * (45 * near - 60)) / 4, 0.0)
