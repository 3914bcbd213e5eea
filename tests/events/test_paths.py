"""Lists of paths and globs, and files behind an address."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from conftest import load, ntuples, observed, rows, small_trees, write

from inferno_cli.errors import DatasetFileError
from inferno_cli.events.root.trees import find_files
from inferno_cli.files import file_checksum
from inferno_cli.remote import address, is_remote

N = np.arange(1, 241)


def write_each(folder, trees, tree="events"):
    """Write a file for each sample."""
    folder.mkdir(exist_ok=True)
    for name, table in trees.items():
        write(folder / f"{name}.root", {tree: table})


def test_a_list_of_files_folders_and_globs(tmp_path):
    trees = {name: table for name, table in small_trees().items() if "jes" not in name}
    write(tmp_path / "one.root", {"ttbar": trees["ttbar"]})
    (tmp_path / "more").mkdir()
    write(tmp_path / "more/two.root", {"ttbar": rows(N + 5000), "QCD": trees["QCD"]})
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/x1.root", {"Data": trees["Data"]})
    paths = [f"{tmp_path}/one.root", f"{tmp_path}/more", f"{tmp_path}/data/x*.root", f"{tmp_path}/one.root"]
    config = ntuples(paths[0], systematics={})
    config = config.model_copy(update={"dataset": config.dataset.model_copy(update={"path": tuple(paths)})})
    events = load(config)
    assert sum(len(part[0].group) for part in (events.train, events.validation, events.template)) == 480
    assert len(observed(events)) == 240
    assert config.dataset.location == ", ".join(paths)


def test_the_samples_of_one_dataset_may_be_in_several_folders(tmp_path):
    trees = {name: table for name, table in small_trees().items() if "jes" not in name}
    write_each(tmp_path / "a", {"ttbar": trees["ttbar"]})
    write_each(tmp_path / "b", {"QCD": trees["QCD"], "Data": trees["Data"]})
    keys = {"file": "{sample}.root", "tree": "events", "systematics": {}}
    config = ntuples(tmp_path, **keys)
    folders = config.dataset.model_copy(update={"path": (f"{tmp_path}/a", f"{tmp_path}/b")})
    assert len(observed(folders.load(config.request))) == 240
    by_glob = config.dataset.model_copy(update={"path": (f"{tmp_path}/?/{{sample}}.root",)})
    assert by_glob.load(config.request).checksum == folders.load(config.request).checksum


@pytest.mark.parametrize("lost", ["nowhere.root", "nothing*.root"])
def test_a_path_of_the_list_that_stands_for_nothing_is_an_error(tmp_path, lost):
    path = write(tmp_path / "a.root", small_trees())
    config = ntuples(path)
    dataset = config.dataset.model_copy(update={"path": (str(path), str(tmp_path / lost))})
    with pytest.raises(DatasetFileError, match=rf"{lost.replace('*', '.')} \(dataset.path\) is neither a file nor"):
        dataset.load(config.request)


# ------------------------------------------------------------------------------------------------ behind an address
@pytest.mark.parametrize(
    ("text", "scheme"),
    [("root://eos.cern.ch//store/a.root", "root"), ("s3://bucket/a/b.root", "s3"), ("memory://a/b.root", "memory")],
)
def test_an_address_is_kept_in_a_path(text, scheme):
    path = Path(text)
    assert is_remote(path)
    assert is_remote(text)
    assert address(path) == text
    assert not is_remote(Path("/store/root:/a.root"))
    assert not is_remote("C:/store")


@pytest.fixture
def memory(tmp_path):
    """A file system of fsspec's in memory, with the files of a dataset."""
    import fsspec

    system = fsspec.filesystem("memory")
    for name, table in small_trees().items():
        path = write(tmp_path / f"{name}.root", {"events": table})
        system.pipe(f"/store/{name}.root", path.read_bytes())
    yield "memory://store"
    system.rm("/store", recursive=True)


def test_files_behind_an_address_are_as_those_here(memory, tmp_path):
    keys = {"file": "{sample}{variation}.root", "tree": "events", "fit": ["jes"]}
    here, there = load(ntuples(tmp_path, **keys)), load(ntuples(memory, **keys))
    assert there.checksum == here.checksum
    np.testing.assert_array_equal(there.template[0].features, here.template[0].features)
    dataset = ntuples(memory, **keys).dataset
    assert dataset.location_hint == ""
    files = dataset.files(ntuples(memory, **keys).request)
    assert set(files.values()) == {file_checksum(tmp_path / path.name) for path in files}


def test_the_checksum_of_a_changed_file_is_another(memory):
    import fsspec

    path = Path(f"{memory}/QCD.root")
    before = file_checksum(path)
    fsspec.filesystem("memory").pipe("/store/QCD.root", b"other")
    assert before != file_checksum(path) == hashlib.sha256(b"other").hexdigest()


def test_globs_behind_an_address(memory):
    found = find_files(f"{memory}/ttbar*.root", "", "dataset.path", "dataset.file")
    assert [path.name for path in found] == ["ttbar.root", "ttbar_jes_down.root", "ttbar_jes_up.root"]
    with pytest.raises(
        DatasetFileError, match=r"memory://store/x\*.root \(dataset.path\) is no file, and none matches"
    ):
        find_files(f"{memory}/x*.root", "", "dataset.path", "dataset.file")


@pytest.mark.parametrize(
    ("scheme", "package"), [("root", "fsspec-xrootd"), ("nothing", "the package of fsspec for it")]
)
def test_an_address_that_cannot_be_read_says_what_to_install(scheme, package):
    if scheme == "root":
        pytest.importorskip("fsspec")
        try:
            import fsspec_xrootd  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("fsspec-xrootd is installed")
    with pytest.raises(DatasetFileError, match=rf"{scheme}:// cannot be read .*Install {package}"):
        load(ntuples(f"{scheme}://host//store/a.root"))


def test_a_run_of_before_paths_were_absolute_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        ntuples("data").dataset.location_hint == f" (dataset.path=data is relative, and the command runs in {tmp_path})"
    )
    assert ntuples(tmp_path).dataset.location_hint == ""


@pytest.mark.parametrize(
    ("text", "listed", "expected"),
    [
        ("root://eos.cern.ch//store/*.root", "/store/a.root", "root://eos.cern.ch//store/a.root"),
        ("s3://bucket/*.root", "bucket/a.root", "s3://bucket/a.root"),
        ("https://example.org/*.root", "https://example.org/a.root", "https://example.org/a.root"),
    ],
)
def test_what_a_file_system_lists_has_an_address(monkeypatch, text, listed, expected):
    """Each of fsspec's names its files in its own way."""

    class System:
        def isfile(self, name):
            return name == listed

        def isdir(self, name):
            return False

        def glob(self, name):
            return [listed]

    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: (System(), url.partition("://")[2]))
    (found,) = find_files(text, "", "dataset.path", "dataset.file")
    assert address(found) == expected
