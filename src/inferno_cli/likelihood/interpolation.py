"""The two interpolations between down, nominal and up that pyhf calls code4 and code4p.

Both agree with pyhf to rounding; alpha is the nuisance parameter in units of sigma.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from array_api_compat import array_namespace, device

from inferno_cli.likelihood.modifiers import Array


@cache
def _coefficients(xp: Any) -> tuple[Array, Array]:
    """Powers 1 to 6 of alpha, and the matrix that takes conditions at alpha = +1 and -1 to the coefficients of these.

    The conditions are value, first and second derivative, each as up, down; the matrix is the inverse of the
    Vandermonde-like one written out here, shape (6, 6).
    """
    powers = xp.arange(1, 7, dtype=xp.float64)
    ones = xp.ones(6, dtype=xp.float64)
    rows = []
    for order, scale in enumerate([ones, powers, powers * (powers - 1)]):
        rows += [sign ** (powers - order) * scale for sign in (1.0, -1.0)]
    return powers, xp.linalg.inv(xp.stack(rows))


def code4(alpha: Array, up: Array, down: Array) -> tuple[Array, Array]:
    """Multiplicative factor of a normsys at ``alpha`` (1 at 0), and its derivative.

    It is polynomial within one sigma, exponential outside; ``up`` and ``down`` are the factors at +1 and -1, positive.
    """
    xp = array_namespace(up)
    powers, matrix = (xp.asarray(x, dtype=up.dtype, device=device(up)) for x in _coefficients(xp))
    log_up, log_down = xp.log(up), xp.log(down)
    conditions = xp.stack(
        [up - 1, down - 1, up * log_up, -down * log_down, up * log_up**2, down * log_down**2], axis=-1
    )
    coefficients = xp.matmul(conditions, matrix.T)
    inside = xp.abs(alpha) <= 1
    # Each branch of a `where` is differentiated: keep the one that is not taken inside its own range.
    near = xp.where(inside, alpha, xp.zeros_like(alpha))[..., None]
    far = xp.where(inside, xp.ones_like(alpha), alpha)
    rate = xp.where(far > 0, log_up, -log_down)
    exponential = xp.exp(far * rate)
    value = xp.where(inside, 1 + xp.sum(coefficients * near**powers, axis=-1), exponential)
    slope = xp.sum(coefficients * (powers * near ** (powers - 1)), axis=-1)
    return value, xp.where(inside, slope, rate * exponential)


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
