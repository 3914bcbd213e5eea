"""The record of a run, ``results.json``: typed and versioned."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from inferno_cli.fit.result import FitResult

SCHEMA = "inferno_cli/results/1"


class Record(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ParameterRecord(Record):
    """One fitted parameter; ``minos`` is [down, up] with down < 0 < up."""

    bestfit: float
    hesse: float
    minos: tuple[float, float] | None


class StatOnlyRecord(Record):
    """The POI with everything else fixed at its best fit."""

    mu: ParameterRecord


class SignificanceRecord(Record):
    """Discovery significance; observed: of the data that was fitted, Asimov or observed."""

    expected: float
    observed: float
    expected_p_value: float
    observed_p_value: float


class ScanRecord(Record):
    """Profile of the NLL in one parameter."""

    parameter: str
    values: tuple[float, ...]
    delta_twice_nll: tuple[float, ...]


class PoiVarianceRecord(Record):
    """Variance of mu in the Asimov fit in closed form; null: the information matrix was singular."""

    validation_soft: float | None
    validation_hard: float | None
    templates: float


class BinRecord(Record):
    """One bin of the templates, and which bins of the network it is made of."""

    merged_from: tuple[int, ...]
    signal: float
    background: float
    effective_events: float
    relative_staterror: float


class TrainingRecord(Record):
    """How the network was trained."""

    best_epoch: int
    loss: tuple[float, ...]
    sigma_mu_soft: tuple[float | None, ...]
    sigma_mu_hard: tuple[float | None, ...]
    nuisance: tuple[str, ...]


class Results(Record):
    """Everything that a run found.

    ``stability`` has the closed-form HESSE errors from two disjoint halves of the template split, with the binning
    and the staterror of the whole: how far the errors rest on the noise of the simulation.
    """

    schema: Literal["inferno_cli/results/1"] = SCHEMA  # type: ignore[assignment]
    model: str | None
    dataset: str
    label: str
    """Must be shown with every number ("simulated stand-in, not CMS data"); empty when there is nothing to say."""
    seed: int | None
    data: Literal["asimov", "observed"]
    poi: str
    parameters: dict[str, ParameterRecord]
    correlation: dict[str, dict[str, float]]
    stat_only: StatOnlyRecord | None
    significance: SignificanceRecord | None
    nll_scan: ScanRecord | None
    poi_variance: PoiVarianceRecord | None
    noise_information: dict[str, float] | None
    stability: dict[str, tuple[float, float]] | None
    sigma_s: float | None
    cramer_rao_bound_s: float | None
    bins: tuple[BinRecord, ...] | None
    training: TrainingRecord | None
    dataset_checksum: str
    code_version: str
    workspace: str
    timing: dict[str, float]
    """Wall seconds of each part."""

    def save(self, path: Path) -> None:
        """Write the file in one step: it is whole, or not there."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record."""
        return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))


def finite(value: float) -> float | None:
    """Return the value, or None where it is infinite: JSON has no infinity."""
    return value if math.isfinite(value) else None


def fit_records(fit: FitResult) -> dict[str, Any]:
    """Return the part of the record that comes from the fit."""

    def record(estimate: Any) -> ParameterRecord:
        return ParameterRecord(bestfit=estimate.bestfit, hesse=estimate.hesse, minos=estimate.minos)

    # The measured parameter is called mu in the record, whatever a foreign workspace calls it.
    names = {name: "mu" if name == fit.poi else name for name in fit.labels}
    return {
        "data": fit.data,
        "poi": fit.poi,
        "parameters": {names[name]: record(estimate) for name, estimate in fit.parameters.items()},
        "correlation": {
            names[a]: {names[b]: fit.correlation[i][j] for j, b in enumerate(fit.labels)}
            for i, a in enumerate(fit.labels)
        },
        "stat_only": None if fit.stat_only is None else StatOnlyRecord(mu=record(fit.stat_only)),
        "significance": None
        if fit.significance is None
        else SignificanceRecord.model_validate(vars(fit.significance)),
        "nll_scan": None if fit.scan is None else ScanRecord.model_validate(vars(fit.scan)),
    }


__all__ = ["SCHEMA", "Results", "finite", "fit_records"]
