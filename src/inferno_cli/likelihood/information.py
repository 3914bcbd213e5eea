"""The information matrix of the Asimov fit in closed form, and what follows from it.

At the Asimov point the second-derivative term of the Poisson Hessian vanishes, so the Hessian of the negative
log-likelihood is exactly

    I = J^T diag(1 / V) J + C,        J_bi = d nu_b / d theta_i,        C = 1 for constrained parameters, else 0.

Without staterror V = nu. Each staterror parameter gamma_b multiplies nu_stat,b with a Gaussian constraint of relative
width delta_b; eliminating it (Woodbury) gives V_b = nu_b + delta_b^2 nu_stat,b^2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inferno_cli.errors import SingularInformationError
from inferno_cli.likelihood.channel import Channel, yields_and_jacobian


def bin_variance(channel: Channel, yields: Tensor) -> Tensor:
    """Variance of each bin's content, Poisson and simulation, for yields (S, B); shape (B,)."""
    in_staterror = torch.where(channel.in_staterror[:, None], yields, torch.zeros_like(yields)).sum(dim=0)
    return yields.sum(dim=0) + (channel.relative_error * in_staterror) ** 2


def information_matrix(channel: Channel, theta: Tensor | None = None) -> Tensor:
    """Hessian of the negative log-likelihood in the Asimov fit.

    Args:
        channel: Templates and modifiers.
        theta: Parameters at which the Asimov data is made, shape (P,); the nominal ones without.

    Returns:
        Shape (P, P), staterror parameters profiled out; differentiable with respect to the templates.
    """
    yields, jacobian = yields_and_jacobian(channel, channel.init if theta is None else theta)
    variance = bin_variance(channel, yields)[:, None]
    # A bin that nothing can fill says nothing; one that only a variation fills is left to make the matrix infinite.
    unused = (variance == 0) & (jacobian == 0).all(dim=1, keepdim=True)
    weighted = jacobian / torch.where(unused, torch.ones_like(variance), variance)
    return jacobian.T @ weighted + torch.diag(channel.constrained.to(jacobian))


def _factor(matrix: Tensor, names: Sequence[str]) -> Tensor:
    """Cholesky factor; an error that names the flat direction when there is none."""
    # Scaling to a unit diagonal makes "singular" independent of the units of the parameters.
    scale = matrix.diagonal().clamp_min(0).sqrt()
    try:
        factor: Tensor = torch.linalg.cholesky(matrix)
    except RuntimeError as error:  # torch.linalg.LinAlgError, which torch's types do not export
        raise SingularInformationError(_flat_direction(matrix, scale, names)) from error
    if not matrix.is_meta:
        # A pivot that is rounding noise is a zero: what is left of a parameter once the others are known.
        left = (factor.detach().diagonal() / scale.detach()).min()
        if not bool(left > _SMALLEST_PIVOT):
            raise SingularInformationError(_flat_direction(matrix, scale, names))
    return factor


_SMALLEST_PIVOT = 1e-6


def _flat_direction(matrix: Tensor, scale: Tensor, names: Sequence[str]) -> str:
    matrix, scale = matrix.detach(), scale.detach()
    remedy = "Use more bins, constrain a parameter, or leave one out of nuisance.fit"
    if not bool(torch.isfinite(matrix).all()):
        return f"the information matrix is not finite: a bin has no expected events. {remedy}"
    dead = [name for name, value in zip(names, scale, strict=True) if not bool(value > 0)]
    if dead:
        return f"the data does not depend on {', '.join(dead)}. {remedy}"
    values, vectors = torch.linalg.eigh(matrix / torch.outer(scale, scale))
    direction = vectors[:, 0]
    parts = [
        f"{float(part):+.2f} {name}"
        for part, name in sorted(zip(direction, names, strict=True), key=lambda pair: -abs(float(pair[0])))
        if abs(float(part)) > 0.1
    ]
    return (
        f"the data cannot tell {' and '.join(part.split(' ')[1] for part in parts)} apart: the information along "
        f"{' '.join(parts)} is {float(values[0]):.1g} of that of one parameter alone. {remedy}"
    )


def poi_variance(channel: Channel, theta: Tensor | None = None) -> Tensor:
    """Variance of the parameter of interest in the Asimov fit, everything else profiled.

    Args:
        channel: Templates and modifiers.
        theta: Parameters at which to evaluate, shape (P,); the nominal ones without.

    Returns:
        Scalar, in units of mu squared; differentiable with respect to the templates.

    Raises:
        SingularInformationError: If the parameters cannot be told apart (names the flat direction).
    """
    matrix = information_matrix(channel, theta)
    factor = _factor(matrix, channel.parameters)
    unit = torch.zeros_like(matrix[:, :1])
    unit[0] = 1.0
    column: Tensor = torch.linalg.solve_triangular(factor, unit, upper=False)
    return column.square().sum()


def covariance(channel: Channel, theta: Tensor | None = None) -> Tensor:
    """Covariance matrix of all parameters in the Asimov fit, shape (P, P); staterror parameters profiled.

    Raises:
        SingularInformationError: If the parameters cannot be told apart (names the flat direction).
    """
    return torch.cholesky_inverse(_factor(information_matrix(channel, theta), channel.parameters))


def correlation(matrix: Tensor) -> Tensor:
    """Correlation matrix of a covariance matrix, shape (P, P)."""
    deviation = matrix.diagonal().sqrt()
    return matrix / torch.outer(deviation, deviation)
