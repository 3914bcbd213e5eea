"""Several anomaly scores beside each other: points of a sweep, and the spread of the repeats of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.anomaly.record import FILE, AnomalyRecord, JudgedRecord, Pair
from inferno_cli.errors import ComparisonError
from inferno_cli.runs.conditions import chosen
from inferno_cli.runs.find import tops_of
from inferno_cli.runs.folder import RESULTS_FILE, Status, verify
from inferno_cli.runs.found_run import settings_of
from inferno_cli.runs.points import EXPERIMENT, SEED, as_text, matters

REPEATS = (SEED, "dataset.seed", "compare_with", EXPERIMENT)
"""Keys in which repeats of one point differ."""


@dataclass(frozen=True)
class Run:
    """A finished run of `inferno anomaly`, with its flat configuration."""

    folder: Path
    settings: Mapping[str, Any]
    record: AnomalyRecord


@dataclass(frozen=True)
class Spread:
    """A number of several networks; of one its statistical error instead of their range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Spread:
        """Summarise numbers with their statistical errors; a classifier beside several runs is one number."""
        values, errors = np.array(pairs).T
        if len(set(values.tolist())) == 1:
            value, error = float(values[0]), float(np.median(errors))
            return cls(value, value - error, value + error)
        return cls(float(np.median(values)), float(values.min()), float(values.max()))


@dataclass(frozen=True)
class Point:
    """Runs that differ in their seeds alone.

    Attributes:
        place: What tells the point from the others, by key of the configuration.
        records: Of its runs.
    """

    place: Mapping[str, Any]
    records: tuple[AnomalyRecord, ...]

    def scores(self, name: str) -> list[JudgedRecord]:
        """Return a score of all runs that have it."""
        found = []
        for record in self.records:
            found += [item for item in record.scores if item.name == name]
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores, the autoencoder first."""
        return tuple(dict.fromkeys(item.name for record in self.records for item in record.scores))

    @property
    def negative_elbo(self) -> Spread:
        """Of the backgrounds of the validation split, per event."""
        values = [record.negative_elbo for record in self.records]
        return Spread(float(np.median(values)), min(values), max(values))


def finished(places: Sequence[str], where: Sequence[str]) -> list[Run]:
    """Return the finished runs of `inferno anomaly` in folders for which all conditions hold.

    None where the folders have runs of `inferno train` as well: who compares these means them.

    Raises:
        ComparisonError: If a record was changed, or the conditions hold for no run.
    """
    paths: dict[Path, None] = {}
    for top in (top for place in places for top in tops_of(place)):
        if any(top.rglob(RESULTS_FILE)):
            return []
        paths |= dict.fromkeys(sorted(top.rglob(FILE), key=lambda path: (len(path.parts), path.parent.name.zfill(9))))
    runs = []
    for path in paths:
        status = Status.read(path.parent)
        if status is not None and status.state == "finished":
            verify(path.parent, (FILE,))
            runs.append(Run(path.parent, settings_of(path.parent)[0], AnomalyRecord.load(path)))
    kept = chosen(where, [run.settings for run in runs]) if runs else []
    return [run for run, is_kept in zip(runs, kept, strict=True) if is_kept]


def points(runs: Sequence[Run]) -> tuple[Point, ...]:
    """Gather runs that differ in their seeds alone.

    Raises:
        ComparisonError: If they are on different datasets.
    """
    datasets = sorted({run.record.dataset for run in runs})
    if len(datasets) > 1:
        raise ComparisonError(
            f"runs: these are on the datasets {', '.join(datasets)}, and a comparison is of one. "
            f"Choose with where=dataset.name={datasets[0]}"
        )
    keys = dict.fromkeys(key for run in runs for key in run.settings if matters(key) and key not in REPEATS)
    different: dict[str, str] = {}
    for key in keys:
        values = [as_text(run.settings.get(key)) for run in runs]
        if len(set(values)) > 1:  # one that takes the value of another key says nothing more
            different.setdefault(" ".join(values), key)
    groups: dict[str, tuple[dict[str, Any], list[AnomalyRecord]]] = {}
    for run in runs:
        place = {key: run.settings.get(key) for key in different.values()}
        groups.setdefault(as_text(place), (place, []))[1].append(run.record)
    return tuple(Point(place, tuple(records)) for place, records in groups.values())
