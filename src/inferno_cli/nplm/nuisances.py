"""The expansion of ln r in each nuisance parameter, from simulated events with the parameter moved; and its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from inferno_cli.events.sample import FloatArray, generator
from inferno_cli.nplm.minimum import minimise
from inferno_cli.nplm.perceptron import Perceptron
from inferno_cli.nplm.taylor import Expansion

if TYPE_CHECKING:
    from inferno_cli.nplm.pool import Pool, WeightedEvents
    from inferno_cli.nplm.standard import Standard

RATIO_TOLERANCE = 1e-9
"""Relative difference of the changes of weights that is rounding."""
CLIP = 1.0
"""Of the networks delta: they are smooth, and steep units would fit the noise of the simulated events."""
TOLERANCE = 1e-8
"""Gain of the loss for each expected event at which a fit of deltas ends. All that a delta_2 of 0.004 gains is 8e-6: a
fit that stops at a gain of 1e-6 has not found it yet."""
STEPS = 500
"""Steps of such a fit, at most."""
CHECKED = (-1.0, -0.5, 0.5, 1.0)
"""Values of a parameter at which the order of its expansion is checked."""


@dataclass(frozen=True, eq=False)
class _TaylorFit:
    """g = delta_1(x) nu + delta_2(x) nu^2 with known nu of each event: a ``Model`` of one toy.

    Attributes:
        x: Features, shape (1, events, n_features).
        nu: Value of the parameter for which an event is compared, shape (1, events).
        weights: Of nominal events; 0 for those with the parameter moved.
        counts: The other way round.
        networks: delta_1, delta_2, ...
    """

    x: Tensor
    nu: Tensor
    weights: Tensor
    counts: Tensor
    networks: tuple[Perceptron, ...]

    @property
    def bound(self) -> Tensor:
        """Those of the networks."""
        return torch.cat([network.bound for network in self.networks])

    @property
    def ridge(self) -> Tensor:
        """None."""
        return torch.zeros_like(self.bound)

    @property
    def centre(self) -> Tensor:
        """0."""
        return torch.zeros_like(self.bound)[None]

    def of(self, toys: Tensor) -> _TaylorFit:  # noqa: ARG002
        """Return itself: there is one."""
        return self

    def _parts(self, parameters: Tensor) -> tuple[Tensor, ...]:
        sizes = [network.n_parameters for network in self.networks]
        return torch.split(parameters, sizes, dim=1)

    def value(self, rows: slice, parameters: Tensor) -> Tensor:
        """Return g of some events."""
        x, nu = self.x[:, rows], self.nu[:, rows]
        g = torch.zeros_like(nu)
        for power, (network, part) in enumerate(zip(self.networks, self._parts(parameters), strict=True), start=1):
            g = g + network.value(x, part) * nu**power
        return g

    def jacobian(self, rows: slice, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return g of some events, and its derivatives."""
        x, nu = self.x[:, rows], self.nu[:, rows]
        g, columns = torch.zeros_like(nu), []
        for power, (network, part) in enumerate(zip(self.networks, self._parts(parameters), strict=True), start=1):
            delta, change = network.jacobian(x, part)
            g = g + delta * nu**power
            columns.append(change * nu[..., None] ** power)
        return g, torch.cat(columns, dim=2)


def expansion(
    pool: Pool,
    name: str,
    standard: Standard,
    values: Sequence[float],
    *,
    order: int,
    hidden: Sequence[int],
    events: int,
    seed: int,
    device: str,
) -> Expansion:
    """Return the expansion of ln r in one parameter.

    Where all weights change alike and no feature does, it is that of the logarithm of the factor. Else r is fitted as
    the ratio of two densities, with the extended likelihood: its minimum is at the same r as that of the published
    quadratic loss of a classifier, with less noise, and the nominal events are the moved ones before: noise that both
    have in common cancels.

    Args:
        pool: The simulated events.
        name: The parameter.
        standard: How features are standardised.
        values: Values of the parameter that are compared with the nominal one, in units of sigma.
        order: Largest power; not more than there are values.
        hidden: Units of the hidden layers of each delta.
        events: At most so many events are used, of each value.
        seed: Of the draws.
        device: Where to calculate.
    """
    at = pool.values(name, values)
    order = min(order, len(at))
    moved = {value: pool.at(name, value) for value in at}
    factors = _common_factors(pool.nominal, moved)
    if factors is not None:
        powers = np.power.outer(np.array(at), np.arange(1, order + 1))
        constants, *_ = np.linalg.lstsq(powers, np.log(factors), rcond=None)
        return Expansion(name, tuple(float(value) for value in constants))
    rng = generator(seed, f"nplm taylor {name}")
    fit, start = _prepared(pool.nominal, moved, standard, order, hidden, events, rng, device)
    found = minimise(fit, start, steps=STEPS, tolerance=TOLERANCE * float(fit.weights.sum()))
    parts = [part[0].cpu().numpy() for part in fit._parts(found.parameters)]
    return Expansion(name, None, fit.networks, tuple(parts), bool(found.converged.all()))


