"""ln r(x; nu), the change of the reference density with the nuisance parameters, as an expansion in each of them.

ln r = sum_j delta_1j(x) nu_j + delta_2j(x) nu_j^2 + ...: of a normalisation the delta are constants, known beforehand;
of a shape each is a network that is fitted to events with the parameter moved (arXiv:2111.13633, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inferno_cli.events.sample import FloatArray
from inferno_cli.nplm.models import Exponent


@dataclass(frozen=True, eq=False)
class Expansion:
    """The expansion in one parameter.

    Attributes:
        name: The parameter.
        constants: delta_1, delta_2, ... where they are the same for all events; None: they are not.
        networks: What delta_1, delta_2, ... are else.
        parameters: Of each network, shape (n_parameters,).
        converged: Whether the fit of the networks has ended by itself.
    """

    name: str
    constants: tuple[float, ...] | None
    networks: tuple[Exponent, ...] = ()
    parameters: tuple[FloatArray, ...] = ()
    converged: bool = True

    @property
    def order(self) -> int:
        """Largest power of the parameter."""
        return len(self.networks) if self.constants is None else len(self.constants)

    def deltas(self, x: Tensor) -> Tensor:
        """Return delta_1, delta_2, ... of features, shape (toys, events, order)."""
        if self.constants is not None:
            constants = torch.tensor(self.constants, dtype=x.dtype, device=x.device)
            return constants.expand(*x.shape[:2], -1)
        found = []
        for network, values in zip(self.networks, self.parameters, strict=True):
            fixed = torch.as_tensor(values, dtype=x.dtype, device=x.device)
            found.append(network.value(x, fixed.expand(len(x), -1)))
        return torch.stack(found, dim=2)


class Taylor:
    """The expansions in all nuisance parameters.

    Attributes:
        expansions: One for each, in their order.
    """

    def __init__(self, expansions: Sequence[Expansion]) -> None:
        """Take the expansions."""
        self.expansions = tuple(expansions)
        self.n_parameters = len(self.expansions)
        self._parameter: list[int] = []
        self._power: list[int] = []
        for number, expansion in enumerate(self.expansions):
            self._parameter += [number] * expansion.order
            self._power += range(1, expansion.order + 1)

    @property
    def has_shapes(self) -> bool:
        """Whether a parameter changes events differently."""
        return any(expansion.constants is None for expansion in self.expansions)

    def envelope(self, x: Tensor) -> Tensor:
        """Return the largest r of every event with no parameter moved or one, by 1 sigma, shape (toys, events)."""
        terms = self.terms(x)
        largest = torch.zeros_like(x[..., 0])
        for number in range(self.n_parameters):
            for value in (-1.0, 1.0):
                nu = x.new_zeros(len(x), self.n_parameters)
                nu[:, number] = value
                largest = torch.maximum(largest, self.value(terms, nu))
        return largest.exp()

    def terms(self, x: Tensor) -> Tensor:
        """Return what multiplies the powers of the parameters, of standardised features (toys, events, n_features)."""
        if not self.expansions:
            return x.new_zeros(*x.shape[:2], 0)
        return torch.cat([expansion.deltas(x) for expansion in self.expansions], dim=2)

    def value(self, terms: Tensor, nu: Tensor) -> Tensor:
        """Return ln r, shape (toys, events), with the parameters, shape (toys, n_parameters)."""
        powers = nu[:, self._parameter] ** torch.tensor(self._power, dtype=nu.dtype, device=nu.device)
        return torch.bmm(terms, powers[..., None])[..., 0]

    def jacobian(self, terms: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
        """Return ln r and its derivatives, shape (toys, events, n_parameters)."""
        power = torch.tensor(self._power, dtype=nu.dtype, device=nu.device)
        change = power * nu[:, self._parameter] ** (power - 1)
        of_parameter = torch.zeros(len(self._power), self.n_parameters, dtype=nu.dtype, device=nu.device)
        of_parameter[range(len(self._power)), self._parameter] = 1.0
        return self.value(terms, nu), torch.bmm(terms, change[..., None] * of_parameter)
