"""Channels and folds from the command line to the workspace, the predictions, ONNX, and the runs after them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import uproot
import yaml
from channel_ntuples import SIMULATED, SYSTEMATICS, Table, channels, inside, tree_of, trees, weights
from conftest import write

from inferno_cli import open_run
from inferno_cli.errors import RunError
from inferno_cli.training import trainer
from inferno_cli.training.batches import StratifiedBatches
from integration.conftest import DATASET, FIT_ONLY_MU, QUICK, Outcome, inferno, succeed

ERAS = ("2017", "2018")
SCALE = {"2017": 1.0, "2018": 1.5}
MODEL = ("model=inferno", "model.bins=4", "model.hidden=[12]", "binning.merge_noise=false")
POINT = (*QUICK, *FIT_ONLY_MU, *MODEL, "dataset=mine", "channels=mine", "nuisance=none", "unblind=true", "fit=data")


def analysis(folder: Path, systematics: dict[str, Any], splits: dict[str, Any], **keys: Any) -> tuple[str, ...]:
    """Write the YAML of an analysis of the small ntuples; return the arguments that choose it."""
    dataset = yaml.safe_load(DATASET.format(path=""))
    roles = {"signal": "signal", "fakes": "background", "top": "background", "Data": "data"}
    dataset |= {"samples": {name: {"role": role} for name, role in roles.items()}}
    dataset |= {"systematics": systematics, "splits": splits, **keys}
    for group, content in (("dataset", dataset), ("channels", channels())):
        (folder / "conf" / group).mkdir(parents=True)
        (folder / "conf" / group / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    names = ",".join(systematics)
    chosen = ("--config-dir", str(folder / "conf"), f"nuisance.train=[{names}]", f"nuisance.fit=[{names}]")
    return (*chosen, f"output_dir={folder}")


@dataclass(frozen=True)
class Seen:
    """Values of ``x`` of all views of the events that a network was trained on, and of those that chose its epoch."""

    trained: set[float]
    batches: set[float]
    validated: set[float]


def values_of(samples: Any) -> set[float]:
    found: set[float] = set()
    for sample in samples:
        for row, view in enumerate(sample.view):
            found |= set(sample.features[view, sample.weights[row] != 0, 0].tolist())
    return found


@dataclass(frozen=True)
class Ended:
    """A run, what its networks saw, and what ``predict`` says of every tree."""

    point: tuple[str, ...]
    run: Outcome
    seen: list[Seen]
    predicted: dict[str, Table]

    @property
    def folder(self) -> Path:
        return self.run.path.parent

    @property
    def about(self) -> dict[str, Any]:
        path = next((self.folder / "predictions").rglob("*.root"))
        with uproot.open(path) as file:
            return dict(json.loads(str(file["inferno_cli"])))


def watched(point: tuple[str, ...]) -> tuple[Outcome, list[Seen]]:
    """Train, and write down what every network sees."""
    seen: list[Seen] = []
    train, begin = trainer.train, StratifiedBatches.__init__

    def recorded(*arguments: Any, **keys: Any) -> Any:
        events = arguments[4]
        seen.append(Seen(values_of(events.train), set(), values_of(events.validation)))
        return train(*arguments, **keys)

    def batched(self: StratifiedBatches, samples: Any, *arguments: Any) -> None:
        seen[-1].batches.update(values_of(samples))
        begin(self, samples, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "train", recorded)
        patch.setattr(StratifiedBatches, "__init__", batched)
        return succeed("train", *point), seen


def predicted(folder: Path) -> dict[str, Table]:
    """Predict the files of a run; return the rows by tree, of all eras."""
    succeed("predict", f"run={folder}", "unblind=true", "keep=[x,pt]")
    parts: dict[str, list[Table]] = {}
    for path in sorted((folder / "predictions").rglob("*.root")):
        with uproot.open(path) as file:
            for name in file.keys(cycle=False, filter_classname="TTree"):
                parts.setdefault(name, []).append(file[name].arrays(library="np"))
    return {name: {key: np.concatenate([part[key] for part in own]) for key in own[0]} for name, own in parts.items()}


def ended(point: tuple[str, ...]) -> Ended:
    run, seen = watched(point)
    return Ended(point, run, seen, predicted(run.path.parent))


@pytest.fixture(scope="module")
def files() -> dict[str, Table]:
    return trees()


@pytest.fixture(scope="module")
def ntuples(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Table]) -> str:
    return str(write(tmp_path_factory.mktemp("ntuples") / "all.root", files))


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory, ntuples: str) -> Ended:
    """Three channels and three folds."""
    folder = tmp_path_factory.mktemp("folds")
    own = analysis(folder, SYSTEMATICS, {"folds": 3, "validation": 0.25}, path=ntuples)
    return ended((*own, *POINT, "export=true"))


@pytest.fixture(scope="module")
def eras(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Three channels, two folds and two eras with the same event numbers; parameters by channel."""
    folder = tmp_path_factory.mktemp("eras")
    for era in ERAS:
        (folder / era).mkdir()
        write(folder / era / "all.root", {name: of_era(rows, era) for name, rows in trees().items()})
    systematics = {"jes": SYSTEMATICS["jes"] | {"correlated": {"by": "channel"}}, "pdf": SYSTEMATICS["pdf"]}
    keys = {"path": str(folder), "file": "{era}/all.root", "eras": list(ERAS)}
    own = analysis(folder, systematics, {"folds": 2, "validation": 0.25}, **keys)
    return ended((*own, *POINT, "export=false"))


