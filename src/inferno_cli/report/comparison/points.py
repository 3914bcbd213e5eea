"""Runs grouped into points: what differs between their configurations, and the repeats of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from inferno_cli.choices import sections
from inferno_cli.errors import ComparisonError
from inferno_cli.events.dataset import Dataset
from inferno_cli.runs.found_run import FoundRun
from inferno_cli.runs.points import EXPERIMENT, MODEL, PARTS, SEED, as_text, is_below
from inferno_cli.runs.record import Results

DATA_PATH = "dataset.path"
TITLE = "model.title"
"""What a model is called says nothing of it."""


@dataclass(frozen=True)
class Place:
    """A place in the sweep: the swept parameters and their values, the model first."""

    at: Mapping[str, Any]

    @property
    def model(self) -> str:
        """Name of the model; empty for fits alone."""
        return str(self.at.get(MODEL) or "")

    @cached_property
    def place(self) -> str:
        """Where it is without the model: what is compared with it has the same place."""
        return place(self.at)


@dataclass(frozen=True)
class Point(Place):
    """The repeats of one configuration, which differ in the seed alone: those that finished, and the others."""

    jobs: tuple[FoundRun, ...] = ()
    missing: tuple[FoundRun, ...] = ()

    @property
    def results(self) -> tuple[Results, ...]:
        """What the finished repeats found."""
        return tuple(job.results for job in self.jobs if job.results is not None)


def place(at: Mapping[str, Any]) -> str:
    """Return the swept values without the model's as a text that can be compared."""
    return as_text({key: value for key, value in at.items() if key != MODEL})


def group(jobs: Sequence[FoundRun]) -> tuple[Point, ...]:
    """Group runs into points, in the order of the runs.

    Raises:
        ComparisonError: If nothing finished, or the runs do not belong together: other datasets, other data.
    """
    finished = [job for job in jobs if job.results is not None]
    if finished:  # all of them: of two folders with the same configuration, each may have other data
        _same_data(finished)
    jobs = last_of_each(jobs)
    if not finished:
        errors = "".join(f"\n  {job.where}: {job.error}" for job in jobs[:5])
        raise ComparisonError(f"none of {len(jobs)} runs finished; there is nothing to compare.{errors}")
    known = [job for job in jobs if job.settings]
    keys = swept(known)
    repeats: dict[str, list[FoundRun]] = {}
    for job in known:
        repeats.setdefault(as_text({key: job.settings.get(key) for key in keys}), []).append(job)
    points = []
    for found in repeats.values():
        at = {key: found[0].settings.get(key) for key in keys}
        done = tuple(job for job in found if job.results is not None)
        points.append(Point(at, done, tuple(job for job in found if job.results is None)))
    return tuple(points)


def swept(jobs: Sequence[FoundRun]) -> tuple[str, ...]:
    """Return the keys that differ between runs, the model first, without those that follow from others.

    ``model=bce,inferno`` changes the hidden layers as well, and ``+experiment=...`` many keys: a key whose value is a
    function of the model and the experiment is left out. ``beside_the_model`` says which of these are not the model's.
    """
    values = _values(jobs)
    found = leading = _leading(values)
    for key in values:
        if key not in leading and not _is_copied(values, key) and not _follows(values, leading, key):
            found = [*found, key]
    return tuple(found)


def beside_the_model(jobs: Sequence[FoundRun]) -> dict[str, dict[str, Any]]:
    """Return the settings outside of ``model`` that differ from model to model and are no column, by model.

    Runs that somebody puts together may differ in their likelihood as well: that has to be said.
    """
    values = _values(jobs)
    leading = _leading(values)
    found = {}
    for key in values:
        of_model = key in leading or key.startswith("model.") or _is_copied(values, key)
        if of_model or not _follows(values, leading, key) or _follows(values, leading[1:], key):
            continue
        found[key] = {str(job.settings.get(MODEL)): job.settings.get(key) for job in jobs}
    return found


def of_the_models(jobs: Sequence[FoundRun]) -> dict[str, dict[str, Any]]:
    """Return the settings in ``model`` that every run has, that differ from model to model and are no column, by model.

    What a model alone has (a temperature) tells nothing; other hidden units make the comparison another one.
    """
    values = _values(jobs)
    leading = _leading(values)
    found = {}
    for key in values:
        is_setting = key.startswith("model.") and key not in (*leading, *PARTS, TITLE) and not _is_copied(values, key)
        is_everywhere = all(job.settings.get(key) is not None for job in jobs)
        if is_setting and is_everywhere and _follows(values, leading, key) and not _follows(values, leading[1:], key):
            found[key] = {str(job.settings.get(MODEL)): job.settings.get(key) for job in jobs}
    return found


def _values(jobs: Sequence[FoundRun]) -> dict[str, list[str]]:
    """Every setting that matters, by key, as texts in the order of the runs."""
    keys = dict.fromkeys(key for job in jobs for key in job.texts if key != SEED)
    absent = as_text(None)
    return {key: [job.texts.get(key, absent) for job in jobs] for key in keys}


def _is_copied(values: Mapping[str, Sequence[str]], key: str) -> bool:
    """Whether a key has in all runs the value of the one that it is copied from if it is not set itself.

    Or none, where the model of a run has no such part.
    """
    section, _, name = key.rpartition(".")
    takes_from_model = section == "trainer" or section.startswith("model.")
    source = f"model.{name}" if takes_from_model else "nuisance.fit"
    if source not in values or not (takes_from_model or key == "nuisance.train"):
        return False
    pairs = zip(values[key], values[source], strict=True)
    return all(own == other or (takes_from_model and own == as_text(None)) for own, other in pairs)


