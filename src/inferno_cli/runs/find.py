"""Find the runs that somebody names: folders of runs, of sweeps, of studies, MLflow experiments; finished or not."""

from __future__ import annotations

import glob
import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config import flatten
from inferno_cli.errors import ComparisonError, FileError, RunError
from inferno_cli.files import read_json, user_path
from inferno_cli.runs.folder import HYDRA, OVERRIDES_FILE
from inferno_cli.runs.points import EXPERIMENT, MODEL, SEED, identity
from inferno_cli.runs.record import RESULTS_FILE, SCHEMA, Results
from inferno_cli.runs.reuse import origin
from inferno_cli.runs.run_folder import CONFIG_FILE
from inferno_cli.runs.status import RECORD, Status, verify
from inferno_cli.runs.sweeps import MULTIRUN, planned, read_of_run

if TYPE_CHECKING:
    from inferno_cli.config import Tracking

MLFLOW = "mlflow:"
"""In front of the name of an experiment."""


@dataclass(frozen=True)
class FoundRun:
    """One run, or what is left of one that did not finish.

    Attributes:
        where: Its folder.
        settings: Its configuration, flat, with dotted keys; empty when it is not known.
        results: What it found; None: it did not finish.
        error: Why not.
    """

    where: str
    settings: Mapping[str, Any]
    results: Results | None
    error: str = ""

    @property
    def identity(self) -> str:
        """The settings that decide what is measured, with the seed, as one string."""
        return identity(self.settings)


@dataclass(frozen=True)
class Collected:
    """What was found.

    Attributes:
        jobs: Finished and unfinished runs.
        folder: The folder that they have in common; None of runs in a store.
        sweeps: Folders of the multiruns that they belong to.
        study: Name of the study that all of them belong to, or "".
    """

    jobs: tuple[FoundRun, ...]
    folder: Path | None
    sweeps: tuple[Path, ...]
    study: str


def collect(places: Sequence[str], tracking: Tracking | None = None) -> Collected:
    """Find runs.

    Args:
        places: Folders, ``results.json`` files, globs, or "mlflow:" and the name of an experiment.
        tracking: The store of the experiments.

    Raises:
        ComparisonError: If a place has no run, or a record cannot be read.
        TrackingError: If the store cannot be reached, or has no such experiment.
    """
    stored = [place.removeprefix(MLFLOW) for place in places if place.startswith(MLFLOW)]
    if not stored:
        return _in_folders(places)
    if tracking is None or tracking.backend == "none":
        raise ComparisonError(f"runs={MLFLOW}{stored[0]} is in a store, and there is none: leave out tracking=none")
    jobs, studies = zip(*(pair for name in stored for pair in _in_store(tracking, name)), strict=True)
    others = [place for place in places if not place.startswith(MLFLOW)]
    if not others:
        return Collected(tuple(jobs), None, (), studies[0] if len(set(studies)) == 1 else "")
    found = _in_folders(others)
    return replace(found, jobs=(*jobs, *found.jobs), study=found.study if set(studies) == {found.study} else "")


def _in_store(tracking: Tracking, experiment: str) -> list[tuple[FoundRun, str]]:
    """Return the runs of an experiment, and the study that each belongs to."""
    from inferno_cli.runs.mlflow.stored import download, stored_runs

    store, runs = stored_runs(tracking, experiment)
    if not any(run.finished for run in runs):
        found = ", ".join(f"{run.name} {run.status}" for run in runs[:5]) or "no run of `inferno train`"
        raise ComparisonError(f"runs: experiment {experiment!r} of MLflow has no finished run ({found})")
    jobs = []
    with tempfile.TemporaryDirectory() as text:
        for run in runs:
            where, folder = f"{MLFLOW}{experiment}/{run.name} ({run.run_id})", Path(text) / run.run_id
            (folder / HYDRA).mkdir(parents=True)
            download(store, run.run_id, (CONFIG_FILE,), folder)
            download(store, run.run_id, (OVERRIDES_FILE,), folder / HYDRA)
            if run.finished:
                download(store, run.run_id, (RESULTS_FILE,), folder)
                try:
                    job, _, study = _job(folder)
                except ComparisonError as error:  # of a copy that is gone by now
                    raise ComparisonError(str(error).replace(str(folder), where)) from error
                jobs.append((replace(job, where=where), study))
            else:
                settings = settings_of(folder)[0] or run.settings  # without files: of an earlier version
                jobs.append((FoundRun(where, settings, None, run.why), str(settings.get("study.name") or "")))
    return jobs


