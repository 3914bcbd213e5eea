"""Event ids, and which rows belong to which split of a run."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from conftest import load, ntuples, rows, small_trees, write
from hypothesis import given
from hypothesis import strategies as st

from inferno_cli.errors import BranchNotFoundError, DatasetError, OutputError, RunError, TreeNotFoundError
from inferno_cli.events.assignment import FILE, SplitAssignment
from inferno_cli.events.features import Inputs
from inferno_cli.events.ids import EventIds
from inferno_cli.events.root.trees import Tree, id_columns, tree_names
from inferno_cli.files import file_checksum

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


@given(TABLES)
def test_the_rows_of_numbered_ids_come_out_again(table):
    rows = np.array(table, dtype=np.int64)
    assert EventIds(rows).rows().tolist() == np.unique(rows, axis=0).tolist()


# -------------------------------------------------------------------------------------------------- splits
@pytest.fixture
def small(tmp_path):
    return write(tmp_path / "small.root", small_trees())


@pytest.fixture
def run(tmp_path):
    """Folder of a run that wrote down what it used."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def train(config, run):
    """Read and divide the events as a run does; return them."""
    events = load(config)
    assert events.assignment is not None
    events.assignment.save(run)
    return events


def numbers_of(sample):
    """The events of a sample: the feature x is the number, shifted by less than a half."""
    return np.rint(sample.features[0][sample.weights[0] > 0][:, 0]).astype(int).tolist()


def splits_of(events, sample):
    """The split of each event of a sample, by number, as its features in the three splits tell."""
    names = [item.name for item in events.train]
    parts = (events.train, events.validation, events.template)
    return {n: code for code, part in enumerate(parts) for n in numbers_of(part[names.index(sample)])}


def predicted(run, config, checksum, path, tree, where=None):
    """What `predict` writes: the split of every row of a tree, by the number of the event, and in order."""
    assignment = config.dataset.assignment(config.request, run, checksum, [(path, tree)], where)
    if assignment is None:
        return None
    names = (*config.dataset.event_id, *config.dataset.features)
    found = []
    first = 0
    for columns in Tree(path, tree, dict.fromkeys(names, "needed")).chunks(100):  # also in chunks
        features = config.dataset.inputs.table(columns, len(columns["x"]), tree, first_row=first)
        ids = id_columns({name: columns[name] for name in config.dataset.event_id}, len(features))
        found.append(assignment.of_rows(file_checksum(path), tree, ids, features, first))
        first += len(features)
    return np.concatenate(found).tolist()


N = list(range(1, 241))


@pytest.mark.parametrize("kept", [True, False], ids=["written down", "of an older run"])
@pytest.mark.parametrize("fit", [[], ["jes"]])
@pytest.mark.parametrize("tree", ["ttbar", "ttbar_jes_up", "ttbar_jes_down", "QCD"])
def test_rows_are_in_the_split_that_the_run_put_them_in(small, run, tree, fit, kept):
    """Also those of shifted trees that the run did not read."""
    config = ntuples(small, fit=fit, seed=3)
    events, first = train(config, run), 1001 if tree == "QCD" else 1
    if not kept:
        (run / FILE).unlink()
    expected = splits_of(events, tree.partition("_")[0])
    found = predicted(run, config, events.checksum, small, tree)
    assert found == [expected[n] for n in range(first, first + 240)]
    assert sorted(set(found)) == [0, 1, 2]
    assert predicted(run, config, events.checksum, small, "Data") == [-1] * 240


def test_an_event_of_a_shifted_tree_that_no_tree_of_the_run_has_is_not_used(tmp_path, run):
    shifted = rows(np.arange(101, 341), 0.25)
    path = write(tmp_path / "small.root", small_trees(ttbar_jes_up=shifted))
    config = ntuples(path)
    events = train(config, run)
    expected = splits_of(events, "ttbar")
    found = predicted(run, config, events.checksum, path, "ttbar_jes_up")
    assert found == [expected.get(n, -1) for n in range(101, 341)]


def test_events_without_ids_go_by_their_row(tmp_path, run):
    """The rows of a sample that is spread over two files follow one another."""
    for name, first in (("a", 1), ("b", 121)):
        numbers = np.arange(first, first + 120)
        write(tmp_path / f"{name}.root", {key: rows(numbers) for key in ("ttbar", "QCD", "Data")})
    config = ntuples(tmp_path, event_id=[], systematics={})
    events = train(config, run)
    expected = splits_of(events, "ttbar")
    for _ in ("written down", "of an older run"):
        found = [predicted(run, config, events.checksum, tmp_path / f"{name}.root", "ttbar") for name in "ab"]
        assert found[0] + found[1] == [expected[n] for n in N]
        (run / FILE).unlink(missing_ok=True)
    # How many observed events come before a file is not written down: they may be blinded.
    first_rows = {tree: [part.first_row for part in parts] for (_, tree), parts in config.dataset.trees().items()}
    assert (first_rows["ttbar"], first_rows["Data"]) == ([120], [0])


