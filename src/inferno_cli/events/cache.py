"""Events that were read and divided, kept for the runs after this one: arrays in numpy's own format, mapped."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.code import code_digest
from inferno_cli.errors import FileError, InfernoError, OutputError
from inferno_cli.events import arrays
from inferno_cli.events.assignment import SplitAssignment
from inferno_cli.events.sample import Events, Folds, Observed, ReadyHistogram, Sample, Variation
from inferno_cli.files import read_json, sha256, write_whole

log = logging.getLogger(__name__)

ABOUT = "events.json"
SPLITS = ("train", "validation", "template", "fixed")
PLAIN = ("name", "label", "features", "checksum", "observed_checksum")
"""Attributes of events that are written as they are."""


def cached(folder: Path, key: Mapping[str, Any], read: Callable[[], Events]) -> Events:
    """Return the events of a key from a folder, into which they are read where they are not there.

    Of several processes that want the same one reads, and the others wait. What a killed process has written is never
    taken, nor is a file whose content has changed: the events are read anew, and the log says so.

    Args:
        key: All that decides which events they are, beside the code.

    Raises:
        OutputError: If the folder cannot be written to.
    """
    from filelock import FileLock

    text = json.dumps([dict(key), code_digest(), np.__version__], sort_keys=True, default=str)
    place = folder / f"events-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_suffix(".lock"))
        try:
            lock.acquire()
        except OSError:  # somebody else's, who lets others read: what is there is whole, and nobody removes it
            if (about := _whole(place)) is None:
                raise
            log.info(f"events: taken from {place}")
            return _read(place, about)
    try:
        if (about := _whole(place)) is not None:
            log.info(f"events: taken from {place}")
            return _read(place, about)
        events = read()
        with _writing(folder):
            about = _write(events, place)
        return _read(place, about)
    finally:
        lock.release()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What goes wrong is the fault of the folder."""
    try:
        yield
    except InfernoError:
        raise
    except OSError as error:
        raise OutputError(
            f"the events cannot be kept in {folder}: {error}. Name another folder, dataset.cache=FOLDER, or none, "
            "dataset.cache=null"
        ) from error


def _whole(place: Path) -> dict[str, Any] | None:
    """Return what is said of the events in a folder; None where they are not there, or are damaged."""
    if not place.exists():
        return None
    try:
        about: dict[str, Any] = read_json(place / ABOUT)
        damaged = [name for name, checksum in about["checksums"].items() if _checksum(place / name) != checksum]
    except (FileError, OSError, KeyError, AttributeError, TypeError):
        damaged = [ABOUT]
    if damaged:
        log.warning(f"events: {place / damaged[0]} is missing or damaged; the events are read anew")
        return None
    return about


def _checksum(path: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    return sha256(path) if path.is_file() else ""


# ------------------------------------------------------------------------------------------------------- written
def _write(events: Events, place: Path) -> dict[str, Any]:
    """Write events into a folder, which has its name when all of it is there; return what is said of them."""
    partial = place.with_suffix(".partial")
    for old in (partial, place):  # of a process that was killed, or damaged
        if old.exists():
            shutil.rmtree(old)
    partial.mkdir()
    try:
        about = _write_files(events, partial)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # of a full disk, of which it would keep what is missing
    return about


def _write_files(events: Events, partial: Path) -> dict[str, Any]:
    """Write all files, what is said of them last."""
    about: dict[str, Any] = {name: getattr(events, name) for name in PLAIN}
    about["folds"] = None if events.folds is None else asdict(events.folds)
    for split in SPLITS:
        about[split] = [_of_sample(partial, sample) for sample in getattr(events, split)]
    about["observed"] = None
    if events.observed is not None:
        about["observed"] = [_of_observed(partial, part) for part in events.observed]
    if events.assignment is not None:
        events.assignment.save(partial)
    about["checksums"] = {path.name: sha256(path) for path in sorted(partial.iterdir())}
    write_whole(partial / ABOUT, json.dumps(about))
    return about


def _of_sample(folder: Path, sample: Sample) -> dict[str, Any]:
    """Write the arrays of a sample; return the rest."""
    histogram = None
    if sample.histogram is not None:
        histogram = {"variances": _put(folder, sample.histogram.variances), "edges": sample.histogram.edges}
    return {
        "name": sample.name,
        "is_signal": sample.is_signal,
        "variations": sample.variations,
        "view": sample.view,
        "channel": sample.channel,
        "fold": sample.fold,
        "histogram": histogram,
        **{name: _put(folder, getattr(sample, name)) for name in ("group", "features", "weights", "bins")},
    }


def _of_observed(folder: Path, part: Observed) -> dict[str, Any]:
    arrays_of_it = {name: _put(folder, getattr(part, name)) for name in ("features", "bins")}
    return {"channel": part.channel, "fold": part.fold, **arrays_of_it}


def _put(folder: Path, array: NDArray[Any] | None) -> dict[str, Any] | None:
    """Write an array; return how it is read. Its order in memory, which decides the rounding of sums, is kept."""
    if array is None:
        return None
    by_row = array.ndim > 1 and not array.flags.c_contiguous
    name = f"{sum(1 for _ in folder.iterdir())}.npy"
    np.save(folder / name, np.moveaxis(array, 1, 0) if by_row else array, allow_pickle=False)
    return {"file": name, "by_row": by_row}


# ---------------------------------------------------------------------------------------------------------- read
def _read(place: Path, about: Mapping[str, Any]) -> Events:
    """Return the events in a folder."""
    observed = None
    if about["observed"] is not None:
        observed = tuple(_observed(place, part) for part in about["observed"])
    values: dict[str, Any] = {name: about[name] for name in PLAIN} | {"features": tuple(about["features"])}
    values |= {split: _samples(place, about[split]) for split in SPLITS}
    return Events(
        **values,
        observed=observed,
        assignment=SplitAssignment.load(place, about["checksum"]),
        folds=None if about["folds"] is None else Folds(**about["folds"]),
    )


def _samples(place: Path, about: Sequence[Mapping[str, Any]]) -> tuple[Sample, ...]:
    found = []
    for item in about:
        values = dict(item) | {name: _get(place, item[name]) for name in ("group", "features", "weights", "bins")}
        values["variations"] = tuple(Variation(*variation) for variation in item["variations"])
        values["view"] = tuple(item["view"])
        if (histogram := item["histogram"]) is not None:
            variances = _get(place, histogram["variances"])
            assert variances is not None
            values["histogram"] = ReadyHistogram(variances, tuple(histogram["edges"]))
        found.append(Sample(**values))
    return tuple(found)


def _observed(place: Path, about: Mapping[str, Any]) -> Observed:
    return Observed(**(dict(about) | {name: _get(place, about[name]) for name in ("features", "bins")}))


def _get(place: Path, about: Mapping[str, Any] | None) -> NDArray[Any] | None:
    """Return an array, mapped where it is large."""
    if about is None:
        return None
    path = place / about["file"]
    # A copy on write: whatever a run does to its events, the file stays as it is.
    is_large = path.stat().st_size > arrays.LARGE
    array = np.asarray(np.load(path, mmap_mode="c" if is_large else None, allow_pickle=False))
    return np.moveaxis(array, 0, 1) if about["by_row"] else array