def of_era(rows: Table, era: str) -> Table:
    """The rows of a tree in an era: others in x, with other weights."""
    changed = {"x": rows["x"] + np.float32(0.01 * (era == ERAS[1]))}
    if "w" in rows:
        changed["w"] = rows["w"] * SCALE[era]
    return rows | changed


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory, ntuples: str) -> Ended:
    """Three channels and three splits, with coverage."""
    folder = tmp_path_factory.mktemp("splits")
    own = analysis(folder, SYSTEMATICS, {"train": 0.4, "validation": 0.3, "template": 0.3}, path=ntuples)
    coverage = "coverage={experiments: 4, mu: [1.0], nuisance: [nominal, priors]}"
    return ended((*own, *POINT, "export=false", coverage))


@pytest.fixture(params=["folds", "eras", "splits"])
def each(request: pytest.FixtureRequest) -> Ended:
    found: Ended = request.getfixturevalue(request.param)
    return found


def of_trees(item: Ended, files: dict[str, Table]) -> dict[str, Table]:
    """The rows that were predicted on, in the same order."""
    if "eras" not in str(item.folder):
        return files
    found = {}
    for name, rows in files.items():
        parts = [of_era(rows, era) for era in ERAS]
        found[name] = {key: np.concatenate([part[key] for part in parts]) for key in rows}
    return found


def names(item: Ended, rows: Table) -> np.ndarray:
    """Name of the channel of the likelihood of each predicted row, or empty."""
    of_number = {number: name for name, number in item.about["channels"].items()}
    found = np.full(len(rows["channel"]), "", dtype=object)
    for i, number in enumerate(rows["channel"]):
        if number >= 0:
            name = of_number[number]
            has_folds = "fold" in rows and rows["fold"][i] >= 0
            found[i] = f"{name}_fold{rows['fold'][i]}" if has_folds else name
    return found


# ------------------------------------------------------------------------------------------------------- predict
def test_the_events_are_in_the_channels_of_their_selection(each: Ended, files: dict[str, Table]) -> None:
    for tree, rows in of_trees(each, files).items():
        found = each.predicted[tree]
        np.testing.assert_array_equal(found["event"], rows["event"])
        for number, name in enumerate(("SR", "CR", "low")):
            np.testing.assert_array_equal(found["channel"] == number, inside(rows, name))
        assert ((found["network_bin"] >= 0) == inside(rows, "SR")).all()


