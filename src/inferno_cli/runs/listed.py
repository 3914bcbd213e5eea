"""Every run below a folder, with what its record and its status say: quickly, as nothing else of it is read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from inferno_cli.errors import ComparisonError, FileError, RunError
from inferno_cli.files import read_json
from inferno_cli.fit.result import table_files
from inferno_cli.runs.asked import MULTIRUN
from inferno_cli.runs.conditions import chosen
from inferno_cli.runs.find import ARTIFACTS, is_begun, tops_of
from inferno_cli.runs.folder import (
    CONFIG_FILE,
    HYDRA,
    KEPT,
    LOCK,
    MADE,
    OTHER_RECORDS,
    PARTIAL,
    RESULTS_FILE,
    STATUS_FILE,
    Status,
    is_owned,
    origin,
    read_verified,
    verify,
)
from inferno_cli.runs.found_run import settings_of
from inferno_cli.runs.points import MODEL, PRETRAINED, SEED
from inferno_cli.runs.steps import record_of, step_of
from inferno_cli.runs.sweeps import POINTS, planned
from inferno_cli.section import POI

EndedState = Literal["finished", "failed", "stopped", "reused", "pruned", "shards", "abandoned", "damaged"]
"""How a run ended, as its status says. Besides, "abandoned": it says running, and no process is; "damaged": finished,
without a record that can be read, or with another than it wrote."""
ListedState = Literal[EndedState, "running", "waiting", "unknown"]
""""waiting": a point of a workflow that has not begun; "unknown": without a status."""
STEPS = ("train", "fit", *OTHER_RECORDS)
"""Steps whose folders are runs."""
DAY = 86400.0


@dataclass(frozen=True)
class Headline:
    """The POI of a run; errors are in its units."""

    bestfit: float
    hesse: float | None
    """None where the best fit is at a limit."""
    minos: tuple[float, float] | None
    has_offset: bool
    """Whether the best fit is hidden by an offset."""


@dataclass(frozen=True)
class ListedRun:
    """One run."""

    folder: Path
    step: str
    """The step that worked there; "" where none has begun."""
    state: ListedState
    ended: float
    """When its status, or else its folder, was written last: seconds since the epoch."""
    size: int
    """Bytes of its files."""
    dataset: str = ""
    model: str = ""
    """Empty in the fit of a workspace by itself."""
    seed: int | None = None
    data: str = ""
    """asimov or observed."""
    label: str = ""
    """What must be shown with its numbers."""
    headline: Headline | None = None
    error: str = ""
    """Why it did not finish."""
    takes: Mapping[str, Path] = field(default_factory=dict)
    """Runs that it refers to, by how: trained_in, reuse."""

    def age(self, now: float) -> float:
        """Return the seconds since it ended."""
        return max(now - self.ended, 0.0)


def listed(places: Sequence[str]) -> list[ListedRun]:
    """Return the runs of all steps with a record, the newest first; RunError if a folder is not there."""
    found: dict[Path, ListedRun] = {}
    for place in places:
        tops = tops_of(place)
        if not tops:
            raise RunError(f"runs: {place!r} is not there. Name a folder with runs: runs=FOLDER")
        for folder in (folder for top in tops for folder in folders_in(top)):
            if folder not in found and (run := read_run(folder)) is not None:
                found[folder] = run
    return sorted(found.values(), key=lambda run: -run.ended)


def known_names() -> frozenset[str]:
    """Return what the steps write at the top of the folder of a run: names, or patterns of them."""
    files = (name.partition("/")[0] for name in (*KEPT, *MADE, *table_files()))
    return frozenset((*files, STATUS_FILE, LOCK, PARTIAL, "predictions", "explain"))


def strangers(folder: Path) -> list[str]:
    """Return what is at the top of the folder of a run and none of the steps has written."""
    known = known_names()
    found = []
    for entry in os.scandir(folder):
        is_named = any(fnmatchcase(entry.name, pattern) for pattern in known)
        is_ours = is_named or entry.name.endswith((".log", ".partial")) or entry.name.startswith(".partial-")
        is_comparison = entry.name == "compare" or entry.name.startswith("compare-")
        if not is_ours and not (is_comparison and Path(entry.path, "compare.json").is_file()):
            found.append(entry.name)
    return sorted(found)


def folders_in(top: Path) -> Iterator[Path]:
    """Yield the folders of runs in a folder, itself included; links are not followed."""
    waiting = [top.resolve()]
    known = known_names()
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:  # not ours to read
            continue
        names = {entry.name for entry in entries}
        is_run = bool(names & {STATUS_FILE, HYDRA})
        if is_run:
            yield folder
        if POINTS in names and MULTIRUN in names:
            places = [folder / str(number) for number in range(len(planned(folder)))]
            yield from filter(_is_waiting, places)
        for entry in entries:
            skipped = entry.name == ARTIFACTS or (is_run and entry.name in known)
            if not skipped and entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))


def _is_waiting(folder: Path) -> bool:
    """Whether a folder is that of a point of a workflow, and nothing has begun there."""
    has_begun = is_begun(folder) or (folder / STATUS_FILE).exists()
    return not has_begun and (folder.parent / POINTS).is_file()


def read_run(folder: Path) -> ListedRun | None:
    """Return what is in the folder of a run; None in that of another step."""
    if _is_waiting(folder):
        return ListedRun(folder, "", "waiting", (folder.parent / POINTS).stat().st_mtime, 0)
    status = Status.read(folder)
    record, step = RESULTS_FILE, STEPS[0]
    if not (folder / record).is_file():
        step = step_of(folder) or (STEPS[0] if is_status(folder) else "")
        if step not in STEPS:  # of `data` and `prepare`, or of another program with Hydra
            return None
        record = record_of(step)
    state, error = _state(folder, status, record)
    own: dict[str, Any] = {}
    if step in OTHER_RECORDS:
        own = _of_configuration(folder) | {"model": step}
    elif state in ("finished", "reused"):
        try:
            own = _of_record(_results(folder, status))
        except (FileError, KeyError, TypeError, ValueError) as problem:
            said = problem if isinstance(problem, FileError) else f"{folder / RESULTS_FILE} is not a record of a run"
            state, error = "damaged", str(said)
    if not own:
        own = _of_configuration(folder)
    takes = own.pop("takes", {})
    if status is not None and status.state == "reused":
        takes = {"reuse": origin(folder, status).resolve()}  # the network of that one is its own affair
    ended = folder / STATUS_FILE if status is not None else folder
    step = "fit" if step == STEPS[0] and not own["model"] else step
    return ListedRun(folder, step, state, ended.stat().st_mtime, _size(folder), error=error, takes=takes, **own)


def is_status(folder: Path) -> bool:
    """Whether the status in a folder is one that a run has written; other programs have files of the same name."""
    try:
        Status(**read_json(folder / STATUS_FILE))
    except (FileError, TypeError, ValueError):
        return False
    return True


def _state(folder: Path, status: Status | None, record: str) -> tuple[ListedState, str]:
    has_record = (folder / record).is_file()
    if status is None:
        is_finished = has_record and (folder / CONFIG_FILE).exists()
        return ("finished", "") if is_finished else ("unknown", f"it has no {STATUS_FILE}")
    if status.state == "running":
        return ("running", "") if is_owned(folder) else ("abandoned", "killed before it could say so")
    if status.state == "finished" and not has_record:
        return "damaged", f"finished, and its {record} is gone"
    if status.state in ("finished", "reused"):
        try:
            if status.state == "finished":
                verify(folder, (record,), status)
            else:
                verify(origin(folder, status), (record,))
        except RunError as changed:
            return "damaged", str(changed)
    return status.state, " ".join(status.error.split())


def _results(folder: Path, status: Status | None) -> Any:
    if status is not None and status.state == "reused":
        return read_verified(origin(folder, status), RESULTS_FILE)
    return read_verified(folder, RESULTS_FILE, status)


def _of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says; the rest of it is not validated."""
    poi = record["parameters"][POI]
    minos = poi.get("minos")
    hesse = None if poi.get("at_limit") is not None else float(poi["hesse"])
    pretrained = record.get("trained_in")
    takes = {} if pretrained is None else {PRETRAINED: Path(pretrained["folder"]).resolve()}
    return {
        "dataset": str(record["dataset"]),
        "model": record.get("model") or "",
        "seed": record.get("seed"),
        "data": str(record.get("data", "")),
        "label": str(record.get("label", "")),
        "headline": Headline(
            bestfit=float(poi["bestfit"]),
            hesse=hesse,
            minos=None if minos is None else (float(minos[0]), float(minos[1])),
            has_offset=POI in record.get("hidden", ()),
        ),
        "takes": takes,
    }