def _in_folders(places: Sequence[str]) -> Collected:
    """Find runs in folders."""
    read: dict[Path, tuple[FoundRun, list[str], str]] = {}
    inside: list[Path] = []
    for given in places:
        pattern = str(user_path(given).absolute())
        texts = [pattern] if os.path.exists(pattern) else glob.glob(pattern)  # noqa: PTH110, PTH207 (absolute, long)
        found = [Path(text) for text in sorted(texts, key=_natural)]
        tops = [path.parent if path.name == RESULTS_FILE else path for path in found if path.exists()]
        tops = [path for path in tops if path.is_dir()]
        runs = [run for top in tops for run in _runs(top)]
        if not runs:
            problem = "is not there" if not tops else "holds no run (a folder with results.json or config.yaml)"
            raise ComparisonError(
                f"runs: {given!r} {problem}. Name the folder of a run, a sweep or a study: runs=FOLDER"
                + ("; a name with a comma in a list and in quotes: \"runs=['a,b']\"" if len(places) > 1 else "")
            )
        read |= _of_one_step({folder: _job(folder) for folder in runs})
        inside += [top for top in tops if top not in runs]
    folders, jobs = list(read), [job for job, _, _ in read.values()]
    overrides = [frozenset(own) for _, own, _ in read.values()]
    studies = [study for _, _, study in read.values()]
    done = {own for own, job in zip(overrides, jobs, strict=True) if job.results is not None}
    whole = {path.parent for top in inside for path in top.rglob(MULTIRUN)}
    for sweep in sorted(whole, key=lambda path: _natural(str(path))):
        jobs += [_like(job, own, overrides, jobs) for job, own in _not_started(sweep) if own not in done]
    sweeps = dict.fromkeys(run.parent for run in folders if (run.parent / MULTIRUN).is_file())
    common = Path(*_common([*folders, *inside]))
    return Collected(tuple(jobs), common, tuple(sweeps), studies[0] if len(set(studies)) == 1 else "")


def _of_one_step(read: dict[Path, tuple[FoundRun, list[str], str]]) -> dict[Path, tuple[FoundRun, list[str], str]]:
    """Leave out the folders of other steps that are in one place beside those of runs, or else of fits."""
    for key in (MODEL, "workspace"):
        if any(key in job.settings for job, _, _ in read.values()):
            return {folder: item for folder, item in read.items() if not item[0].settings or key in item[0].settings}
    return read


def _runs(top: Path) -> list[Path]:
    """Return every folder of a run in a folder, which may be one itself."""

    def is_run(folder: Path) -> bool:
        return any((folder / name).exists() for name in (RESULTS_FILE, CONFIG_FILE, HYDRA))

    if is_run(top):
        return [top]
    found = {path.parent for name in (RESULTS_FILE, CONFIG_FILE, HYDRA) for path in top.rglob(name)}
    found = {path for path in found if path.name != HYDRA}
    return sorted(found, key=lambda path: _natural(str(path)))


