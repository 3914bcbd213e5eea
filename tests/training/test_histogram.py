"""A histogram of features: numpy's, in training, fit and ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import load, synthetic, train
from pydantic import ValidationError

from inferno_cli.testing.parts import normal, samples
from inferno_cli.training.observable import Observable
from inferno_cli.training.onnx import export
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.summaries.histogram import Histogram

NAMES = ("x", "y", "z")
X, Y = (-3.0, -0.5, 0.5, 3.0), (-4.0, 0.25, 1.0, 2.0, 5.0)


def placed(features: Any, bins: int = 10) -> Histogram:
    summary = Histogram(features=features, bins=bins, edge_width=0.1)
    events = [NominalEvents.of(sample) for sample in samples()]
    return summary.placed(events, lambda values: values[:, : summary.n_outputs])


@pytest.mark.parametrize("features", [{"x": X}, {"x": X, "y": Y}, {"x": 4}, {"x": X, "y": 5}, ("x", "y"), 3])
def test_it_is_numpys_histogram(features: Any) -> None:
    summary = placed(features, 4)
    values = torch.cat([NominalEvents.of(sample).features for sample in samples()])[:, : summary.n_outputs]
    weights = np.random.default_rng(1).integers(-1, 5, len(values)).astype(float)
    of_numpy = [X, Y][: summary.n_outputs] if features in ({"x": X}, {"x": X, "y": Y}) else None
    edges = of_numpy or [4 if isinstance(features, int | tuple) else binning for binning in summary._binnings]
    bins = edges if all(isinstance(item, tuple) for item in edges) else summary.edges_at
    inside = values.double().numpy()
    want, made = np.histogramdd(inside, bins=bins, weights=weights)  # type: ignore[arg-type]
    lost = np.array([(column < e[0]) | (column > e[-1]) for column, e in zip(inside.T, made, strict=True)]).any(axis=0)
    found = np.bincount(summary.hard(values)[~lost].numpy(), weights[~lost], minlength=summary.n_bins)

    assert found.tolist() == want.flatten().tolist()
    assert summary.sizes == want.shape
    if all(isinstance(item, int) for item in edges):
        np.testing.assert_allclose(
            np.concatenate(summary.edges_at or ()), np.concatenate(np.histogramdd(inside, bins=edges)[1]), rtol=1e-12
        )


def test_what_is_outside_is_in_the_outer_bins() -> None:
    summary = placed({"x": X, "y": Y})
    outside = torch.tensor([[-9.0, -9.0], [9.0, 9.0], [3.0, 5.0], [-9.0, 9.0], [0.5, 0.25]])

    assert summary.hard(outside).tolist() == [0, 11, 11, 3, 9]
    torch.testing.assert_close(summary.soft(outside).sum(dim=-1), torch.ones(5, dtype=torch.float64))


def test_its_file_and_its_order(tmp_path: Path) -> None:
    summary, x = placed({"x": X, "y": Y}), normal(2000, 2)
    observable = Observable(torch.nn.Sequential(torch.nn.Identity()), summary, ("x", "y"))
    observable.network[0].to_onnx = lambda graph, name: name  # type: ignore[assignment]
    observable.network[0].register_buffer("none", torch.zeros(1))

    assert export(observable, tmp_path / "model.onnx", x.numpy()) < 1e-6
    (bins,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["bin"], {"features": x.numpy()})
    assert bins.tolist() == summary.hard(x).tolist()
    assert (summary.ordered, placed({"x": X}).ordered) == (False, True)
    assert summary.response_names == ("x", "y")


@pytest.mark.parametrize(
    ("features", "bins", "says"),
    [
        ({"x": (0.0, 2.0, 2.0)}, 10, r"the edges of x do not rise: \[0\.0, 2\.0, 2\.0\]"),
        ({"x": (0.0, 1.0)}, 10, "make 1 bins, expected 2 to 1000"),
        (("x", "y", "z"), 20, "make 8000 bins, expected 2 to 1000"),
        ({"x": (0.0,)}, 10, "at least 2 items"),
        ({}, 10, "make 1 bins"),
    ],
)
def test_what_makes_no_bins_is_told(features: Any, bins: int, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Histogram(features=features, bins=bins, edge_width=0.1)


def test_a_run_counts_the_events_between_the_edges(tmp_path: Path) -> None:
    overrides = (
        "model=histogram",
        "model.features={x1: [-1, 0, 1.5], x0: 3}",
        "nuisance=none",
        "trainer.progress=none",
    )
    config = synthetic(*overrides)
    events = load(config)
    observable = train(config, events, folder=tmp_path).networks.only
    loaded = Observable.load(
        tmp_path / "best.ckpt", config.model.network, config.model.summary, config.dataset.features, (), 0
    )
    values = events.template[0].features[0].astype(float)
    edges = observable.summary.edges_at  # type: ignore[attr-defined]
    want = np.digitize(values[:, 1], edges[0][1:-1]) * 3 + np.digitize(values[:, 0], edges[1][1:-1])

    assert edges[0] == (-1.0, 0.0, 1.5)
    assert edges[1][0] == min(float(sample.features[0, :, 0].min()) for sample in events.train)
    assert loaded.network_bins(events.template[0].features[0]).tolist() == want.tolist()
