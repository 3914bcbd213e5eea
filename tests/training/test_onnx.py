"""The ONNX file: it says what torch says, in float64, and a wrong one is found out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import compose

from inferno_cli.errors import ExportError
from inferno_cli.training.layers import ACTIVATIONS
from inferno_cli.training.observable import Observable, Prediction
from inferno_cli.training.onnx import export
from inferno_cli.training.summaries import NominalEvents

pytestmark = pytest.mark.slow

TRAINED = ("bce", "inferno")  # of the optimal classifier, test_optimal has the export
GROUPS = ((3, 1), (0,), (2, 4))


def made(kind: str = "inferno", activation: str = "relu", temperature: float = 0.1) -> Observable:
    """A network with outputs all over the place, of 8 features on very different scales."""
    overrides = (f"model={kind}", "model.bins=5", f"model.activation={activation}", f"model.temperature={temperature}")
    config = compose("dataset=top11004", "nuisance=jes", *overrides)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        mean, deviation = 10 * torch.randn(8), 100 * torch.rand(8) + 0.1
        network = config.model.network.build(mean, deviation, config.model.summary.n_outputs)
    with torch.no_grad():
        for parameter in network[-1].parameters():  # the bins are trained to be of the size of the temperature
            parameter *= 20 * (temperature / 0.1 if kind == "inferno" else 1)
    observable = Observable(network, config.model.summary, config.dataset.features, GROUPS)
    samples = [NominalEvents(str(i), "SR", i == 0, torch.from_numpy(events(100)), torch.ones(100)) for i in (0, 1)]
    return observable.placed(samples)


def events(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 300, (n, 8)).astype(np.float32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("kind", "temperature"), [("bce", 0.1), ("inferno", 0.1), ("inferno", 0.001)])
def test_onnxruntime_agrees_with_torch(kind, activation, temperature, tmp_path):
    trained, x = made(kind, activation, temperature), events(5000)
    export(trained, tmp_path / "model.onnx", x[:100])

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    logits, outputs, bins = session.run(["logits", "outputs", "bin"], {"features": x})

    expected = trained.apply(x)
    assert logits.dtype == outputs.dtype == np.float32
    assert bins.dtype == np.int64
    np.testing.assert_allclose(outputs, expected.response, rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits, trained.logits(x).numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(bins, expected.bin)
    assert len(np.unique(bins)) > 1


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", TRAINED)
def test_any_number_of_events(kind, n, tmp_path):
    export(made(kind), tmp_path / "model.onnx", events(100))
    _, outputs, bins = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"features": events(n)})
    assert (len(outputs), bins.shape) == (n, (n,))


@pytest.mark.parametrize("kind", TRAINED)
def test_the_file_says_what_it_is(kind, tmp_path):
    trained = made(kind)
    difference = export(trained, tmp_path / "model.onnx", events(100), model=kind, label="a stand-in")
    assert 0 < difference < 1e-6
    file = onnx.load(tmp_path / "model.onnx")
    about = {item.key: item.value for item in file.metadata_props}
    assert about["schema"] == "inferno_cli/statistic/1"
    assert json.loads(about["features"]) == list(trained.features)
    assert json.loads(about["groups"]) == [[3, 1], [0], [2, 4]]
    assert (about["model"], about["label"]) == (kind, "a stand-in")
    assert json.loads(about["summary"]) == json.loads(trained.summary.model_dump_json())
    assert [item.name for item in file.graph.output] == ["logits", "outputs", "bin"]


def test_merged_bins_are_those_of_the_fit():
    trained = made()
    assert trained.final.tolist() == [1, 0, 2, 0, 2]
    prediction = trained.apply(events(50))
    assert prediction.bin.tolist() == [[1, 0, 2, 0, 2][i] for i in prediction.network_bin]
    assert prediction.network_bin.tolist() == prediction.response.argmax(axis=1).tolist()


def test_events_are_in_the_same_bin_whatever_the_chunk():
    trained, x = made(activation="silu"), events(2000)
    whole = trained.apply(x)
    parts = [trained.apply(x[first : first + 7]) for first in range(0, 2000, 7)]
    assert whole.response.dtype == np.float64
    np.testing.assert_allclose(np.concatenate([part.response for part in parts]), whole.response, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(np.concatenate([part.bin for part in parts]), whole.bin)


def shifted(prediction: Prediction) -> Prediction:
    return replace(prediction, response=prediction.response + 1e-4)


def moved(prediction: Prediction) -> Prediction:
    return replace(prediction, bin=prediction.bin[::-1])


@pytest.mark.parametrize("wrong", [shifted, moved])
def test_a_graph_that_is_not_the_network_is_an_error_and_leaves_no_file(wrong, tmp_path, monkeypatch):
    right = Observable.apply
    monkeypatch.setattr(Observable, "apply", lambda self, x: wrong(right(self, x)))
    with pytest.raises(ExportError, match="is not the trained one: on 100 events"):
        export(made(), tmp_path / "model.onnx", events(100))
    assert list(tmp_path.iterdir()) == []


def test_a_layer_without_an_operator_is_an_error(tmp_path):
    trained = made()
    trained.network[2] = torch.nn.Softsign()
    with pytest.raises(ExportError, match="Softsign"):
        export(trained, tmp_path / "model.onnx", events(100))
