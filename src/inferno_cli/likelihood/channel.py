"""The HistFactory model of one channel as pure torch functions.

    nu_b(theta) = sum_p [prod NormFactors] [prod normsys] [nominal_pb + sum histosys changes]

It is the model that pyhf builds from the workspace, to rounding; so what is trained is what is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inferno_cli.config import POI, Measurement
from inferno_cli.likelihood.interpolation import code4, code4p


@dataclass(frozen=True)
class Channel:
    """Templates and modifiers of one channel.

    S samples, B bins, P parameters. An unused modifier is neutral: factor 1, change 0.

    Attributes:
        parameters: Names, the POI first.
        init: Nominal values, shape (P,): 1 for a scale factor, 0 otherwise.
        constrained: Which have a unit Gaussian constraint around their nominal value, shape (P,), bool.
        nominal: Nominal templates, shape (S, B).
        norm_factor: Which parameter multiplies which sample, shape (P, S), bool.
        normsys: Factors at +1 and -1, shape (2, P, S).
        histosys: Changes of the template at +1 and -1, shape (2, P, S, B).
        in_staterror: Samples that the staterror parameters multiply, shape (S,), bool.
        relative_error: Relative width of each bin's staterror, shape (B,); 0: no such parameter.
    """

    parameters: tuple[str, ...]
    init: Tensor
    constrained: Tensor
    nominal: Tensor
    norm_factor: Tensor
    normsys: Tensor
    histosys: Tensor
    in_staterror: Tensor
    relative_error: Tensor


def _modifiers(channel: Channel, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Factors (P, S) and additive changes (P, S, B) of every modifier at ``theta``, each with its derivative."""
    alpha = theta[:, None]
    factor, factor_slope = code4(alpha.expand_as(channel.normsys[0]), *channel.normsys)
    change, change_slope = code4p(alpha[..., None], *channel.histosys)
    factor = torch.where(channel.norm_factor, alpha, factor)
    factor_slope = torch.where(channel.norm_factor, torch.ones_like(factor), factor_slope)
    return factor, factor_slope, change, change_slope


def sample_yields(channel: Channel, theta: Tensor) -> Tensor:
    """Expected events of each sample and bin at ``theta`` (P,), shape (S, B); staterror parameters at 1."""
    factor, _, change, _ = _modifiers(channel, theta)
    return factor.prod(dim=0)[:, None] * (channel.nominal + change.sum(dim=0))


