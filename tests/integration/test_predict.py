"""A finished run applied to ntuples: its own templates come out again, and bad input leaves nothing behind."""

from __future__ import annotations

import gc
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import uproot
import yaml
from conftest import write

from inferno_cli import open_run
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.histograms.templates import Templates
from inferno_cli.runs.folder import Status
from inferno_cli.runs.run_folder import RunFolder
from integration.conftest import FIT_ONLY_MU, LABEL, QUICK, Outcome, Runs, inferno, own_analysis, succeed, table, trees

EMBEDDED = Path(__file__).parents[2] / "src" / "inferno_cli" / "data" / "top11004_sim.root"
MODELS = ("bce", "inferno")


def predict(run: Path, *overrides: str) -> Path:
    """Predict; return the one file that is written."""
    last = succeed("predict", f"run={run}", "unblind=true", *overrides).out.splitlines()[-1]
    assert last.startswith("predictions: ")
    return Path(last.removeprefix("predictions: "))


def arrays(path: Path, tree: str) -> dict[str, np.ndarray]:
    with uproot.open(path) as file:
        return file[tree].arrays(library="np")


@pytest.fixture(scope="module")
def top(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Folder of a run on the embedded sample, and its predictions."""
    made: dict[str, tuple[Path, Path]] = {}

    def of(model: str) -> tuple[Path, Path]:
        if model not in made:
            run = runs("top11004", model).path.parent
            made[model] = run, predict(run, f"output={tmp_path_factory.mktemp('predictions')}")
        return made[model]

    return of


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run on a user's own ntuples, which are beside it."""
    folder = tmp_path_factory.mktemp("own")
    point = ("--config-dir", str(own_analysis(folder)), "+experiment=mine", *QUICK, *FIT_ONLY_MU)
    return succeed("train", *point, f"output_dir={folder}", f"hydra.run.dir={folder}/run").path.parent


# ------------------------------------------------------------------------------------------- what is written
def weights(tree: str) -> np.ndarray:
    """The weights of a tree, as the configuration of the embedded sample has them, in double precision."""
    factors = ["norm", "btag_weight2"] if tree == "QCD" else ["norm", "trigger_weight", "btag_weight1"]
    with uproot.open(EMBEDDED) as file:
        columns = [file[tree][name].array(library="np").astype(np.float64) for name in factors]
    return np.prod(columns, axis=0) * (4 if tree == "QCD" else 1)


@pytest.mark.parametrize("model", MODELS)
def test_the_templates_of_the_run_come_out_again(model: str, top: Callable[[str], tuple[Path, Path]]) -> None:
    """The formula of the README: bin the template split, and keep the yield of each variation."""
    run, path = top(model)
    templates, finished = Templates.load(run / "templates.root"), RunFolder.load(str(run))
    luminosity, shapes = finished.config.dataset.downsample_factor, finished.results.parts
    assert len(templates.histograms) == 13
    found = {}
    for sample, variation in templates.histograms:
        tree = sample if variation == NOMINAL else f"{sample}_{variation}"
        row, weight = arrays(path, tree), luminosity * weights(tree)
        chosen = row["split"] == 2
        binned = np.bincount(row["bin"][chosen], weight[chosen], templates.n_bins)
        found[sample, variation] = binned * weight.sum() / weight[chosen].sum()
    for (sample, variation), template in found.items():
        if variation != NOMINAL and sample in shapes[variation.systematic].symmetrised:
            up, down = (found[sample, Variation(variation.systematic, side)] for side in ("up", "down"))
            template = found[sample, NOMINAL] + (1 if variation.direction == "up" else -1) * (up - down) / 2
        np.testing.assert_allclose(template, templates.values(sample, variation), rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_the_rows_are_those_of_the_input(model: str, top: Callable[[str], tuple[Path, Path]]) -> None:
    run, path = top(model)
    results = RunFolder.load(str(run)).results
    groups = [item.merged_from for item in results.bins or ()]
    outputs = ["score"] if model == "bce" else [f"output_{i}" for i in range(10)]
    with uproot.open(path) as file:
        assert file["TTJets_signal"].keys() == [
            *("run", "luminosityBlock", "event"),
            *("split", "bin", "network_bin"),
            *outputs,
        ]
        found = [name for name, kind in file.classnames(cycle=False).items() if kind == "TTree"]
        about = json.loads(str(file["inferno_cli"]))
    assert {"QCD", "Data", "TTJets_signal", "TTJets_signal_jes_up", "WZJets_jes_down"} <= set(found)
    assert (about["label"], about["model"], about["groups"]) == (LABEL, model, [list(group) for group in groups])
    for tree in found:
        row, source = arrays(path, tree), arrays(EMBEDDED, tree)
        for name in ("run", "luminosityBlock", "event"):
            np.testing.assert_array_equal(row[name], source[name])
            assert row[name].dtype == source[name].dtype
        assert (row["bin"].dtype, row["network_bin"].dtype, row["split"].dtype) == (np.int32, np.int32, np.int8)
        assert all(b in groups[a] for a, b in zip(row["bin"], row["network_bin"], strict=True))
        shares = [np.mean(row["split"] == i) for i in (-1, 0, 1, 2)]
        # Of a systematic that the run did not fit, the events that no tree of the run has are in none of its splits.
        unknown = shares[0] if "_jer_" in tree or "_taue_" in tree else 0
        assert unknown < 0.2
        expected = [1, 0, 0, 0] if tree == "Data" else [unknown, *((1 - unknown) * x for x in (0.4, 0.2, 0.4))]
        assert shares == pytest.approx(expected, abs=0.05)
        values = np.stack([row[name] for name in outputs], axis=-1)
        if model == "inferno":
            np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-6)
        assert (values >= 0).all()
        assert (values <= 1).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_onnx_file_says_the_same(model: str, top: Callable[[str], tuple[Path, Path]]) -> None:
    run, path = top(model)
    session = onnxruntime.InferenceSession(run / "model.onnx")
    names = json.loads(session.get_modelmeta().custom_metadata_map["features"])
    for tree in ("TTJets_signal", "QCD", "Data"):
        source, row = arrays(EMBEDDED, tree), arrays(path, tree)
        features = np.stack([source[name] for name in names], axis=-1).astype(np.float32)
        outputs, bins = session.run(["outputs", "bin"], {"features": features})
        written = np.stack([row[name] for name in row if name.startswith(("output_", "score"))], axis=-1)
        np.testing.assert_allclose(outputs, written, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(bins, row["bin"])


def test_an_event_is_in_one_split_in_every_variation(top: Callable[[str], tuple[Path, Path]]) -> None:
    _, path = top("bce")
    split: dict[tuple[int, ...], int] = {}
    for tree in ("TTJets_bkg", "TTJets_bkg_jes_up", "TTJets_bkg_jes_down"):
        row = arrays(path, tree)
        for *ids, number in zip(row["run"], row["luminosityBlock"], row["event"], row["split"], strict=True):
            assert split.setdefault(tuple(ids), number) == number
    assert set(split.values()) == {0, 1, 2}


# ------------------------------------------------------------------------------------------------- choices
def test_the_chunks_leave_no_trace(own: Path, tmp_path: Path) -> None:
    whole = predict(own, f"output={tmp_path}/whole")
    parts = predict(own, f"output={tmp_path}/parts", "chunk=77")
    for tree in trees():
        first, second = arrays(whole, tree), arrays(parts, tree)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_predictions_go_into_the_folder_of_the_run(own: Path) -> None:
    path = predict(own, "tree=QCD", "keep=[w,x]")
    assert path == own / "predictions" / "mine.root"
    row = arrays(path, "QCD")
    assert list(row)[:5] == ["run", "event", "w", "x", "split"]
    np.testing.assert_array_equal(row["x"], trees()["QCD"]["x"])
    with uproot.open(path) as file:
        assert [name for name, kind in file.classnames(cycle=False).items() if kind == "TTree"] == ["QCD"]
    refuse(own, error="OutputError", says=("mine.root is there already", "overwrite=true"))
    assert predict(own, "tree=Data", "overwrite=true") == path
    assert len(arrays(path, "Data")["bin"]) == 900


def without(table: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: values for name, values in table.items() if name not in names}


def test_the_events_of_the_run_are_recognised_in_other_files(own: Path, tmp_path: Path) -> None:
    """By their ids and features; -2 where only the ids are those of used events, -1 for new events."""
    shifted = table(1500, 1.0)
    shifted["y"][::3] += 0.5
    written = {"a": table(1500, 1.0), "b": shifted, "c": table(1500, 1.0, first_id=20_000)}
    for name, events in written.items():
        write(_made(tmp_path / "in") / f"{name}.root", {"ttbar": without(events, "w")})
    outcome = succeed("predict", f"run={own / 'results.json'}", f"input={tmp_path}/in", f"output={tmp_path}/out")
    assert "split: 0 train, 1 validation, 2 template, -1 not used by the run, -2 unknown" in outcome.out
    assert "split: -2 for 500 of 4500 rows, in files that the run has not read" in outcome.out
    expected = arrays(predict(own, f"output={tmp_path}/own"), "ttbar")
    found = {name: arrays(tmp_path / "out" / f"{name}.root", "ttbar") for name in written}
    np.testing.assert_array_equal(found["a"]["split"], expected["split"])
    np.testing.assert_array_equal(found["a"]["bin"], expected["bin"])
    same = np.arange(1500) % 3 > 0
    np.testing.assert_array_equal(found["b"]["split"], np.where(same, expected["split"], -2))
    assert set(found["c"]["split"]) == {-1}
    with uproot.open(tmp_path / "out" / "a.root") as file:
        numbers = json.loads(str(file["inferno_cli"]))["split"]
    assert numbers == {"train": 0, "validation": 1, "template": 2, "not in the training run": -1, "unknown": -2}


def test_after_one_file_of_the_dataset_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own events are told by their features, the other files by their content; from any folder."""
    config = own_analysis(tmp_path)
    data = _made(tmp_path / "data")
    halves = {"a": slice(0, None, 2), "b": slice(1, None, 2)}
    for name, half in halves.items():
        part = {tree: {key: values[half] for key, values in events.items()} for tree, events in trees().items()}
        write(data / f"{name}.root", part)
    _change(config / "dataset" / "mine.yaml", lambda dataset: dataset.update(path="data"))
    monkeypatch.chdir(tmp_path)
    point = ("--config-dir", str(config), "+experiment=mine", *QUICK, *FIT_ONLY_MU, "nuisance=none")
    run = succeed("train", *point, f"hydra.run.dir={tmp_path}/run").path.parent
    succeed("predict", f"run={run}", f"output={tmp_path}/before")
    before = {name: arrays(tmp_path / "before" / f"{name}.root", "QCD")["split"] for name in halves}
    assert {0, 1, 2} == set(before["a"]) == set(before["b"])

    more = {
        name: np.concatenate([values[1::2], values[:10]]) for name, values in table(3000, -1.0, first_id=5000).items()
    }
    more["event"][-10:] += 100_000
    write(data / "b.root", {**trees(), "QCD": more})
    refuse(
        run,
        error="DatasetError",
        says=(f"not as the run read it: {data}/b.root). Put", f"input={data}, where"),
    )
    monkeypatch.chdir(_made(tmp_path / "elsewhere"))
    refuse(run, error="DatasetError", says=(f"not as the run read it: {data}/b.root). Put",))
    succeed("predict", f"run={run}", f"input={data}", f"output={tmp_path}/after")
    after = {name: arrays(tmp_path / "after" / f"{name}.root", "QCD")["split"] for name in halves}
    np.testing.assert_array_equal(after["a"], before["a"])
    np.testing.assert_array_equal(after["b"], [*before["b"], *[-1] * 10])


def test_an_older_run_knows_its_events_where_its_dataset_is(broken: Path, tmp_path: Path) -> None:
    """It has not written down what it used each event for: its dataset is divided again."""
    expected = predict(broken, f"output={tmp_path}/expected")
    (broken / "membership.npz").unlink()
    found = predict(broken, f"output={tmp_path}/found")
    for tree in trees():
        np.testing.assert_array_equal(arrays(found, tree)["split"], arrays(expected, tree)["split"])
    other = write(tmp_path / "other.root", {"QCD": table(100, -1.0, first_id=5000)})
    _change(broken / "config.yaml", lambda config: config["dataset"].update(path=str(tmp_path / "gone.root")))
    outcome = succeed("predict", f"run={broken}", f"input={other}", f"output={tmp_path}/unknown")
    assert "split: -2 everywhere; the run has not written down" in outcome.out
    assert set(arrays(tmp_path / "unknown" / "other.root", "QCD")["split"]) == {-2}


def test_the_splits_of_the_run_are_damaged_or_of_another_run(broken: Path) -> None:
    path = broken / "membership.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-50])
    refuse(broken, error="RunError", says=("membership.npz cannot be read", "Copy the whole folder"))
    path.write_bytes(content)
    record = (broken / "results.json").read_text()
    checksum = json.loads(record)["dataset_checksum"]
    (broken / "results.json").write_text(record.replace(checksum, "0" * 64))
    refuse(broken, error="RunError", says=("membership.npz is of a run on other events", checksum[:12]))


def test_a_moved_dataset_is_still_the_dataset(own: Path, tmp_path: Path) -> None:
    expected = predict(own, f"output={tmp_path}/expected")
    run, data = tmp_path / "run", tmp_path / "data.root"
    shutil.copytree(own, run, ignore=shutil.ignore_patterns("predictions"))
    Status("finished").write(run)  # of an earlier version: without checksums
    shutil.copy(own.parent / "mine.root", data)
    _change(run / "config.yaml", lambda config: config["dataset"].update(path=str(tmp_path / "gone.root")))
    refuse(run, error="DatasetFileError", says=("gone.root", "input=PATH"))
    found = predict(run, f"input={data}", f"output={tmp_path}/found")
    for tree in trees():
        np.testing.assert_array_equal(arrays(found, tree)["split"], arrays(expected, tree)["split"])


def test_a_run_on_the_synthetic_mixture_needs_an_input(runs: Runs, tmp_path: Path) -> None:
    run = runs("synthetic", "inferno").path.parent
    refuse(run, error="ConfigError", says=("input is missing", "'synthetic'", "input=PATH"))
    random = np.random.default_rng(1)
    table = {name: random.exponential(size=50).astype(np.float32) for name in ("x0", "x1", "x2")}
    path = predict(run, f"input={write(tmp_path / 'mine.root', {'events': table})}", f"output={tmp_path}/out")
    row = arrays(path, "events")
    assert list(row)[:3] == ["split", "bin", "network_bin"]
    assert (len(row["bin"]), set(row["split"])) == (50, {-1})


def test_an_empty_tree_gives_an_empty_tree(own: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "empty.root", {"ttbar": table(0, 0.0)})
    row = arrays(predict(own, f"input={path}", f"output={tmp_path}/out"), "ttbar")
    assert {len(values) for values in row.values()} == {0}


def test_several_runs_in_one_call(own: Path, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(own, copy, ignore=shutil.ignore_patterns("predictions"))
    succeed("predict", "-m", f"run={own},{copy}", "overwrite=true")
    assert (copy / "predictions" / "mine.root").is_file()


# ------------------------------------------------------------------------------------------------- memory
def test_the_memory_does_not_grow_with_the_file(own: Path, tmp_path: Path) -> None:
    """scripts/measure_predict.py measures two million rows in a process of its own."""

    def peak(n: int) -> int:
        path, part = tmp_path / f"{n}.root", table(10_000, 1.0)
        with uproot.recreate(path) as file:
            tree = file.mktree("events", {name: values.dtype for name, values in part.items()})
            for _ in range(n // 10_000):
                tree.extend(part)
        # As in a process of its own: beside all that other tests left, Python would look for garbage later.
        gc.collect()
        gc.freeze()
        tracemalloc.start()
        try:
            predict(own, f"input={path}", f"output={tmp_path}/out", "chunk=5000")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.unfreeze()

    peak(10_000)  # what is imported once
    assert peak(200_000) < 1.2 * peak(20_000)


# -------------------------------------------------------------------------------------------------- errors
def refuse(run: Path | str, *overrides: str, error: str, says: tuple[str, ...]) -> Outcome:
    """Call the program, which must refuse with one line on stderr: ``error``, and all of ``says`` in it."""
    before = _files(Path(run))
    outcome = inferno("predict", f"run={run}", *overrides)
    assert outcome.code == 2, outcome.out
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"{error}: "), line
    for part in says:
        assert part in line, line
    assert "predictions: " not in outcome.out
    assert _files(Path(run)) == before
    return outcome


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _change(path: Path, change: Callable[[Any], Any]) -> None:
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))


def test_run_is_not_named(tmp_path: Path) -> None:
    outcome = inferno("predict")
    assert outcome.code == 2
    assert "run is missing; set it with run=..." in outcome.err


def test_run_is_no_finished_run(own: Path, runs: Runs, tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", error="RunError", says=("nowhere is not a folder", "run=FOLDER"))
    refuse(tmp_path, error="RunError", says=("has no results.json", "did not finish"))
    workspace = runs("top11004", "bce").results.workspace
    fit = succeed("fit", f"workspace={workspace}", "tracking=none", "report.plots=false", f"output_dir={tmp_path}")
    refuse(fit.path.parent, error="RunError", says=("is a fit without a network",))
    (fit.path.parent / "config.yaml").unlink()
    refuse(fit.path.parent, error="RunError", says=("has no config.yaml", "train"))


@pytest.fixture
def broken(own: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be broken; of an earlier version, without checksums that would say so at once."""
    run = tmp_path / "run"
    shutil.copytree(own, run, ignore=shutil.ignore_patterns("predictions"))
    Status("finished").write(run)
    return run


@pytest.mark.parametrize(
    "name", ["results.json", "config.yaml", "checkpoints/best.ckpt", "templates.root", "workspace.json", "model.onnx"]
)
@pytest.mark.parametrize("step", ["predict", "explain"])
def test_a_file_that_is_not_the_runs_own_is_refused(step: str, name: str, own: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(own, run, ignore=shutil.ignore_patterns("predictions"))
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)

    outcome = inferno(step, f"run={run}", f"output={tmp_path}/out")

    assert outcome.code == 2
    assert outcome.err.startswith(f"RunError: {run / name} has changed since the run finished")
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_record_is_damaged(broken: Path) -> None:
    (broken / "results.json").write_text("{")
    refuse(broken, error="RunError", says=("cannot be read", "train again"))


def test_the_configuration_is_of_another_version(broken: Path) -> None:
    _change(broken / "config.yaml", lambda config: config["model"].update(layers=3))
    refuse(broken, error="RunError", says=("cannot be read", "unknown key model.layers", "another version"))


def test_the_checkpoint_is_missing_or_damaged_or_of_another_run(broken: Path) -> None:
    checkpoint = broken / "checkpoints" / "best.ckpt"
    results = broken / "results.json"
    record = results.read_text()
    epoch = json.loads(record)["training"]["best_epoch"]
    results.write_text(record.replace(f'"best_epoch": {epoch}', '"best_epoch": 17'))
    refuse(broken, error="RunError", says=("best.ckpt", f"is of epoch {epoch}, the run selected 17"))
    results.write_text(record)
    _change(broken / "config.yaml", lambda config: config["model"]["network"].update(hidden=[7]))
    refuse(broken, error="RunError", says=("best.ckpt", "is not of this run"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    refuse(broken, error="RunError", says=("best.ckpt", "cannot be read"))
    checkpoint.unlink()
    refuse(broken, error="RunError", says=("best.ckpt is missing",))


CODE = "(lambda: 0).__globals__['__builtins__']['open']('CANARY', 'w')"


@pytest.mark.parametrize("key", ["weight", "samples", "up", "down"])
@pytest.mark.parametrize("step", ["predict", "explain", "train"])
def test_a_run_from_elsewhere_runs_nothing(
    broken: Path, step: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def change(config: Any) -> None:
        dataset = config["dataset"]
        systematic = {"kind": "weight", "samples": ["QCD"], "up": "weight * 2", "down": "weight / 2"}
        if key == "samples":
            dataset["samples"]["QCD"]["weight"] = CODE
        elif key == "weight":
            dataset["weight"] = CODE
        else:
            dataset["systematics"]["sf"] = systematic | {key: CODE}

    _change(broken / "config.yaml", change)
    before = set(tmp_path.rglob("*"))
    point = (
        (f"run={broken}",) if step != "train" else (f"trained_in={broken}", "+experiment=synthetic", "tracking=none")
    )
    outcome = inferno(step, *point)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    where = {"weight": "weight", "samples": "samples.QCD.weight"}.get(key, f"systematics.sf.{key}")
    assert line.startswith("RunError: ")
    assert f"dataset.{where}: the expression " in line
    assert not [path for path in set(tmp_path.rglob("*")) - before if path.name == "CANARY"]


def test_the_dataset_has_changed(broken: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.root", trees(QCD=table(3001, -1.0, first_id=5000)))
    _change(broken / "config.yaml", lambda config: config["dataset"].update(path=str(path)))
    refuse(broken, error="DatasetError", says=("mine.root", "changed since the run", f"input={path}"))


def test_input_is_missing(own: Path, tmp_path: Path) -> None:
    refuse(own, f"input={tmp_path}/no.root", error="DatasetFileError", says=("no.root (input)", "Fix input"))
    refuse(own, f"input={tmp_path}", error="DatasetFileError", says=("'*.root'", "Fix input"))
    (tmp_path / "text.root").write_text("not ROOT")
    refuse(own, f"input={tmp_path}", error="DatasetFileError", says=("text.root", "cannot be read as a ROOT file"))
    (tmp_path / "text.root").write_text("x,y,z\n" * 1000)
    refuse(own, f"input={tmp_path}", error="DatasetFileError", says=("text.root", "another kind than ROOT or Parquet"))


def test_tree_or_branch_is_missing(own: Path, tmp_path: Path) -> None:
    refuse(own, "tree=QDC", error="TreeNotFoundError", says=("'QDC'", "QCD", "tree=NAME"))
    path = own.parent / "mine.root"
    refuse(own, f"input={path}", "tree=QDC", error="TreeNotFoundError", says=("'QDC'", "closest: 'QCD'"))
    refuse(own, "keep=[W]", f"output={tmp_path}/out", error="BranchNotFoundError", says=("'W' (keep)", "closest: 'w'"))
    for gone, why in (("y", "a feature of the network"), ("event", "dataset.event_id of the run")):
        short = {name: values for name, values in table(10, 1.0).items() if name != gone}
        arguments = (f"input={write(tmp_path / 'short.root', {'QCD': short})}", f"output={tmp_path}/out")
        refuse(own, *arguments, error="BranchNotFoundError", says=(f"'{gone}' ({why})", "'QCD'", "short.root"))


def test_a_branch_would_be_there_twice(own: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "twice.root", {"QCD": table(10, 1.0, bin=np.arange(10))})
    output = f"output={tmp_path}/out"
    refuse(own, f"input={path}", "keep=[bin]", output, error="ConfigError", says=("'bin' would be there twice",))


def test_value_is_not_finite_and_earlier_predictions_stay(own: Path, tmp_path: Path) -> None:
    good = write(tmp_path / "a.root", {"QCD": table(1000, 1.0)})
    changed = table(1000, 1.0)
    changed["y"][900] = np.nan
    write(tmp_path / "b.root", {"QCD": table(10, 1.0), "other": changed})
    output = tmp_path / "out"
    predict(own, f"input={good}", f"output={output}")
    before = (output / "a.root").read_bytes()
    arguments = (f"input={tmp_path}", f"output={output}", "overwrite=true", "chunk=100")
    says = ("branch 'y'", "tree 'other'", "b.root", "row 900", "nan", "repair")
    refuse(own, *arguments, error="DatasetError", says=says)
    assert [path.name for path in output.glob("[!.]*")] == ["a.root"]
    assert (output / "a.root").read_bytes() == before


def test_the_output_cannot_be_written(own: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refuse(own, f"output={tmp_path}/file", error="OutputError", says=("file cannot be written", "output=..."))
    refuse(own, f"output={own.parent}", error="ConfigError", says=("is the input itself", "output=..."))


def test_files_of_one_name_keep_their_folders(own: Path, tmp_path: Path) -> None:
    for name, mean in (("a", 1.0), ("b", 2.0)):
        write(_made(tmp_path / name) / "same.root", {"QCD": table(10, mean)})
    predict(own, f"input={tmp_path}/?/*.root", f"output={tmp_path / 'out'}")
    assert sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.root")) == [
        Path("a/same.root"),
        Path("b/same.root"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_the_output_folder_is_read_only(own: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refuse(own, f"output={tmp_path}", error="OutputError", says=("cannot be written",))


def test_features_and_a_selection_are_those_of_the_stored_configuration(tmp_path: Path) -> None:
    import onnx

    config = own_analysis(tmp_path)
    path = config / "dataset" / "mine.yaml"
    text = path.read_text().replace(
        "features: [x, y]", "features: {x2: {expression: x * 2, title: twice}, sum: x + y}\nselection: y > -1"
    )
    assert "selection" in text
    path.write_text(text)
    point = ("--config-dir", str(config), "+experiment=mine", *QUICK, *FIT_ONLY_MU, f"output_dir={tmp_path}")
    run = succeed("train", *point, f"hydra.run.dir={tmp_path}/run").path.parent
    found = arrays(predict(run, f"output={tmp_path / 'predictions'}"), "QCD")
    events = arrays(tmp_path / "mine.root", "QCD")
    selected = events["y"] > -1
    np.testing.assert_array_equal(found["bin"] >= 0, selected)
    np.testing.assert_array_equal(np.isnan(found["output_0"]), ~selected)
    assert set(found["split"][~selected]) == {-1}
    assert set(found["split"][selected]) == {0, 1, 2}
    # The template split, with the yield of all selected events, is the template that was fitted.
    templates, chosen = Templates.load(run / "templates.root"), found["split"] == 2
    luminosity = RunFolder.load(str(run)).config.dataset.downsample_factor * events["w"]
    binned = np.bincount(found["bin"][chosen], luminosity[chosen], templates.n_bins)
    expected = binned * luminosity[selected].sum() / luminosity[chosen].sum()
    np.testing.assert_allclose(expected, templates.values("QCD", NOMINAL), rtol=1e-12)
    # The branches are all that the Python API needs.
    applied = open_run(run).apply({name: events[name][selected] for name in ("x", "y")})
    np.testing.assert_array_equal(applied.bin, found["bin"][selected])
    stored = {item.key: item.value for item in onnx.load(run / "model.onnx").metadata_props}
    assert json.loads(stored["inputs"])["expressions"] == {"x2": "x * 2", "sum": "x + y"}
    # Another expression of the same name is another feature.
    path.write_text(text.replace("x * 2", "x * 3"))
    refused = inferno("train", *point, f"trained_in={run}", f"hydra.run.dir={tmp_path}/other")
    assert refused.err.startswith("RunError: feature 'x2' is x * 3, and of the network of")