def settings_of(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the flat configuration of a run, with its experiment, and what was overridden."""
    settings: dict[str, Any] = {}
    overrides: list[str] = []
    if (folder / CONFIG_FILE).is_file():
        settings = dict(flatten(read_of_run(folder / CONFIG_FILE)))
    elif (folder / HYDRA / "config.yaml").is_file():  # it failed before anything was run
        settings = dict(flatten(_resolved(read_of_run(folder / HYDRA / "config.yaml"))))
    if (folder / HYDRA / OVERRIDES_FILE).is_file():
        overrides = [str(text) for text in read_of_run(folder / HYDRA / OVERRIDES_FILE, list)]
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        if key == EXPERIMENT:
            settings[EXPERIMENT] = value
    return settings, overrides


def _job(folder: Path) -> tuple[FoundRun, list[str], str]:
    """Return a run, what was overridden, and the study that it belongs to."""
    settings, overrides = settings_of(folder)
    study = str(settings.get("study.name") or "")
    path = folder / RESULTS_FILE
    status = Status.read(folder)
    if status is not None and status.state == "reused":
        before = origin(folder)
        there = Status.read(before)
        if (before / RESULTS_FILE).is_file() and (there is None or there.state != "reused"):
            job, _, study = _job(before)
            return job, overrides, study
        return FoundRun(str(folder), settings, None, f"was finished in {before}, which is not there"), overrides, study
    # Results beside another state are of a run in the same folder before.
    if not path.is_file() or (status is not None and status.state != "finished"):
        error = "no results.json: stopped, or still running"
        if status is not None and status.error:
            error = f"{status.state}: {' '.join(status.error.split())}"
        return FoundRun(str(folder), settings, None, error), overrides, study
    if not settings:
        raise ComparisonError(f"{folder} has no {CONFIG_FILE}: what was run there is not known. Copy the whole folder")
    try:
        verify(folder, RECORD)
    except RunError as error:
        raise ComparisonError(f"{error}, or leave it out: runs=...") from error
    results = _results(path)
    if results.model is not None and not {MODEL, "workspace"} & settings.keys():
        raise ComparisonError(f"{folder / CONFIG_FILE} is not that of the run. Copy the folder of the run again")
    return FoundRun(str(folder), settings, results), overrides, study


def _results(path: Path) -> Results:
    try:
        values = read_json(path)
        schema = values.get("schema") if isinstance(values, dict) else None
    except FileError as error:
        raise ComparisonError(f"{error}. Run that point again, or leave it out: runs=...") from error
    if schema != SCHEMA:
        raise ComparisonError(
            f"{path} has schema {schema!r}; this version of inferno_cli compares {SCHEMA!r}. Run that point again, or "
            "leave it out: runs=..."
        )
    try:
        return Results.model_validate(values)
    except ValueError as error:
        lines = str(error).splitlines()
        raise ComparisonError(
            f"{path} is not a record of this version of inferno_cli ({' '.join(lines[1:3]).strip()}). Run that point "
            "again, or leave it out: runs=..."
        ) from error


def _not_started(sweep: Path) -> Iterator[tuple[FoundRun, frozenset[str]]]:
    """Yield the jobs of a multirun that left no folder: it was stopped before them."""
    for number, own in enumerate(planned(sweep)):
        if not (sweep / str(number)).exists():
            yield FoundRun(str(sweep / str(number)), {}, None, f"not started: {' '.join(own)}"), frozenset(own)


def _like(
    job: FoundRun, own: frozenset[str], overrides: Sequence[frozenset[str]], known: Sequence[FoundRun]
) -> FoundRun:
    """Give a job that was not started the settings of another repeat of its point, where there is one."""

    def point(texts: frozenset[str]) -> frozenset[str]:
        return frozenset(text for text in texts if not text.startswith("seed="))

    for there, other in zip(overrides, known, strict=False):
        if other.settings and point(there) == point(own):
            (seed,) = own - point(own) or {"seed="}
            return replace(job, settings={**other.settings, SEED: int(seed.partition("=")[2] or 0)})
    return job


def _resolved(values: Any) -> Any:
    """Return a configuration without its interpolations; as it is where one of them is the mistake."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException:
        return values


def _natural(text: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def _common(folders: Sequence[Path]) -> tuple[str, ...]:
    parts = [folder.parts for folder in folders]
    return tuple(x[0] for x in itertools.takewhile(lambda x: len(set(x)) == 1, zip(*parts, strict=False)))
