"""The record of a run, ``results.json``: typed and versioned."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from inferno_cli.events.modifiers import MorphPart
from inferno_cli.files import read_json, write_whole
from inferno_cli.fit.result import Finite, FitResult, Record, put
from inferno_cli.histograms.binning import effective_events
from inferno_cli.histograms.templates import Templates
from inferno_cli.runs.coverage import CoverageStudy
from inferno_cli.runs.earlier import SCHEMA_1, completed_record
from inferno_cli.section import POI, REGION

SCHEMA: Literal["inferno_cli/results/2"] = "inferno_cli/results/2"
SCHEMAS = (SCHEMA_1, SCHEMA)
"""Those that are read."""


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
    odd_bins: tuple[float, ...] = ()
    """Of every bin, in units of its error; empty in the records of earlier versions."""
    even_bins: tuple[float, ...] = ()


class PrunedRecord(Record):
    """An effect, or a part of it, that was left out of the fit: ``likelihood.prune``."""

    parameter: str
    sample: str
    part: MorphPart
    """What of it: the change of the yield (norm), that of the shape, or both."""
    change: float
    """The largest relative change that is lost."""
    is_all: bool
    """Whether nothing of the effect is left."""
    channel: str = ""
    """Where it was left out; empty: everywhere."""


class BinRecord(Record):
    """One bin of the templates, and which bins of the network, or of the channel, it is made of."""

    channel: str = REGION
    """Name of its channel in the likelihood."""
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
    learnt: dict[str, Any] = Field(default_factory=dict)
    """What the summary learnt, by key: edges, cuts; those of the selected epoch. And what a network is set to."""

    @property
    def other_merits(self) -> tuple[float | None, ...] | None:
        """Root of what chose the epoch, of every epoch; None if it was the variance of mu, and in records of before."""
        merits = tuple(epoch.get("validation/figure_of_merit") for epoch in self.history)
        of_mu = tuple(epoch.get("validation/sigma_mu_honest") for epoch in self.history)
        is_known = any(merit is not None for merit in merits)
        return merits if is_known and merits != of_mu else None


class MemberRecord(Record):
    """One of several trainings of the same network, or of those of all folds; null: it cannot constrain mu."""

    seeds: tuple[int, ...]
    """Of each fold: a run with it as ``seed``, and the same ``dataset.seed``, is this training alone."""
    chosen_for: tuple[int, ...]
    """Folds for which the validation split chose it; none where the mean of all makes the templates."""
    figure_of_merit: float | None
    """What the best is chosen by, on the validation split."""
    sigma_mu_validation: float | None
    """sigma(mu) there, with the noise of the variations in it."""
    sigma_mu: float | None
    """Of the Asimov fit of its templates, in closed form."""
    sigma_mu_honest: float | None
    """The same with the noise of the variations in it."""
    trainings: tuple[TrainingRecord, ...]
    """Of each fold."""

    @property
    def optimism(self) -> float | None:
        """How much larger sigma(mu) is with the templates than on the validation split, relative; both honest."""
        if self.sigma_mu_honest is None or self.sigma_mu_validation is None:
            return None
        return self.sigma_mu_honest / self.sigma_mu_validation - 1


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


class Results(FitResult):
    """Everything that a run found: its fit, and what it was made of.

    ``stability`` has the closed-form HESSE errors from two disjoint halves of the template split, with the binning
    and the staterror of the whole: how far the errors rest on the noise of the simulation. What only a training
    gives is null in the fit of a workspace by itself.
    """

    # pydantic's BaseModel has an attribute of the name that the file uses.
    schema_version: Literal["inferno_cli/results/2"] = Field(default=SCHEMA, alias="schema")
    model: str | None = None
    model_title: str = ""
    """What tables and plots call it; empty: its name."""
    dataset: str
    label: str
    """Must be shown with every number ("simulated stand-in, not CMS data"); empty when there is nothing to say."""
    seed: int | None = None
    poi_variance: PoiVarianceRecord | None = None
    metric_values: dict[str, Finite] = Field(default_factory=dict, alias="metrics")
    """Every metric of the templates that are fitted, on Asimov data of the nominal parameters, by kind; null: infinite.

    Empty in records of before. One that cannot be had is missing, and a note says why.
    """
    figure_of_merit: float | None = None
    """Root of what the epoch and the bins are chosen by, on the validation split; with one POI sigma(mu), honest."""
    noise_information: dict[str, float] | None = None
    """What noise of the variations alone tells of each shape, in units of its constraint."""
    noise_shares: dict[str, float] | None = None
    """The same in units of what the fit knows of it."""
    parts: dict[str, PartsRecord] | None = None
    """Of each shape."""
    stability: dict[str, tuple[float, float]] | None = None
    pruned: tuple[PrunedRecord, ...] = ()
    """Effects that are too small to be fitted."""
    sigma_s: float | None = None
    cramer_rao_bound_s: float | None = None
    bins: tuple[BinRecord, ...] | None = None
    coverage: CoverageStudy | None = None
    """Where it was asked for."""
    training: TrainingRecord | None = None
    """Of the run in ``trained_in``, where there is one; of several networks that of the first fold."""
    folds: tuple[TrainingRecord, ...] = ()
    """Of the network of each fold, where there are several."""
    members: tuple[MemberRecord, ...] = ()
    """All trainings, where ``trainer.members`` asks for several; the rest is of their mean, or of the chosen ones."""
    optimism: float | None = None
    """How much larger sigma(mu) is with the templates than on the validation split, relative; both honest."""
    optimism_of_members: float | None = None
    """Mean of the same over all members: what is beyond it comes from choosing, or is of the mean of them."""
    trained_in: TrainedInRecord | None = None
    dataset_checksum: str
    code_version: str
    workspace: str
    timing: dict[str, float]
    """Wall seconds of each part."""

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, values: Any) -> Any:
        return completed_record(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _of_a_measurement(self) -> Self:
        if POI not in self.parameters:
            raise ValueError(f"parameters has no {POI!r}")
        return self

    @classmethod
    def of(cls, fit: FitResult, **others: Any) -> Self:
        """Return the record of a run with a fit."""
        return cls.model_validate({**dict(fit), **others})

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are logged for comparison across runs, by name."""
        values: dict[str, float | None] = {}
        if self.sigma_s is not None:
            values["sigma_s"] = self.sigma_s
        if self.cramer_rao_bound_s is not None:
            values["cramer_rao_bound_s"] = self.cramer_rao_bound_s
        if self.poi_variance is not None:
            for key, variance in self.poi_variance.model_dump().items():
                values[f"sigma_mu/{key}"] = None if variance is None else math.sqrt(variance)
        for kind, value in self.metric_values.items():
            values[f"templates/{kind}"] = value
        if self.figure_of_merit is not None:
            values["figure_of_merit"] = self.figure_of_merit
        if self.members:
            values |= {"optimism": self.optimism, "optimism_of_members": self.optimism_of_members}
            values |= {f"members/sigma_mu/{name}": value for name, value in self.spread_of_members().items()}
        if self.coverage is not None:
            values |= dict(self.coverage.metrics())
        for name, seconds in self.timing.items():
            values[f"seconds/{name}"] = seconds
        for name, value in super().metrics().items():
            put(values, name, value)
        return {name: value for name, value in values.items() if value is not None}

    @property
    def is_averaged(self) -> bool:
        """Whether the mean of several members makes the templates, and none of them was chosen."""
        return bool(self.members) and not any(item.chosen_for for item in self.members)

    def spread_of_members(self) -> dict[str, float]:
        """Return the smallest, median and largest sigma(mu) of the members; empty where there are none."""
        values = [item.sigma_mu for item in self.members if item.sigma_mu is not None]
        if not values:
            return {}
        return {"low": min(values), "median": statistics.median(values), "high": max(values)}

    def save(self, path: Path) -> None:
        """Write the file in one step: it is whole, or not there."""
        write_whole(path, self.model_dump_json(indent=2, by_alias=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record; FileError if it is no JSON, ValueError if it is of another version."""
        return cls.model_validate(read_json(path))


def finite(value: float) -> float | None:
    """Return the value, or None where it is infinite: JSON has no infinity."""
    return value if math.isfinite(value) else None


def bin_records(channels: Sequence[Templates]) -> tuple[BinRecord, ...]:
    """Return what each bin of all channels holds."""
    found = []
    for templates in channels:
        nominal, deviation = templates.nominal, np.sqrt(templates.variance.sum(axis=0))
        signal = nominal[templates.is_signal].sum(axis=0)
        background = nominal[~templates.is_signal].sum(axis=0)
        effective = effective_events(templates)
        for i, group in enumerate(templates.groups):
            record = BinRecord(
                channel=templates.channel,
                merged_from=group,
                signal=signal[i],
                background=background[i],
                effective_events=effective[i],
                relative_staterror=deviation[i] / (signal[i] + background[i]),
            )
            found.append(record)
    return tuple(found)


def groups_of(bins: Sequence[BinRecord]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return of what each bin is made, by channel of the likelihood."""
    found: dict[str, tuple[tuple[int, ...], ...]] = {}
    for item in bins:
        found[item.channel] = (*found.get(item.channel, ()), item.merged_from)
    return found
