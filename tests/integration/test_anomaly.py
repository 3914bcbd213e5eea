"""`inferno anomaly` as a user runs it: no signal in the training, its score in a fit, searches, and what is refused."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uproot
from scipy import stats

from inferno_cli.anomaly import analysis
from inferno_cli.anomaly.record import AnomalyRecord
from inferno_cli.files import sha256
from inferno_cli.runs.folder import Status
from integration.conftest import FIT_ONLY_MU, QUICK, Outcome, Runs, inferno, own_analysis, succeed, table

TOP = ("+experiment=top11004", "vae=top11004")
OWN = (*QUICK, "+experiment=mine", "model.batch_size=200")
ROOT = Path(__file__).parents[2]


def record(outcome: Outcome) -> AnomalyRecord:
    return AnomalyRecord.load(outcome.path)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, runs: Runs) -> Outcome:
    """The embedded sample, beside a classifier, logged."""
    classifier = runs("top11004", "bce").path.parent
    folder = tmp_path_factory.mktemp("anomaly")
    point = (*TOP, *QUICK, "tracking=mlflow", "report.plots=true", f"compare_with={classifier}")
    return succeed("anomaly", *point, f"output_dir={folder}")


def test_a_run_is_logged_afterwards_and_registered(scored: Outcome, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    live, uri = scored.path.parent, f"sqlite:///{tmp_path}/mlflow.db"
    folder = tmp_path / "run"
    shutil.copytree(live, folder)
    succeed("log", f"run={folder}", f"tracking.uri={uri}", "tracking.register_as=score")

    found = []
    for place in (live, folder):
        logged = json.loads((place / "mlflow_run.json").read_text())
        client = MlflowClient(tracking_uri=logged["uri"])
        run = client.get_run(logged["run_id"])
        files = {item.path for item in client.list_artifacts(logged["run_id"])} - {"model"}
        data = {item.dataset.name: (item.dataset.digest, item.tags[0].value) for item in run.inputs.dataset_inputs}
        found.append((run.info.run_name, run.data.metrics, dict(run.data.tags), files, data))
    assert found[0] == found[1]
    succeed("predict", "model=models:/score/1", "tree=QCD", f"tracking.uri={uri}", f"output_dir={tmp_path}")
    succeed("predict", f"run={folder}", "tree=QCD")
    scores = [uproot.open(path)["QCD"]["score"].array() for path in tmp_path.rglob("predictions/**/*.root")]
    assert len(scores) == 2
    assert scores[0].tolist() == scores[1].tolist()


# --------------------------------------------------------------------------------------------- what it is trained on
def test_no_event_of_the_signal_is_in_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: y says which event of which sample it is."""
    ttbar, background = table(1500, 1.0), table(3000, -1.0, first_id=5000)
    ttbar["y"], background["y"] = ttbar["event"] + 0.5, background["event"].astype(float)
    config = own_analysis(tmp_path, ttbar=ttbar, QCD=background)
    seen: list[np.ndarray] = []
    train = analysis.train

    def spy(vae: Any, outputs: Any, backgrounds: Any, *rest: Any, **options: Any) -> Any:
        seen.extend(split.features[:, 1] for split in backgrounds)
        return train(vae, outputs, backgrounds, *rest, **options)

    monkeypatch.setattr(analysis, "train", spy)
    found = record(succeed("anomaly", "--config-dir", str(config), *OWN, f"output_dir={tmp_path}"))
    training, validation = (set(ids.tolist()) for ids in seen)

    assert (len(training), len(validation)) == found.trained_on == (1200, 600)
    assert training | validation <= set(background["y"].tolist())
    assert not training & validation
    assert {item.name: item.simulated for item in found.samples} == {"ttbar": 600, "QCD": 1200}


def test_the_network_does_not_depend_on_the_signal_and_repeats_bit_for_bit(tmp_path: Path) -> None:
    weights = []
    for number, mean in enumerate((1.0, 1.0, 4.0)):
        folder = tmp_path / str(number)
        config = own_analysis(folder, ttbar=table(1500, mean))
        outcome = succeed("anomaly", "--config-dir", str(config), *OWN, f"output_dir={folder}")
        stored = torch.load(outcome.path.parent / "checkpoints" / "best.ckpt", weights_only=True)
        weights.append((stored["state_dict"], record(outcome)))
    (first, once), (second, again), (third, other) = weights

    assert all(torch.equal(first[name], second[name]) and torch.equal(first[name], third[name]) for name in first)
    assert once.model_dump(exclude={"timing", "dataset_checksum"}) == again.model_dump(
        exclude={"timing", "dataset_checksum"}
    )
    assert other.scores[0].auc[0] > once.scores[0].auc[0] + 0.1


