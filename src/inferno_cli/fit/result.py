"""What a fit gives, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """One fitted parameter.

    Attributes:
        bestfit: Value at the minimum.
        hesse: Standard deviation from the inverse Hessian; 0 for a parameter held constant.
        minos: Interval from the profile likelihood, down < 0 < up, or None where it was not asked for.
    """

    bestfit: float
    hesse: float
    minos: tuple[float, float] | None = None


@dataclass(frozen=True)
class Scan:
    """Profile of the likelihood in one parameter: values, and twice the NLL above the minimum."""

    parameter: str
    values: tuple[float, ...]
    delta_twice_nll: tuple[float, ...]


@dataclass(frozen=True)
class Significance:
    """Discovery significance in standard deviations, with p-values; observed: of the data that was fitted."""

    expected: float
    observed: float
    expected_p_value: float
    observed_p_value: float


@dataclass(frozen=True)
class FitResult:
    """A valid fit.

    Attributes:
        data: "asimov" or "observed".
        poi: Name of the parameter of interest.
        parameters: Estimates by name (vector parameters have names such as "staterror_SR[0]").
        labels: Names in the order of ``correlation``.
        correlation: Correlation matrix from HESSE; zero rows for constant parameters.
        twice_nll: At the minimum.
        stat_only: The POI with all other parameters fixed at their best fit, or None.
        significance: Or None.
        scan: Of the POI, or None.
    """

    data: str
    poi: str
    parameters: Mapping[str, Estimate]
    labels: tuple[str, ...]
    correlation: tuple[tuple[float, ...], ...]
    twice_nll: float
    stat_only: Estimate | None
    significance: Significance | None
    scan: Scan | None
