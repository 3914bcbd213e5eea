"""A finished run as a registered model: what is registered, what `predict` takes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from integration.conftest import Outcome, inferno, succeed

pytestmark = pytest.mark.slow
Runs = Callable[..., Outcome]
TREE = "TTJets_signal"


@pytest.fixture(scope="module")
def run(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of its own, as it is written to."""
    folder = tmp_path_factory.mktemp("registered") / "run"
    shutil.copytree(runs("top11004", "bce").path.parent, folder)
    return folder


@pytest.fixture(scope="module")
def uri(run: Path) -> str:
    """A store in which that run is version 1 of the model ``histogram``, and its copy version 2, of the alias best."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{run.parent}/mlflow.db"
    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    for folder in (run, copy):
        succeed("log", f"run={folder}", f"tracking.uri={uri}", "tracking.register_as=histogram")
    MlflowClient(tracking_uri=uri).set_registered_model_alias("histogram", "best", "2")
    return uri


@pytest.fixture
def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def predicted(folder: Path) -> dict[str, Any]:
    with uproot.open(next(folder.rglob("*.root"))) as file:
        found = dict(file[TREE].arrays(library="np"))
        found["about"] = json.loads(str(file["inferno_cli"]))
    return found


def test_the_run_says_which_data_it_has(uri: str, client: Any, run: Path) -> None:
    logged = json.loads((run / "mlflow_run.json").read_text())
    inputs = client.get_run(logged["run_id"]).inputs.dataset_inputs

    record = json.loads((run / "results.json").read_text())
    assert {item.dataset.name: item.tags[0].value for item in inputs} == {
        "top11004": "training",
        "top11004/validation": "validation",
        "top11004/template": "template",
    }
    for item in inputs:
        assert record["dataset_checksum"].startswith(item.dataset.digest)
        assert len(item.dataset.digest) == 36
        assert json.loads(item.dataset.profile) == {"sha256": record["dataset_checksum"], "label": record["label"]}


def test_what_is_registered_twice_is_one_version(uri: str, client: Any, run: Path) -> None:
    said = succeed("log", f"run={run}", f"tracking.uri={uri}", "tracking.register_as=histogram").out

    assert "is logged already" in said
    versions = client.search_model_versions("name = 'histogram'")
    assert sorted(int(item.version) for item in versions) == [1, 2]
    assert all(item.status == "READY" and item.description.startswith("**mu = ") for item in versions)


@pytest.mark.filterwarnings("ignore:Any type hint is inferred", "ignore:ONNX model declares execution providers")
def test_another_client_of_mlflow_evaluates_the_network(uri: str, run: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    import mlflow.onnx
    from mlflow.artifacts import download_artifacts

    source = mlflow.MlflowClient(tracking_uri=uri).get_model_version_download_uri("histogram", "1")
    path = download_artifacts(source, tracking_uri=uri)
    stored = mlflow.onnx.load_model(path)
    signature = mlflow.models.Model.load(path).signature
    width = signature.inputs.inputs[0].shape[1]
    features = {"features": np.random.default_rng(1).normal(size=(5, width)).astype(np.float32)}
    of_run = onnxruntime.InferenceSession(run / "model.onnx").run(["outputs"], features)
    of_model = onnxruntime.InferenceSession(stored.SerializeToString()).run(["outputs"], features)
    assert np.array_equal(of_run, of_model)


@pytest.mark.parametrize("model", ["models:/histogram/1", "models:/histogram/latest", "models:/histogram@best", "runs"])
def test_predictions_of_a_model_are_those_of_its_run(
    model: str, uri: str, run: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if model == "runs":
        model = f"runs:/{json.loads((run / 'mlflow_run.json').read_text())['run_id']}"
    output = f"output_dir={tmp_path}"
    if not (run / "predictions").exists():
        succeed("predict", f"run={run}", f"tree={TREE}")
    succeed("predict", f"model={model}", f"tree={TREE}", f"tracking.uri={uri}", output)

    expected, found = predicted(run / "predictions"), predicted(tmp_path / "predictions")
    assert expected.pop("about") | {"run": found["about"]["run"]} == found.pop("about")
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert np.array_equal(values, found[name], equal_nan=True), name


MISSING = {
    "models:/histogram/7": "model 'histogram' of MLflow store {} has not version 7; it has versions 1, 2;",
    "models:/histogram@worst": "model 'histogram' of MLflow store {} has not the alias 'worst'; it has versions 1, 2;",
    "models:/histograms/1": "MLflow store {} has no registered model 'histograms'; closest: 'histogram'.",
    "models:/histogram": "model=models:/histogram names no model: expected models:/NAME/VERSION",
    "runs:/0123456789abcdef": "MLflow store {} has no run 0123456789abcdef.",
}


@pytest.mark.parametrize("model", list(MISSING))
def test_a_model_that_is_not_there(model: str, uri: str, tmp_path: Path) -> None:
    outcome = inferno("predict", f"model={model}", f"tracking.uri={uri}", f"output_dir={tmp_path}")

    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("TrackingError: " + MISSING[model].format(uri))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    where = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    assert inferno("predict", "model=models:/a/1", where).err.startswith("TrackingError: there is no MLflow store")
    dead = inferno("predict", "model=models:/a/1", "tracking.uri=http://127.0.0.1:9")
    assert dead.err.startswith("TrackingError: MLflow server http://127.0.0.1:9 does not answer")
    none = inferno("predict", "model=models:/a/1", "tracking=none")
    assert (none.code, "tracking is 'none'" in none.err) == (2, True)


@pytest.mark.parametrize("broken", ["checkpoints/best.ckpt", "membership.npz", "results.json", "status.json"])
def test_a_model_that_is_not_whole_predicts_nothing(
    broken: str, uri: str, client: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Of each kind: files that are missing, and one that was changed."""
    source = client.get_model_version_download_uri("histogram", "2").removeprefix("file://")
    path = Path(source) / broken
    content = path.read_bytes()
    request.addfinalizer(lambda: path.write_bytes(content))
    if broken == "results.json":
        path.write_bytes(content.replace(b"0.", b"1.", 1))
    else:
        path.unlink()

    outcome = inferno("predict", "model=models:/histogram/2", f"tracking.uri={uri}", f"output_dir={tmp_path}")

    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("RunError: models:/histogram/2")
    assert list(tmp_path.iterdir()) == []


def test_a_fit_without_a_network_cannot_be_registered(runs: Runs, uri: str, tmp_path: Path) -> None:
    workspace = runs("synthetic", "bce").results.workspace
    fit = ("fit", f"workspace={workspace}", "report.plots=false", "fit.scan_points=null", f"tracking.uri={uri}")
    outcome = inferno(*fit, "tracking.register_as=fits", f"hydra.run.dir={tmp_path}/fit")

    assert outcome.code == 2
    assert "has no network to register. Leave tracking.register_as out" in outcome.err
    assert json.loads((tmp_path / "fit" / "status.json").read_text())["state"] == "finished"


def test_a_name_that_no_address_can_have() -> None:
    outcome = inferno("train", "tracking.register_as=a/b")
    assert outcome.code == 2
    assert (
        "tracking.register_as: 'a/b' cannot be the name of a registered model: leave out / @ : and quotes"
        in outcome.err
    )
