"""Find the runs that somebody names: folders of runs, of sweeps, of studies, MLflow experiments; finished or not."""

from __future__ import annotations

import glob
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.errors import ComparisonError
from inferno_cli.files import user_path
from inferno_cli.runs.asked import MULTIRUN
from inferno_cli.runs.conditions import Condition, chosen
from inferno_cli.runs.folder import CONFIG_FILE, HYDRA, OTHER_RECORDS, OVERRIDES_FILE, RESULTS_FILE
from inferno_cli.runs.found_run import FoundRun, settings_of
from inferno_cli.runs.points import MODEL, SEED
from inferno_cli.runs.steps import step_of
from inferno_cli.runs.sweeps import planned

if TYPE_CHECKING:
    from inferno_cli.config.schema import Tracking

log = logging.getLogger(__name__)

MLFLOW = "mlflow:"
"""In front of the name of an experiment."""
NOT_STARTED = "not started"
OF_A_RUN = (RESULTS_FILE, CONFIG_FILE, HYDRA)
"""What tells the folder of a run."""
ARTIFACTS = "mlartifacts"
"""Folder of the artifacts in a local store of MLflow."""
OTHERS = (*OTHER_RECORDS, "data", "prepare")
"""Steps whose folders measure no signal strength."""


@dataclass(frozen=True)
class Collected:
    """What was found."""

    jobs: tuple[FoundRun, ...]
    """Finished and unfinished runs."""
    folder: Path | None
    """The folder that they have in common; None of runs in a store."""
    sweeps: tuple[Path, ...]
    """Folders of the multiruns that they belong to."""
    others: tuple[Path, ...] = ()
    """Folders of runs of other steps, which are compared otherwise."""

    @property
    def study(self) -> str:
        """Name of the study that all of them belong to, or ""."""
        studies = {run.study for run in self.jobs if not run.error.startswith(NOT_STARTED)}
        return studies.pop() if len(studies) == 1 else ""


def collect(places: Sequence[str], tracking: Tracking | None = None, where: Sequence[str] = ()) -> Collected:
    """Find the runs of folders, ``results.json`` files, globs, or "mlflow:" and the name of an experiment in a store.

    Args:
        places: Folders, files, globs and experiments.
        tracking: The store.
        where: Conditions on the configuration of the runs (see ``conditions``); the records of others are not read.

    Raises:
        ConfigError: If a condition is none, or on a key that no run has.
        ComparisonError: If a place has no run, a record cannot be read, or the conditions hold for no run.
        TrackingError: If the store cannot be reached, or has no such experiment.
    """
    jobs: list[FoundRun] = []
    others = []
    for place in places:
        if not place.startswith(MLFLOW):
            others.append(place)
        elif tracking is None or tracking.backend == "none":
            raise ComparisonError(f"runs={place} is in a store, and there is none: leave out tracking=none")
        else:
            jobs += _in_store(tracking, place.removeprefix(MLFLOW))
    stored = [run.settings for run in jobs]
    folders, inside, left_out = _settings_in(others)
    if left_out and not folders and not jobs:
        return Collected((), None, (), tuple(left_out))
    known = [settings for settings, _ in folders.values()]
    kept = chosen(where, [*stored, *known])
    if not all(kept):
        log.info(f"where={','.join(where)}: {sum(kept)} of {len(kept)} runs")
    jobs = [run for run, is_kept in zip(jobs, kept[: len(stored)], strict=True) if is_kept]
    if not others:
        return Collected(tuple(jobs), None, ())
    left = {folder for folder, is_kept in zip(folders, kept[len(stored) :], strict=True) if is_kept}
    found = _in_folders(inside, folders, left, where)
    return replace(found, jobs=(*jobs, *found.jobs), others=tuple(left_out))


def _in_store(tracking: Tracking, experiment: str) -> list[FoundRun]:
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
                    jobs.append(replace(FoundRun.read(folder), where=where))
                except ComparisonError as error:  # of a copy that is gone by now
                    raise ComparisonError(str(error).replace(str(folder), where)) from error
            else:
                settings = settings_of(folder)[0] or run.settings  # without files: of an earlier version
                jobs.append(FoundRun(where, settings, None, run.why))
    return jobs


Settings = tuple[dict[str, Any], tuple[str, ...]]
"""Flat configuration of a run, and what was overridden."""


def _settings_in(places: Sequence[str]) -> tuple[dict[Path, Settings], list[Path], list[Path]]:
    """Return the folders of the runs in folders, each with its configuration.

    Returns:
        The configurations by folder; the places that are no run; and folders of runs of other steps.
    """
    read: dict[Path, Settings] = {}
    inside: list[Path] = []
    others: dict[Path, None] = {}
    for given in places:
        tops = tops_of(given)
        runs = [run for top in tops for run in _runs(top)]
        if not runs:
            problem = "is not there" if not tops else "holds no run (a folder with results.json or config.yaml)"
            raise ComparisonError(
                f"runs: {given!r} {problem}. Name the folder of a run, a sweep or a study: runs=FOLDER"
                + ("; a name with a comma in a list and in quotes: \"runs=['a,b']\"" if len(places) > 1 else "")
            )
        measured = [folder for folder in runs if (folder / RESULTS_FILE).is_file() or step_of(folder) not in OTHERS]
        kept = _of_one_step({folder: settings_of(folder) for folder in measured})
        others |= dict.fromkeys(folder for folder in runs if folder not in kept)
        read |= kept
        known = set(runs)
        inside += [top for top in tops if top not in known]
    return read, inside, list(others)


