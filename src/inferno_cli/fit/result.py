"""What a fit gives: each number is declared here once, and computed, stored, logged and tabulated as it is here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass as plain
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict
from pydantic.dataclasses import dataclass

from inferno_cli.names import another

STRICT = ConfigDict(extra="forbid")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


When = Literal["pre-fit", "post-fit"]
Finite = Annotated[float | None, BeforeValidator(_finite)]
"""A number, or None where it is infinite: JSON has no infinity."""


def put(values: dict[str, float | None], name: str, value: float | None) -> None:
    """Add a number whose name has one of the user's in it: it does not replace another number of the same name."""
    values[name if name not in values else another(name, name, values)] = value


@dataclass(frozen=True, config=STRICT)
class Estimate:
    """One fitted parameter.

    Attributes:
        bestfit: Value at the minimum.
        hesse: Standard deviation from the inverse Hessian; 0 for a parameter held constant.
        minos: Interval from the profile likelihood, down < 0 < up, or None where it was not asked for, or ends at a
            physical limit (then the fit's notes say so).
        pull: Best fit minus nominal, in units of the constraint; None without a constraint.
        constraint: HESSE in units of the constraint; None without a constraint.
        at_limit: The physical limit (a rate cannot be negative) at which the best fit is; ``hesse`` means nothing
            there.
    """

    bestfit: float
    hesse: float
    minos: tuple[float, float] | None = None
    pull: float | None = None
    constraint: float | None = None
    at_limit: float | None = None

    @property
    def error(self) -> float | None:
        """``hesse``, or None where it means nothing."""
        return self.hesse if self.at_limit is None else None


@dataclass(frozen=True, config=STRICT)
class Scan:
    """Profile of the likelihood in one parameter: values, and twice the NLL above the minimum."""

    parameter: str
    values: tuple[float, ...]
    delta_twice_nll: tuple[float, ...]


@dataclass(frozen=True, config=STRICT)
class Scan2D:
    """Profile of the likelihood in two parameters; ``delta_twice_nll[i][j]`` is at ``y_values[i]``, ``x_values[j]``."""

    x: str
    y: str
    x_values: tuple[float, ...]
    y_values: tuple[float, ...]
    delta_twice_nll: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, config=STRICT)
class Significance:
    """Discovery significance in standard deviations, with p-values; None above 37, where these are 0 in floats.

    Attributes:
        expected: For the nominal signal, nuisance parameters fitted to the data with POI 1.
        observed: Of the data that was fitted, Asimov or observed.
        expected_p_value, observed_p_value: Their p-values.
        a_priori, a_priori_p_value: For the nominal signal, nuisance parameters at their nominal values; of observed
            data, else None: ``expected`` of Asimov data is that.
    """

    expected: Finite
    observed: Finite
    expected_p_value: float
    observed_p_value: float
    a_priori: Finite = None
    a_priori_p_value: float | None = None


