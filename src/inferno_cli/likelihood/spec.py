"""A HistFactory likelihood as plain data: channels of samples with their modifiers, parameters, and observations.

Arrays are numpy's, or torch's, through which a training differentiates. Nothing here calculates: see ``expectation``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Array = Any
"""An array of numpy or torch."""


# ------------------------------------------------------------------------------------------------- modifiers
@dataclass(frozen=True)
class NormFactor:
    """A free factor on the yield."""

    name: str


@dataclass(frozen=True)
class Lumi:
    """The luminosity, a factor on the yield with a constraint that the measurement states."""

    name: str


@dataclass(frozen=True)
class NormSys:
    """A constrained change of the yield: its factors at +1 and -1."""

    name: str
    up: Array
    down: Array


@dataclass(frozen=True)
class HistoSys:
    """A constrained change of the template: what it is at +1 and -1, shape (B,) each."""

    name: str
    up: Array
    down: Array


@dataclass(frozen=True)
class NormPlusShape:
    """A normsys and a histosys of one parameter, as the templates at +1 and -1 that both are made of.

    Attributes:
        name: Name of the parameter.
        up, down: Templates, shape (B,).
        variance: Statistical variances of the two, shape (B,) each, for files that have room for them.
    """

    name: str
    up: Array
    down: Array
    variance: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class StatError:
    """The statistical error of the templates: a factor per bin, shared by all samples of a channel that have it."""

    name: str
    variance: Array


@dataclass(frozen=True)
class ShapeSys:
    """A factor per bin of one sample with a Poisson constraint; ``error`` is absolute, shape (B,)."""

    name: str
    error: Array


@dataclass(frozen=True)
class ShapeFactor:
    """A free factor per bin."""

    name: str


Modifier = NormFactor | Lumi | NormSys | HistoSys | NormPlusShape | StatError | ShapeSys | ShapeFactor


# ---------------------------------------------------------------------------------------- channels and parameters
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