def _common_factors(nominal: WeightedEvents, moved: dict[float, WeightedEvents]) -> FloatArray | None:
    """Return the factor of all weights at each value; None where events change in another way."""
    factors = []
    for events in moved.values():
        has_weight = nominal.weights != 0
        ratios = events.weights[has_weight] / nominal.weights[has_weight]
        is_same = np.array_equal(events.features, nominal.features) and not events.weights[~has_weight].any()
        if not is_same or np.ptp(ratios) > RATIO_TOLERANCE * abs(ratios[0]):
            return None
        factors.append(ratios.mean())
    return np.array(factors)


def _prepared(
    nominal: WeightedEvents,
    moved: dict[float, WeightedEvents],
    standard: Standard,
    order: int,
    hidden: Sequence[int],
    events: int,
    rng: np.random.Generator,
    device: str,
) -> tuple[_TaylorFit, Tensor]:
    """Return the fit of the deltas, and where it begins."""
    n_events = len(nominal.weights)
    rows = rng.choice(n_events, min(events, n_events), replace=False)
    x, nu, weights, counts = [], [], [], []
    for value, varied in moved.items():
        x += [standard(nominal.features[rows]), standard(varied.features[rows])]
        nu.append(np.full(2 * len(rows), value))
        weights += [nominal.weights[rows], np.zeros(len(rows))]
        counts += [np.zeros(len(rows)), varied.weights[rows]]
    sizes = (x[0].shape[1], *hidden, 1)
    networks = tuple(Perceptron(sizes, CLIP, device) for _ in range(order))
    flat = [torch.as_tensor(np.concatenate(part)[None], device=device) for part in (nu, weights, counts)]
    start = np.concatenate([network.start(rng) for network in networks])
    features = torch.as_tensor(np.concatenate(x)[None], device=device)
    return _TaylorFit(features, flat[0], flat[1], flat[2], networks), torch.as_tensor(start[None], device=device)


@dataclass(frozen=True)
class OrderCheck:
    """How well a polynomial in nu describes ln r in bins of one feature.

    Attributes:
        parameter, feature: What is checked.
        order: Of the polynomial.
        chi2: Sum over bins and values.
        degrees: Degrees of freedom: values minus order, in each bin.
    """

    parameter: str
    feature: str
    order: int
    chi2: float
    degrees: int


def check_order(
    pool: Pool, name: str, features: Sequence[str], *, values: Sequence[float] = CHECKED, bins: int = 10
) -> list[OrderCheck]:
    """Fit ln r in bins of each feature by polynomials of order 1, 2 and 3, as far as there are values for them.

    The errors are those of the events that a value moves into a bin or out of it: those that stay are the same events.
    Values are taken for independent, which moved copies of one set of events are not: chi2 is a guide.
    """
    at, nominal = pool.values(name, values), pool.nominal
    found = []
    for column, feature in enumerate(features):
        edges = np.quantile(nominal.features[:, column].astype(float), np.linspace(0, 1, bins + 1)[1:-1])
        logarithms, errors = np.zeros((len(at), bins)), np.zeros((len(at), bins))
        for number, value in enumerate(at):
            moved = pool.at(name, value)
            logarithms[number], errors[number] = _binned_ratio(nominal, moved, column, edges)
        for order in range(1, min(3, len(at) - 1) + 1):
            powers = np.power.outer(np.array(at), np.arange(1, order + 1))
            total = 0.0
            for ratio, error in zip(logarithms.T, errors.T, strict=True):
                scaled, measured = powers / error[:, None], ratio / error
                coefficients, *_ = np.linalg.lstsq(scaled, measured, rcond=None)
                total += float(((measured - scaled @ coefficients) ** 2).sum())
            found.append(OrderCheck(name, feature, order, total, bins * (len(at) - order)))
    return found


def _binned_ratio(
    nominal: WeightedEvents, moved: WeightedEvents, column: int, edges: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return ln r and its error in every bin, shape (n_bins,) each."""
    n_bins = len(edges) + 1
    before = np.searchsorted(edges, nominal.features[:, column])
    after = np.searchsorted(edges, moved.features[:, column])
    below = np.bincount(before, nominal.weights, n_bins)
    above = np.bincount(after, moved.weights, n_bins)
    stays = before == after
    variance = np.bincount(before[stays], (moved.weights - nominal.weights)[stays] ** 2, n_bins)
    variance += np.bincount(before[~stays], nominal.weights[~stays] ** 2, n_bins)
    variance += np.bincount(after[~stays], moved.weights[~stays] ** 2, n_bins)
    least = np.finfo(float).eps * below
    return np.log(above / below), np.sqrt(np.maximum(variance, least**2)) / below
