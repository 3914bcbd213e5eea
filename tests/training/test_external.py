"""Scores that exist already: an ONNX file of anybody is run as it is, and what does not fit is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, version_converter

from inferno_cli.errors import ConfigError, ExportError
from inferno_cli.testing import test_networks as contract
from inferno_cli.testing.parts import normal, samples
from inferno_cli.training.networks.external import External
from inferno_cli.training.observable import Observable
from inferno_cli.training.onnx import export
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.summaries.score import Score

RNG = np.random.default_rng(5)
WEIGHT, BIAS = RNG.normal(size=(3, 4)).astype(np.float32), RNG.normal(size=4).astype(np.float32)
LAST = RNG.normal(size=(4, 2)).astype(np.float32)
NAMES = ("x", "y", "z")


def saved(path: Path, nodes: list[Any], inputs: Any, outputs: Any, opset: int = 17, **more: Any) -> str:
    constants = [numpy_helper.from_array(value, name) for name, value in more.pop("constants", {}).items()]
    graph = helper.make_graph(nodes, "anybody", inputs, outputs, constants)
    domains = [helper.make_opsetid("", opset), *more.pop("domains", ())]
    made = helper.make_model(graph, opset_imports=domains, ir_version=8)
    helper.set_model_props(made, more)
    onnx.save(made, path)
    return str(path)


def matrix(name: str, n: int | None, kind: int = TensorProto.FLOAT, rows: Any = "n") -> Any:
    return helper.make_tensor_value_info(name, kind, [rows, n])


def perceptron(folder: Path, opset: int = 17, kind: int = TensorProto.FLOAT, **more: Any) -> str:
    """A hidden layer and two outputs, of which both are scores: as torch exports it."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = {"w": WEIGHT.astype(dtype), "b": BIAS.astype(dtype), "v": LAST.astype(dtype)}
    nodes = [
        helper.make_node("Gemm", ["data", "w", "b"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "v"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["score"]),
    ]
    inputs, outputs = [matrix("data", 3, kind)], [matrix("score", 2, kind)]
    return saved(folder / f"mlp{opset}.onnx", nodes, inputs, outputs, opset, constants=constants, **more)


def expected(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.maximum(x @ WEIGHT.astype(float) + BIAS, 0) @ LAST))