def _in_folders(
    inside: Sequence[Path], folders: Mapping[Path, Settings], kept: set[Path], where: Sequence[str]
) -> Collected:
    """Read the runs that are kept, and the jobs that have no folder of the multiruns inside some folders."""
    read: dict[Path, FoundRun] = {}
    for folder, (settings, overrides) in folders.items():
        if folder in kept:
            read[folder] = FoundRun.of(folder, settings, overrides)
    known = list(read.values())
    by_point = {_point(run.overrides): run for run in reversed(known) if run.settings}
    done = {frozenset(run.overrides) for run in known if run.results is not None}
    left = []
    for run in _not_started(inside):
        if where and not _is_wanted(run, folders, where):
            continue
        if frozenset(run.overrides) not in done:
            left.append(_like(run, by_point))
    sweeps = dict.fromkeys(folder.parent for folder in read if (folder.parent / MULTIRUN).is_file())
    common = Path(os.path.commonpath([*read, *inside] or list(folders)))
    return Collected((*known, *left), common, tuple(sweeps))


def _is_wanted(run: FoundRun, folders: Mapping[Path, Settings], where: Sequence[str]) -> bool:
    """Whether conditions hold for a job without a folder: of its overrides, else of another job of its sweep."""
    settings: dict[str, Any] = {}
    for folder, (values, _) in folders.items():
        if folder.parent == Path(run.where).parent:
            settings = dict(values)
            break
    for text in run.overrides:
        key, _, value = text.lstrip("+").partition("=")
        settings[key.replace("/", ".")] = value
    return all(Condition.parse(text).holds(settings) for text in where)


def tops_of(given: str) -> list[Path]:
    """Return the folders that a path or a glob stands for; that of a record is its folder."""
    pattern = str(user_path(given).absolute())
    texts = [pattern] if os.path.exists(pattern) else glob.glob(pattern)  # noqa: PTH110, PTH207 (absolute, long)
    paths = [Path(text) for text in sorted(texts, key=_natural)]
    folders = [path.parent if path.name == RESULTS_FILE else path for path in paths]
    return [folder for folder in folders if folder.is_dir()]


def _of_one_step(read: dict[Path, Settings]) -> dict[Path, Settings]:
    """Leave out the folders of other steps that are in one place beside those of runs, or else of fits.

    A record beside the configuration of no step at all stays: whoever reads it says what is wrong.
    """
    for key in (MODEL, "workspace"):
        if any(key in settings for settings, _ in read.values()):
            kept = {}
            for folder, (settings, overrides) in read.items():
                is_odd = (folder / RESULTS_FILE).is_file() and not {MODEL, "workspace"} & settings.keys()
                if is_odd or not settings or key in settings:
                    kept[folder] = settings, overrides
            return kept
    return read


def _runs(top: Path) -> list[Path]:
    """Return every folder of a run in a folder, which may be one itself."""
    if is_begun(top):
        return [top]
    found: list[Path] = []
    for place, folders, files in os.walk(top):
        # The store of MLflow beside the runs has copies of their records.
        folders[:] = [name for name in folders if name != ARTIFACTS]
        folder = Path(place)
        if not {*folders, *files}.isdisjoint(OF_A_RUN) and folder.name != HYDRA:
            found.append(folder)
    return sorted(found, key=lambda path: _natural(str(path)))


def is_begun(folder: Path) -> bool:
    """Whether a run has begun in a folder; Snakemake, for one, makes the folder before."""
    return any((folder / name).exists() for name in OF_A_RUN)


def _not_started(tops: Sequence[Path]) -> Iterator[FoundRun]:
    """Yield the jobs of multiruns that left nothing in their folder: they were stopped before that."""
    sweeps = {path.parent for top in tops for path in top.rglob(MULTIRUN)}
    for sweep in sorted(sweeps, key=lambda path: _natural(str(path))):
        for number, own in enumerate(planned(sweep)):
            if not is_begun(sweep / str(number)):
                yield FoundRun(str(sweep / str(number)), {}, None, f"{NOT_STARTED}: {' '.join(own)}", own)


def _point(overrides: Sequence[str]) -> frozenset[str]:
    """What is overridden of a run besides its seed: the same of all repeats of a point."""
    return frozenset(text for text in overrides if not text.startswith("seed="))


def _like(run: FoundRun, known: Mapping[frozenset[str], FoundRun]) -> FoundRun:
    """Give a job that was not started the settings of another repeat of its point, where there is one."""
    point = _point(run.overrides)
    if point not in known:
        return run
    (seed,) = set(run.overrides) - point or {"seed="}
    return replace(run, settings={**known[point].settings, SEED: int(seed.partition("=")[2] or 0)})


def _natural(text: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
