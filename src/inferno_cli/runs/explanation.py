"""The record of what a network learnt, ``explain.json``: typed and versioned."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from inferno_cli.files import write_whole
from inferno_cli.fit.result import Record
from inferno_cli.histograms.templates import Templates
from inferno_cli.histograms.yield_changes import YieldChange
from inferno_cli.runs.record import finite

SCHEMA: Literal["inferno_cli/explanation/1"] = "inferno_cli/explanation/1"
EXPLANATION_FILE = "explain.json"


class ImportanceRecord(Record):
    """One feature: sigma(mu) when every event has that of another event, of any sample, the same in all variations.

    Null: the shuffled events cannot constrain the parameters any more, infinitely bad.
    """

    feature: str
    sigma_mu: tuple[float | None, ...]
    """Of each shuffle."""
    n_bins: tuple[int, ...]
    """Bins that are left of each shuffle: those that lost their support are merged."""
    change: float | None
    """Median over the shuffles of sigma_mu, minus that of the run; ``low`` and ``high`` are the extremes."""
    low: float | None
    high: float | None

    @classmethod
    def of(cls, feature: str, sigma: Sequence[float], n_bins: Sequence[int], nominal: float) -> Self:
        """Summarise the shuffles of one feature; ``sigma`` may be infinite."""
        low, middle, high = (finite(f(sigma) - nominal) for f in (min, statistics.median, max))
        shown = tuple(finite(value) for value in sigma)
        return cls(feature=feature, sigma_mu=shown, n_bins=tuple(n_bins), change=middle, low=low, high=high)


class BinComposition(Record):
    """What a fitted bin is made of; [events, statistical error of the simulation] where a pair."""

    merged_from: tuple[int, ...]
    samples: dict[str, tuple[float, float]]
    total: tuple[float, float]


class ResponseRecord(Record):
    """Change of the yield of every bin in percent, for one parameter moved by ``step`` up and down.

    Null: the sample has nothing in the bin.
    """

    parameter: str
    step: float
    """1: a standard deviation of the parameter; of a NormFactor its error in the fit."""
    sample: str
    """Name of a sample, or "total"."""
    up: tuple[float | None, ...]
    down: tuple[float | None, ...]
    up_error: tuple[float | None, ...]
    """Statistical error of the simulation, of which events that both templates share have no part."""
    down_error: tuple[float | None, ...]

    @classmethod
    def of(cls, response: YieldChange) -> Self:
        """Return a response in percent."""
        columns = {
            name: tuple(finite(100 * float(value)) for value in getattr(response, name))
            for name in ("up", "down", "up_error", "down_error")
        }
        return cls(parameter=response.parameter, step=response.step, sample=response.sample, **columns)


class Explanation(Record):
    """What the network of a run learnt, on the run's template split."""

    # pydantic's BaseModel has an attribute of the name that the file uses.
    schema_version: Literal["inferno_cli/explanation/1"] = Field(default=SCHEMA, alias="schema")
    run: str
    model: str
    dataset: str
    label: str
    """Must be shown with every number; empty when there is nothing to say."""
    dataset_checksum: str
    code_version: str
    seed: int
    """Of the shuffles."""
    repeats: int
    sigma_mu: float
    """HESSE error of mu in closed form, of the templates that were fitted."""
    importance: tuple[ImportanceRecord, ...]
    """The most important feature first."""
    bins: tuple[BinComposition, ...]
    responses: tuple[ResponseRecord, ...]

    def save(self, path: Path) -> None:
        """Write the file in one step: it is whole, or not there."""
        write_whole(path, self.model_dump_json(indent=1, by_alias=True) + "\n")


def by_importance(records: Sequence[ImportanceRecord]) -> tuple[ImportanceRecord, ...]:
    """Return the features, the most important first."""
    return tuple(sorted(records, key=lambda item: -(math.inf if item.change is None else item.change)))


def compositions(templates: Templates) -> tuple[BinComposition, ...]:
    """Return what every bin is made of."""
    nominal, deviation = templates.nominal, np.sqrt(templates.variance)
    total, error = nominal.sum(axis=0), np.sqrt(templates.variance.sum(axis=0))
    return tuple(
        BinComposition(
            merged_from=group,
            samples={
                name: (float(nominal[row, i]), float(deviation[row, i])) for row, name in enumerate(templates.samples)
            },
            total=(float(total[i]), float(error[i])),
        )
        for i, group in enumerate(templates.groups)
    )
