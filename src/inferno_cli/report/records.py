"""The part of the record that comes from the fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from inferno_cli.config import POI
from inferno_cli.fit.result import Estimate, FitResult
from inferno_cli.names import another


class Record(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def put(values: dict[str, float | None], name: str, value: float | None) -> None:
    """Add a number whose name has one of the user's in it: it does not replace another number of the same name."""
    values[name if name not in values else another(name, name, values)] = value


class ParameterRecord(Record):
    """One fitted parameter; ``minos`` is [down, up] with down < 0 < up."""

    bestfit: float
    hesse: float
    minos: tuple[float, float] | None
    pull: float | None = None
    """Best fit minus nominal, in units of the constraint; null without a constraint."""
    constraint: float | None = None
    """``hesse`` in units of the constraint."""
    at_limit: float | None = None
    """The physical limit at which the best fit is; ``hesse`` means nothing there."""


class StatOnlyRecord(Record):
    """The POI with everything else fixed at its best fit."""

    mu: ParameterRecord


class SignificanceRecord(Record):
    """Discovery significance; observed: of the data that was fitted, Asimov or observed.

    Null: above 37 standard deviations, where the p-value is 0 in double precision.
    """

    expected: float | None
    observed: float | None
    expected_p_value: float
    observed_p_value: float
    a_priori: float | None = None
    """Of observed data: expected with nuisance parameters nominal; ``expected`` has them fitted to the data."""
    a_priori_p_value: float | None = None


class ScanRecord(Record):
    """Profile of the NLL in one parameter."""

    parameter: str
    values: tuple[float, ...]
    delta_twice_nll: tuple[float, ...]


class Scan2DRecord(Record):
    """Profile of the NLL in two parameters: a row for each value of y."""

    x: str
    y: str
    x_values: tuple[float, ...]
    y_values: tuple[float, ...]
    delta_twice_nll: tuple[tuple[float, ...], ...]


class YieldsRecord(Record):
    """Expected events of one channel before or after the fit; [events, error] where a pair."""

    channel: str
    when: Literal["pre-fit", "post-fit"]
    samples: dict[str, tuple[float, ...]]
    """Events by bin."""
    errors: dict[str, tuple[float, ...]]
    total_error: tuple[float, ...]
    """Error of all samples together, by bin."""
    sums: dict[str, tuple[float, float]]
    total: tuple[float, float]
    data: tuple[float, ...]


class GoodnessRecord(Record):
    """Goodness of fit against the saturated model, of observed data."""

    p_value: float
    degrees_of_freedom: int


class ImpactRecord(Record):
    """Change of mu for one parameter, [up, down]; null where the shifted parameter is outside of its bounds."""

    parameter: str
    prefit: tuple[float | None, float | None]
    postfit: tuple[float | None, float | None]


class GroupImpactRecord(Record):
    """One group's part of the error of mu: fixed alone (``impact``), or in addition to those before it."""

    name: str
    parameters: tuple[str, ...]
    impact: float
    cumulative: float
    cumulative_minos: tuple[float, float] | None


class BreakdownRecord(Record):
    """The error of mu by groups. ``cumulative`` and ``statistical`` add up in quadrature; ``impact`` does not."""

    total: float
    statistical: float
    statistical_minos: tuple[float, float] | None
    groups: tuple[GroupImpactRecord, ...]
    closure: float
    """Quadratic sum of ``statistical`` and every ``impact``, divided by ``total``, minus 1."""
    cumulative_closure: float
    """The same of every ``cumulative``."""
    hesse_difference: float | None = None
    """Of older runs: largest relative difference to HESSE of the refits."""

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers to log."""
        values: dict[str, float | None] = {"error/statistical": self.statistical}
        for group in self.groups:
            put(values, f"error/{group.name}", group.impact)
            put(values, f"error_cumulative/{group.name}", group.cumulative)
        return values


class LimitRecord(Record):
    """Upper limit on mu with CLs. ``expected`` and ``a_priori``: -2, -1, 0, +1, +2 sigma."""

    confidence_level: float
    observed: float
    """Of the data that was fitted, Asimov or observed."""
    expected: tuple[float, ...]
    """Without signal, nuisance parameters fitted to that data."""
    a_priori: tuple[float, ...] | None
    """Without signal, nuisance parameters nominal; null for observed data."""
    bracket: tuple[float, float]
    tolerance: float
    poi_values: tuple[float, ...]
    """Where CLs was evaluated: for ``a_priori``, or without it for ``observed`` and ``expected``."""
    observed_cls: tuple[float | None, ...]
    expected_cls: tuple[tuple[float | None, ...], ...]

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers to log."""
        median = None if self.a_priori is None else self.a_priori[2]
        return {"limit/observed": self.observed, "limit/expected": self.expected[2], "limit/a_priori": median}


VECTORS = ("staterror", "shapesys", "shapefactor")
"""Types of modifiers that have a parameter for each bin."""


def fit_records(fit: FitResult, workspace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the record that comes from the fit of a pyhf workspace."""

    def record(estimate: Estimate) -> ParameterRecord:
        return ParameterRecord.model_validate(vars(estimate))

    # The measured parameter is called mu in the record, whatever a foreign workspace calls it.
    names = {name: name for name in fit.labels} | {fit.poi: POI}
    if fit.poi != POI and POI in fit.labels:
        other = f"{POI} (not the POI)"
        names[POI] = other if other not in names else another(POI, other, names)
    samples = [sample for channel in workspace["channels"] for sample in channel["samples"]]
    modifiers = [modifier for sample in samples for modifier in sample["modifiers"]]
    scans = {names[name]: ScanRecord.model_validate(vars(scan)) for name, scan in fit.scans.items()}
    groups = [
        {**vars(group), "parameters": tuple(names[name] for name in group.parameters)}
        for group in (fit.breakdown.groups if fit.breakdown is not None else ())
    ]
    return {
        "data": fit.data,
        "poi": fit.poi,
        "vectors": tuple(dict.fromkeys(item["name"] for item in modifiers if item["type"] in VECTORS)),
        "parameters": {names[name]: record(estimate) for name, estimate in fit.parameters.items()},
        "correlation": {
            names[a]: {names[b]: fit.correlation[i][j] for j, b in enumerate(fit.labels)}
            for i, a in enumerate(fit.labels)
        },
        "stat_only": None if fit.stat_only is None else StatOnlyRecord(mu=record(fit.stat_only)),
        "significance": None
        if fit.significance is None
        else SignificanceRecord(
            **{name: None if x is None or not math.isfinite(x) else x for name, x in vars(fit.significance).items()}
        ),
        "nll_scan": scans.get(POI),
        "scans": scans,
        "scans_2d": tuple(
            Scan2DRecord.model_validate({**vars(scan), "x": names[scan.x], "y": names[scan.y]}) for scan in fit.scans_2d
        ),
        "yields": tuple(YieldsRecord.model_validate(vars(entry)) for entry in fit.yields),
        "goodness_of_fit": None
        if fit.goodness_of_fit is None
        else GoodnessRecord.model_validate(vars(fit.goodness_of_fit)),
        "ranking": tuple(
            ImpactRecord.model_validate({**vars(impact), "parameter": names[impact.parameter]})
            for impact in fit.ranking
        ),
        "breakdown": None
        if fit.breakdown is None
        else BreakdownRecord.model_validate({**vars(fit.breakdown), "groups": groups}),
        "limit": None if fit.limit is None else LimitRecord.model_validate(vars(fit.limit)),
        "notes": fit.notes,
    }