def _leading(values: Mapping[str, Sequence[str]]) -> list[str]:
    """The model, the experiment where there are several, and parts of the model that do not follow from these."""
    leading = [key for key in (MODEL, EXPERIMENT) if key in values and (key == MODEL or len(set(values[key])) > 1)]
    for key in PARTS:
        if key in values and not _follows(values, leading, key):
            leading.append(key)
    return leading


def _follows(values: Mapping[str, Sequence[str]], leading: Sequence[str], key: str) -> bool:
    """Whether the value of a key is a function of the leading ones; of none: whether it is the same everywhere."""
    rows = zip(*(values[name] for name in leading), strict=True) if leading else ((),) * len(values[key])
    combined = list(rows)
    return len(set(zip(combined, values[key], strict=True))) == len(set(combined))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest ends of dotted keys that tell them apart: ``r.width``, ``bins``."""
    names = {}
    for key in keys:
        parts = key.split(".")
        # Of a systematic: its name and what changes of it.
        length = 2 if len(parts) > 2 else 1
        while len(parts) > length and [other.split(".")[-length:] for other in keys].count(parts[-length:]) > 1:
            length += 1
        names[key] = ".".join(parts[-length:])
    plain = {MODEL: "model", "nuisance.fit": "nuisance"}
    return names | {key: name for key, name in plain.items() if key in keys}


def last_of_each(jobs: Sequence[FoundRun]) -> list[FoundRun]:
    """Keep one of several runs of the same configuration and seed: the last that finished, else the last."""
    finished: dict[str, list[FoundRun]] = {}
    for job in jobs:
        if job.results is not None:
            finished.setdefault(job.identity, []).append(job)
    kept: dict[str, FoundRun] = {}
    for job in jobs:
        key = job.identity if job.settings else job.where
        others = finished.get(key, [])
        if job.results is None and others and not any(_stands_for(other, job) for other in others):
            key = f"{key} {job.settings[DATA_PATH]}"
        if key not in kept or job.results is not None or kept[key].results is None:
            kept[key] = job
    return list(kept.values())


def _stands_for(finished: FoundRun, failed: FoundRun) -> bool:
    """Whether a run that finished is a second try of one that did not, with the same settings.

    On other files it is, unless both are points of one sweep: then the data of one of them are missing.
    """
    of_one_sweep = Path(finished.where).parent == Path(failed.where).parent
    return not of_one_sweep or finished.settings.get(DATA_PATH) == failed.settings.get(DATA_PATH)


def _same_data(jobs: Sequence[FoundRun]) -> None:
    """Check that finished runs are of the same data; of fits, each workspace."""
    first = jobs[0]
    assert first.results is not None
    sources = sections("inferno_cli.events.sources", Dataset)  # type: ignore[type-abstract]
    checksums: dict[str, FoundRun] = {}
    of_data: dict[bool, FoundRun] = {}
    for job in jobs:
        assert job.results is not None
        if (MODEL in first.settings) != (MODEL in job.settings):
            raise ComparisonError(
                f"{first.where} and {job.where} are a training and a fit of a workspace, which have not the same "
                "columns. Compare the ones or the others: runs=..."
            )
        if job.results.data == "observed":
            of_data.setdefault(job.results.blinded, job)
        if len(of_data) > 1:
            raise ComparisonError(
                f"the fit in {of_data[True].where} is blinded, its mu has a hidden offset, and that in "
                f"{of_data[False].where} is not. Compare the ones or the others: runs=..."
            )
        # Of fits alone, the workspace may be what is swept.
        workspace = job.settings.get("workspace") if MODEL not in job.settings else None
        for what in ("dataset", "label") if workspace is None else ("label",):
            one, two = getattr(first.results, what), getattr(job.results, what)
            if one != two:
                raise ComparisonError(
                    f"the runs are of different data and cannot be compared: {what} is {one!r} in {first.where} and "
                    f"{two!r} in {job.where}. Compare the runs of one dataset: runs=..., of an experiment one sweep: "
                    "runs=mlflow:EXPERIMENT/RUN"
                )
        same = checksums.setdefault(as_text(_made_by(job, sources) or workspace), job)
        assert same.results is not None
        if same.results.dataset_checksum != job.results.dataset_checksum:
            raise ComparisonError(
                "the runs are of different versions of the data and cannot be compared: the checksum is "
                f"{same.results.dataset_checksum[:12]} in {same.where} and {job.results.dataset_checksum[:12]} in "
                f"{job.where}. Run the older of them again, or leave one out: runs=..."
            )


def _made_by(job: FoundRun, sources: Mapping[str, type[Dataset]]) -> dict[str, Any]:
    """Return the settings on which the events of a run depend: none where they are read from files."""
    kind = sources.get(job.settings.get("dataset.kind", ""))
    if kind is None or kind.has_files:
        return {}
    own = job.settings.get("dataset.seed")
    keys = tuple(f"dataset.{key}" for key in kind.made_by)
    drawn = {SEED: job.settings.get(SEED) if own is None else own}
    return drawn | {key: value for key, value in job.settings.items() if is_below(key, keys)}
