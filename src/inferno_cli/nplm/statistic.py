"""The test statistic t = tau - Delta of a stack of toys, or of one set of data (arXiv:2111.13633)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferno_cli.events.sample import FloatArray
from inferno_cli.nplm.minimum import losses, minimise
from inferno_cli.nplm.models import Exponent
from inferno_cli.nplm.taylor import Taylor


class Data(NamedTuple):
    """One set of data with its reference.

    Attributes:
        data: Features of its events, standardised, shape (n_data, n_features).
        reference: Features of the reference, shape (n_reference, n_features).
        weights: Of the reference, shape (n_reference,), with the sum N(R0).
        auxiliary: Auxiliary measurements of the nuisance parameters, in units of sigma, shape (n_nuisances,).
    """

    data: FloatArray
    reference: FloatArray
    weights: FloatArray
    auxiliary: FloatArray


@dataclass(frozen=True, eq=False)
class Stack:
    """Several sets of data, padded to one length: what is added has neither weight nor count.

    Attributes:
        x: Features, shape (toys, events, n_features).
        weights: Of the reference; 0 for data; shape (toys, events).
        counts: 1 for data, 0 for the reference.
        terms: Of ln r, see ``Taylor``, shape (toys, events, n_terms).
        auxiliary: Shape (toys, n_nuisances).
    """

    x: Tensor
    weights: Tensor
    counts: Tensor
    terms: Tensor
    auxiliary: Tensor

    @classmethod
    def of(cls, sets: Sequence[Data], taylor: Taylor, device: str) -> Self:
        """Stack sets of data."""
        longest = max(len(item.data) + len(item.reference) for item in sets)
        x = np.zeros((len(sets), longest, sets[0].data.shape[1]))
        weights, counts = np.zeros(x.shape[:2]), np.zeros(x.shape[:2])
        for number, item in enumerate(sets):
            n_data, n_all = len(item.data), len(item.data) + len(item.reference)
            x[number, :n_data], x[number, n_data:n_all] = item.data, item.reference
            counts[number, :n_data], weights[number, n_data:n_all] = 1.0, item.weights
        auxiliary = np.stack([item.auxiliary for item in sets])
        made = [torch.as_tensor(part, device=device) for part in (x, weights, counts, auxiliary)]
        return cls(made[0], made[1], made[2], taylor.terms(made[0]), made[3])

    def of_toys(self, toys: Tensor) -> Stack:
        """Return some of the toys."""
        if len(toys) == len(self.x):
            return self
        parts = (self.x, self.weights, self.counts, self.terms, self.auxiliary)
        return Stack(*(part[toys] for part in parts))


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """g = f(x; w) + ln r(x; nu), or ln r alone: a ``Model`` of a stack.

    Attributes:
        stack: The events.
        taylor: What ln r is.
        exponent: What f is; None: 0.
    """

    stack: Stack
    taylor: Taylor
    exponent: Exponent | None

    @property
    def weights(self) -> Tensor:
        """Weights of the reference."""
        return self.stack.weights

    @property
    def counts(self) -> Tensor:
        """Counts of the data."""
        return self.stack.counts

    @property
    def n_free(self) -> int:
        """Number of parameters of f."""
        return 0 if self.exponent is None else self.exponent.n_parameters

    @property
    def bound(self) -> Tensor:
        """Those of f; nuisance parameters have none."""
        free = torch.full_like(self.stack.auxiliary[0], torch.inf)
        return free if self.exponent is None else torch.cat([self.exponent.bound, free])

    @property
    def ridge(self) -> Tensor:
        """The penalty of f; the constraints of the nuisance parameters."""
        constraint = torch.ones_like(self.stack.auxiliary[0])
        return constraint if self.exponent is None else torch.cat([self.exponent.ridge, constraint])

    @property
    def centre(self) -> Tensor:
        """0 for f; the auxiliary measurements."""
        auxiliary = self.stack.auxiliary
        return torch.cat([auxiliary.new_zeros(len(auxiliary), self.n_free), auxiliary], dim=1)

    def of(self, toys: Tensor) -> Hypothesis:
        """Return the hypothesis of some toys."""
        return replace(self, stack=self.stack.of_toys(toys))

    def value(self, rows: slice, parameters: Tensor) -> Tensor:
        """Return g of some events."""
        g = self.taylor.value(self.stack.terms[:, rows], parameters[:, self.n_free :])
        if self.exponent is not None:
            g = g + self.exponent.value(self.stack.x[:, rows], parameters[:, : self.n_free])
        return g

    def jacobian(self, rows: slice, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return g of some events, and its derivatives."""
        g, change = self.taylor.jacobian(self.stack.terms[:, rows], parameters[:, self.n_free :])
        if self.exponent is None:
            return g, change
        f, of_f = self.exponent.jacobian(self.stack.x[:, rows], parameters[:, : self.n_free])
        return f + g, torch.cat([of_f, change], dim=2)

    def statistic(self, parameters: Tensor) -> Tensor:
        """Return -2 L, without the penalty of f, and 0 where f = 0 and nu = 0; shape (toys,)."""
        penalty = torch.zeros_like(parameters[:, 0])
        if self.exponent is not None:
            penalty = (self.exponent.ridge * parameters[:, : self.n_free] ** 2).sum(dim=1) / 2
        at_nominal = (self.stack.auxiliary**2).sum(dim=1) / 2
        return -2 * (losses(self, parameters) - penalty - at_nominal)


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a stack of toys gave.

    Attributes:
        tau, delta: Shape (toys,) each; t is their difference.
        nuisance: Nuisance parameters that are fitted with f, shape (toys, n_nuisances).
        reference_nuisance: Those without f.
        parameters: Of f, shape (toys, n_parameters).
        mean, deviation: What f sees is (x - mean) / deviation, shape (toys, n_features) each.
        converged: Whether all fits have ended by themselves, shape (toys,).
    """

    tau: FloatArray
    delta: FloatArray
    nuisance: FloatArray
    reference_nuisance: FloatArray
    parameters: FloatArray
    mean: FloatArray
    deviation: FloatArray
    converged: NDArray[np.bool_]

    @property
    def t(self) -> FloatArray:
        """The test statistic, shape (toys,)."""
        return self.tau - self.delta


def statistics(stack: Stack, taylor: Taylor, exponent: Exponent, starts: FloatArray) -> Statistics:
    """Fit every toy of a stack.

    Args:
        stack: The toys.
        taylor: The change of the reference with the nuisance parameters.
        exponent: What f is.
        starts: Parameters of f at which fits begin, shape (restarts, toys, n_parameters): the lowest minimum counts.
    """
    n_free = exponent.n_parameters
    reference = Hypothesis(stack, taylor, None)
    nu = torch.zeros_like(stack.auxiliary)
    is_converged = torch.ones(len(nu), dtype=torch.bool, device=nu.device)
    delta = torch.zeros_like(stack.weights[:, 0])
    if taylor.n_parameters:
        without = minimise(reference, nu, tolerance=1e-6)
        nu, is_converged = without.parameters, without.converged
        delta = reference.statistic(nu)
    mean, deviation = _standard(stack, taylor, nu)
    seen = replace(stack, x=(stack.x - mean[:, None]) / deviation[:, None]) if taylor.has_shapes else stack
    hypothesis = Hypothesis(seen, taylor, exponent)
    best: Tensor | None = None
    lowest = torch.full_like(delta, torch.inf)
    ended = torch.zeros_like(is_converged)
    for start in torch.as_tensor(starts, device=nu.device):
        found = minimise(hypothesis, torch.cat([start, nu], dim=1))
        is_lower = found.loss < lowest
        best = found.parameters if best is None else torch.where(is_lower[:, None], found.parameters, best)
        lowest = torch.where(is_lower, found.loss, lowest)
        ended = torch.where(is_lower, found.converged, ended)
    assert best is not None
    tau = hypothesis.statistic(best)
    return Statistics(
        tau=tau.cpu().numpy(),
        delta=delta.cpu().numpy(),
        nuisance=best[:, n_free:].cpu().numpy(),
        reference_nuisance=nu.cpu().numpy(),
        parameters=best[:, :n_free].cpu().numpy(),
        mean=mean.cpu().numpy(),
        deviation=deviation.cpu().numpy(),
        converged=(is_converged & ended).cpu().numpy(),
    )


def _standard(stack: Stack, taylor: Taylor, nu: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation, shape (toys, n_features) each, that standardise features for f.

    A clip bounds how fast f changes with a feature. Where a nuisance parameter stretches the feature, f could change
    more over the same events, and t would be larger: so features are standardised in the reference with the fitted
    nuisance parameters, relative to the same reference without.
    """
    if not taylor.has_shapes:
        return torch.zeros_like(stack.x[:, 0]), torch.ones_like(stack.x[:, 0])
    before, size_before = _moments(stack.x, stack.weights)
    after, size_after = _moments(stack.x, stack.weights * torch.exp(taylor.value(stack.terms, nu)))
    deviation = size_after / size_before
    return after - before * deviation, deviation


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of weighted events, shape (toys, n_features) each."""
    share = (weights / weights.sum(dim=1, keepdim=True))[:, None]
    mean = torch.bmm(share, x)
    return mean[:, 0], torch.bmm(share, (x - mean) ** 2)[:, 0].sqrt()
