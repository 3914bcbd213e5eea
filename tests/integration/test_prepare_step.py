"""``inferno prepare`` on a real NanoAOD file: cut flow, ntuples that train reads, parts, and what goes wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from conftest import load, ntuples
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from inferno_cli import code
from inferno_cli.analyses.ntuples import part_path
from inferno_cli.analyses.top11004.analysis import TauJets
from inferno_cli.analyses.top11004.features import FEATURES
from inferno_cli.analyses.top11004.nanoaod import needed, objects
from inferno_cli.config.load import config_folder, resolve
from inferno_cli.steps.prepare import PrepareConfig
from integration.conftest import inferno, succeed

REAL = Path(__file__).parents[1] / "data" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
PRESET = "prepare=open_data_2015"


def settings(*overrides: str) -> PrepareConfig:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return resolve(
            PrepareConfig, hydra_compose("prepare", overrides=["~job", f"files=[{REAL}]", "sample=top", *overrides])
        )


def run(folder: Path, *overrides: str, files: str = str(REAL), sample: str = "top") -> str:
    where = [f"files={files}", f"sample={sample}", f"output={folder}", f"output_dir={folder}/outputs"]
    return succeed("prepare", PRESET, *where, *overrides).out


def rows(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Every tree, in the order of the events."""
    with uproot.open(path) as file:
        tables = {name: file[name].arrays(library="np") for name in file.keys(cycle=False)}
    return {
        name: {key: values[np.argsort(table["event"])] for key, values in table.items()}
        for name, table in tables.items()
    }


def same(first: Path, second: Path) -> None:
    one, two = rows(first), rows(second)
    assert list(one) == list(two)
    for name, table in one.items():
        assert len(table["event"]) > 0
        for key, values in table.items():
            assert values.tobytes() == two[name][key].tobytes(), (name, key)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The real file, prepared once: the ntuples, and what was printed."""
    folder = tmp_path_factory.mktemp("whole")
    out = run(folder)
    return folder / "top.root", out


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same events in two files, of the branches that are needed."""
    folder = tmp_path_factory.mktemp("halves")
    names = list(needed(settings(PRESET).prepare))
    with uproot.open(REAL) as file:
        arrays = file["Events"].arrays(names)
    for number, part in enumerate((arrays[:77], arrays[77:])):
        with uproot.recreate(folder / f"part{number}.root") as file:
            file["Events"] = {name: part[name] for name in names}
    return folder


def test_cut_flow_and_finite_features(whole: tuple[Path, str]) -> None:
    path, out = whole
    lines = [line.split() for line in out.splitlines()]
    (total,) = [line for line in lines if line[:2] == ["all", "events"]]
    assert total[2] == "200"
    assert out.splitlines()[-1] == f"ntuples: {path}"
    tables = rows(path)
    assert list(tables) == ["top"] + [f"top_{name}_{way}" for name in ("jes", "jer", "taue") for way in ("up", "down")]
    assert len(tables["top"]["event"]) > 10
    for table in tables.values():
        assert all(np.isfinite(table[name]).all() for name in FEATURES)
        assert all(table[name].dtype == np.float32 for name in FEATURES)
    assert tables["top"]["event"].dtype == np.int64
    assert (np.abs(tables["top"]["norm"]) > 2e5).all(), "genWeight"


def test_the_reader_of_train_takes_the_ntuples(whole: tuple[Path, str], tmp_path: Path) -> None:
    path, _ = whole
    run(path.parent, "norm=0.5", sample="other")
    config = ntuples(
        path.parent,
        fit=["jes", "jer", "taue"],
        features=list(FEATURES),
        event_id=["run", "luminosityBlock", "event"],
        weight="norm * trigger_weight * btag_weight1",
        samples={"top": {"role": "signal"}, "other": {"role": "background"}},
        systematics={name: {"kind": "shape", "samples": ["top"]} for name in ("jes", "jer", "taue")},
    )
    events = load(config)
    tables = rows(path)
    for split in (events.train, events.validation, events.template):
        signal, background = split
        for number, variation in enumerate(signal.variations):
            name = "top" if not variation.systematic else f"top_{variation.systematic}_{variation.direction}"
            assert signal.weights[number].sum() == pytest.approx(tables[name]["norm"].sum()), name
        assert background.weights[0].sum() == pytest.approx(0.5 * tables["top"]["norm"].sum())


def test_two_files_in_parallel_give_the_same_rows(whole: tuple[Path, str], halves: Path, tmp_path: Path) -> None:
    out = run(tmp_path, "workers=2", "progress=lines", files=f"'{halves}/part*.root'")
    assert "2/2" in out
    same(whole[0], tmp_path / "top.root")


def test_the_size_of_the_chunks_does_not_matter(whole: tuple[Path, str], tmp_path: Path) -> None:
    run(tmp_path, "chunk=33")
    same(whole[0], tmp_path / "top.root")


