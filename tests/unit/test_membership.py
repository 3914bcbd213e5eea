"""Event ids, and which rows belong to which split of a run."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from conftest import ntuples, rows, small_trees, write
from hypothesis import given
from hypothesis import strategies as st

from inferno_cli.errors import BranchNotFoundError, DatasetError, TreeNotFoundError
from inferno_cli.events import load
from inferno_cli.events.files import file_checksum
from inferno_cli.events.ids import EventIds
from inferno_cli.events.membership import configured_trees, find_membership
from inferno_cli.events.trees import Tree, as_features, tree_names

FAR = [-(2**62), -1, 0, 1, 2, 2**62]
TABLES = st.integers(1, 3).flatmap(
    lambda k: st.lists(st.lists(st.sampled_from(FAR), min_size=k, max_size=k), min_size=2, max_size=30)
)


# ----------------------------------------------------------------------------------------------------- ids
@given(TABLES)
def test_ids_are_numbered_as_numpy_numbers_them(table):
    known, wanted = np.array(table[::2], dtype=np.int64), np.array(table, dtype=np.int64)
    distinct, number = np.unique(known, axis=0, return_inverse=True)
    ids = EventIds(known)
    assert len(ids) == len(distinct)
    assert ids.find(known).tolist() == number.ravel().tolist()
    position = {tuple(row): i for i, row in enumerate(distinct.tolist())}
    assert ids.find(wanted).tolist() == [position.get(tuple(row), -1) for row in wanted.tolist()]


def test_no_ids_are_found_among_none():
    ids = EventIds(np.empty((0, 2), dtype=np.int64))
    assert len(ids) == 0
    assert ids.find(np.array([[1, 2]])).tolist() == [-1]


# -------------------------------------------------------------------------------------------------- splits
@pytest.fixture
def small(tmp_path):
    return write(tmp_path / "small.root", small_trees())


def splits_of(config, path, tree, numbers):
    """The split of the events with these numbers."""
    membership = find_membership(config, [path], None, load(config).checksum)
    ids = np.stack([np.full(len(numbers), 7), numbers], axis=1)
    return membership.of_rows(file_checksum(path), tree, ids, 0)


def numbers_of(sample):
    """The events of a sample: the feature x is the number, shifted by less than a half."""
    return set(np.rint(sample.features[0][sample.weights[0] > 0][:, 0]).astype(int).tolist())


@pytest.mark.parametrize("fit", [[], ["jes"]])
@pytest.mark.parametrize("tree", ["ttbar", "ttbar_jes_up", "ttbar_jes_down", "QCD"])
def test_rows_are_in_the_split_that_the_run_put_them_in(small, tree, fit):
    """Also those of shifted trees that the run did not read."""
    config = ntuples(small, fit=fit, seed=3)
    events, first = load(config), 1001 if tree == "QCD" else 1
    numbers = np.arange(first, first + 240)
    split = splits_of(config, small, tree, numbers)
    index = config.sample_names.index(tree.partition("_")[0])
    for code, part in enumerate((events.train, events.validation, events.template)):
        assert set(numbers[split == code].tolist()) == numbers_of(part[index])
    assert not (split == -1).any()


def test_events_that_the_run_has_not_seen_are_in_no_split(small):
    config = ntuples(small)
    assert splits_of(config, small, "ttbar", np.array([0, 241, 10**9])).tolist() == [-1, -1, -1]
    assert splits_of(config, small, "Data", np.arange(2001, 2241)).tolist() == [-1] * 240
    assert splits_of(config, small, "other", np.arange(1, 4)).tolist() == [-1] * 3


def test_events_without_ids_go_by_their_row(tmp_path):
    """The rows of a sample that is spread over two files follow one another."""
    for name, first in (("a", 1), ("b", 121)):
        numbers = np.arange(first, first + 120)
        write(tmp_path / f"{name}.root", {key: rows(numbers) for key in ("ttbar", "QCD", "Data")})
    config = ntuples(tmp_path, event_id=[], systematics={})
    events = load(config)
    files = [tmp_path / "a.root", tmp_path / "b.root"]
    membership = find_membership(config, files[1:], None, events.checksum)
    nothing = np.empty((60, 0), dtype=np.int64)
    found = [membership.of_rows(file_checksum(file), "ttbar", nothing, first) for file in files for first in (0, 60)]
    split = np.concatenate(found)
    assert set((np.flatnonzero(split == 2) + 1).tolist()) == numbers_of(events.template[0])


def test_a_copy_of_the_dataset_is_the_dataset_and_a_changed_one_is_not(small, tmp_path):
    config = ntuples(small)
    checksum = load(config).checksum
    copy = tmp_path / "copies" / "copy.root"
    copy.parent.mkdir()
    shutil.copy(small, copy)
    other = write(tmp_path / "other.root", small_trees(QCD=rows(np.arange(1001, 1242))))
    assert find_membership(config, [copy], None, checksum) is not None
    assert find_membership(config, [other], None, checksum) is None
    small.unlink()
    assert find_membership(config, [copy], str(copy), checksum) is not None
    assert find_membership(config, [other], str(other), checksum) is None


def test_configured_trees_are_those_that_are_there(small):
    found = {name: place.sample for (_, name), place in configured_trees(ntuples(small).dataset).items()}
    signal = dict.fromkeys(["ttbar", "ttbar_jes_up", "ttbar_jes_down"], "ttbar")
    assert found == signal | {"QCD": "QCD", "Data": "Data"}


# --------------------------------------------------------------------------------------------------- trees
def test_a_tree_is_read_in_chunks(small):
    tree = Tree(small, "QCD", {"event": "an id", "x": "a feature"})
    assert (tree.rows, tree.types) == (240, {"event": np.dtype("int64"), "x": np.dtype("float32")})
    chunks = list(tree.chunks(100))
    assert [len(chunk["x"]) for chunk in chunks] == [100, 100, 40]
    assert np.concatenate([chunk["event"] for chunk in chunks]).tolist() == list(range(1001, 1241))


def test_trees_are_chosen_by_a_glob(small):
    assert tree_names(small, "ttbar_*") == ["ttbar_jes_up", "ttbar_jes_down"]
    with pytest.raises(TreeNotFoundError, match=r"no tree in .*small.root matches 'QDC'; closest: 'QCD'"):
        tree_names(small, "QDC")


def test_only_what_has_rows_is_a_tree(small):
    import uproot

    with uproot.update(small) as file:
        file["histogram"] = np.histogram(np.arange(3.0))
        file["text"] = "hello"
        file["rntuple"] = {"x": np.arange(3.0)}
    assert tree_names(small) == [*small_trees(), "rntuple"]
    assert Tree(small, "rntuple", {"x": "a feature"}).types == {"x": np.dtype("float64")}


def test_a_missing_branch_is_named_with_its_use(small):
    with pytest.raises(BranchNotFoundError, match=r"branch 'X' \(a feature\) is missing .*; closest: 'x'"):
        Tree(small, "QCD", {"X": "a feature"})


def test_a_branch_of_lists_is_refused(tmp_path):
    import awkward as ak
    import uproot

    with uproot.recreate(tmp_path / "lists.root") as file:
        file.mktree("events", {"pt": "var * float32"}).extend({"pt": ak.Array([[1.0], [2.0, 3.0]])})
    with pytest.raises(DatasetError, match=r"branch 'pt' \(keep\) .* does not hold one number per row"):
        Tree(tmp_path / "lists.root", "events", {"pt": "keep"})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named_with_its_row(value):
    columns = {"x": np.arange(3.0), "y": np.array([0.0, 1.0, value])}
    with pytest.raises(DatasetError, match=r"branch 'y' of tree 't': the value in row 102 is not finite"):
        as_features(columns, ("x", "y"), 100, "tree 't'")
