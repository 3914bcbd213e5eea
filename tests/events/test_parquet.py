"""Parquet files in the place of ROOT files."""

from __future__ import annotations

import sys

import awkward as ak
import numpy as np
import pytest
from conftest import load, ntuples, observed, small_trees, write

from inferno_cli.errors import DatasetError, DatasetFileError
from inferno_cli.events.root.trees import Tree, tree_names

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pyarrow = pytest.importorskip("pyarrow")
KEYS = {"file": "{sample}{variation}.parquet", "tree": "events", "fit": ["jes"]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "parquet").mkdir()
    for name, table in small_trees().items():
        table = dict(table)
        write(tmp_path / f"{name}.root", {"events": table})
        jets = ak.unflatten(np.arange(480.0), np.full(240, 2))
        ak.to_parquet(ak.zip(table | {"jets": jets}, depth_limit=1), tmp_path / f"parquet/{name}.parquet")
    return tmp_path


def test_parquet_is_read_as_root_is(folder):
    root = load(ntuples(folder, **(KEYS | {"file": "{sample}{variation}.root"})))
    config = ntuples(folder / "parquet", **KEYS)
    events = load(config)
    for split in ("train", "validation", "template"):
        for one, other in zip(getattr(root, split), getattr(events, split), strict=True):
            np.testing.assert_array_equal(one.features, other.features)
            np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(observed(root), observed(events))
    assert {tree for _, tree in config.dataset.trees()} == {"table"}
    assert set(config.dataset.files(config.request).values()) == set(events.assignment.files)


def test_lists_norms_and_selections(folder):
    features = {"x": "x", "ht": "sum(jets)"}
    config = ntuples(folder / "parquet", **KEYS, features=features, selection="first(jets) >= 20", norm="1 / count(w)")
    sample = config.dataset.validated(config.request, ()).samples[0]
    np.testing.assert_allclose(sample.features[:, 1], 4 * np.arange(10, 240) + 1)
    assert sample.events.yields[0] == pytest.approx((1.0 + np.arange(11, 241) % 3).sum() / 240)


def test_columns_that_may_have_no_value_are_read_where_all_have_one(folder):
    path = folder / "parquet/QCD.parquet"
    values = {name: values.tolist() for name, values in small_trees()["QCD"].items()}
    parquet.write_table(pyarrow.table(values), path)  # nullable, as those of pandas
    assert load(ntuples(folder / "parquet", **KEYS)).template[1].yields[0] > 0
    values["y"][3] = None
    parquet.write_table(pyarrow.table(values), path)
    with pytest.raises(DatasetError, match=r"column 'y' of .*QCD.parquet has no value in 1 places"):
        load(ntuples(folder / "parquet", **KEYS))


def test_a_text_says_what_the_events_are(folder):
    path = folder / "parquet/QCD.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table.replace_schema_metadata({"label": "simulated"}), path)
    assert load(ntuples(folder / "parquet", **KEYS)).label == "simulated"


def test_chunks_of_a_table(folder):
    path = folder / "parquet/QCD.parquet"
    assert tree_names(path) == ["table"]
    tree = Tree(path, "table", {"x": "a feature", "event": "an id"})
    chunks = list(tree.chunks(100))
    assert [len(chunk["x"]) for chunk in chunks] == [100, 100, 40]
    np.testing.assert_array_equal(np.concatenate([chunk["event"] for chunk in chunks]), np.arange(1001, 1241))


def test_other_columns_and_files_are_one_error(folder):
    with pytest.raises(DatasetError, match=r"branch 'jets' of .* one number per row, but (2|var) \* float64"):
        load(ntuples(folder / "parquet", **KEYS, features=["x", "jets"]))
    (folder / "parquet/QCD.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetFileError, match=r"QCD.parquet cannot be read"):
        load(ntuples(folder / "parquet", **KEYS))


def test_without_pyarrow_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DatasetFileError, match=r"Parquet needs pyarrow. Install inferno-cli\[parquet\]"):
        load(ntuples(folder / "parquet", **KEYS))