def test_predictions_are_the_observations_of_the_workspace(each: Ended) -> None:
    workspace = json.loads((each.folder / "workspace.json").read_text())
    data = each.predicted["Data"]
    of_rows = names(each, data)
    observations = {item["name"]: item["data"] for item in workspace["observations"]}
    assert set(observations) == set(open_run(each.folder).channels)
    for name, counts in observations.items():
        assert np.bincount(data["bin"][of_rows == name], minlength=len(counts)).tolist() == counts


def test_predictions_are_the_templates(each: Ended, files: dict[str, Table]) -> None:
    """Of a channel with bins of its own all events; else those of the fold, or of the template split, to the yield."""
    every = of_trees(each, files)
    n_folds = max(1, len(each.run.results.folds))
    checked = 0
    for name, templates in open_run(each.folder).channels.items():
        for sample, variation in templates.histograms:
            label = str(variation).replace(f"_{templates.channel.partition('_')[0]}", "")
            tree = tree_of(sample, label)
            rows, found, w = every[tree], each.predicted[tree], weights(every[tree], label)
            own = names(each, found) == name
            factor = 1.0
            if templates.is_trained:
                if n_folds == 1:
                    own &= found["split"] == 2
                factor = w[inside(rows, "SR")].sum() / w[own].sum() / n_folds
            expected = np.bincount(found["bin"][own], w[own] * factor, templates.n_bins)
            if not np.allclose(expected, templates.values(sample, variation), rtol=1e-5, atol=1e-8):
                # One direction and the other are made symmetric where their even part is noise: their difference stays.
                assert sample in each.run.results.parts[variation.systematic].symmetrised
                continue
            checked += 1
    assert checked > 15


# ---------------------------------------------------------------------------------------------------------- folds
@pytest.mark.parametrize("name", ["folds", "eras"])
def test_no_bin_of_an_event_comes_from_a_network_that_saw_it(name: str, request: pytest.FixtureRequest) -> None:
    item: Ended = request.getfixturevalue(name)
    assert len(item.seen) == len(item.run.results.folds)
    for fold, seen in enumerate(item.seen):
        assert seen.batches <= seen.trained
        assert not seen.trained & seen.validated
        n_evaluated = 0
        for tree, rows in item.predicted.items():
            own = rows["fold"] == fold
            evaluated = set(rows["x"][own].tolist())
            assert not evaluated & (seen.trained | seen.validated), tree
            if tree != "Data":
                others = set(rows["x"][(rows["channel"] == 0) & ~own].tolist())
                assert others <= seen.trained | seen.validated
            n_evaluated += len(evaluated)
        assert n_evaluated > 100


def test_an_event_has_the_fold_that_it_has_in_all_variations(folds: Ended) -> None:
    for sample in SIMULATED:
        fold: dict[int, int] = {}
        for tree in (sample, f"{sample}_jes_up", f"{sample}_jes_down"):
            rows = folds.predicted[tree]
            for event, own, split in zip(rows["event"], rows["fold"], rows["split"], strict=True):
                if own >= 0:
                    assert fold.setdefault(int(event), int(own)) == own == split


def test_with_splits_the_template_split_is_what_the_network_has_not_seen(splits: Ended) -> None:
    (seen,) = splits.seen
    for tree, rows in splits.predicted.items():
        if tree == "Data":
            continue
        in_channel = rows["channel"] == 0
        for number, values in enumerate((seen.trained, seen.validated)):
            assert set(rows["x"][in_channel & (rows["split"] == number)].tolist()) <= values
        assert not set(rows["x"][in_channel & (rows["split"] == 2)].tolist()) & (seen.trained | seen.validated)


# ------------------------------------------------------------------------------------------- what a run leaves
def test_the_record_says_which_channel_a_bin_is_of(each: Ended) -> None:
    results, run = each.run.results, open_run(each.folder)
    assert results.bins is not None
    assert list(dict.fromkeys(item.channel for item in results.bins)) == list(run.channels)
    for name, templates in run.channels.items():
        own = [item for item in results.bins if item.channel == name]
        np.testing.assert_allclose([item.signal for item in own], templates.nominal[templates.is_signal].sum(axis=0))
        assert [tuple(item.merged_from) for item in own] == list(templates.groups)
    with pytest.raises(RunError, match=r"has the channels .*take channels\[NAME\]"):
        _ = run.templates