def test_without_ids_nothing_is_known_of_another_file(tmp_path, run):
    path = write(tmp_path / "small.root", small_trees())
    config = ntuples(path, event_id=[], systematics={})
    events = train(config, run)
    other = write(tmp_path / "other.root", {"ttbar": rows(np.arange(1, 242))})
    assert predicted(run, config, events.checksum, other, "ttbar") == [-2] * 241


def test_of_two_equal_files_without_ids_a_row_is_not_known(tmp_path, run):
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(write(folder / "a.root", small_trees()), folder / "b.root")
    config = ntuples(folder, event_id=[], systematics={})
    events = train(config, run)
    assert predicted(run, config, events.checksum, folder / "a.root", "ttbar") == [-2] * 240


# ------------------------------------------------------------------------------------ files that are others now
def test_a_copy_and_one_file_of_several_are_known_without_the_dataset(tmp_path, run):
    folder, copies = tmp_path / "data", tmp_path / "copies"
    folder.mkdir()
    copies.mkdir()
    write(folder / "signal.root", {"events": rows(N), "events_jes_up": rows(N, 0.2), "events_jes_down": rows(N, -0.2)})
    write(folder / "multijet.root", {"events": rows(N, y=np.arange(240.0))})  # the same ids
    samples = {
        "ttbar": {"role": "signal", "file": "signal.root"},
        "QCD": {"role": "background", "file": "multijet.root"},
    }
    config = ntuples(folder, tree="events{variation}", samples=samples)
    events = train(config, run)
    for name, sample in (("signal", "ttbar"), ("multijet", "QCD")):
        shutil.copy(folder / f"{name}.root", copies / f"renamed_{name}.root")
        shutil.move(folder / f"{name}.root", tmp_path / "gone.root")
        expected = [splits_of(events, sample)[n] for n in N]
        for tree in ("events", "events_jes_up")[: 2 if sample == "ttbar" else 1]:
            path = copies / f"renamed_{name}.root"
            assert predicted(run, config, events.checksum, path, tree, str(path)) == expected


def two_files(folder):
    folder.mkdir()
    for name, first in (("a", 1), ("b", 121)):
        n = np.arange(first, first + 120)
        write(folder / f"{name}.root", {"ttbar": rows(n), "QCD": rows(n + 1000), "Data": rows(n + 2000)})
    return folder


def test_after_one_file_changed_the_others_are_known_and_no_used_event_is_called_unused(tmp_path, run):
    folder = two_files(tmp_path / "data")
    config = ntuples(folder, systematics={})
    events = train(config, run)
    expected = splits_of(events, "ttbar")
    n = np.arange(111, 251)  # without some of its events, with some of the other file, and with new ones
    changed = np.where(n % 2 == 0, 0.25, 0.0)  # every other one has another feature
    write(folder / "b.root", {"ttbar": rows(n, changed), "QCD": rows(n + 1000), "Data": rows(n + 2000)})
    for where in (None, str(folder)):
        found = predicted(run, config, events.checksum, folder / "a.root", "ttbar", where)
        assert found == [expected[n] for n in range(1, 121)]
        found = predicted(run, config, events.checksum, folder / "b.root", "ttbar", where)
        assert found == [-1 if i > 240 else -2 if i % 2 == 0 else expected[i] for i in n]
    assert predicted(run, config, events.checksum, folder / "b.root", "Data") == [-1] * 140


@pytest.mark.parametrize("events_are", ["all", "a skim", "in another order", "in an RNTuple", "under other names"])
def test_an_event_is_recognised_in_a_file_that_was_written_again(tmp_path, run, small, events_are):
    import uproot

    config = ntuples(small, fit=["jes"])
    events = train(config, run)
    expected = splits_of(events, "ttbar")
    n = {"a skim": np.arange(7, 200, 3), "in another order": np.arange(240, 0, -1)}.get(events_are, np.array(N))
    tree = "mine" if events_are == "under other names" else "ttbar"
    path = tmp_path / "again.root"
    if events_are == "in an RNTuple":
        write(path, {tree: rows(n)}, rntuple=True)
    else:
        with uproot.recreate(path, compression=uproot.LZMA(9)) as file:
            file.mktree(tree, {name: values.dtype for name, values in rows(n).items()}).extend(rows(n))
            file.mktree("up", {name: values.dtype for name, values in rows(n).items()}).extend(rows(n, 0.25))
        # Shifted features are those of no event; the id says that it may be one.
        assert predicted(run, config, events.checksum, path, "up") == [-2] * len(n)
    assert predicted(run, config, events.checksum, path, tree) == [expected[i] for i in n]


