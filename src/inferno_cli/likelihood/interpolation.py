"""The two interpolations between down, nominal and up that pyhf calls code4 and code4p.

Both agree with pyhf to rounding; alpha is the nuisance parameter in units of sigma.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Row i of the matrix that takes the conditions at alpha = +1 and -1 (value, first and second derivative, each as
# up, down) to the coefficients of alpha^1 ... alpha^6: the inverse of the Vandermonde-like matrix written out here.
_POWERS = torch.arange(1, 7, dtype=torch.float64)
_CONDITIONS = torch.stack(
    [
        sign ** (_POWERS - order) * scale
        for order, scale in enumerate([torch.ones(6, dtype=torch.float64), _POWERS, _POWERS * (_POWERS - 1)])
        for sign in (1.0, -1.0)
    ]
)
_COEFFICIENTS = torch.linalg.inv(_CONDITIONS)


def _code4_coefficients(up: Tensor, down: Tensor) -> Tensor:
    """Coefficients of alpha^1 ... alpha^6, in a last dimension."""
    log_up, log_down = up.log(), down.log()
    conditions = torch.stack(
        [up - 1, down - 1, up * log_up, -down * log_down, up * log_up**2, down * log_down**2], dim=-1
    )
    return torch.matmul(conditions, _COEFFICIENTS.to(up).T)


def code4(alpha: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Multiplicative factor of a normsys: polynomial within one sigma, exponential outside.

    Args:
        alpha: Nuisance parameters, broadcast against ``up`` and ``down``.
        up: Factor at +1, positive.
        down: Factor at -1, positive.

    Returns:
        Factor at ``alpha`` (1 at 0), and its derivative.
    """
    coefficients = _code4_coefficients(up, down)
    inside = alpha.abs() <= 1
    # Each branch of a `where` is differentiated: keep the one that is not taken inside its own range.
    near = torch.where(inside, alpha, torch.zeros_like(alpha))[..., None] ** _POWERS.to(alpha)
    near_slope = _POWERS.to(alpha) * torch.where(inside, alpha, torch.zeros_like(alpha))[..., None] ** (
        _POWERS.to(alpha) - 1
    )
    far = torch.where(inside, torch.ones_like(alpha), alpha)
    rate = torch.where(far > 0, up.log(), -down.log())
    exponential = (far * rate).exp()
    value = torch.where(inside, 1 + (coefficients * near).sum(dim=-1), exponential)
    return value, torch.where(inside, (coefficients * near_slope).sum(dim=-1), rate * exponential)


def code4p(alpha: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Additive change of a histosys: polynomial within one sigma, linear outside.

    Args:
        alpha: Nuisance parameters, broadcast against ``up`` and ``down``.
        up: Change of the template at +1 (varied minus nominal).
        down: Change of the template at -1.

    Returns:
        Change at ``alpha`` (0 at 0), and its derivative, (up - down) / 2 at 0.
    """
    slope, curve = (up - down) / 2, (up + down) / 16
    square = alpha**2
    inside = alpha.abs() <= 1
    polynomial = alpha * (slope + alpha * curve * (15 + square * (3 * square - 10)))
    polynomial_slope = slope + alpha * curve * (30 + square * (18 * square - 40))
    linear_slope = torch.where(alpha > 0, up, -down)
    return torch.where(inside, polynomial, alpha * linear_slope), torch.where(inside, polynomial_slope, linear_slope)
