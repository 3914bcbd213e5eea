"""The modifiers of HistFactory: what changes the expected events of a sample, by the name of their parameter.

Arrays are numpy's, or torch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Array = Any
"""An array of numpy or torch."""


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
