"""The information matrix of the Asimov fit in closed form, and what follows from it.

At the Asimov point the second-derivative term of the Poisson Hessian vanishes, so the Hessian of the negative
log-likelihood is exactly

    I = J^T diag(1 / V) J + C,        J_bi = d nu_b / d theta_i,        C = 1 for constrained parameters, else 0.

Without staterror V = nu. Each staterror parameter gamma_b multiplies nu_stat,b with a Gaussian constraint of relative
width delta_b; eliminating it (Woodbury) gives V_b = nu_b + delta_b^2 nu_stat,b^2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from inferno_cli.errors import SingularInformationError
from inferno_cli.likelihood.expectation import Expectation, yields_and_jacobian
from inferno_cli.likelihood.modifiers import Array

SMALLEST_PIVOT = 1e-6
"""Of a Cholesky factor, relative to the information on the parameter alone: below this it is rounding noise."""

AT_ONCE = 64
"""Matrices of which a deferred check is made together."""


def bin_variance(model: Expectation, yields: Array) -> Array:
    """Variance of each bin's content, Poisson and simulation, for yields (R, B); shape (N,)."""
    if model.relative_error is None:
        raise ValueError("the closed form profiles one staterror per channel, and no shapesys or shapefactor")
    xp, total = array_namespace(yields), model.total(yields)
    if model.in_staterror is None:
        return total + (model.relative_error * total) ** 2
    in_staterror = model.total(xp.where(model.in_staterror[:, None], yields, xp.zeros_like(yields)))
    return total + (model.relative_error * in_staterror) ** 2


def information_matrix(model: Expectation, theta: Array = None) -> Array:
    """Hessian of the negative log-likelihood in the fit of the Asimov data of ``theta`` (P,), the nominal one without.

    Its shape is (P, P), staterror parameters profiled out; it is differentiable with respect to the templates.
    """
    yields, jacobian = yields_and_jacobian(model, theta)
    xp = array_namespace(yields)
    variance = bin_variance(model, yields)[:, None]
    if not model.fills_all_bins:
        # A bin that nothing can fill says nothing; one that only a variation fills is left to make the matrix infinite.
        unused = (variance == 0) & xp.all(jacobian == 0, axis=1, keepdims=True)
        variance = variance + xp.astype(unused, variance.dtype)
    return jacobian.T @ (jacobian / variance) + model.prior.curvature


@dataclass
class DeferredCheck:
    """Whether information matrices of torch could be inverted, to be asked once after many of them.

    To look at a number waits for the device. So a training step leaves it there, and goes on with whatever comes out.

    Attributes:
        singular: The first matrix that could not be, if one could not, and that this is so: shapes (P, P) and ().
        unseen: Matrices, their Cholesky factors, and the pivot at which each of these failed, 0: at none.
        names: Their parameters.
    """

    singular: tuple[Array, Array] | None = None
    unseen: list[tuple[Array, Array, Array]] = field(default_factory=list)
    names: tuple[str, ...] = ()

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Leave every check in this context for later."""
        token = _DEFERRED.set(self)
        try:
            yield
        finally:
            _DEFERRED.reset(token)

    def add(self, matrix: Array, factor: Array, failed: Array, names: tuple[str, ...]) -> None:
        """Note a matrix, its factor, and where that failed."""
        if names != self.names:
            self.require()
        self.unseen.append((matrix.detach(), factor.detach(), failed))
        self.names = names
        if len(self.unseen) == AT_ONCE:
            self._sum_up()

    def _sum_up(self) -> None:
        """Keep the first singular one alone: after it the weights may be anything."""
        xp = array_namespace(self.unseen[0][0])
        matrices, factors, failed = (xp.stack(parts) for parts in zip(*self.unseen, strict=True))
        self.unseen.clear()
        is_singular = (failed != 0) | ~_has_pivots(factors, matrices)
        first = xp.argmax(xp.astype(is_singular, xp.int8), axis=0, keepdims=True)
        matrix, found = xp.take(matrices, first, axis=0)[0, ...], xp.any(is_singular)
        if self.singular is not None:
            matrix, found = xp.where(self.singular[1], self.singular[0], matrix), found | self.singular[1]
        self.singular = matrix, found

    def require(self) -> None:
        """Look, and forget.

        Raises:
            SingularInformationError: If one could not be inverted.
        """
        if self.unseen:
            self._sum_up()
        singular, self.singular = self.singular, None
        if singular is not None and not getattr(singular[1], "is_meta", False) and bool(singular[1]):
            raise SingularInformationError(_flat_direction(singular[0], self.names))


_DEFERRED: ContextVar[DeferredCheck | None] = ContextVar("_DEFERRED", default=None)


def _factor(matrix: Array, names: Sequence[str]) -> Array:
    """Cholesky factor, shape (P, P); an error that names the flat direction when there is none."""
    xp = array_namespace(matrix)
    if hasattr(xp.linalg, "cholesky_ex"):
        factor, failed = xp.linalg.cholesky_ex(matrix)
        deferred = _DEFERRED.get()
        check = DeferredCheck() if deferred is None else deferred
        check.add(matrix, factor, failed, tuple(names))
        if deferred is None:
            check.require()
        return factor
    try:
        factor = xp.linalg.cholesky(matrix)
    except ValueError as error:  # the LinAlgError of numpy
        raise SingularInformationError(_flat_direction(matrix, names)) from error
    if not _has_pivots(factor, matrix):
        raise SingularInformationError(_flat_direction(matrix, names))
    return factor


def _has_pivots(factor: Array, matrix: Array) -> Array:
    """Return for matrices (..., P, P) whether no pivot is rounding noise, which would be a zero.

    A pivot is what is left of a parameter once the others are known. Relative to the information on the parameter alone
    it does not depend on the units of the parameters.
    """
    xp = array_namespace(matrix)
    left, alone = xp.linalg.diagonal(factor), xp.linalg.diagonal(matrix)
    return xp.all(left > SMALLEST_PIVOT * xp.sqrt(xp.clip(alone, min=0.0)), axis=-1)


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
    constant = matrix.detach() if hasattr(matrix, "requires_grad") else matrix
    factor, xp = _factor(constant, model.parameters), array_namespace(matrix)
    chosen = [model.parameters.index(poi) for poi in pois]
    units = [model.prior.identity[:, i : i + 1] for i in chosen]
    units = units[0] if len(units) == 1 else xp.concat(units, axis=1)
    if not hasattr(matrix, "requires_grad"):
        half = _solved(factor, units)
        return half.T @ half
    # d(I^-1) = -I^-1 dI I^-1, in far fewer operations than through the factor; the difference is 0.
    columns = xp.cholesky_solve(units, factor)
    rows = [columns[i : i + 1] for i in chosen]
    value = rows[0] if len(rows) == 1 else xp.concat(rows, axis=0)
    return value + (value - columns.T @ matrix @ columns)


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
