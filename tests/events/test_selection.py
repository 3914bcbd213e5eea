"""Selections, features that are computed, and branches without a value: numbers worked out by hand."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from conftest import load, ntuples, observed, rows, small_trees, write
from events.test_description import described
from omegaconf import OmegaConf

from inferno_cli.config.load import resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import BranchNotFoundError, ConfigError, DatasetError
from inferno_cli.events.features import Inputs
from inferno_cli.events.root.rows import Formula, Rows
from inferno_cli.events.root.trees import Tree, opened
from inferno_cli.expressions import Lists
from inferno_cli.files import file_checksum
from inferno_cli.report.dataset.page import as_html

N = np.arange(1, 241)
SPLITS = ("train", "validation", "template")
ROLES = {"ttbar": {"role": "signal"}, "QCD": {"role": "background"}, "Data": {"role": "data"}}


@pytest.fixture
def small(tmp_path):
    return write(tmp_path / "small.root", small_trees())


def numbers(events, name, variation=0):
    """Event numbers of each split of a sample, those that a variation selects; x is the number."""
    found = {}
    for split in SPLITS:
        (sample,) = (item for item in getattr(events, split) if item.name == name)
        is_there = sample.weights[variation] != 0
        found[split] = set(np.rint(sample.features[sample.view[variation]][is_there, 0]).astype(int).tolist())
    return found


# ------------------------------------------------------------------------------------------------ selection
def test_every_sample_and_variation_is_selected_by_its_own_branches(small):
    events = load(ntuples(small, fit=["jes"], selection="100 < x < 200.1 or 1000 < x < 2000 or x > 2100"))
    chosen = [set.union(*numbers(events, "ttbar", variation).values()) for variation in range(3)]
    # x is the number of the event, shifted up by 0.25 in one tree and down in the other.
    assert chosen == [set(range(101, 201)), set(range(100, 200)), set(range(101, 201))]
    with pytest.raises(DatasetError, match=r"sample 'QCD', nominal: no event of .* passes dataset\.selection"):
        load(ntuples(small, selection="x < 300"))
    assert sorted(np.rint(observed(events)[:, 0])) == list(range(2101, 2241))


def test_the_yields_are_those_of_the_selected_events(small):
    events = load(ntuples(small, fit=["jes"], selection="x <= 100 or x > 1000", luminosity_scale=3.0))
    weights = 1.0 + N % 3
    for split in SPLITS:
        ttbar, qcd = getattr(events, split)
        selected = N <= 100
        expected = [weights[selected].sum(), weights[N + 0.25 <= 100].sum(), weights[selected].sum()]
        np.testing.assert_allclose(ttbar.yields, 3 * np.array(expected))
        np.testing.assert_allclose(qcd.yields, 3 * (1.0 + (N + 1000) % 3).sum())


@pytest.mark.parametrize("event_id", [["run", "event"], []])
def test_an_event_is_in_the_split_that_it_is_in_without_a_selection(small, event_id):
    every = numbers(load(ntuples(small, systematics={}, event_id=event_id)), "QCD")
    some = numbers(load(ntuples(small, systematics={}, event_id=event_id, selection="x % 2 == 0")), "QCD")
    for split in SPLITS:
        assert some[split] == {number for number in every[split] if number % 2 == 0}
        assert some[split]


def test_a_source_event_is_in_one_split_whatever_is_selected_of_it(tmp_path):
    source = (N + 1000) // 4
    path = write(tmp_path / "small.root", small_trees(QCD=rows(N + 1000, source=source)))
    samples = ROLES | {"QCD": {"role": "background", "split_by": ["source"]}}
    every = numbers(load(ntuples(path, samples=samples)), "QCD")
    some = numbers(load(ntuples(path, samples=samples, selection="x % 3 > 0")), "QCD")
    for split in SPLITS:
        assert some[split] == {number for number in every[split] if number % 3 > 0}


@pytest.mark.parametrize("event_id", [["run", "event"], []])
def test_a_row_that_is_not_selected_is_used_for_nothing(small, event_id):
    events = load(
        ntuples(small, systematics={}, event_id=event_id, selection="x % 2 == 0 and x < 1200 or x > 2000 or x < 1000")
    )
    used = numbers(events, "QCD")
    rows_of_tree = np.arange(1001, 1241)
    ids = np.stack([np.full(240, 7), rows_of_tree], axis=1) if event_id else np.zeros((240, 0), dtype=np.int64)
    features = np.full((240, 2), np.nan, dtype=np.float32)
    split = events.assignment.of_rows(file_checksum(small), "QCD", ids, features, 0)
    for number, name in enumerate(SPLITS):
        assert set(rows_of_tree[split == number].tolist()) == used[name]
    assert set(rows_of_tree[split == -1].tolist()) == {n for n in range(1001, 1241) if n % 2 or n >= 1200}


def test_the_selection_of_a_sample_is_in_addition_and_the_counts_are_said(small):
    samples = ROLES | {"QCD": {"role": "background", "selection": "x <= 1060"}}
    config = ntuples(small, samples=samples, systematics={}, selection="x % 2 == 0")
    ttbar, qcd = load(config).template
    assert {*np.rint(ttbar.features[0][:, 0])} <= {*range(2, 241, 2)}
    assert {*np.rint(qcd.features[0][:, 0])} <= {*range(1002, 1061, 2)}
    description = described(config)
    assert [(item.read, item.rows, item.selection) for item in description.samples] == [
        (240, 120, ""),
        (240, 30, "x <= 1060"),
    ]
    page = as_html(description, {})
    for text in (
        "read: rows before the selection",
        "Selection of all samples: x % 2 == 0",
        "Selection of QCD: x &lt;= 1060",
    ):
        assert text.lower() in page.lower()
    assert (description.selection, description.observed_read, description.observed_rows) == ("x % 2 == 0", 240, 120)
    blind = described(config, max_signal_share=-1.0)
    assert (blind.observed_read, blind.observed_rows) == (None, None)


def test_weights_and_features_of_events_that_are_left_out_may_be_anything(tmp_path):
    w = np.where(N > 200, np.nan, 1.0)
    path = write(tmp_path / "small.root", small_trees(ttbar=rows(N) | {"w": w, "y": np.log(w.astype(np.float32))}))
    load(ntuples(path, selection="x <= 200 or x > 1000"))
    with pytest.raises(DatasetError, match=r"3 of 203 values are not finite \(first in row 200"):
        load(ntuples(path, selection="x <= 203 or x > 1000"))


@pytest.mark.parametrize(
    ("selection", "why"),
    [
        ("y * 2", r"neither true nor false in 240 of 240 rows \(first in row 0: 2\)"),
        ("hole > 3", r"branch 'hole' is not a number in 2 of 240 rows \(first in row 0\)\. .* isnan\(hole\)"),
        ("sum(x) > 3", "sum of one argument takes a list"),
        ("x[x > 3]", "takes numbers from the list of an event"),
    ],
)
def test_what_is_no_selection_is_an_error(tmp_path, selection, why):
    hole = np.where(N < 3, np.nan, N)
    path = write(tmp_path / "small.root", small_trees(ttbar=rows(N, hole=hole), QCD=rows(N + 1000, hole=N)))
    with pytest.raises(DatasetError, match=why):
        load(ntuples(path, selection=selection))


def test_a_selection_may_say_what_becomes_of_what_is_no_number(tmp_path):
    tables = {name: rows(N + i * 1000, hole=np.where(N < 3, np.nan, N)) for i, name in enumerate(ROLES)}
    path = write(tmp_path / "small.root", tables)
    events = load(ntuples(path, selection="isnan(hole) or hole > 10"))
    assert set.union(*numbers(events, "ttbar").values()) == {1, 2, *range(11, 241)}


def test_a_branch_that_a_shifted_tree_lacks_is_named(tmp_path):
    path = write(tmp_path / "small.root", small_trees(ttbar=rows(N, good=N), QCD=rows(N, good=N)))
    message = (
        r"branch 'good' in the expression 'good > 1' is missing from tree 'ttbar_jes_up' .* Fix dataset\.selection"
    )
    with pytest.raises(BranchNotFoundError, match=message):
        load(ntuples(path, fit=["jes"], selection="good > 1"))


def test_a_background_from_the_data_has_its_own_weight_and_selection(tmp_path):
    """Fakes are the data that fail the isolation, each with a factor; the data are those that pass it."""
    data = rows(N + 2000, isolated=(N % 4 == 0).astype(np.int32))
    del data["w"]
    path = write(tmp_path / "small.root", small_trees(Data=data))
    fakes = {"role": "background", "tree": "Data", "weight": "where(y > 45.5, 0.5, 0.25)", "selection": "not isolated"}
    samples = {"ttbar": {"role": "signal"}, "Fakes": fakes, "Data": {"role": "data", "selection": "isolated"}}
    config = ntuples(path, samples=samples)
    assert described(config).observed_selection == "isolated"
    events = load(config)
    failing = (N + 2000)[N % 4 != 0]
    for split in SPLITS:
        fakes = getattr(events, split)[1]
        assert fakes.yields[0] == pytest.approx(np.where(np.sqrt(failing) > 45.5, 0.5, 0.25).sum())
    assert sorted(np.rint(observed(events)[:, 0])) == (N + 2000)[N % 4 == 0].tolist()


# ------------------------------------------------------------------------------------------------- features
def test_features_are_expressions(small):
    definitions = {
        "number": "x",
        "log_x": {"expression": "log(x)", "title": "ln x", "unit": "GeV", "range": [0, 8]},
        "even": "event % 2 == 0",
    }
    config = ntuples(small, features=definitions)
    assert config.dataset.features == ("number", "log_x", "even")
    features = load(config).template[0].features[0]
    assert features.dtype == np.float32
    x = np.rint(features[:, 0])
    np.testing.assert_array_equal(features[:, 1], np.log(x.astype(np.float64)).astype(np.float32))
    np.testing.assert_array_equal(features[:, 2], x % 2 == 0)
    histogram = described(config).histograms[1]
    assert (histogram.edges[0], histogram.edges[-1], histogram.label) == (0, 8, "ln x [GeV]")
    assert described(config).definitions == {"number": "x", "log_x": "log(x)", "even": "event % 2 == 0"}


def test_a_feature_without_a_value_names_the_row_and_the_remedies(small):
    with pytest.raises(DatasetError, match=r"feature 'l' of tree 'ttbar' .*: 9 of 240 values are not finite .* row 0"):
        load(ntuples(small, features={"l": "log(x - 9)"}))
    with pytest.raises(
        DatasetError, match=r"where\(CONDITION, EXPRESSION, 0\).* dataset\.selection.* dataset\.missing"
    ):
        load(ntuples(small, features={"l": "log(x - 9)"}))
    with pytest.raises(BranchNotFoundError, match=r"branch 'z' is missing .* Fix dataset\.features"):
        load(ntuples(small, features={"l": "log(z)"}))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"features": {"a": "x("}}, r"^dataset\.features\.a: the expression"),
        (
            {"features": {"a": {"expression": "x", "rang": [0, 1]}}},
            r"^unknown key dataset\.features\.a\.rang; .*'range'",
        ),
        ({"features": {"a": {"expression": "x", "range": [1, 0]}}}, r"^dataset\.features\.a: range is \[1"),
        ({"features": {"a": 3}}, r"^dataset\.features\.a is 3, which is no text"),
        ({"features": {}}, r"^dataset\.features is \{\}"),
        ({"features": {"a ": "x"}}, "the name 'a ' begins or ends with a blank"),
        ({"selection": "x >"}, r"^dataset\.selection: the expression"),
        ({"missing": {"z": -1}}, r"^dataset\.missing: no feature is made of the branch 'z'"),
        ({"missing": {"x": "no"}}, r"^dataset\.missing\.x is \"no\""),
        ({"missing": {"x": {"becomes": 1}}}, r"^dataset\.missing\.x\.is is missing"),
        ({"missing": {"x": -1}, "features": ["x", "x_missing"]}, "'x_missing' is the name of the feature that says"),
    ],
)
def test_what_no_dataset_can_be_is_said_with_its_key(small, dataset, message):
    config = ntuples(small).model_dump(mode="json", by_alias=True)
    with pytest.raises(ConfigError, match=message):
        resolve(TrainConfig, OmegaConf.create(config | {"dataset": config["dataset"] | dataset}))


JETS = ak.Array([[50.0, 35.0, 20.0], [], [31.0]])


def with_jets(path):
    """Every sample has the same three kinds of events, again and again."""
    with uproot.recreate(path) as file:
        for i, name in enumerate(ROLES):
            table = rows(N + 1000 * i)
            types = {column: values.dtype for column, values in table.items()} | {"pt": "var * float32"}
            tree = file.mktree(name, types)
            tree.extend(table | {"pt": ak.values_astype(JETS[np.arange(240) % 3], np.float32)})
    return path


def test_features_and_selections_of_lists(tmp_path):
    path = with_jets(tmp_path / "jets.root")
    features = {"x": "x", "ht": "sum(pt[pt > 30])", "n": "count(pt)", "lead": "first(pt, -1)"}
    events = load(ntuples(path, features=features, selection="count(pt) == 0 or max(pt, default=0) > 40"))
    found = events.template[0].features[0]
    kind = (np.rint(found[:, 0]).astype(int) - 1) % 3
    assert {*kind} == {0, 1}
    np.testing.assert_array_equal(found[:, 1:], np.array([[85, 3, 50], [0, 0, -1]])[kind])
    with pytest.raises(DatasetError, match=r"branch 'pt' of .* does not hold one number per row"):
        load(ntuples(path, features={"pt": "pt", "n": "count(pt)"}))
    with pytest.raises(DatasetError, match=r"feature 'l': .*first has no value .* is empty, as it is in 80 of 240"):
        load(ntuples(path, features={"l": "first(pt)"}))
    with pytest.raises(DatasetError, match=r"dataset\.missing has 'pt', a branch of lists"):
        load(ntuples(path, features={"n": "count(pt)"}, missing={"pt": -1}))


def test_lists_in_chunks_are_those_of_the_tree(tmp_path):
    inputs = Inputs.of({"ht": "sum(pt)", "x": "x"}, {})
    tree = Tree(with_jets(tmp_path / "jets.root"), "QCD", dict.fromkeys(inputs.branches, "needed"), inputs.of_lists)
    found = []
    for columns in tree.chunks(100):
        assert isinstance(columns["pt"], Lists)
        found.append(inputs.table(columns, len(columns["x"]), tree.where))
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], np.array([105, 0, 31])[np.arange(240) % 3])


# ------------------------------------------------------------------------------------- branches without a value
def with_holes(path, dtype=np.float32):
    mjj = np.where(N % 4 == 0, -9999, 100 * N).astype(dtype)
    return write(path, {name: rows(N + 1000 * i, mjj=mjj) for i, name in enumerate(ROLES)})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_a_declared_number_becomes_another_and_an_indicator(tmp_path, dtype):
    features = {"x": "x", "log_mjj": "log(mjj)", "half": "where(isnan(mjj), 7, mjj / 2)"}
    config = ntuples(with_holes(tmp_path / "holes.root", dtype), features=features, missing={"mjj": -9999})
    assert config.dataset.features == (*features, "mjj_missing")
    found = load(config).template[1].features[0]
    n = np.rint(found[:, 0]) - 1000
    gone = n % 4 == 0
    np.testing.assert_allclose(found[:, 1], np.where(gone, 0, np.log(100 * n)), rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], np.where(gone, 7, 50 * n), rtol=1e-6)
    np.testing.assert_array_equal(found[:, 3], gone)


def test_the_value_is_that_of_the_user_and_the_indicator_can_be_left_out(tmp_path):
    missing = {"mjj": {"is": -9999, "becomes": -5, "indicator": False}}
    config = ntuples(with_holes(tmp_path / "holes.root"), features=["x", "mjj"], missing=missing, selection="mjj < 1e4")
    assert config.dataset.features == ("x", "mjj")
    found = load(config).template[1].features[0]
    # What is compared with a number that is not known is false: these events are not selected.
    assert len(found)
    assert (found[:, 1] > 0).all()
    config = ntuples(with_holes(tmp_path / "holes.root"), features=["x", "mjj"], missing=missing)
    found = load(config).template[1].features[0]
    np.testing.assert_array_equal(found[:, 1] == -5, np.rint(found[:, 0]) % 4 == 0)


def test_what_is_no_number_stays_an_error_where_another_number_is_declared(tmp_path):
    path = write(tmp_path / "h.root", small_trees(ttbar=rows(N, mjj=np.where(N == 7, np.nan, -9999.0))))
    with pytest.raises(DatasetError, match=r"branch 'mjj' of tree 'ttbar' .*: 1 of 240 values are not finite .* row 6"):
        load(ntuples(path, features={"mjj": "mjj"}, missing={"mjj": -9999}))


def test_what_is_no_number_can_be_declared(tmp_path):
    tables = {name: rows(N + 1000 * i, mjj=np.where(N % 2 == 0, np.nan, N)) for i, name in enumerate(ROLES)}
    path = write(tmp_path / "h.root", tables)
    found = load(ntuples(path, features=["x", "mjj"], missing={"mjj": np.nan})).template[0].features[0]
    np.testing.assert_array_equal(found[:, 1], np.where(found[:, 0] % 2 == 0, 0, found[:, 0]))
    np.testing.assert_array_equal(found[:, 2], found[:, 0] % 2 == 0)


def test_lists_of_an_rntuple_and_arrays_of_one_length(tmp_path):
    with uproot.recreate(tmp_path / "new.root") as file:
        file.mkrntuple("t", {"pt": ak.values_astype(JETS, np.float32), "x": np.arange(3.0)})
    with uproot.recreate(tmp_path / "old.root") as file:
        file["t"] = {"pt": np.arange(6.0).reshape(2, 3), "x": np.arange(2.0)}
    for name, expected in (("new.root", [105, 0, 31]), ("old.root", [3, 12])):
        with opened(tmp_path / name, "t") as tree:
            rows_of_tree = Rows(tree, "tree 't'")
            assert rows_of_tree.values(Formula("sum(pt) + 0 * x", "dataset.weight")).tolist() == expected
            rows_of_tree.select([Formula("x > 0", "dataset.selection")])
            assert rows_of_tree.values(Formula("sum(pt)", "dataset.weight")).tolist() == expected[1:]