def test_on_shifted_gaussians_the_area_is_the_analytic_one(tmp_path: Path) -> None:
    """Of -ln p of the background it is a probability of the non-central F distribution: the shift is squared, 8."""
    events = "dataset.events={train: 20000, validation: 4000, template: 20000}"
    outcome = succeed("anomaly", "+experiment=blobs", *QUICK, events, f"output_dir={tmp_path}")
    score, exact = record(outcome).scores
    passing = stats.ncx2.sf(stats.chi2.isf(0.01, 2), 2, 8)

    assert score.auc[0] == pytest.approx(stats.ncf.sf(1, 2, 2, 8), abs=3 * score.auc[1])
    assert score.points[0].efficiency[0] == pytest.approx(passing, abs=3 * score.points[0].efficiency[1])
    assert exact.auc[0] == pytest.approx(stats.norm.cdf(np.sqrt(8 / 2)), abs=3 * exact.auc[1])
    assert score.auc[1] < 0.004


# ---------------------------------------------------------------------------------------------------- what is written
def test_the_record_has_the_score_beside_the_classifier(scored: Outcome) -> None:
    found, text = record(scored), scored.out

    assert [item.name for item in found.scores] == ["vae", "bce"]
    assert [point.rate for point in found.scores[0].points] == [0.01, 0.001]
    assert 0.5 < found.scores[0].auc[0] < found.scores[1].auc[0]
    assert found.scores[1].difference is not None
    assert found.label in text
    assert f"{found.scores[0].auc[0]:.3f} ±{found.scores[0].auc[1]:.3f}" in text
    assert found.outputs["MET_met"] == "clipped_lognormal"
    assert sum(item.expected for item in found.samples) == pytest.approx(2940.5, abs=1)
    folder = scored.path.parent
    assert {path.stem for path in (folder / "plots").iterdir()} == {"score", "roc", "training"}
    assert found.label in (folder / "anomaly.html").read_text(encoding="utf-8")
    status = Status.read(folder)
    assert status is not None
    assert {"anomaly.json", "score.onnx", "checkpoints/best.ckpt"} <= set(status.checksums)


