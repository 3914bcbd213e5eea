"""Arrays of events, in memory or in a file: the same numbers, in the same order, and files that leave nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import fields

import numpy as np
import pytest
import uproot
from channel_ntuples import configured
from conftest import load, ntuples, rows, write

from inferno_cli.errors import DatasetError, OutputError
from inferno_cli.events import arrays
from inferno_cli.events.ids import EventIds, distinct, numbered
from inferno_cli.events.root.trees import opened, parts_of

RNG = np.random.default_rng(1)


@pytest.fixture
def in_files(monkeypatch, tmp_path):
    """Put every array into a file, in a folder that can be looked at, a few rows at a time."""
    monkeypatch.setattr(arrays, "LARGE", 0)
    monkeypatch.setattr(arrays, "CHUNK", 7)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def same(found, expected):
    """The numbers and their order in memory, which decides the rounding of sums."""
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.strides == expected.strides or not found.size


def is_in_file(array):
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


# ------------------------------------------------------------------------------------------------- as numpy does it
@pytest.mark.parametrize("shape", [(3, 40, 4), (3, 40), (3, 40, 0)])
def test_what_is_taken_of_a_table_is_what_numpy_takes(in_files, shape):
    table, chosen, mask = RNG.normal(size=shape), RNG.permutation(40)[:23], RNG.random(23) < 0.5
    by_row = table[:, chosen]
    same(arrays.of_rows(table, chosen), by_row)
    same(arrays.of_rows(by_row, mask), by_row[:, mask])
    same(arrays.of_blocks(by_row, [0, 2]), by_row[[0, 2]])
    same(arrays.stacked([*table, table[1]]), np.concatenate([table, table[1:2]]))
    two = [by_row, table[:, chosen[:9]]]
    same(arrays.joined(two), np.concatenate(two, axis=1))
    assert is_in_file(arrays.of_rows(table, chosen)) == (table.size > 0)


@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize("factor", [0.3, "each"])
def test_a_product_is_that_of_numpy(in_files, n_blocks, factor):
    table = RNG.normal(size=(n_blocks, 40))
    factors = RNG.normal(size=(n_blocks, 1)) if factor == "each" else factor
    same(arrays.times(table, factors), table * factors)
    if n_blocks > 1:
        by_row = table[:, RNG.permutation(40)]
        same(arrays.times(by_row, factors), by_row * factors)


def test_small_arrays_are_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert not is_in_file(arrays.of_rows(np.ones((2, 1000)), np.arange(900)))


@pytest.mark.parametrize("values", [[], [3], [1, 1, 2, 5, 5], [5, 1, 5, 2]])
def test_values_are_numbered_as_numpy_does(values):
    values = np.array(values, dtype=np.int64)
    expected = np.unique(values, return_inverse=True)
    for found, wanted in zip((*numbered(values), distinct(values)), (*expected, expected[0]), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_ids_are_found_part_by_part(in_files):
    ids = RNG.permutation(30)[:20].reshape(-1, 1).astype(np.int64)
    expected = [list(np.sort(ids[:, 0])).index(i) if i in ids else -1 for i in range(30)]
    assert EventIds(ids).find(np.arange(30)[:, None]).tolist() == expected


# ------------------------------------------------------------------------------------------------------- whole events
def everything(sample):
    """All arrays of a sample, and what is made of its sums."""
    found = {item.name: getattr(sample, item.name) for item in fields(sample)}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)} | {"yields": sample.yields}


@pytest.mark.parametrize("splits", [None, {"folds": 2, "validation": 0.25}], ids=["splits", "folds"])
def test_events_in_files_are_those_in_memory(tmp_path, request, splits):
    config = configured(tmp_path, **({} if splits is None else {"splits": splits}))
    before = load(config)
    request.getfixturevalue("in_files")
    after = load(config)
    assert (before.checksum, before.blinding_key) == (after.checksum, after.blinding_key)
    pairs = [(before.fold(1), after.fold(1)), (before, after)]
    for expected, found in pairs:
        for split in ("train", "validation", "template", "fixed"):
            for one, other in zip(getattr(found, split), getattr(expected, split), strict=True):
                wanted = everything(other)
                for name, array in everything(one).items():
                    same(array, wanted[name])
                assert is_in_file(one.weights)
        for one, other in zip(found.observed, expected.observed, strict=True):
            np.testing.assert_array_equal(one.features, other.features)


def test_an_error_names_the_rows_that_were_read_together(tmp_path, in_files):
    n = np.arange(1, 41)
    signal = rows(n, x=np.where(n == 30, np.nan, n).astype(np.float32))
    path = write(tmp_path / "all.root", {"ttbar": signal, "QCD": rows(n), "Data": rows(n)})
    with pytest.raises(
        DatasetError, match=r"branch 'x' of .*tree 'ttbar' in .*: 1 of \d+ values .*first in row 29: nan"
    ):
        load(ntuples(path))


# ------------------------------------------------------------------------------------------------------ part by part
def baskets(path, *sizes):
    """A tree with baskets of these sizes."""
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {"x": np.float64})
        for size in sizes:
            tree.extend({"x": np.arange(size, dtype=np.float64)})
    return path


@pytest.mark.parametrize(
    ("sizes", "stops"),
    [
        ([3, 3, 3, 3], [6, 12]),  # two baskets at a time
        ([20], [20]),  # one basket is read as a whole, however large
        ([2, 20, 2, 3], [2, 22, 27]),
        ([5], [5]),
    ],
)
def test_parts_end_where_baskets_do(tmp_path, in_files, sizes, stops):
    with opened(baskets(tmp_path / "baskets.root", *sizes), "events") as tree:
        parts = list(parts_of(tree, ("nothing", "x")))
    assert [part.stop for part in parts] == stops
    assert [part.start for part in parts] == [0, *stops[:-1]]


def test_a_tree_without_such_a_branch_is_divided_evenly(tmp_path, in_files):
    with opened(baskets(tmp_path / "baskets.root", 20), "events") as tree:
        assert [part.stop for part in parts_of(tree, ())] == [7, 14, 20]


# ------------------------------------------------------------------------------------------------------------- memory
def test_the_memory_is_that_of_the_ids_and_not_of_the_features(tmp_path, monkeypatch):
    n, n_features = np.arange(36_000), 80
    names = [f"x{i}" for i in range(n_features)]
    table = {"run": np.ones_like(n), "event": n, "w": np.ones(len(n))}
    table |= {name: RNG.normal(size=len(n)).astype(np.float32) for name in names}
    with uproot.recreate(tmp_path / "all.root", compression=None) as file:
        for sample in ("ttbar", "QCD"):
            tree = file.mktree(sample, {name: values.dtype for name, values in table.items()})
            for first in range(0, len(n), 2_000):
                tree.extend({name: values[first : first + 2_000] for name, values in table.items()})
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    config = ntuples(tmp_path / "all.root", features=names, systematics={}, samples=samples)

    def peak():
        tracemalloc.start()
        try:
            load(config)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(arrays, "CHUNK", 2_000)
    in_memory = peak()
    monkeypatch.setattr(arrays, "LARGE", 100_000)
    features = len(n) * n_features * 4
    in_files = peak()
    assert in_memory > 2 * features
    assert in_files < 0.75 * features, f"{in_files / len(n):.0f} bytes for each row"


# ------------------------------------------------------------------------------------------------------ what is left
def test_a_file_of_events_has_no_name(in_files):
    kept = arrays.stacked([np.arange(100), np.arange(100)])
    assert is_in_file(kept)
    assert list(in_files.iterdir()) == []


def test_a_process_that_is_killed_leaves_no_file(tmp_path):
    code = (
        "import os, signal, numpy as np\n"
        "from inferno_cli.events import arrays\n"
        "arrays.LARGE = 0\n"
        "growing = arrays.Growing(np.float64)\n"
        "growing.append(np.ones(100_000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path))}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_a_full_folder_is_an_error_that_says_where(monkeypatch):
    monkeypatch.setattr(arrays, "LARGE", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "w+b", buffering=0))  # noqa: PTH123, SIM115
    with pytest.raises(OutputError, match=r"temporary files, .*: No space left on device\. Name one .* TMPDIR"):
        arrays.stacked([np.arange(100), np.arange(100)])