def _of_configuration(folder: Path) -> dict[str, Any]:
    """Return what is known of a run without a record."""
    settings = settings_in(folder)
    pretrained = settings.get(PRETRAINED)
    seed = settings.get(SEED)
    return {
        "dataset": str(settings.get("dataset.name") or settings.get("workspace") or ""),
        "model": str(settings.get(MODEL) or ""),
        "seed": seed if isinstance(seed, int) else None,
        "takes": {} if pretrained is None else {PRETRAINED: Path(str(pretrained)).resolve()},
    }


def settings_in(folder: Path) -> dict[str, Any]:
    """Return the flat configuration of a run; nothing where it cannot be read."""
    try:
        return settings_of(folder)[0]
    except ComparisonError:
        return {}


def _size(folder: Path) -> int:
    total, waiting = 0, [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:  # it is gone by now, or not ours to read
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                total += _bytes_of(entry)
    return total


def _bytes_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # it is gone by now
        return 0


def of_states(runs: Iterable[ListedRun], states: Sequence[str], older_than: float | None = None) -> list[ListedRun]:
    """Return the runs in one of some states, all where none is named, that ended ``older_than`` days ago or before."""
    now = time.time()
    kept = []
    for run in runs:
        is_old = older_than is None or run.age(now) >= older_than * DAY
        if is_old and (not states or run.state in states):
            kept.append(run)
    return kept


def fulfilling(runs: Sequence[ListedRun], conditions: Sequence[str]) -> list[ListedRun]:
    """Return the runs for whose configuration all conditions hold; only with conditions is it read."""
    if not conditions or not runs:
        return list(runs)
    kept = chosen(conditions, [settings_in(run.folder) for run in runs])
    return [run for run, is_kept in zip(runs, kept, strict=True) if is_kept]