def trees(folder: Path) -> str:
    """Two trees of depth one, as of a boosted decision tree: another set of operators, and a label beside the score."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["data"],
        ["sum"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0, 1, 1, 1],
        nodes_nodeids=[0, 1, 2, 0, 1, 2],
        nodes_featureids=[0, 0, 0, 2, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
        nodes_values=[0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0, 1, 0, 0],
        nodes_falsenodeids=[2, 0, 0, 2, 0, 0],
        target_treeids=[0, 0, 1, 1],
        target_nodeids=[1, 2, 1, 2],
        target_ids=[0, 0, 0, 0],
        target_weights=[0.1, 0.4, 0.2, 0.5],
    )
    label = helper.make_node("Cast", ["sum"], ["label"], to=TensorProto.INT64)
    outputs = [helper.make_tensor_value_info("label", TensorProto.INT64, ["n", 1]), matrix("sum", 1)]
    return saved(
        folder / "bdt.onnx",
        [node, label],
        [matrix("data", None)],
        outputs,
        domains=[helper.make_opsetid("ai.onnx.ml", 1)],
    )


def named(folder: Path, *names: str) -> str:
    """One input for each feature: the first minus twice the third."""
    nodes = [
        helper.make_node("Add", [names[2], names[2]], ["twice"]),
        helper.make_node("Sub", [names[0], "twice"], ["difference"]),
        helper.make_node("Add", ["difference", "zero"], ["shifted"]),
        helper.make_node("Mul", [names[1], "zero"], ["nothing"]),
        helper.make_node("Add", ["shifted", "nothing"], ["score"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n"]) for name in names]
    outputs = [helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["n"])]
    return saved(folder / "named.onnx", nodes, inputs, outputs, constants={"zero": np.zeros(1)})


def filled(network: External, n_outputs: int = 1, names: tuple[str, ...] = NAMES) -> torch.nn.Sequential:
    network = network.for_features(names)
    network.require(names)
    made = network.build(torch.zeros(3), torch.ones(3), n_outputs)
    with torch.no_grad():
        network.fill(made, [NominalEvents.of(sample) for sample in samples()], None)
    return made


def observable(network: External, **summary: Any) -> Observable:
    made = Score(bins=5, edge_width=0.1, edges="balanced", **summary)
    return Observable(filled(network), made, NAMES).placed([NominalEvents.of(sample) for sample in samples()])


@pytest.mark.parametrize("make", [perceptron, trees], ids=["perceptron", "trees"])
@pytest.mark.parametrize(
    "law",
    [law for name, law in sorted(vars(contract).items()) if name.startswith("test_")],
    ids=lambda law: law.__name__,
)
def test_a_file_is_a_network_as_the_others(
    law: Callable[..., None], make: Callable[[Path], str], tmp_path: Path
) -> None:
    output = "sum" if make is trees else None
    network = External(file=make(tmp_path), output=output, columns=(0,))
    law(network, tmp_path) if "tmp_path" in law.__annotations__ else law(network)


@pytest.mark.parametrize("opset", [9, 13, 18, 21])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_its_outputs_are_those_of_the_file_in_any_version_of_onnx(opset: int, kind: int, tmp_path: Path) -> None:
    network = External(file=perceptron(tmp_path, opset, kind), columns=(1,))
    x = normal(2, 50, 3)
    with torch.no_grad():
        outputs = filled(network)(x)

    assert (outputs.shape, outputs.dtype) == ((2, 50, 1), x.dtype)
    np.testing.assert_allclose(outputs[..., 0], expected(x.double().numpy())[..., 1], rtol=1e-5)
    made = observable(network, output="score")
    assert export(made, tmp_path / "ours.onnx", x[0].numpy()) < 1e-6
    session = onnxruntime.InferenceSession(tmp_path / "ours.onnx")
    scores, bins = session.run(["outputs", "bin"], {"features": x[0].numpy()})
    np.testing.assert_allclose(scores[:, 0], expected(x[0].numpy())[:, 1], rtol=1e-5)
    assert bins.tolist() == made.apply(x[0].numpy()).bin.tolist()


def test_trees_say_what_trees_say(tmp_path: Path) -> None:
    x = normal(100, 3)
    with torch.no_grad():
        outputs = filled(External(file=trees(tmp_path), output="sum"))(x)

    want = torch.where(x[:, 0] <= 0, 0.1, 0.4) + torch.where(x[:, 2] <= 1, 0.2, 0.5)
    torch.testing.assert_close(outputs[:, 0], want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("z", "y", "x")])
def test_inputs_take_features_by_name_or_else_in_their_order(names: tuple[str, ...], tmp_path: Path) -> None:
    x = normal(20, 3)
    network = External(file=named(tmp_path, *names))
    with torch.no_grad():
        outputs = filled(network)(x)[:, 0]

    want = x[:, 0] - 2 * x[:, 2] if names[0] == "a" else x[:, 2] - 2 * x[:, 0]
    torch.testing.assert_close(outputs, want, rtol=1e-6, atol=1e-6)
    assert export(observable(network), tmp_path / "ours.onnx", x.numpy()) < 1e-6


def test_a_file_of_ours_is_a_score_again(tmp_path: Path) -> None:
    first = observable(External(file=perceptron(tmp_path), columns=(0,)), output="score")
    export(first, tmp_path / "ours.onnx", normal(50, 3).numpy())
    again = External(file=str(tmp_path / "ours.onnx"), output="outputs")

    with torch.no_grad():
        torch.testing.assert_close(filled(again)(normal(9, 3)), first.network(normal(9, 3)), rtol=1e-6, atol=0)
    with pytest.raises(ConfigError, match=r"is for the features x, y, z, and dataset\.features has a, b, c"):
        again.require(("a", "b", "c"))


def test_the_checkpoint_has_the_file(tmp_path: Path) -> None:
    network = External(file=perceptron(tmp_path), columns=(0,)).for_features(NAMES)
    made = filled(network)
    Path(network.file or "").unlink()
    again = network.build(torch.zeros(3), torch.ones(3), 1)
    again.load_state_dict(made.state_dict())

    with torch.no_grad():
        assert torch.equal(again(normal(9, 3)), made(normal(9, 3)))
    assert network.about(again) == network.about(made)
    assert len(network.about(made)["file_sha256"]) == 64


def test_layers_on_several_scores_are_trained(tmp_path: Path) -> None:
    network = External(file=perceptron(tmp_path), columns=(0, 1), hidden=(4,))
    made = filled(network, 6)
    scores = torch.cat([made[0](sample.features) for sample in map(NominalEvents.of, samples())])

    assert (network.is_trained, network.only_outputs) == (True, None)
    assert made(normal(7, 3)).shape == (7, 6)
    assert float(made[1](scores).mean().abs()) < 0.3
    made(normal(7, 3)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
    with pytest.raises(ConfigError, match="needs the number of scores"):
        External(file="a.onnx", hidden=(4,)).build(torch.zeros(3), torch.ones(3), 6)


def test_scores_are_features() -> None:
    with torch.no_grad():
        taken = filled(External(features=("z", "x")), 2)(torch.tensor([[1.0, 2.0, 3.0]]))

    assert taken.tolist() == [[3.0, 1.0]]
    assert External(features=("z", "x")).only_outputs == 2
    with pytest.raises(ConfigError, match=r"model\.network\.features has 'w', and dataset\.features has not got it"):
        External(features=("w",)).for_features(NAMES)
    with pytest.raises(ConfigError, match=r"asks for 4 scores, and dataset\.features has 3"):
        External(features=4).for_features(NAMES)


def text_file(folder: Path) -> str:
    (folder / "text.onnx").write_text("no network")
    return str(folder / "text.onnx")


def one_event(folder: Path) -> str:
    nodes = [helper.make_node("Identity", ["data"], ["score"])]
    return saved(folder / "one.onnx", nodes, [matrix("data", 3, rows=1)], [matrix("score", 3, rows=1)])


def whole_numbers(folder: Path) -> str:
    nodes = [helper.make_node("Identity", ["data"], ["score"])]
    kind = TensorProto.INT64
    return saved(folder / "int.onnx", nodes, [matrix("data", 3, kind)], [matrix("score", 3, kind)])


def of_five(folder: Path) -> str:
    nodes = [helper.make_node("Identity", ["data"], ["score"])]
    return saved(folder / "five.onnx", nodes, [matrix("data", 5)], [matrix("score", 5)])


@pytest.mark.parametrize(
    ("make", "settings", "says"),
    [
        (lambda folder: str(folder / "gone.onnx"), {}, r"gone\.onnx cannot be read \(No such file"),
        (text_file, {}, r"text\.onnx is no ONNX file that can be read"),
        (one_event, {}, r"shape \[1, 3\].*export it with a dynamic first dimension"),
        (whole_numbers, {}, "'data' of the network is of type INT64, expected FLOAT or DOUBLE"),
        (of_five, {}, r"'data' of the network takes 5 features, and dataset\.features has 3 \(x, y, z\)"),
        (lambda folder: named(folder, "x", "b", "c"), {}, r"called as features \(x\) and others are not \(b, c\)"),
        (trees, {}, r"has 2 outputs \(label, sum\); say which is the score with model\.network\.output"),
        (trees, {"output": "Sum"}, r"model\.network\.output is 'Sum'.*the outputs label, sum; closest: 'sum'"),
        (trees, {"output": "label"}, "type int64.*expected numbers"),
        (perceptron, {}, r"has 2 columns, and 1 are needed by model\.summary; choose with model\.network\.columns"),
        (perceptron, {"columns": (2,)}, "model.network.columns has 2, and output 'score'.*the columns 0 to 1"),
    ],
)
def test_what_does_not_fit_is_told(
    make: Callable[[Path], str], settings: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        filled(External(file=make(tmp_path), **settings))


def test_without_onnxruntime_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'inferno-cli\[external\]'"):
        filled(External(file=perceptron(tmp_path, 14), columns=(0,)))


def test_what_cannot_be_exported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = observable(External(file=perceptron(tmp_path, 12), columns=(0,)), output="score")

    def refuse(*_: Any) -> None:
        raise RuntimeError("No Adapter From Version $12 for Relu")

    monkeypatch.setattr(version_converter, "convert_version", refuse)
    with pytest.raises(ExportError, match=r"ONNX version 12, which cannot be changed to 13.*with opset 13 or later"):
        export(made, tmp_path / "ours.onnx", normal(20, 3).numpy())
    assert not (tmp_path / "ours.onnx").exists()
    with pytest.raises(ExportError, match="Export it again with opset 13 or later"):  # before a training
        External(file=perceptron(tmp_path, 12), columns=(0,)).require(NAMES)


def test_a_score_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match=r"'score', a number from 0 to 1, and the events of signal have -.*=logit"):
        observable(External(features=("x",)), output="score")


def test_metadata_of_others_do_not_matter(tmp_path: Path) -> None:
    file = perceptron(tmp_path, 16, features="a text", note=json.dumps([1]))
    External(file=file, columns=(0,)).require(NAMES)
