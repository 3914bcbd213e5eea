"""The record of a run, ``results.json``: typed and versioned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from inferno_cli.fit.result import FitResult
from inferno_cli.histograms import Templates, effective_events

SCHEMA: Literal["inferno_cli/results/1"] = "inferno_cli/results/1"
RESULTS_FILE = "results.json"


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
    """The selected epoch, counted from 0."""
    loss: tuple[float, ...]
    sigma_mu_soft: tuple[float | None, ...]
    sigma_mu_hard: tuple[float | None, ...]
    nuisance: tuple[str, ...]
    """Nuisance parameters in the training's likelihood."""
    history: tuple[dict[str, float | None], ...]
    """Every number of every epoch, as it is logged."""


class Results(Record):
    """Everything that a run found.

    ``stability`` has the closed-form HESSE errors from two disjoint halves of the template split, with the binning
    and the staterror of the whole: how far the errors rest on the noise of the simulation.
    """

    # pydantic's BaseModel has an attribute of the name that the file uses.
    schema_version: Literal["inferno_cli/results/1"] = Field(default=SCHEMA, alias="schema")
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

    @classmethod
    def of_fit(
        cls, fit: FitResult, *, dataset: str, checksum: str, code_version: str, workspace: str, seconds: float
    ) -> Self:
        """Return the record of a workspace that was fitted by itself."""
        absent = dict.fromkeys(
            (
                "model",
                "seed",
                "poi_variance",
                "noise_information",
                "stability",
                "sigma_s",
                "cramer_rao_bound_s",
                "bins",
                "training",
            )
        )
        return cls.model_validate(
            {
                **absent,
                **fit_records(fit),
                "dataset": dataset,
                "label": "",
                "dataset_checksum": checksum,
                "code_version": code_version,
                "workspace": workspace,
                "timing": {"fit": seconds},
            }
        )

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are logged for comparison across runs, by name."""
        values: dict[str, float | None] = {
            "sigma_s": self.sigma_s,
            "cramer_rao_bound_s": self.cramer_rao_bound_s,
        }
        for name, parameter in self.parameters.items():
            if "[" in name:  # one of a vector: the staterror parameters
                continue
            values[f"{name}/bestfit"], values[f"{name}/hesse"] = parameter.bestfit, parameter.hesse
            if parameter.minos is not None:
                down, up = parameter.minos
                values |= {
                    f"{name}/minos_down": down,
                    f"{name}/minos_up": up,
                    f"{name}/minos_width": up - down,
                }
        if self.stat_only is not None:
            values["stat_only/mu/hesse"] = self.stat_only.mu.hesse
        if self.significance is not None:
            values["significance/expected"] = self.significance.expected
            values["significance/observed"] = self.significance.observed
        if self.poi_variance is not None:
            for key, variance in self.poi_variance.model_dump().items():
                values[f"sigma_mu/{key}"] = None if variance is None else math.sqrt(variance)
        for name, seconds in self.timing.items():
            values[f"seconds/{name}"] = seconds
        return {name: value for name, value in values.items() if value is not None}

    def save(self, path: Path) -> None:
        """Write the file in one step: it is whole, or not there."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(self.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")
        partial.replace(path)

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
        "significance": None if fit.significance is None else SignificanceRecord.model_validate(vars(fit.significance)),
        "nll_scan": None if fit.scan is None else ScanRecord.model_validate(vars(fit.scan)),
    }


def bin_records(templates: Templates) -> tuple[BinRecord, ...]:
    """Return what each bin holds."""
    nominal, deviation = templates.nominal, np.sqrt(templates.variance.sum(axis=0))
    signal = nominal[templates.is_signal].sum(axis=0)
    background = nominal[~templates.is_signal].sum(axis=0)
    effective = effective_events(templates)
    return tuple(
        BinRecord(
            merged_from=group,
            signal=signal[i],
            background=background[i],
            effective_events=effective[i],
            relative_staterror=deviation[i] / (signal[i] + background[i]),
        )
        for i, group in enumerate(templates.groups)
    )