def test_every_network_is_an_onnx_file(each: Ended) -> None:
    run = open_run(each.folder)
    models = {path.stem: path for path in each.folder.glob("*.onnx")}
    trained = [name for name, item in run.channels.items() if item.is_trained]
    n_folds = max(1, len(each.run.results.folds))
    assert set(models) == ({"model"} if n_folds == 1 else {f"model_SR_fold{fold}" for fold in range(n_folds)})
    for path, name in zip(sorted(models.values()), trained, strict=True):
        session = onnxruntime.InferenceSession(path)
        assert session.get_modelmeta().custom_metadata_map["channel"] == name
        x = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
        *_, bins = session.run(None, {"features": x})
        channel, fold = run.observables.names[name]
        np.testing.assert_array_equal(bins, run.observables.of(channel, fold).apply(x).bin)
    if n_folds > 1:
        with pytest.raises(RunError, match=r"networks for the channels SR, expected one.*observables\.of"):
            run.apply(np.zeros((1, 2)))


def test_the_networks_of_a_run_make_the_same_fit_again(each: Ended, tmp_path: Path) -> None:
    again = succeed("train", *each.point, f"trained_in={each.folder}", "coverage=null", f"hydra.run.dir={tmp_path}/run")
    for name, parameter in each.run.results.parameters.items():
        assert again.results.parameters[name].bestfit == pytest.approx(parameter.bestfit, abs=1e-6)
    before, after = (open_run(path).channels for path in (each.folder, again.path.parent))
    for name, templates in before.items():
        np.testing.assert_allclose(after[name].nominal, templates.nominal, rtol=1e-12)
    other = inferno(
        "train",
        *each.point,
        f"trained_in={each.folder}",
        "coverage=null",
        f"hydra.run.dir={tmp_path}/other",
        "channels.SR.selection=pt >= 30",
        "channels.CR.selection=pt < 30 and pt >= 20",
    )
    assert other.code == 2
    assert "channels" in other.err


def test_what_the_networks_learnt_is_explained_in_every_channel(each: Ended, tmp_path: Path) -> None:
    outcome = succeed("explain", f"run={each.folder}", "repeats=1", f"output={tmp_path}", "report.plots=false")
    record = json.loads((tmp_path / "explain.json").read_text())
    channels_of = [item["channel"] for item in record["bins"]]
    assert channels_of == [item.channel for item in each.run.results.bins or ()]
    assert {item["feature"] for item in record["importance"]} == {"x", "y"}
    assert outcome.code == 0


def test_runs_with_channels_are_compared(folds: Ended, splits: Ended, tmp_path: Path) -> None:
    runs = f"runs=[{folds.folder},{splits.folder}]"
    outcome = succeed("compare", runs, f"output={tmp_path}/compared", "tracking=none", f"output_dir={tmp_path}")
    assert (outcome.path.parent / "compare.md").is_file()


def test_the_coverage_is_of_all_channels_and_none_of_folds(folds: Ended, splits: Ended, tmp_path: Path) -> None:
    assert splits.run.results.coverage is not None
    assert [item.nuisance for item in splits.run.results.coverage.truths] == ["nominal", "priors"]
    asked = "coverage={experiments: 2, mu: [1.0]}"
    again = succeed("train", *folds.point, f"trained_in={folds.folder}", asked, f"hydra.run.dir={tmp_path}/run")
    assert again.results.coverage is None
    assert any("no coverage: with dataset.splits.folds" in note for note in again.results.notes)


def test_the_card_has_every_channel(folds: Ended) -> None:
    card = (folds.folder / "export" / "datacard.txt").read_text()
    (line,) = [line.split()[1:] for line in card.splitlines() if line.startswith("bin ")][:1]
    assert set(line) == set(open_run(folds.folder).channels)