@dataclass(frozen=True, config=STRICT)
class Limit:
    """Upper limit on the POI with CLs (asymptotic, q-tilde).

    Attributes:
        confidence_level: Of the limit.
        observed: Of the data that was fitted, Asimov or observed.
        expected: Without signal, nuisance parameters fitted to the data with POI 0; -2, -1, 0, +1, +2 sigma.
        a_priori: Without signal, nuisance parameters at their nominal values; for Asimov data, else None. The Asimov
            data hold a signal, which ``expected`` must absorb in the nuisance parameters.
        bracket: Values of the POI between which the limits were looked for.
        tolerance: To which they were found.
        poi_values: Where CLs was evaluated, rising: for ``a_priori``, or without it for ``observed`` and ``expected``.
        observed_cls: At those values, of the data (``a_priori``: of the data without signal).
        expected_cls: The five expected ones at those values.
    """

    confidence_level: float
    observed: float
    expected: tuple[float, ...]
    a_priori: tuple[float, ...] | None
    bracket: tuple[float, float]
    tolerance: float
    poi_values: tuple[float, ...]
    observed_cls: tuple[Finite, ...]
    expected_cls: tuple[tuple[Finite, ...], ...]

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers to log."""
        median = None if self.a_priori is None else self.a_priori[2]
        return {"limit/observed": self.observed, "limit/expected": self.expected[2], "limit/a_priori": median}


@dataclass(frozen=True, config=STRICT)
class GoodnessOfFit:
    """Against the saturated model: p-value, and bins minus free parameters."""

    p_value: float
    degrees_of_freedom: int


@dataclass(frozen=True, config=STRICT)
class Impact:
    """Change of the POI when one parameter is fixed one sigma up or down of its best fit and the rest is refitted.

    Attributes:
        parameter: Its name.
        prefit: (up, down) for a shift by the width of its constraint, (0, 0) without one; a side is None where the
            shifted value is outside of the parameter's bounds.
        postfit: (up, down) for a shift by its HESSE error; None as above.
    """

    parameter: str
    prefit: tuple[float | None, float | None]
    postfit: tuple[float | None, float | None]


@dataclass(frozen=True, config=STRICT)
class GroupImpact:
    """What one group of parameters adds to the error of the POI, in two ways.

    Attributes:
        name: Of the group.
        parameters: Its members that the fit varies.
        impact: sqrt(total^2 - reduced^2) of HESSE errors, with this group alone fixed at its best fit.
        cumulative: sqrt(before^2 - after^2), with this group fixed in addition to those before it.
        cumulative_minos: The same (down, up) of MINOS errors; None without MINOS of the POI.
    """

    name: str
    parameters: tuple[str, ...]
    impact: float
    cumulative: float
    cumulative_minos: tuple[float, float] | None


@dataclass(frozen=True, config=STRICT)
class Breakdown:
    """The error of the POI, split by groups of parameters.

    Attributes:
        total: HESSE error with everything free.
        statistical: HESSE error with every other parameter fixed at its best fit.
        statistical_minos: MINOS errors there.
        groups: In the order in which they were fixed.
        closure: sqrt(statistical^2 + sum of impact^2) / total - 1. Not zero: groups are correlated.
        cumulative_closure: The same of the cumulative ones: zero by construction, up to rounding.
        hesse_difference: Of older runs: largest relative difference to HESSE of the refits.
    """

    total: float
    statistical: float
    statistical_minos: tuple[float, float] | None
    groups: tuple[GroupImpact, ...]
    closure: float
    cumulative_closure: float
    hesse_difference: float | None = None

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers to log."""
        values: dict[str, float | None] = {"error/statistical": self.statistical}
        for group in self.groups:
            put(values, f"error/{group.name}", group.impact)
            put(values, f"error_cumulative/{group.name}", group.cumulative)
        return values


@dataclass(frozen=True, config=STRICT)
class Yields:
    """Expected events of one channel before or after the fit.

    Attributes:
        channel: Its name.
        when: "pre-fit" or "post-fit".
        samples: Events by sample and bin.
        errors: Standard deviation of ``samples``.
        total_error: Of the sum of the samples, by bin.
        sums: Events by sample in the whole channel, and their standard deviation.
        total: Events of all samples in the whole channel, and their standard deviation.
        data: Events by bin that were fitted, Asimov or observed.
    """

    channel: str
    when: When
    samples: dict[str, tuple[float, ...]]
    errors: dict[str, tuple[float, ...]]
    total_error: tuple[float, ...]
    sums: dict[str, tuple[float, float]]
    total: tuple[float, float]
    data: tuple[float, ...]


@plain(frozen=True)
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
        scans: By parameter, those that were asked for.
        scans_2d: Those that were asked for.
        yields: Of every channel, first before and then after the fit; empty if not asked for.
        goodness_of_fit: Of observed data; None for Asimov data, which fit perfectly by construction.
        ranking: Largest post-fit impact first; empty if not asked for.
        breakdown: Or None.
        limit: Or None.
        notes: What was asked for and cannot be given, or has no meaning, and why.
    """

    data: str
    poi: str
    parameters: Mapping[str, Estimate]
    labels: tuple[str, ...]
    correlation: tuple[tuple[float, ...], ...]
    twice_nll: float
    stat_only: Estimate | None = None
    significance: Significance | None = None
    scans: Mapping[str, Scan] = field(default_factory=dict)
    scans_2d: tuple[Scan2D, ...] = ()
    yields: tuple[Yields, ...] = ()
    goodness_of_fit: GoodnessOfFit | None = None
    ranking: tuple[Impact, ...] = ()
    breakdown: Breakdown | None = None
    limit: Limit | None = None
    notes: tuple[str, ...] = ()