def test_finished_files_are_not_read_again(halves: Path, tmp_path: Path) -> None:
    first, second = halves / "part0.root", halves / "part1.root"
    run(tmp_path, files=str(first))
    out = run(tmp_path, files=f"'{first}, {second}'")
    assert "1 files were finished before" in out
    assert "all events" in out
    assert "2/2" in out
    assert "1/2" not in out
    run(tmp_path, "prepare.selection.met_min=50.0", files=f"[{first},{second}]")
    assert rows(tmp_path / "top.root")["top"]["MET_met"].min() > 50, "other settings, other parts"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package, of which the digests are taken."""
    top = shutil.copytree(code.TOP, tmp_path / "code", ignore=shutil.ignore_patterns("__pycache__", "conf"))
    monkeypatch.setattr(code, "TOP", top)
    code.code_digest.cache_clear()
    yield top
    code.code_digest.cache_clear()


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "# other\n")
    code.code_digest.cache_clear()  # another process would begin without


def test_rows_of_other_code_are_made_again(package: Path, tmp_path: Path) -> None:
    def part() -> Path:
        return part_path(tmp_path, REAL, TauJets(settings(PRESET).prepare, 1.0))

    before, everything = part(), code.code_digest()
    edit(package / "progress.py")
    assert part() == before, "a bar makes no rows"
    assert code.code_digest() != everything
    edit(package / "analyses" / "top11004" / "features.py")
    assert part() != before


def test_no_such_package_has_no_digest() -> None:
    with pytest.raises(FileNotFoundError, match="preparation is no package"):
        code.code_digest("preparation")


@pytest.mark.parametrize("writer", ["numpy.savez_compressed", "uproot.recreate"])
def test_two_processes_write_to_names_of_their_own_and_leave_nothing(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that prepare the same sample at once; then the disk is full."""
    folder, seen = tmp_path / "ntuples", []

    def full(target: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(target if isinstance(target, Path) else Path(target.name))
        seen[-1].write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, full)
    for _ in range(2):
        assert "No space left" in refused(folder, PRESET, f"files=[{REAL}]")
    assert len(set(seen)) == 2
    kept = {path for path in folder.rglob("*") if "outputs" not in path.parts and path.is_file()}
    assert kept == set((folder / "top.parts").glob("*.npz"))
    assert len(kept) == (writer == "uproot.recreate"), "the part is whole, and is kept"
    assert not list(folder.rglob("*.partial"))


def test_identification_and_matching_by_hand() -> None:
    """Three taus, one identified; three jets, matched to the second generated jet, to none, and past the end."""
    preparation = settings(PRESET).prepare
    values: dict[str, Any] = {name: [[1.0]] for name in needed(preparation)}
    values |= {f"Tau_{key}": [[30.0, 31.0, 32.0]] for key in ("pt", "eta", "phi", "mass")}
    values |= {"Tau_charge": [[1, -1, 1]], "Tau_idDecayMode": [[True, True, False]], "Tau_idMVAoldDM": [[0, 3, 3]]}
    values |= {f"Jet_{key}": [[50.0, 51.0, 52.0]] for key in ("pt", "eta", "phi", "mass")}
    values |= {"Jet_jetId": [[2, 6, 6]], "Jet_btagCSVV2": [[0.9, 0.1, -10.0]], "Jet_genJetIdx": [[1, -1, 7]]}
    values |= {"GenJet_pt": [[60.0, 48.0]], "MET_pt": [30.0], "MET_phi": [0.1]}
    events = objects(ak.Array(values), preparation)
    assert events["taus"]["pt"].to_list() == [[31.0]]
    assert events["taus"]["charge"].to_list() == [[-1]]
    assert events["jets"]["gen_pt"].to_list() == [[48.0, 0.0, 0.0]]
    assert events["jets"]["tagged"].to_list() == [[True, False, False]]
    assert events["met"]["pt"].to_list() == [30.0]


# ------------------------------------------------------------------------------------------------------- bad input
def refused(tmp_path: Path, *overrides: str) -> str:
    outcome = inferno("prepare", f"output={tmp_path}", f"output_dir={tmp_path}/outputs", "sample=top", *overrides)
    assert outcome.code == 2, outcome.out
    assert "Traceback" not in outcome.err
    return outcome.err


def test_a_preset_of_other_branches_names_the_first_that_is_missing(tmp_path: Path) -> None:
    message = refused(tmp_path, f"files=[{REAL}]")
    assert "branch 'Tau_idDecayModeOldDMs' is missing from tree 'Events'" in message
    assert "closest: 'Tau_idDecayModeNewDMs'" in message
    assert "prepare.branches.taus.require" in message
    assert not (tmp_path / "top.root").exists()


def test_missing_and_broken_files(tmp_path: Path) -> None:
    assert (
        f"{tmp_path}/none*.root (files) is neither a file nor a folder, and no file matches it. Fix files"
        in refused(tmp_path, PRESET, f"files=['{tmp_path}/none*.root']")
    )
    broken = tmp_path / "broken.root"
    broken.write_bytes(REAL.read_bytes()[:5000])
    assert "cannot be read as a ROOT file" in refused(tmp_path, PRESET, f"files=[{broken}]")
    assert "tree 'events' is missing" in refused(tmp_path, PRESET, f"files=[{REAL}]", "prepare.tree=events")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prepare.variations.run=[jes,jee]", "unknown variation 'jee'"),
        ("prepare.branches.jets.gen_index=null", "gen_index and gen_pt go together"),
        ("prepare.integers=[run,nothing]", "integers: nothing not in columns"),
        ("prepare.selection.b_tags=[2,1]", "1 at most is less than 2"),
        ("workers=0", "workers is 0"),
        ("sample='a b'", "sample is"),
    ],
)
def test_settings_that_make_no_sense(override: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, PRESET, f"files=[{REAL}]", override)


def test_data_has_no_shifted_trees(tmp_path: Path) -> None:
    run(tmp_path, "prepare.variations.run=[]")
    assert list(rows(tmp_path / "top.root")) == ["top"]
