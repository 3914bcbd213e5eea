"""Events that are kept for the next run: the same to the last digit, and never what is half-written or damaged."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from dataclasses import fields, is_dataclass
from errno import ENOSPC

import numpy as np
import pytest
from channel_ntuples import configured
from conftest import load, ntuples, rows, write

from inferno_cli.errors import OutputError
from inferno_cli.events import arrays, cache
from inferno_cli.events.sources.ntuples import NtupleDataset
from inferno_cli.runs.points import matters


@pytest.fixture
def reads(monkeypatch):
    """Count how often files are read."""
    found, read = [], NtupleDataset._read
    monkeypatch.setattr(NtupleDataset, "_read", lambda self, request: found.append(1) or read(self, request))
    return found


def analysis(folder, **dataset):
    return configured(folder, cache=str(folder / "cache"), **dataset)


def entry(folder):
    (found,) = (path for path in (folder / "cache").iterdir() if path.is_dir())
    return found


def same(one, other):
    """Compare all that is in two dataclasses; of arrays also their order in memory."""
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
        assert one.strides == other.strides or not one.size
    elif is_dataclass(one):
        assert type(one) is type(other)
        for item in fields(one):
            same(getattr(one, item.name), getattr(other, item.name))
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            same(first, second)
    elif type(one).__name__ == "EventIds":
        same(one.rows(), other.rows())
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            same(value, other[key])
    else:
        assert one == other


# ---------------------------------------------------------------------------------------------------- found again
@pytest.mark.parametrize("large", [0, arrays.LARGE])
@pytest.mark.parametrize("splits", [None, {"folds": 2, "validation": 0.25}], ids=["splits", "folds"])
def test_what_is_kept_is_what_was_read(tmp_path, reads, monkeypatch, splits, large):
    more = {} if splits is None else {"splits": splits}
    expected = load(configured(tmp_path, **more))
    monkeypatch.setattr(arrays, "LARGE", large)
    first = load(analysis(tmp_path, **more))
    second = load(analysis(tmp_path, **more))
    assert len(reads) == 2
    same(first, expected)
    same(second, expected)
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) in ([""], ["", ".lock"])


def test_other_events_are_read(tmp_path, reads):
    folder = tmp_path
    load(analysis(folder))
    load(analysis(folder, selection="x > -1"))
    load(analysis(folder, splits={"train": 0.5, "validation": 0.1, "template": 0.4}))
    load(analysis(folder).model_copy(update={"seed": 2}))
    load(analysis(folder, fit=("jes",)))
    assert len(reads) == 5


def test_a_file_that_has_changed_is_read(tmp_path, reads):
    def small(last):
        n = np.arange(1, last)
        path = write(tmp_path / "all.root", {name: rows(n) for name in ("ttbar", "QCD", "Data")})
        return load(ntuples(path, systematics={}, cache=str(tmp_path / "cache")))

    before, after = small(401), small(402)
    assert len(reads) == 2
    assert len(after.observed[0].features) == len(before.observed[0].features) + 1


def test_where_the_events_are_kept_is_no_other_measurement():
    assert not matters("dataset.cache")


def test_a_run_does_not_change_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LARGE", 0)
    load(analysis(tmp_path)).train[0].features[:] = 7
    assert not (load(analysis(tmp_path)).train[0].features == 7).any()


# -------------------------------------------------------------------------------------------- damaged or half-written
def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "about", "membership"])
def test_what_is_damaged_is_read_anew(tmp_path, reads, caplog, damage):
    expected = load(analysis(tmp_path))
    place = entry(tmp_path)
    name = {"about": cache.ABOUT, "membership": "membership.npz"}.get(damage, "1.npy")
    if damage == "gone":
        (place / name).unlink()
    elif damage in ("cut", "about"):
        (place / name).write_bytes((place / name).read_bytes()[:-5])
    else:
        flipped(place / name)
    same(load(analysis(tmp_path)), expected)
    assert f"{place / name} is missing or damaged; the events are read anew" in caplog.text
    same(load(analysis(tmp_path)), expected)
    assert len(reads) == 2


class Killed(BaseException):
    """What nothing catches."""


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_that_is_taken(tmp_path, reads, monkeypatch):
    removed = shutil.rmtree

    def die(*_):
        raise Killed

    def remove(path, ignore_errors=False):  # nobody tidies up after it
        if not ignore_errors:
            removed(path)

    for last in ("write_whole", "sha256"):
        with monkeypatch.context() as patched:
            patched.setattr(cache, last, die)
            patched.setattr(cache.shutil, "rmtree", remove)
            with pytest.raises(Killed):
                load(analysis(tmp_path))
        assert entry(tmp_path).suffix == ".partial"
    load(analysis(tmp_path))
    assert len(reads) == 3
    assert entry(tmp_path).suffix == ""


@pytest.mark.parametrize("room", [0, 1, 5])
def test_a_full_disk_is_one_error_and_leaves_nothing(room, tmp_path, reads, monkeypatch):
    """What is half-written would take the place that is missing."""
    save, saved = np.save, []

    def full(*arguments, **settings):
        if len(saved) == room:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        saved.append(1)
        save(*arguments, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(OutputError, match=r"the events cannot be kept in .*/cache: .*No space left"):
            load(analysis(tmp_path))
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    load(analysis(tmp_path))
    assert len(reads) == 2


def test_two_processes_at_once_read_once(tmp_path):
    configured(tmp_path)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        found = pool.starmap(checksum_and_reads, [(tmp_path,)] * 2)
    assert sorted(reads for _, reads in found) == [0, 1]
    assert len({checksum for checksum, _ in found}) == 1


def checksum_and_reads(folder):
    found, read = [], NtupleDataset._read
    NtupleDataset._read = lambda self, request: found.append(1) or read(self, request)
    return load(analysis(folder)).checksum, len(found)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match=r"the events cannot be kept in .*/cache: .*dataset\.cache=null"):
        load(analysis(tmp_path))


def test_a_folder_that_can_only_be_read_gives_what_it_has(tmp_path, reads, monkeypatch):
    load(analysis(tmp_path))

    def refused(lock):
        raise PermissionError(13, "Permission denied", lock.lock_file)

    monkeypatch.setattr("filelock.FileLock.acquire", refused)
    load(analysis(tmp_path))
    assert len(reads) == 1
    with pytest.raises(OutputError, match="the events cannot be kept in"):
        load(analysis(tmp_path, selection="x > 0"))