def yields_and_jacobian(channel: Channel, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Expected events of each sample and bin, shape (S, B), and d nu_b / d theta_i, shape (B, P)."""
    factor, factor_slope, change, change_slope = _modifiers(channel, theta)
    template = channel.nominal + change.sum(dim=0)
    # The product over the other parameters, without dividing: a factor may be 0.
    same = torch.eye(len(theta), dtype=torch.bool, device=theta.device)[:, :, None]
    others = torch.where(same, torch.ones_like(factor), factor).prod(dim=1)
    total = factor.prod(dim=0)
    by_sample = (others * factor_slope)[..., None] * template + total[:, None] * change_slope
    return total[:, None] * template, by_sample.sum(dim=1).T


def expected_yields(channel: Channel, theta: Tensor, gamma: Tensor | None = None) -> Tensor:
    """Expected events of each bin.

    Args:
        channel: The model.
        theta: Parameters, shape (P,); nuisance parameters in units of sigma.
        gamma: Staterror parameters, shape (B,); 1 without.

    Returns:
        Shape (B,).
    """
    yields = sample_yields(channel, theta)
    if gamma is not None:
        yields = torch.where(channel.in_staterror[:, None], yields * gamma, yields)
    return yields.sum(dim=0)


def nll(channel: Channel, theta: Tensor, data: Tensor, gamma: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of ``data`` (B,), all constants included, as pyhf counts them.

    The auxiliary measurements are at their nominal values. Without ``gamma`` there is no staterror term.
    """
    nu = expected_yields(channel, theta, gamma)
    poisson = nu - torch.xlogy(data, nu) + torch.lgamma(data + 1)
    pulls = (theta - channel.init)[channel.constrained]
    total = poisson.sum() + 0.5 * (pulls**2).sum() + 0.5 * math.log(2 * math.pi) * len(pulls)
    if gamma is not None:
        used = channel.relative_error > 0
        width = channel.relative_error[used]
        total = total + (0.5 * ((gamma[used] - 1) / width) ** 2 + width.log() + 0.5 * math.log(2 * math.pi)).sum()
    return total


def build_channel(
    measurement: Measurement,
    nominal: Tensor,
    variance: Tensor,
    varied: Mapping[tuple[str, str], tuple[Tensor, Tensor]],
) -> Channel:
    """Assemble the model from templates, hard or soft.

    A constrained shape becomes a normsys (its change of the yield) and a histosys (the rest), as in a cabinetry
    workspace. An unconstrained shape is not in HistFactory's vocabulary, where every histosys has a constraint:
    it becomes a NormFactor, nominal 0, on a sample of its own that holds (up - down) / 2. That is exact, and any
    HistFactory tool can fit it.

    Args:
        measurement: Samples, parameters and constraints.
        nominal: Templates, shape (S, B), in the order of ``measurement.samples``.
        variance: Their statistical variances, shape (S, B).
        varied: Templates at one standard deviation up and down, shape (B,), by (parameter, sample).

    Returns:
        The channel; differentiable with respect to all templates.
    """
    names, samples = measurement.parameters, list(measurement.samples)
    index = {name: i for i, name in enumerate(names)}
    n_bins = nominal.shape[1]
    rows = list(nominal)
    parent = list(range(len(samples)))
    extra_factor: list[tuple[int, int]] = []
    for (name, sample), (up, down) in varied.items():
        if name in measurement.unconstrained:
            rows.append((up - down) / 2)
            parent.append(samples.index(sample))
            extra_factor.append((index[name], len(rows) - 1))
    shape = (len(names), len(rows))
    norm_factor = torch.zeros(shape, dtype=torch.bool)
    factors = torch.ones(2, *shape, dtype=torch.float64)
    for row, original in enumerate(parent):
        sample = samples[original]
        norm_factor[0, row] = sample in measurement.signal
        for name, touched in measurement.free.items():
            norm_factor[index[name], row] = sample in touched
        for name, by_sample in measurement.normalisation.items():
            if sample in by_sample:
                factors[:, index[name], row] = factors.new_tensor(by_sample[sample])
    for parameter, row in extra_factor:
        norm_factor[parameter, row] = True

    normsys = factors.to(nominal)
    histosys = nominal.new_zeros(2, *shape, n_bins)
    for (name, sample), templates in varied.items():
        if name in measurement.unconstrained:
            continue
        row, parameter = samples.index(sample), index[name]
        ratios = torch.stack([template.sum() for template in templates]) / nominal[row].sum()
        histosys[:, parameter, row] = torch.stack(templates) / ratios[:, None] - nominal[row]
        normsys[:, parameter, row] = ratios
    total = nominal.sum(dim=0)
    relative = variance.sum(dim=0).sqrt() / total if measurement.staterror else torch.zeros_like(total)
    scale_factors = (POI, *measurement.free)
    constrained = [name not in (*scale_factors, *measurement.unconstrained) for name in names]
    device = nominal.device
    return Channel(
        parameters=names,
        init=nominal.new_tensor([float(name in scale_factors) for name in names]),
        constrained=torch.tensor(constrained, device=device),
        nominal=torch.stack(rows),
        norm_factor=norm_factor.to(device),
        normsys=normsys,
        histosys=histosys,
        in_staterror=torch.tensor([i < len(samples) for i in range(len(rows))], device=device),
        relative_error=relative,
    )
