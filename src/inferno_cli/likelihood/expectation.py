"""What a likelihood expects, for arrays of numpy and torch alike, and differentiable in the templates with torch.

    nu_b(theta, gamma) = sum_rows [prod factors] [prod normsys] [nominal + sum histosys changes]_b [prod gamma_b]

A row is a sample of a channel. It is the model that pyhf builds from the workspace, to rounding; so what is trained is
what is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.interpolation import code4, code4_slope_at_0, code4p
from inferno_cli.likelihood.modifiers import Array, Modifier
from inferno_cli.likelihood.spec import Channel, Gaussian, Parameter, Poisson, Sample, Spec

Limits = tuple[tuple[float, float], ...]
"""Lower and upper limits of parameters."""


@dataclass(frozen=True)
class Constraints:
    """Constraint terms of n parameters, shape (n,) each; 0 in ``width`` and in ``factor``: none.

    Attributes:
        measured: Auxiliary measurement.
        width: Standard deviation of a Gaussian one.
        factor: Events of a Poisson one, per unit of the parameter.
    """

    measured: Array
    width: Array
    factor: Array

    @cached_property
    def identity(self) -> Array:
        """The unit matrix, shape (n, n)."""
        return array_namespace(self.width).eye(len(self.width), dtype=self.width.dtype, device=device(self.width))

    @cached_property
    def curvature(self) -> Array:
        """Second derivatives of the Gaussian terms, shape (n, n): diagonal, 0 without one."""
        xp = array_namespace(self.width)
        normal = self.width > 0
        inverse = xp.where(normal, 1 / xp.where(normal, self.width, xp.ones_like(self.width)) ** 2, 0.0)
        return inverse * self.identity

    def nll(self, values: Array) -> Array:
        """Return the sum of -ln of the terms, all constants included, at parameters of shape (n,)."""
        xp = array_namespace(values)
        normal, poisson = self.width > 0, self.factor > 0
        width = self.width[normal]
        pulls = (values[normal] - self.measured[normal]) / width
        total = xp.sum(0.5 * pulls**2 + xp.log(width)) + 0.5 * math.log(2 * math.pi) * len(width)
        return total + poisson_nll(self.factor[poisson] * values[poisson], self.measured[poisson])


@dataclass(frozen=True)
class BinFactors:
    """The G parameters that act on single bins, "gamma": of staterror, shapesys and shapefactor.

    Attributes:
        labels: Their names, one per bin.
        init: Where a fit starts, shape (G,).
        bounds: Lower and upper limit of each.
        fixed: Which are held constant.
        prior: Their constraint terms.
        layers: Which of them multiply a bin of a row, shape (L, R, B); G: none.
    """

    labels: tuple[str, ...]
    init: Array
    bounds: Limits
    fixed: tuple[bool, ...]
    prior: Constraints
    layers: Array


@dataclass(frozen=True)
class AtStart:
    """What the NormFactors make of the rows where a fit starts, if one of them is not 1 there.

    Attributes:
        total: Product of those of each row, shape (R,); None: 1.
        others: Product of those of all parameters but one, shape (P, R); None: 1.
    """

    total: Array = None
    others: Array = None


@dataclass(frozen=True)
class Expectation:
    """Templates and modifiers of a likelihood, as arrays.

    R rows, B bins of the largest channel, N bins of all channels together, P parameters that act on whole samples,
    "theta". An unused modifier is neutral: factor 1, change 0.

    Attributes:
        parameters: Names of theta.
        poi: Index of the parameter of interest.
        init: Where a fit starts, shape (P,).
        bounds: Lower and upper limit of each of theta.
        fixed: Which of them are held constant.
        constrained: Which of them have a Gaussian constraint term.
        prior: Constraint terms of theta.
        nominal: Nominal templates, shape (R, B).
        norm_factor: Which parameter multiplies which row, shape (P, R), bool.
        normsys: Factors at +1 and -1, shape (2, P, R).
        histosys: Changes of the template at +1 and -1, shape (2, P, R, B).
        in_staterror: Rows that staterror parameters multiply, shape (R,), bool; None: all.
        relative_error: Relative width of each bin's staterror, shape (N,), 0 without; None where other parameters act
            on single bins, too.
        gamma: The parameters that act on single bins.
        channels: Rows and number of bins of each channel.
        at_start: The NormFactors at ``init``; None where a fit starts with a shape or a yield away from nominal.
        fills_all_bins: Whether it is known that no bin is without expected events.
    """

    parameters: tuple[str, ...]
    poi: int
    init: Array
    bounds: Limits
    fixed: tuple[bool, ...]
    constrained: tuple[bool, ...]
    prior: Constraints
    nominal: Array
    norm_factor: Array
    normsys: Array
    histosys: Array
    in_staterror: Array
    relative_error: Array
    gamma: BinFactors
    channels: tuple[tuple[slice, int], ...]
    at_start: AtStart | None
    fills_all_bins: bool = False

    def total(self, values: Array) -> Array:
        """Sum values of shape (..., R, B) over the samples of each channel, shape (..., N)."""
        xp = array_namespace(values)
        if len(self.channels) == 1:
            return xp.sum(values, axis=-2)
        parts = [xp.sum(values[..., rows, :n_bins], axis=-2) for rows, n_bins in self.channels]
        return xp.concat(parts, axis=-1)


def poisson_nll(expected: Array, events: Array) -> Array:
    """Return the sum of -ln P(events | expected), continued to events that are no integers."""
    xp = array_namespace(expected)
    filled = events > 0
    logarithm = xp.log(xp.where(filled, expected, xp.ones_like(expected)))
    constant = sum(math.lgamma(n + 1) for n in events.tolist())
    return xp.sum(expected - events * logarithm) + constant


# --------------------------------------------------------------------------------------------------- the arrays
def expectation(spec: Spec) -> Expectation:
    """Gather the arrays of a likelihood."""
    rows: list[Sample] = []
    channels: list[tuple[slice, int]] = []
    for channel in spec.channels:
        channels.append((slice(len(rows), len(rows) + len(channel.samples)), channel.n_bins))
        rows += rows_of(channel)
    like = rows[0].nominal
    xp, options = array_namespace(like), {"dtype": like.dtype, "device": device(like)}
    scalars = [parameter for parameter in spec.parameters if not parameter.per_bin]
    index = {parameter.name: i for i, parameter in enumerate(scalars)}
    n_bins, shape = max(n for _, n in channels), (len(scalars), len(rows))
    # The order from here on decides the last digits of the gradient; constants come before what carries a gradient.
    nominal = xp.stack([_padded(sample.nominal, n_bins) for sample in rows])
    norm_factor = xp.zeros(shape, dtype=xp.bool, device=device(like))
    normsys, histosys = xp.ones((2, *shape), **options), xp.zeros((2, *shape, n_bins), **options)
    entries: list[tuple[Modifier, Sample, tuple[int, int]]] = []  # each at its (parameter, row)
    for row, sample in enumerate(rows):
        entries += [(item, sample, (index[item.name], row)) for item in sample.modifiers if item.name in index]
    for modifier, _, at in entries:
        _enter_yields(modifier, at, norm_factor, normsys)
    for modifier, sample, at in entries:
        _enter_shapes(modifier, sample, at, normsys, histosys)
    vectors = [_with_width(parameter, spec) for parameter in spec.parameters if parameter.per_bin]
    in_staterror = [bool(sample.having(mod.StatError)) for sample in rows]
    init = _joined([parameter.init for parameter in scalars], like)
    moving = {item.name for item, _, _ in entries if not isinstance(item, mod.NormFactor | mod.Lumi)}
    return Expectation(
        parameters=tuple(index),
        poi=index[spec.poi],
        init=init,
        bounds=tuple(chain.from_iterable(parameter.bounds for parameter in scalars)),
        fixed=tuple(chain.from_iterable(parameter.fixed for parameter in scalars)),
        constrained=tuple(isinstance(parameter.constraint, Gaussian) for parameter in scalars),
        prior=_constraints(scalars, like),
        nominal=nominal,
        norm_factor=norm_factor,
        normsys=normsys,
        histosys=histosys,
        in_staterror=None if all(in_staterror) else xp.asarray(in_staterror, device=device(like)),
        relative_error=_relative_error(spec, vectors, like),
        gamma=BinFactors(
            labels=tuple(chain.from_iterable(parameter.labels for parameter in vectors)),
            init=_joined([parameter.init for parameter in vectors], like),
            bounds=tuple(chain.from_iterable(parameter.bounds for parameter in vectors)),
            fixed=tuple(chain.from_iterable(parameter.fixed for parameter in vectors)),
            prior=_constraints(vectors, like),
            layers=xp.asarray(_layers(rows, channels, vectors, n_bins), device=device(like)),
        ),
        channels=tuple(channels),
        at_start=_at_start(scalars, moving, norm_factor, init),
    )


def rows_of(channel: Channel) -> list[Sample]:
    """Return the samples of a channel in the order of its rows: first those of the measurement, then free shapes."""
    return sorted(channel.samples, key=lambda sample: sample.parent is not None)


def _at_start(parameters: Sequence[Parameter], moving: Collection[str], norm_factor: Array, init: Array) -> Any:
    """Return the NormFactors where a fit starts; None unless what is ``moving`` templates begins at 0."""
    if any(parameter.name in moving and any(start != 0 for start in parameter.init) for parameter in parameters):
        return None
    if all(set(parameter.init) == {1.0} for parameter in parameters if parameter.name not in moving):
        return AtStart()
    xp = array_namespace(init)
    factor = xp.where(norm_factor, init[:, None], xp.ones_like(init[:, None]))
    is_zero = factor == 0
    n_zeros = xp.sum(xp.astype(is_zero, xp.int64), axis=0)
    divisor = xp.where(is_zero, xp.ones_like(factor), factor)
    product = xp.prod(divisor, axis=0)
    # All factors but one: a product that has a 0 is another one without it.
    others = xp.where(n_zeros == xp.astype(is_zero, xp.int64), product / divisor, xp.zeros_like(factor))
    return AtStart(xp.where(n_zeros == 0, product, xp.zeros_like(product)), others)


def _padded(values: Array, n_bins: int) -> Array:
    xp = array_namespace(values)
    if len(values) == n_bins:
        return values
    return xp.concat([values, xp.zeros(n_bins - len(values), dtype=values.dtype, device=device(values))])


def _enter_yields(modifier: Modifier, at: tuple[int, int], norm_factor: Array, normsys: Array) -> None:
    match modifier:
        case mod.NormFactor() | mod.Lumi():
            norm_factor[at] = True
        case mod.NormSys(_, up, down):
            normsys[0, *at], normsys[1, *at] = up, down


def _enter_shapes(modifier: Modifier, sample: Sample, at: tuple[int, int], normsys: Array, histosys: Array) -> None:
    nominal = sample.nominal
    place = (slice(None), *at, slice(len(nominal)))
    match modifier:
        case mod.HistoSys(_, up, down):
            histosys[place] = array_namespace(nominal).stack([up, down]) - nominal
        case mod.NormPlusShape(_, up, down):
            xp = array_namespace(nominal)
            ratios = xp.stack([xp.sum(up), xp.sum(down)]) / xp.sum(nominal)
            histosys[place] = xp.stack([up, down]) / ratios[:, None] - nominal
            normsys[:, *at] = ratios


def _constraints(parameters: Sequence[Parameter], like: Array) -> Constraints:
    """Gather the constraint terms of some parameters, as arrays such as ``like``."""
    entries: list[tuple[Array, Array, Array]] = []
    for parameter in parameters:
        nothing = (0.0,) * len(parameter.init)
        match parameter.constraint:
            case Gaussian(centre, width):
                entries.append((centre, width, nothing))
            case Poisson(events, factor):
                entries.append((events, nothing, factor))
            case None:
                entries.append((nothing, nothing, nothing))
    return Constraints(*(_joined([entry[i] for entry in entries], like) for i in range(3)))


def _joined(parts: Sequence[Array], like: Array) -> Array:
    """Return numbers, and arrays with what differentiates them, as one array such as ``like``."""
    xp, options = array_namespace(like), {"dtype": like.dtype, "device": device(like)}
    if all(isinstance(part, tuple) for part in parts):
        return xp.asarray(list(chain.from_iterable(parts)), **options)
    return xp.concat([xp.asarray(part, **options) if isinstance(part, tuple) else part for part in parts])


def _with_width(parameter: Parameter, spec: Spec) -> Parameter:
    """Fill in the width of a staterror: the error of the samples that have it, relative to their sum."""
    if not (isinstance(parameter.constraint, Gaussian) and parameter.constraint.width is None):
        return parameter
    widths: list[Array] = []
    for channel in spec.channels:
        nominal: list[Array] = []
        variance: list[Array] = []
        for sample in channel.samples:
            for modifier in sample.having(mod.StatError):
                if modifier.name == parameter.name:
                    nominal.append(sample.nominal)
                    variance.append(modifier.variance)
        if nominal:
            xp = array_namespace(nominal[0])
            total = xp.sum(xp.stack(nominal), axis=0)
            widths.append(xp.sqrt(xp.sum(xp.stack(variance), axis=0)) / total)
    width = widths[0] if len(widths) == 1 else array_namespace(widths[0]).concat(widths)
    return replace(parameter, constraint=Gaussian(parameter.constraint.centre, width))


def _relative_error(spec: Spec, vectors: Sequence[Parameter], like: Array) -> Array:
    """Relative width of the staterror of each bin, shape (N,); None where other parameters act on single bins, too."""
    xp, options = array_namespace(like), {"dtype": like.dtype, "device": device(like)}
    left = {parameter.name: parameter for parameter in vectors}
    parts: list[Array] = []
    for channel in spec.channels:
        names = {modifier.name for sample in channel.samples for modifier in sample.having(mod.StatError)}
        parts.append(xp.zeros(channel.n_bins, **options))
        for name in names:
            parameter = left.pop(name, None)
            if len(names) > 1 or parameter is None or len(parameter.init) != channel.n_bins:
                return None
            assert isinstance(parameter.constraint, Gaussian)
            width = parameter.constraint.width
            held = xp.asarray(parameter.fixed, device=device(like))
            parts[-1] = xp.where(held, xp.zeros_like(width), width) if any(parameter.fixed) else width
    if left:
        return None
    return parts[0] if len(parts) == 1 else xp.concat(parts)


def _layers(
    rows: Sequence[Sample], channels: Sequence[tuple[slice, int]], vectors: Sequence[Parameter], n_bins: int
) -> NDArray[np.intp]:
    """Which gamma multiplies which bin of which row, shape (L, R, B); what is one after the last: none."""
    starts: dict[str, int] = {}
    none = 0
    for parameter in vectors:
        starts[parameter.name] = none
        none += len(parameter.init)
    by_row: list[list[NDArray[np.intp]]] = [[] for _ in rows]
    for place, n in channels:
        for row, sample in list(enumerate(rows))[place]:
            for modifier in sample.modifiers:
                if isinstance(modifier, mod.StatError | mod.ShapeSys | mod.ShapeFactor):
                    layer = np.full(n_bins, none)
                    layer[:n] = starts[modifier.name] + np.arange(n)
                    by_row[row].append(layer)
        # The parameters of a staterror go on in the next channel; those of a shapefactor are the same in each.
        for name in {modifier.name for sample in rows[place] for modifier in sample.having(mod.StatError)}:
            starts[name] += n
    depth = max(map(len, by_row))
    neutral = np.full(n_bins, none)
    filled = [[*layers, *[neutral] * (depth - len(layers))] for layers in by_row]
    return np.array(filled, dtype=np.intp).reshape(len(rows), depth, n_bins).transpose(1, 0, 2)


# ---------------------------------------------------------------------------------------------- what is expected
def _modifiers(model: Expectation, theta: Array) -> tuple[Array, Array, Array, Array]:
    """Factors (P, R) and additive changes (P, R, B) of every modifier at ``theta``, each with its derivative."""
    xp = array_namespace(theta)
    alpha = theta[:, None]
    factor, factor_slope = code4(xp.broadcast_to(alpha, model.norm_factor.shape), *xp.unstack(model.normsys))
    change, change_slope = code4p(alpha[..., None], *xp.unstack(model.histosys))
    factor = xp.where(model.norm_factor, alpha, factor)
    factor_slope = xp.where(model.norm_factor, xp.ones_like(factor), factor_slope)
    return factor, factor_slope, change, change_slope


def sample_yields(model: Expectation, theta: Array, gamma: Array = None) -> Array:
    """Expected events of each row and bin, shape (R, B).

    Args:
        theta: Parameters that act on whole samples, shape (P,); nuisance parameters in units of sigma.
        gamma: Parameters that act on single bins, shape (G,); 1 without.
    """
    xp = array_namespace(theta)
    factor, _, change, _ = _modifiers(model, theta)
    yields = xp.prod(factor, axis=0)[:, None] * (model.nominal + xp.sum(change, axis=0))
    if gamma is None:
        return yields
    padded = xp.concat([gamma, xp.ones_like(gamma[:1])])
    for layer in model.gamma.layers:
        yields = yields * padded[layer]
    return yields


def yields_and_jacobian(model: Expectation, theta: Array = None) -> tuple[Array, Array]:
    """Expected events of each row and bin, shape (R, B), and d nu_b / d theta_i, shape (N, P); gamma at 1.

    Without ``theta`` they are those where a fit starts.
    """
    if theta is None and model.at_start is not None:
        return _at_nominal(model, model.at_start)
    theta = model.init if theta is None else theta
    xp = array_namespace(theta)
    factor, factor_slope, change, change_slope = _modifiers(model, theta)
    template = model.nominal + xp.sum(change, axis=0)
    # The product over the other parameters, without dividing: a factor may be 0.
    same = xp.eye(len(theta), dtype=xp.bool, device=device(theta))[:, :, None]
    others = xp.prod(xp.where(same, xp.ones_like(factor), factor), axis=1)
    total = xp.prod(factor, axis=0)
    by_row = (others * factor_slope)[..., None] * template + total[:, None] * change_slope
    return total[:, None] * template, model.total(by_row).T


def _at_nominal(model: Expectation, start: AtStart) -> tuple[Array, Array]:
    """Do as ``yields_and_jacobian`` does where no shape and no yield is changed: what is left of the interpolations.

    A training is differentiated here at every step, so that few operations matter.
    """
    xp = array_namespace(model.nominal)
    slope = xp.where(model.norm_factor, 1.0, code4_slope_at_0(model.normsys))
    up, down = xp.unstack(model.histosys)
    nominal, change_slope = model.nominal, 0.5 * (up - down)
    if start.total is not None:
        slope, change_slope = start.others * slope, start.total[:, None] * change_slope
    jacobian = model.total(slope[..., None] * nominal + change_slope).T
    return nominal if start.total is None else start.total[:, None] * nominal, jacobian


def expected_yields(model: Expectation, theta: Array, gamma: Array = None) -> Array:
    """Expected events of each bin of all channels, shape (N,); arguments as of ``sample_yields``."""
    return model.total(sample_yields(model, theta, gamma))


def nll(model: Expectation, theta: Array, data: Array, gamma: Array = None) -> Array:
    """Negative log-likelihood of ``data`` (N,), all constants included, as pyhf counts them.

    The auxiliary measurements are those of the likelihood. Without ``gamma`` there are no terms of it.
    """
    total = poisson_nll(expected_yields(model, theta, gamma), data) + model.prior.nll(theta)
    return total if gamma is None else total + model.gamma.prior.nll(gamma)
