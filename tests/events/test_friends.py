"""Friend trees: more branches of the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import load, ntuples, rows, small_trees, write

from inferno_cli.errors import BranchNotFoundError, ConfigError, DatasetError, DatasetFileError, TreeNotFoundError
from inferno_cli.events.root.trees import Tree

N = np.arange(1, 241)
SHIFTS = {"": 0.0, "_jes_up": 0.25, "_jes_down": -0.25}
KEYS = {"features": ["x", "mva", "tau"], "weight": "w * scale", "fit": ["jes"], "file": "{sample}.root"}
FRIENDS = {"tree": "events{variation}", "friends": ["mva{variation}", "{stem}_tau.root:tau{variation}"]}


def friend(n, shift, **columns):
    """Its branch x is not that of the tree."""
    return {"x": np.full(len(n), -1.0), **columns} | {"mva": 2.0 * n + shift, "scale": np.full(len(n), 3.0)}


@pytest.fixture
def folder(tmp_path):
    for sample, first in (("ttbar", 0), ("QCD", 1000), ("Data", 2000)):
        trees, taus = {}, {}
        for name, shift in SHIFTS.items():
            trees[f"events{name}"] = rows(N + first, shift)
            trees[f"mva{name}"] = friend(N + first, shift)
            taus[f"tau{name}"] = {"tau": 5.0 * (N + first)}
        write(tmp_path / f"{sample}.root", trees)
        write(tmp_path / f"{sample}_tau.root", taus)
    return tmp_path


def test_branches_of_friends_are_as_those_of_the_tree(folder):
    config = ntuples(folder, **KEYS, **FRIENDS)
    events = load(config)
    sample = events.template[0]
    np.testing.assert_array_equal(sample.features[0, :, 2], 5 * sample.features[0, :, 0])
    np.testing.assert_array_equal(sample.features[0, :, 0] * 2, sample.features[0, :, 1])
    up = sample.features[sample.view[1]]
    np.testing.assert_array_equal(up[:, 1] - sample.features[0, :, 1], np.full(len(up), 0.25))
    assert sample.yields[0] == pytest.approx(3 * (1.0 + N % 3).sum())
    files = {path.name for path in config.dataset.files(config.request)}
    assert files == {f"{sample}{end}.root" for sample in ("ttbar", "QCD", "Data") for end in ("", "_tau")}
    assert set(config.dataset.files(config.request).values()) == set(events.assignment.files)


def test_a_changed_friend_is_another_dataset(folder):
    before = load(ntuples(folder, **KEYS, **FRIENDS))
    write(folder / "QCD_tau.root", {"tau": {"tau": 6.0 * N}})
    assert load(ntuples(folder, **KEYS, **FRIENDS)).checksum != before.checksum


def test_source_branches_may_be_of_a_friend(folder):
    config = ntuples(folder, **KEYS, **FRIENDS)
    assert config.dataset.validated(config.request, ("tau",)).samples[0].events.yields[0] > 0


def test_friends_of_a_tree_are_known_to_predict(folder):
    dataset = ntuples(folder, **KEYS, **FRIENDS).dataset
    path = folder / "ttbar.root"
    friends = dataset.friends_of(path, "events_jes_up")
    assert friends == ((path, "mva_jes_up"), (folder / "ttbar_tau.root", "tau_jes_up"))
    tree = Tree(path, "events_jes_up", {"x": "a feature", "mva": "a feature"}, (), friends)
    chunks = list(tree.chunks(100))
    np.testing.assert_array_equal(np.concatenate([chunk["mva"] for chunk in chunks]), 2.0 * N + 0.25)
    np.testing.assert_array_equal(np.concatenate([chunk["x"] for chunk in chunks]), rows(N, 0.25)["x"])
    by_stem = ntuples(folder, **(KEYS | FRIENDS | {"friends": ["{stem}_tau.root:tau"]})).dataset
    assert by_stem.friends_of(folder / "other.root", "events") == ((folder / "other_tau.root", "tau"),)
    assert ntuples(folder).dataset.friends_of(path, "events") == ()


@pytest.mark.parametrize(
    ("friends", "error", "says"),
    [
        (
            ["short"],
            DatasetError,
            r"the friend tree 'short' in .*ttbar.root has 7 rows, and tree 'events' in .* has 240",
        ),
        (["mvx"], TreeNotFoundError, r"the friend tree 'mvx' in .*ttbar.root is missing; closest: 'mva'"),
        (["nowhere.root:t"], DatasetFileError, r"nowhere.root"),
        (["{stm}:t"], ConfigError, r"dataset.friends is '\{stm\}:t'; the placeholders that it may hold are .*\{stem\}"),
        (["mva"], BranchNotFoundError, r"branch 'tau' is missing from tree 'events'"),
    ],
)
def test_what_is_no_friend_is_one_error(folder, friends, error, says):
    import uproot

    with uproot.update(folder / "ttbar.root") as file:
        file.mktree("short", {"tau": "f8"}).extend({"tau": np.zeros(7)})
    with pytest.raises(error, match=says):
        load(ntuples(folder, **(KEYS | FRIENDS | {"friends": friends, "fit": []})))


def test_a_parquet_file_may_be_a_friend(folder):
    ak = pytest.importorskip("awkward")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for sample, first in (("ttbar", 0), ("QCD", 1000), ("Data", 2000)):
        ak.to_parquet(ak.Array({"tau": 5.0 * (N + first)}), folder / f"{sample}.parquet")
    friends = {"friends": ["mva{variation}", "{stem}.parquet:"], "fit": []}
    root, parquet = (load(ntuples(folder, **(KEYS | FRIENDS | {"fit": []} | own))) for own in ({}, friends))
    np.testing.assert_array_equal(root.train[1].features, parquet.train[1].features)


def test_without_friends_nothing_is_joined(tmp_path):
    path = write(tmp_path / "a.root", small_trees())
    assert ntuples(path).dataset.friends == ()
