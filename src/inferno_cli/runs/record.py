"""The record of a run, ``results.json``: typed and versioned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from inferno_cli.config import POI
from inferno_cli.files import read_json, write_whole
from inferno_cli.fit.result import (
    Breakdown,
    Estimate,
    FitResult,
    GoodnessOfFit,
    Impact,
    Limit,
    Scan,
    Scan2D,
    Significance,
    Yields,
    put,
)
from inferno_cli.histograms import Templates, effective_events
from inferno_cli.runs.fit_record import Record, fit_records

SCHEMA: Literal["inferno_cli/results/1"] = "inferno_cli/results/1"
RESULTS_FILE = "results.json"


class StatOnly(Record):
    """The POI with everything else fixed at its best fit."""

    mu: Estimate


class PoiVarianceRecord(Record):
    """Variance of mu in the Asimov fit in closed form, all three in the likelihood that is fitted.

    null: the information matrix was singular.
    """

    validation_soft: float | None
    validation_hard: float | None
    validation_honest: float | None = None
    """That of the hard bins with the noise of the variations in it (see ``histograms.binning``): selects the epoch."""
    templates: float
    honest: float | None = None
    """That of the templates with the noise of their variations in it."""


class PartsRecord(Record):
    """Odd and even part of a shape, in units of the bin errors, and samples whose even part was left out as noise."""

    odd: float
    even: float
    symmetrised: tuple[str, ...] = ()


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
    loss: tuple[float | None, ...]
    """Of every epoch; null where it was not finite."""
    sigma_mu_soft: tuple[float | None, ...]
    sigma_mu_hard: tuple[float | None, ...]
    nuisance: tuple[str, ...]
    """Nuisance parameters in the training's likelihood."""
    history: tuple[dict[str, float | None], ...]
    """Every number of every epoch, as it is logged."""


class TrainedInRecord(Record):
    """The finished run whose network was taken; its resolved configuration is in ``trained_in.yaml``."""

    folder: str
    experiment: str | None
    """Where it was one of several runs: the experiment that it was chosen by."""
    dataset: str
    dataset_checksum: str
    seed: int | None
    code_version: str
    checkpoint: str
    """SHA-256 of its checkpoint, which this run has as well."""


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
    parameters: dict[str, Estimate]
    vectors: tuple[str, ...] | None = None
    """Parameters with one entry for each bin, NAME[BIN]; null in an older record, where every "[...]" is one."""
    correlation: dict[str, dict[str, float]]
    stat_only: StatOnly | None
    significance: Significance | None
    nll_scan: Scan | None
    """Of mu; ``scans`` has it as well."""
    scans: dict[str, Scan] = Field(default_factory=dict)
    scans_2d: tuple[Scan2D, ...] = ()
    yields: tuple[Yields, ...] = ()
    goodness_of_fit: GoodnessOfFit | None = None
    ranking: tuple[Impact, ...] = ()
    breakdown: Breakdown | None = None
    limit: Limit | None = None
    notes: tuple[str, ...] = ()
    """What was asked for and cannot be given, or has no meaning, and why."""
    poi_variance: PoiVarianceRecord | None
    noise_information: dict[str, float] | None
    """What noise of the variations alone tells of each shape, in units of its constraint."""
    noise_shares: dict[str, float] | None = None
    """The same in units of what the fit knows of it."""
    parts: dict[str, PartsRecord] | None = None
    """Of each shape."""
    stability: dict[str, tuple[float, float]] | None
    sigma_s: float | None
    cramer_rao_bound_s: float | None
    bins: tuple[BinRecord, ...] | None
    training: TrainingRecord | None
    """Of the run in ``trained_in``, where there is one."""
    trained_in: TrainedInRecord | None = None
    dataset_checksum: str
    code_version: str
    workspace: str
    timing: dict[str, float]
    """Wall seconds of each part."""

    @model_validator(mode="after")
    def _of_a_measurement(self) -> Self:
        if POI not in self.parameters:
            raise ValueError(f"parameters has no {POI!r}")
        return self

    @classmethod
    def of_fit(
        cls,
        fit: FitResult,
        spec: Mapping[str, Any],
        *,
        dataset: str,
        label: str,
        checksum: str,
        code_version: str,
        workspace: str,
        seconds: float,
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
                **fit_records(fit, spec),
                "dataset": dataset,
                "label": label,
                "dataset_checksum": checksum,
                "code_version": code_version,
                "workspace": workspace,
                "timing": {"fit": seconds},
            }
        )

    def is_entry(self, name: str) -> bool:
        """Tell whether a parameter is one entry of a vector, "staterror_SR[0]", and not one that is called so."""
        vector, bracket, _ = name.rpartition("[")
        return name.endswith("]") and bool(bracket) and (self.vectors is None or vector in self.vectors)

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the parameters that are no entries of vectors."""
        return tuple(name for name in self.parameters if not self.is_entry(name))

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are logged for comparison across runs, by name."""
        values: dict[str, float | None] = {
            "sigma_s": self.sigma_s,
            "cramer_rao_bound_s": self.cramer_rao_bound_s,
        }
        if self.stat_only is not None:
            values["stat_only/mu/hesse"] = self.stat_only.mu.error
        if self.significance is not None:
            values["significance/expected"] = self.significance.expected
            values["significance/observed"] = self.significance.observed
            values["significance/a_priori"] = self.significance.a_priori
        if self.goodness_of_fit is not None:
            values["goodness_of_fit/p_value"] = self.goodness_of_fit.p_value
        if self.limit is not None:
            values |= self.limit.metrics()
        if self.poi_variance is not None:
            for key, variance in self.poi_variance.model_dump().items():
                values[f"sigma_mu/{key}"] = None if variance is None else math.sqrt(variance)
        for name, seconds in self.timing.items():
            values[f"seconds/{name}"] = seconds
        if self.breakdown is not None:
            values |= self.breakdown.metrics()
        for name in self.scalars:
            parameter = self.parameters[name]
            put(values, f"{name}/bestfit", parameter.bestfit)
            put(values, f"{name}/hesse", parameter.error)
            put(values, f"{name}/pull", parameter.pull)
            put(values, f"{name}/constraint", parameter.constraint)
            if parameter.minos is not None:
                down, up = parameter.minos
                put(values, f"{name}/minos_down", down)
                put(values, f"{name}/minos_up", up)
                put(values, f"{name}/minos_width", up - down)
        return {name: value for name, value in values.items() if value is not None}

    def save(self, path: Path) -> None:
        """Write the file in one step: it is whole, or not there."""
        write_whole(path, self.model_dump_json(indent=2, by_alias=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            FileError: If it is no JSON, or holds what is no number.
            ValueError: If it is of another version.
        """
        return cls.model_validate(read_json(path))


def finite(value: float) -> float | None:
    """Return the value, or None where it is infinite: JSON has no infinity."""
    return value if math.isfinite(value) else None


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