def test_ids_that_repeat_between_samples_do_not_mix_them_up(tmp_path, run):
    """Event numbers from 1 in every sample: the features tell which sample an event is of."""
    other = np.arange(240.0)
    path = write(tmp_path / "small.root", small_trees(QCD=rows(N, y=other)))
    config = ntuples(path)
    events = train(config, run)
    again = write(tmp_path / "again.root", {"a": rows(N), "b": rows(N, y=other), "c": rows(N, y=other + 0.5)})
    assert splits_of(events, "ttbar") != splits_of(events, "QCD")
    assert predicted(run, config, events.checksum, again, "a") == [splits_of(events, "ttbar")[n] for n in N]
    assert predicted(run, config, events.checksum, again, "b") == [splits_of(events, "QCD")[n] for n in N]
    assert predicted(run, config, events.checksum, again, "c") == [-2] * 240


def test_an_event_of_two_samples_is_known_where_both_agree(tmp_path, run):
    path = write(tmp_path / "small.root", small_trees(QCD=rows(N)))
    config = ntuples(path)
    events = train(config, run)
    again = write(tmp_path / "again.root", {"a": rows(N)})
    first, second = splits_of(events, "ttbar"), splits_of(events, "QCD")
    expected = [first[n] if first[n] == second[n] else -2 for n in N]
    assert {-2, 0, 1, 2} == set(expected)
    assert predicted(run, config, events.checksum, again, "a") == expected


def test_events_that_have_nothing_to_do_with_the_run_are_not_used(tmp_path, run, small):
    config = ntuples(small)
    events = train(config, run)
    other = write(tmp_path / "other.root", {"ttbar": rows(np.arange(10_001, 10_241))})
    for where in (None, str(other), str(tmp_path)):
        assert predicted(run, config, events.checksum, other, "ttbar", where) == [-1] * 240


def test_features_that_tell_no_events_apart_identify_none(tmp_path, run):
    jets = np.array(N, dtype=np.float32) % 5
    path = write(tmp_path / "small.root", small_trees(ttbar=rows(N, x=jets), QCD=rows(N, x=jets)))
    config = ntuples(path, features=["x"], systematics={})
    events = train(config, run)
    other = write(tmp_path / "other.root", {"ttbar": rows(np.arange(1, 251), x=np.arange(250.0) % 5)})
    assert predicted(run, config, events.checksum, other, "ttbar") == [-2] * 240 + [-1] * 10
    assert set(predicted(run, config, events.checksum, path, "ttbar")) == {0, 1, 2}


def test_shifted_trees_in_files_that_the_run_did_not_read_are_those_of_its_dataset(tmp_path, run):
    """As long as it is that dataset: the configuration alone says that they belong to the sample."""
    folder, moved = tmp_path / "data", tmp_path / "moved"
    folder.mkdir()
    for name, table in {"ttbar": rows(N), "ttbar_jes_up": rows(N, 0.2), "QCD": rows(N)}.items():
        write(folder / f"{name}.root", {"events": table})
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    config = ntuples(folder, file="{sample}{variation}.root", tree="events", samples=samples)
    events = train(config, run)
    expected = [splits_of(events, "ttbar")[n] for n in N]
    path = folder / "ttbar_jes_up.root"
    assert predicted(run, config, events.checksum, path, "events") == expected
    shutil.copytree(folder, moved)
    shutil.move(folder, tmp_path / "gone")
    path = moved / "ttbar_jes_up.root"
    assert predicted(run, config, events.checksum, path, "events", str(moved)) == expected
    assert predicted(run, config, events.checksum, path, "events", str(path)) == [-2] * 240
    write(moved / "QCD.root", {"events": rows(np.arange(1, 200))})
    assert predicted(run, config, events.checksum, path, "events", str(moved)) == [-2] * 240


# -------------------------------------------------------------------------------------------------- older runs
def test_an_older_run_divides_its_dataset_again_where_it_is_as_it_was(small, run, tmp_path):
    config = ntuples(small)
    checksum = load(config).checksum
    copy = tmp_path / "copies" / "copy.root"
    copy.parent.mkdir()
    shutil.copy(small, copy)
    other = write(tmp_path / "other.root", small_trees(QCD=rows(np.arange(1001, 1242))))
    assert set(predicted(run, config, checksum, copy, "QCD")) == {0, 1, 2}
    assert predicted(run, config, checksum, other, "QCD") == [-2] * 240 + [-1]
    small.unlink()
    assert set(predicted(run, config, checksum, copy, "QCD", str(copy))) == {0, 1, 2}
    assert predicted(run, config, checksum, other, "QCD", str(other)) is None