def test_every_metric_in_mlflow_is_documented(scored: Outcome) -> None:
    from mlflow import MlflowClient

    place = json.loads((scored.path.parent / "mlflow_run.json").read_text(encoding="utf-8"))
    data = MlflowClient(place["uri"]).get_run(place["run_id"]).data
    text = (ROOT / "docs" / "mlflow.md").read_text(encoding="utf-8")
    text = text.partition("| metric of `anomaly` |")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    patterns = [re.escape(name).replace("SCORE", "[^/]+").replace("RATE", "[^/]+") for name in names]

    assert [name for name in data.metrics if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
    assert [x for x in patterns if not any(re.fullmatch(x, name) for name in data.metrics)] == []
    assert data.metrics["anomaly/auc"] == record(scored).scores[0].auc[0]
    assert "VAE" in data.tags["mlflow.note.content"]


def test_the_exported_score_goes_through_an_external_model_to_a_fit(scored: Outcome, tmp_path: Path) -> None:
    file = scored.path.parent / "score.onnx"
    point = ("+experiment=top11004", "model=external", f"model.file={file}", *QUICK, *FIT_ONLY_MU)
    results = succeed("train", *point, f"output_dir={tmp_path}").results

    assert results.training is not None
    assert results.training.learnt["file_sha256"] == sha256(file)
    assert results.parameters["mu"].bestfit == pytest.approx(1, abs=0.01)
    assert 0.05 < results.parameters["mu"].hesse < 0.5


def test_predict_writes_the_score_of_every_row(scored: Outcome, tmp_path: Path) -> None:
    import onnxruntime

    folder = scored.path.parent
    said = succeed("predict", f"run={folder}", f"output={tmp_path}", "tree=TTJets_signal*").out
    (path,) = tmp_path.glob("*.root")
    assert str(path) in said
    with uproot.open(path) as made:
        predicted = made["TTJets_signal_jes_up"].arrays(library="np")
        names = json.loads(str(made["inferno_cli"]))["features"]
    with uproot.open(ROOT / "src" / "inferno_cli" / "data" / "top11004_sim.root") as source:
        events = source["TTJets_signal_jes_up"].arrays(["event", *names], library="np")
    features = np.stack([events[name] for name in names], axis=1).astype(np.float32)
    (score,) = onnxruntime.InferenceSession(folder / "score.onnx").run(["score"], {"features": features})

    assert predicted["event"].tolist() == events["event"].tolist()
    assert predicted["score"] == pytest.approx(score[:, 0], abs=1e-5)
    assert predicted["loss"] == pytest.approx(predicted["reconstruction"] + predicted["divergence"], rel=1e-5)


def test_regions_are_selections_and_are_compared(tmp_path: Path) -> None:
    regions = "dataset.selection='x > -0.5 and y < 2','x > -2'"
    config = ("--config-dir", str(own_analysis(tmp_path)))
    sweep = (*config, *OWN, f"output_dir={tmp_path}", f"hydra.sweep.dir={tmp_path}/sweep", regions, "seed=1,2")
    succeed("anomaly", "-m", *sweep, "dataset.seed=1")
    found = [AnomalyRecord.load(tmp_path / "sweep" / str(number) / "anomaly.json") for number in range(4)]
    outcome = succeed("compare", f"runs={tmp_path}/sweep", "tracking=none")
    with (tmp_path / "sweep" / "compare" / "compare.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert found[0].selection == "x > -0.5 and y < 2"
    assert found[0].trained_on[0] < 0.5 * found[2].trained_on[0]
    assert found[0].trained_on == found[1].trained_on  # other networks on the same events
    assert [(row["selection"], row["runs"]) for row in rows] == [("x > -0.5 and y < 2", "2"), ("x > -2", "2")]
    areas = [item.scores[0].auc[0] for item in found]
    assert [float(row["AUC"]) for row in rows] == pytest.approx([np.mean(areas[:2]), np.mean(areas[2:])])
    assert [float(row["AUC low"]) for row in rows] == [min(areas[:2]), min(areas[2:])]
    assert outcome.path.name == "compare.html"
    one = succeed("compare", f"runs={tmp_path}/sweep/0", f"output={tmp_path}/one", "tracking=none")
    value, error = found[0].scores[0].auc
    assert f"{value:.3f} ({value - error:.3f}, {value + error:.3f})" in one.out
    assert inferno("compare", f"runs={tmp_path}/sweep", "where=dataset.name=other", "tracking=none").code == 2


# ------------------------------------------------------------------------------------------------------- searches
def test_a_search_minimises_the_bound_of_the_backgrounds(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    config = own_analysis(tmp_path)
    point = ("--config-dir", str(config), "-m", *OWN, f"output_dir={tmp_path}", "+sweep=anomaly")
    outcome = succeed("anomaly", *point, "hydra.sweeper.n_trials=2", "trainer.max_epochs=2")
    (path,) = tmp_path.glob("searches/*/search.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_trial = {row["trial"]: row for row in rows}

    assert set(by_trial) == {"0", "1"}
    for number, row in by_trial.items():
        found = AnomalyRecord.load(path.parent / number / "anomaly.json")
        assert float(row["elbo"]) == found.negative_elbo
        assert found.beta == pytest.approx(float(row["vae.beta"]))
    assert "best: trial" in outcome.out


# ------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["vae.outputs={MET: gaussian}"], r"vae\.outputs: the dataset has no feature 'MET'; closest: 'mt'"),
        (["vae.outputs={MET_met: lognormal}"], r"vae\.outputs\.MET_met\.kind is 'lognormal'; expected one of"),
        (["vae.outputs={chargeEta: clipped_lognormal}"], "feature 'chargeEta' is -.* a number that is not negative"),
        (["dataset.splits={folds: 3, validation: 0.2}"], "dataset.splits: the score is of one network"),
        (["trainer.members=2"], "trainer.members: one network is trained"),
        (["trainer.snapshots=2"], "trainer.snapshots: they are for the mean that"),
        (["trained_in=x"], "trained_in: `inferno anomaly` has no use for it"),
        (["compare_with=nowhere"], "compare_with=nowhere is not a folder"),
        (["model=histogram"], "model=histogram: this step has no use for it: it trains an autoencoder, vae=NAME"),
        (["objective=p0"], "objective=p0: this step has no use for it"),
        (["background_rates=[2]"], r"^ConfigError: background_rates\.0 is 2; input should be less than 1\n$"),
    ],
)
def test_what_cannot_be_is_told(overrides: list[str], message: str, tmp_path: Path) -> None:
    outcome = inferno("anomaly", "+experiment=top11004", *QUICK, *overrides, f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert re.search(message, outcome.err)
    assert not list(tmp_path.rglob("anomaly.json"))


def test_a_classifier_that_was_trained_on_these_events_is_refused(runs: Runs, tmp_path: Path) -> None:
    classifier = runs("top11004", "bce").path.parent
    outcome = inferno("anomaly", *TOP, *QUICK, f"compare_with={classifier}", "seed=5", f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert "the seed of the data is 5, there 1" in outcome.err
    assert "training:" not in outcome.out, "it is known before"


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    config = own_analysis(tmp_path)
    point = ("--config-dir", str(config), *OWN, f"hydra.run.dir={tmp_path}/run")
    first = succeed("anomaly", *point)
    changed = first.path.stat().st_mtime_ns
    second = succeed("anomaly", *point)
    other = inferno("anomaly", *point, "vae.latent=2")

    assert second.path == first.path
    assert first.path.stat().st_mtime_ns == changed
    assert other.code == 2
    assert "overwrite=true" in other.err
