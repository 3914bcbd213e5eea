"""A HistFactory likelihood as plain data: channels of samples with their modifiers, parameters, and observations.

Arrays are numpy's, or torch's, through which a training differentiates. Nothing here calculates: see ``expectation``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from inferno_cli.likelihood.modifiers import Array, Modifier

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One process in one channel.

    Attributes:
        name: Name of the process.
        nominal: Expected events, shape (B,).
        modifiers: What changes them.
        variance: Statistical variance of ``nominal``, shape (B,), for files that have room for it.
        parent: The sample whose free shape this one holds: (up - down) / 2, times a NormFactor of nominal value 0.
    """

    name: str
    nominal: Array
    modifiers: tuple[Modifier, ...]
    variance: Array = None
    parent: str | None = None

    def having(self, kind: type[T]) -> list[T]:
        """Return its modifiers of one kind."""
        return [modifier for modifier in self.modifiers if isinstance(modifier, kind)]


@dataclass(frozen=True)
class Channel:
    """Samples over the same bins, and the events observed in them, shape (B,)."""

    name: str
    samples: tuple[Sample, ...]
    observed: Array = None

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(self.samples[0].nominal.shape[0])


@dataclass(frozen=True)
class Gaussian:
    """A constraint term: the auxiliary measurement and its standard deviation, shape (n,) each.

    ``width`` None, of a staterror: what the variances of its samples make it.
    """

    centre: Array
    width: Array


@dataclass(frozen=True)
class Poisson:
    """A constraint term: auxiliary events, of which ``factor`` times the parameter are expected, shape (n,) each."""

    events: Array
    factor: Array


@dataclass(frozen=True)
class Parameter:
    """A parameter, or one per bin, with what the measurement says of it; every sequence has one entry for each.

    Attributes:
        name: Name of the parameter.
        init: Where a fit starts.
        bounds: Lower and upper limit.
        fixed: Whether it is held constant.
        constraint: Its constraint term, if it has one.
        per_bin: Whether it is a vector over bins.
    """

    name: str
    init: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    fixed: tuple[bool, ...] = (False,)
    constraint: Gaussian | Poisson | None = None
    per_bin: bool = False

    @property
    def labels(self) -> list[str]:
        """Names of the entries, as pyhf has them."""
        return [f"{self.name}[{i}]" for i in range(len(self.init))] if self.per_bin else [self.name]


@dataclass(frozen=True)
class Spec:
    """A likelihood: ``poi`` names the parameter of interest of ``measurement``."""

    channels: tuple[Channel, ...]
    parameters: tuple[Parameter, ...]
    poi: str
    measurement: str

    @property
    def labels(self) -> list[str]:
        """Names of all entries of the parameters, in their order."""
        found: list[str] = []
        for parameter in self.parameters:
            found += parameter.labels
        return found
