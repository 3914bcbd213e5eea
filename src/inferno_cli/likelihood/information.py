"""The information matrix of the Asimov fit in closed form, and what follows from it.

At the Asimov point the second-derivative term of the Poisson Hessian vanishes, so the Hessian of the negative
log-likelihood is exactly

    I = J^T diag(1 / V) J + C,        J_bi = d nu_b / d theta_i,        C = 1 for constrained parameters, else 0.

Without staterror V = nu. Each staterror parameter gamma_b multiplies nu_stat,b with a Gaussian constraint of relative
width delta_b; eliminating it (Woodbury) gives V_b = nu_b + delta_b^2 nu_stat,b^2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from inferno_cli.errors import SingularInformationError
from inferno_cli.likelihood.expectation import Expectation, yields_and_jacobian
from inferno_cli.likelihood.modifiers import Array

SMALLEST_PIVOT = 1e-6
"""Of a Cholesky factor, relative to the information on the parameter alone: below this it is rounding noise."""


def bin_variance(model: Expectation, yields: Array) -> Array:
    """Variance of each bin's content, Poisson and simulation, for yields (R, B); shape (N,)."""
    if model.relative_error is None:
        raise ValueError("the closed form profiles one staterror per channel, and no shapesys or shapefactor")
    xp = array_namespace(yields)
    in_staterror = model.total(xp.where(model.in_staterror[:, None], yields, xp.zeros_like(yields)))
    return model.total(yields) + (model.relative_error * in_staterror) ** 2


def information_matrix(model: Expectation, theta: Array = None) -> Array:
    """Hessian of the negative log-likelihood in the fit of the Asimov data of ``theta`` (P,), the nominal one without.

    Its shape is (P, P), staterror parameters profiled out; it is differentiable with respect to the templates.
    """
    yields, jacobian = yields_and_jacobian(model, model.init if theta is None else theta)
    xp = array_namespace(yields)
    variance = bin_variance(model, yields)[:, None]
    # A bin that nothing can fill says nothing; one that only a variation fills is left to make the matrix infinite.
    unused = (variance == 0) & xp.all(jacobian == 0, axis=1, keepdims=True)
    weighted = jacobian / xp.where(unused, xp.ones_like(variance), variance)
    constrained = model.prior.width > 0
    prior = xp.where(constrained, 1 / xp.where(constrained, model.prior.width, 1.0) ** 2, 0.0)
    return jacobian.T @ weighted + prior * xp.eye(len(prior), dtype=prior.dtype, device=device(prior))


def _factor(matrix: Array, names: Sequence[str]) -> Array:
    """Cholesky factor, shape (P, P); an error that names the flat direction when there is none."""
    xp = array_namespace(matrix)
    try:
        factor = xp.linalg.cholesky(matrix)
    except (RuntimeError, ValueError) as error:  # the LinAlgError of torch, and of numpy
        raise SingularInformationError(_flat_direction(matrix, names)) from error
    if not getattr(matrix, "is_meta", False):
        # A pivot that is rounding noise is a zero: what is left of a parameter once the others are known. Scaling to
        # a unit diagonal makes it independent of the units of the parameters.
        left = _numbers(xp.linalg.diagonal(factor)) / np.sqrt(_numbers(xp.linalg.diagonal(matrix)).clip(min=0))
        if not left.min() > SMALLEST_PIVOT:
            raise SingularInformationError(_flat_direction(matrix, names))
    return factor


def _numbers(values: Array) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _flat_direction(matrix: Array, names: Sequence[str]) -> str:
    values = _numbers(matrix)
    scale = np.sqrt(np.diag(values).clip(min=0))
    remedy = "Use more bins, constrain a parameter, or leave one out of nuisance.fit"
    if not np.isfinite(values).all():
        return f"the information matrix is not finite: a bin has no expected events. {remedy}"
    dead = [name for name, value in zip(names, scale, strict=True) if not value > 0]
    if dead:
        return f"the data does not depend on {', '.join(dead)}. {remedy}"
    shares, vectors = np.linalg.eigh(values / np.outer(scale, scale))
    direction = vectors[:, 0]
    parts = {}
    for index in np.argsort(-np.abs(direction), kind="stable"):
        if abs(direction[index]) > 0.1:
            parts[names[index]] = f"{direction[index]:+.2f} {names[index]}"
    return (
        f"the data cannot tell {' and '.join(parts)} apart: the information along {' '.join(parts.values())} is "
        f"{shares[0]:.1g} of that of one parameter alone. {remedy}"
    )


def _solved(factor: Array, right: Array) -> Array:
    """Solve L x = y for a lower triangular matrix; of this the standard has the general form alone."""
    xp = array_namespace(factor)
    if hasattr(xp.linalg, "solve_triangular"):
        return xp.linalg.solve_triangular(factor, right, upper=False)
    return xp.linalg.solve(factor, right)


def poi_variance(model: Expectation, theta: Array = None) -> Array:
    """Variance of the parameter of interest in the Asimov fit, everything else profiled; arguments as above.

    It is in units of mu squared, and differentiable with respect to the templates.

    Raises:
        SingularInformationError: If the parameters cannot be told apart (names the flat direction).
    """
    return poi_covariance(model, (model.parameters[model.poi],), theta)[0, 0]


def poi_covariance(model: Expectation, pois: Sequence[str], theta: Array = None) -> Array:
    """Covariance of K parameters in the Asimov fit, everything else profiled, shape (K, K); as ``poi_variance``."""
    matrix = information_matrix(model, theta)
    factor, xp = _factor(matrix, model.parameters), array_namespace(matrix)
    units = xp.zeros_like(matrix[:, : len(pois)])
    for column, poi in enumerate(pois):
        units[model.parameters.index(poi), column] = 1.0
    half = _solved(factor, units)
    return xp.sum(half[:, :, None] * half[:, None, :], axis=0)


def covariance(model: Expectation, theta: Array = None) -> Array:
    """Covariance matrix of all parameters in the Asimov fit, shape (P, P); staterror parameters profiled.

    Raises:
        SingularInformationError: If the parameters cannot be told apart (names the flat direction).
    """
    factor = _factor(information_matrix(model, theta), model.parameters)
    xp = array_namespace(factor)
    if hasattr(xp, "cholesky_inverse"):
        return xp.cholesky_inverse(factor)
    half = _solved(factor, xp.eye(len(factor), dtype=factor.dtype))
    return half.T @ half


def correlation(matrix: Array) -> Array:
    """Correlation matrix of a covariance matrix, shape (P, P)."""
    xp = array_namespace(matrix)
    deviation = xp.sqrt(xp.linalg.diagonal(matrix))
    return matrix / (deviation[:, None] * deviation)