def test_a_run_needs_no_more_than_its_own_trees(tmp_path):
    """Files of systematics that it left out may be missing, and damaged ones are none of its business."""
    for name in ("ttbar", "QCD"):
        write(tmp_path / f"{name}.root", {"events": rows(N)})
    (tmp_path / "ttbar_jes_up.root").write_text("not ROOT")
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    config = ntuples(tmp_path, file="{sample}{variation}.root", tree="events", samples=samples)
    assert len(load(config).assignment.parts) == 2
    assert [path.name for path in config.dataset.files(config.request)] == ["QCD.root", "ttbar.root"]


# ---------------------------------------------------------------------------------------------------- the file
def test_the_file_is_small_and_the_same_every_time(tmp_path, run):
    n = np.arange(1, 50_001)
    x = np.random.default_rng(1).normal(size=len(n)).astype(np.float32)
    path = write(tmp_path / "small.root", {"ttbar": rows(n, x=x), "QCD": rows(n, x=x[::-1])})
    samples = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}}
    config = ntuples(path, samples=samples, systematics={})
    train(config, run)
    first = (run / FILE).read_bytes()
    assert len(first) < 7 * 100_000
    train(config, run)
    assert (run / FILE).read_bytes() == first
    assert [path.name for path in run.iterdir()] == [FILE]


def test_ids_of_any_size_are_kept(tmp_path, run):
    far = np.array([-(2**63), -1, 0, 1, 2**62, 2**63 - 1])
    events = np.concatenate([far, np.arange(10, 244)])
    table = rows(N) | {"run": np.resize(far, 240), "event": events}
    path = write(tmp_path / "small.root", small_trees(ttbar=table))
    config = ntuples(path, systematics={})
    made = train(config, run)
    ids = np.stack([table["run"], table["event"]], axis=1)
    features = np.stack([table["x"], table["y"]], axis=1)
    expected = splits_of(made, "ttbar")
    for assignment in (made.assignment, SplitAssignment.load(run, made.checksum)):
        found = assignment.of_rows("other", "other", ids, features, 0)
        assert found.tolist() == [expected[n] for n in N]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no zip", "empty", "other schema"])
def test_a_damaged_file_is_an_error(small, run, damage):
    config = ntuples(small)
    checksum = train(config, run).checksum
    path = run / FILE
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    if damage == "other schema":
        np.savez(path, about=np.array('{"schema": "inferno_cli/membership/9"}'))
    else:
        path.write_bytes({"truncated": content[:-100], "no zip": b"text", "empty": b""}.get(damage, content))
    with pytest.raises(RunError, match=r"membership.npz cannot be read .*Copy the whole folder"):
        SplitAssignment.load(run, checksum)


def test_the_file_of_another_run_is_an_error(small, run):
    train(ntuples(small), run)
    with pytest.raises(RunError, match=r"membership.npz is of a run on other events \(checksum "):
        SplitAssignment.load(run, "0" * 64)


def test_a_file_that_cannot_be_written_is_an_error(small, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        load(ntuples(small)).assignment.save(tmp_path / "nowhere")


def test_configured_trees_are_those_that_are_there(small):
    found = {name: part.sample for (_, name), (part,) in ntuples(small).dataset.trees().items()}
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


def test_the_name_of_a_branch_is_never_evaluated(tmp_path):
    """uproot takes `y-1/` for the branch `y-1` when it is asked for one, and in a chunk for an expression."""
    path = write(tmp_path / "odd.root", {"t": {"y-1": np.arange(5.0), "1//2": np.arange(5.0, 10)}})
    chunks = list(Tree(path, "t", {"y-1/": "a feature", "1//2": "keep"}).chunks(3))
    assert np.concatenate([chunk["y-1/"] for chunk in chunks]).tolist() == [0, 1, 2, 3, 4]
    assert np.concatenate([chunk["1//2"] for chunk in chunks]).tolist() == [5, 6, 7, 8, 9]


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
    with pytest.raises(
        DatasetError, match=r"branch 'y' of tree 't': 1 of 3 values are (not finite|too large .*) \(first in row 102"
    ):
        Inputs.of_branches(("x", "y")).table(columns, 3, "tree 't'", first_row=100)
