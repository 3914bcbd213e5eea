"""Tests of hypotheses on Asimov data, all other parameters profiled, differentiable in the templates.

The data are what a signal strength mu' makes expected, with all other parameters at their nominal values; so the best
fit is known, and -2 ln of the profile likelihood ratio of mu takes one fit, with mu held (arXiv:1007.1727):

    q(mu; mu') = 2 min_theta [-ln L(mu, theta)] + 2 ln L(mu', nominal).

Discovery has mu = 0 in data of mu' = 1: q0. The exclusion of mu = 1 has data without signal, mu' = 0: q-tilde.

The fit is done without a graph, by Newton's method on exact derivatives. At its minimum the derivatives in the fitted
parameters vanish (or they are at a limit, and stay there), so what the statistic changes by with the templates is its
partial derivative at fixed parameters: the envelope theorem. Arrays are numpy's, or torch's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array
from numpy.typing import NDArray

from inferno_cli.errors import FitFailedError
from inferno_cli.likelihood.data import SMALLEST_SHARE, FloatArray, Likelihood, Terms
from inferno_cli.likelihood.expectation import AtStart, Constraints, Expectation, expected_yields
from inferno_cli.likelihood.information import covariance
from inferno_cli.likelihood.modifiers import Array
from inferno_cli.likelihood.newton import bent, beside, newton
from inferno_cli.likelihood.rates import ExactRates

FAR = 1e-6
"""Estimated distance to the minimum, in -ln L, beyond which a fit has failed."""
DEEPER = 1e-9
"""How much less -2 ln L is in another minimum, and not by rounding."""
BENT = 1e-9
"""Negative curvature, relative to the information, beyond which a point is a saddle and no minimum."""
SMALLEST = 1e-20
"""Of a statistic whose root is taken: the derivative of the root of 0 is no number."""


# ------------------------------------------------------------------------------------------------------ the tests
def q0(model: Expectation) -> Array:
    """Return the statistic of the expected discovery: of no signal, in the Asimov data of the nominal one."""
    return profiled(model, 0.0, 1.0)


def q_of_exclusion(model: Expectation) -> Array:
    """Return the statistic of the expected exclusion: q-tilde of the nominal signal, in Asimov data without one."""
    return profiled(model, 1.0, 0.0)


def log_p0(statistic: Array) -> Array:
    """Return ln of the p-value of a discovery, given q0."""
    return _log_tail(statistic)


def log_cls(statistic: Array) -> Array:
    """Return ln of the expected CLs, given q-tilde in the Asimov data without signal.

    CLs is p_mu / (1 - p_0), and data at the median of the background have 1 - p_0 = 1/2.
    """
    return _log_tail(statistic) + math.log(2)


def asimov_significance(model: Expectation) -> Array:
    """Return the significance without uncertainties, the root of 2 sum_b [(s + b) ln(1 + s / b) - s]."""
    return _root(_rise(model, _at(model, 0.0), model.gamma.init, _at(model, 1.0)))


def profiled(model: Expectation, tested: float, truth: float) -> Array:
    """Return q(tested; truth), a scalar that is differentiable with respect to the templates.

    Raises:
        SingularInformationError: If parameters cannot be told apart (names the flat direction).
        FitFailedError: If the fit does not converge.
    """
    theta, gamma = _at(model, tested), model.gamma.init
    if not getattr(model.nominal, "is_meta", False):  # numbers that are none cannot be fitted
        xp, options = array_namespace(theta), {"dtype": theta.dtype, "device": device(theta)}
        fitted = best_fit(without_graph(model), tested, truth)
        n_theta = len(model.parameters)
        theta, gamma = xp.asarray(fitted[:n_theta], **options), xp.asarray(fitted[n_theta:], **options)
    return _rise(model, theta, gamma, _at(model, truth))


def _log_tail(statistic: Array) -> Array:
    """Return ln of the probability of a normal number above the root of a statistic."""
    root = _root(statistic)
    if is_torch_array(root):
        import torch

        return torch.special.log_ndtr(-root)
    import scipy.special

    return scipy.special.log_ndtr(-root)


def _root(statistic: Array) -> Array:
    xp = array_namespace(statistic)
    return xp.sqrt(xp.where(statistic > SMALLEST, statistic, xp.full_like(statistic, SMALLEST)))


def _at(model: Expectation, poi: float) -> Array:
    """Return the nominal parameters with another POI, shape (P,)."""
    xp = array_namespace(model.init)
    is_poi = xp.arange(len(model.parameters), device=device(model.init)) == model.poi
    return xp.where(is_poi, xp.full_like(model.init, poi), model.init)


# ---------------------------------------------------------------------------------------------------- its value
def _rise(model: Expectation, theta: Array, gamma: Array, truth: Array) -> Array:
    """Return -2 ln L of the Asimov data of ``truth`` (P,), at theta (P,) and gamma (G,), above that at the truth."""
    events = expected_yields(model, truth, model.gamma.init)
    total = _of_bins(expected_yields(model, theta, gamma), events)
    total = total + _of_constraints(model.prior, theta, truth)
    return total + _of_constraints(model.gamma.prior, gamma, model.gamma.init)


def _of_bins(expected: Array, events: Array) -> Array:
    """Return 2 sum_b [nu - n - n ln(nu / n)]; below a floor the logarithm is a parabola, as in ``Likelihood``."""
    xp = array_namespace(expected)
    filled = events > 0
    some = xp.where(filled, events, xp.ones_like(events))
    floor = SMALLEST_SHARE * some
    near = xp.where(expected > floor, expected, floor)
    distance = xp.where(expected > floor, xp.zeros_like(floor), (expected - floor) / floor)
    logarithm = xp.log1p((near - some) / some) + distance - distance**2 / 2
    return 2 * xp.sum(expected - events - xp.where(filled, events * logarithm, xp.zeros_like(events)))


def _of_constraints(prior: Constraints, values: Array, truth: Array) -> Array:
    """Return -2 ln of the constraint terms above that at the truth, which was measured."""
    xp = array_namespace(values)
    is_normal, is_poisson = prior.width > 0, prior.factor > 0
    pulls = (values - truth) / xp.where(is_normal, prior.width, xp.ones_like(values))
    change = values - truth
    measured = xp.where(is_poisson, truth, xp.ones_like(truth))
    growth = xp.where(is_poisson, change / measured, xp.zeros_like(change))
    counts = 2 * prior.factor * (change - measured * xp.log1p(growth))
    return xp.sum(xp.where(is_normal, pulls**2, xp.zeros_like(pulls)) + xp.where(is_poisson, counts, 0.0 * change))


# ------------------------------------------------------------------------------------------------------- the fit
def best_fit(model: Expectation, tested: float, truth: float) -> FloatArray:
    """Fit the Asimov data of a POI with another one held, shape (P + G,): theta, then gamma; arrays of numpy.

    Errors are those of ``profiled``.
    """
    n_theta = len(model.parameters)
    nominal = np.concatenate([_at(model, truth), model.gamma.init])
    begin = np.concatenate([_at(model, tested), model.gamma.init])
    rates, constraints = ExactRates(model), _terms(model, nominal)
    data = np.concatenate([rates.expected(nominal), *(terms.measured for terms in constraints)])
    if not np.isfinite(data).all():
        _require_information(model)
    likelihood = Likelihood(rates, constraints, data.tolist(), nominal)
    held = np.array([*model.fixed, *model.gamma.fixed], dtype=bool)
    held[model.poi] = True
    if model.relative_error is not None:
        # Every gamma is a staterror's. One without a width is a constant: no simulation has events in its bin.
        held[n_theta:] |= ~(model.gamma.prior.width > 0)
    bounds = (*model.bounds, *model.gamma.bounds)
    values, blocked, distance = newton(likelihood, bounds, begin, ~held)
    mirrored = bent(likelihood, bounds, begin, ~held)
    for _ in range(1 + len(mirrored)):
        before = values
        for point in (*_ways_down(likelihood, values, ~held & ~blocked), *beside(values, begin, mirrored)):
            inside = np.clip(point, *np.transpose(bounds))
            other, held_there, left = newton(likelihood, bounds, np.where(held, values, inside), ~held)
            if likelihood.rise(other) < likelihood.rise(values) - DEEPER:
                values, blocked, distance = other, held_there, left
        if values is before:
            break
    if not abs(distance) <= FAR:
        _require_information(model)
        name = model.parameters[model.poi]
        raise FitFailedError(
            f"the fit of the templates with {name} = {tested:g} does not converge: the estimated distance to the "
            f"minimum is {distance:.2g}, and at most {FAR:g} is expected. Use fewer bins, or a larger batch"
        )
    return values


def _terms(model: Expectation, truth: FloatArray) -> tuple[Terms, Terms]:
    """Return the Gaussian and the Poisson terms of theta and gamma; what they measured is the truth, shape (P + G,)."""
    width = np.concatenate([model.prior.width, model.gamma.prior.width])
    factor = np.concatenate([model.prior.factor, model.gamma.prior.factor])
    normal, poisson = np.flatnonzero(width > 0), np.flatnonzero(factor > 0)
    entries = np.split(np.arange(len(normal) + len(poisson)), [len(normal)])
    return (
        Terms(normal, entries[0], width[normal], truth[normal]),
        Terms(poisson, entries[1], factor[poisson], factor[poisson] * truth[poisson]),
    )


def _ways_down(likelihood: Likelihood, values: FloatArray, free: NDArray[np.bool_]) -> list[FloatArray]:
    """Return points on both sides of a saddle, one standard deviation away; none at a minimum.

    A variation whose up and down are the same changes nothing to first order: there Newton's method stays at its start.
    """
    block = likelihood.hessian(values)[np.ix_(free, free)]
    scale = np.sqrt(np.diag(likelihood.information(values))[free])
    scale[scale == 0] = 1  # of what nothing depends on
    curvature, directions = np.linalg.eigh(block / np.outer(scale, scale))
    if not len(curvature) or curvature[0] > -BENT:
        return []
    step = np.zeros(len(values))
    step[free] = directions[:, 0] / scale
    return [values + step, values - step]


def _require_information(model: Expectation) -> None:
    """Raise the error that names what the data cannot tell apart, if that is why a fit failed."""
    if model.relative_error is not None:
        covariance(model)


def without_graph(model: Expectation) -> Expectation:
    """Return a likelihood with arrays of numpy."""
    start = model.at_start
    return replace(
        model,
        init=_numbers(model.init),
        prior=_constraints(model.prior),
        nominal=_numbers(model.nominal),
        norm_factor=_numbers(model.norm_factor),
        normsys=_numbers(model.normsys),
        histosys=_numbers(model.histosys),
        in_staterror=None if model.in_staterror is None else _numbers(model.in_staterror),
        relative_error=None if model.relative_error is None else _numbers(model.relative_error),
        gamma=replace(
            model.gamma,
            init=_numbers(model.gamma.init),
            prior=_constraints(model.gamma.prior),
            layers=_numbers(model.gamma.layers),
        ),
        at_start=start
        if start is None or start.total is None
        else AtStart(*map(_numbers, (start.total, start.others))),
    )


def _constraints(prior: Constraints) -> Constraints:
    return Constraints(_numbers(prior.measured), _numbers(prior.width), _numbers(prior.factor))


def _numbers(values: Array) -> NDArray[Any]:
    return np.asarray(values.detach().cpu() if is_torch_array(values) else values)
