"""The statistic as an ONNX file: from raw features to the bin of the fitted histogram, in one graph.

The few operators of a perceptron are written by hand: torch's exporter would need two more packages, and would not
know of bins. The graph computes in float64, as the templates do, so that an event is in the same bin everywhere. Only
operators are used that onnxruntime has in float64 on the CPU; it has no asinh, elu or erf, so the first two are
spelled out, and erf alone (gelu) is in float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from inferno_cli.errors import ExportError
from inferno_cli.events import Events
from inferno_cli.files import write_whole
from inferno_cli.training.network import Quadratic, Standardise
from inferno_cli.training.statistic import Statistic

SCHEMA = "inferno_cli/statistic/1"
TOLERANCE = 1e-5
"""Largest difference from torch, in the outputs and relative in the logits."""
SAMPLE_EVENTS = 500
"""Events of each sample and variation on which both are compared."""
# What the operators need; runtimes of 2021 and later read it.
OPSET, IR_VERSION = 13, 7


class _Graph:
    """Nodes and constants, named by number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float64) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def __call__(self, operator: str, *inputs: str | float, name: str = "", **attributes: Any) -> str:
        """Add a node, numbers among its inputs as constants; return the name of its output."""
        from onnx import helper

        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        output = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def cast(self, x: str, dtype: type, name: str = "") -> str:
        """Add a change of type."""
        from onnx import helper

        return self("Cast", x, name=name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _asinh(graph: _Graph, x: str) -> str:
    root = graph("Sqrt", graph("Add", graph("Mul", x, x), 1.0))
    return graph("Mul", graph("Sign", x), graph("Log", graph("Add", graph("Abs", x), root)))


def _activation(graph: _Graph, layer: nn.Module, x: str) -> str:
    """Add one of ``network.ACTIVATIONS``."""
    match layer:
        case nn.ReLU():
            return graph("Max", x, 0.0)
        case nn.LeakyReLU():
            return graph("Max", x, graph("Mul", x, layer.negative_slope))
        case nn.ELU():
            negative = graph("Sub", graph("Exp", graph("Min", x, 0.0)), 1.0)
            return graph("Add", graph("Max", x, 0.0), graph("Mul", negative, layer.alpha))
        case nn.SiLU():
            return graph("Mul", x, graph("Sigmoid", x))
        case nn.GELU():
            erf = graph("Erf", graph.cast(graph("Mul", x, math.sqrt(0.5)), np.float32))
            return graph("Mul", graph("Mul", x, 0.5), graph("Add", graph.cast(erf, np.float64), 1.0))
        case nn.Tanh():
            return graph("Tanh", x)
    raise ExportError(f"no ONNX operator is known for {type(layer).__name__}; add it to training/export.py")


def _network(graph: _Graph, network: nn.Module, x: str) -> str:
    for layer in network.children():
        match layer:
            case Standardise():
                centred = graph("Sub", x, graph.constant(layer.mean.cpu()))
                x = _asinh(graph, graph("Div", centred, graph.constant(layer.deviation.cpu())))
            case Quadratic():
                slope = graph(
                    "Add", graph("Mul", x, graph.constant(layer.square.cpu())), graph.constant(layer.linear.cpu())
                )
                ones = graph.constant(np.ones((len(layer.linear), 1)))
                x = graph("Add", graph("MatMul", graph("Mul", x, slope), ones), graph.constant(layer.constant.cpu()))
            case nn.Linear():
                weight, bias = layer.weight.detach().cpu().T, layer.bias.detach().cpu()
                x = graph("Add", graph("MatMul", x, graph.constant(weight)), graph.constant(bias))
            case _:
                x = _activation(graph, layer, x)
    return x


def _bins(graph: _Graph, statistic: Statistic, logits: str) -> tuple[str, str]:
    """Add the rule of the model; return the names of the response and of the network's bin."""
    model = statistic.module.model
    if model.kind == "inferno":
        response = graph("Softmax", graph("Div", logits, model.temperature), axis=-1)
        return response, graph("ArgMax", logits, axis=-1, keepdims=0)
    response = graph("Sigmoid", logits)
    number = graph.cast(graph("Mul", response, float(model.bins)), np.int64)
    last = graph.constant(model.bins - 1, np.int64)
    return response, graph("Squeeze", graph("Min", number, last), graph.constant([-1], np.int64))


def export(statistic: Statistic, path: Path, sample: NDArray[np.float32], **metadata: str) -> float:
    """Write the statistic as an ONNX file, and check it against torch.

    Input: ``features``, float32, shape (n, n_features), raw. Outputs: ``logits`` and ``outputs`` (INFERNO: the
    membership of each bin of the network; BCE: the score), float32; ``bin`` of the fitted histogram, int64, shape (n,).
    The names of the features and how the bins were merged are in the metadata of the file, as JSON.

    Args:
        statistic: The trained network and its bins.
        path: The file.
        sample: Features of events on which both are compared, shape (n_events, n_features).
        **metadata: More to write into the file.

    Returns:
        The largest difference from torch found in the outputs.

    Raises:
        ExportError: If it exceeds ``TOLERANCE``, or an event is in another bin; no file is left.
    """
    import onnx
    from onnx import TensorProto, helper

    model = statistic.module.model
    graph = _Graph()
    logits = _network(graph, statistic.module.network, graph.cast("features", np.float64))
    response, network_bin = _bins(graph, statistic, logits)
    graph.cast(logits, np.float32, "logits")
    graph.cast(response, np.float32, "outputs")
    graph("Gather", graph.constant(statistic.final, np.int64), network_bin, name="bin", axis=0)
    width = model.bins if model.kind == "inferno" else 1
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "statistic",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(statistic.features)])],
            [
                helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", width]),
                helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", width]),
                helper.make_tensor_value_info("bin", TensorProto.INT64, ["n"]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="inferno_cli",
    )
    properties: Mapping[str, str] = {
        "schema": SCHEMA,
        "features": json.dumps(statistic.features),
        "model": model.kind,
        "temperature": repr(model.temperature),
        "groups": json.dumps(statistic.groups),
        **metadata,
    }
    helper.set_model_props(made, dict(properties))
    onnx.checker.check_model(made, full_check=True)
    difference = compare(statistic, made.SerializeToString(), sample)
    write_whole(path, made.SerializeToString())
    return difference


def export_sample(events: Events) -> NDArray[np.float32]:
    """Return some events of every sample and variation, to compare on, shape (n_events, n_features)."""
    return np.concatenate(
        [sample.features[:, :SAMPLE_EVENTS].reshape(-1, len(events.features)) for sample in events.template]
    )


def compare(statistic: Statistic, exported: bytes, sample: NDArray[np.float32]) -> float:
    """Compare an exported statistic with torch, with ONNX's own evaluator in numpy.

    Returns:
        The largest difference in the outputs.

    Raises:
        ExportError: If it exceeds ``TOLERANCE``, or an event is in another bin that is not within it of the edge.
    """
    from onnx.reference import ReferenceEvaluator

    with np.errstate(over="ignore", invalid="ignore"):  # in a branch of its sigmoid that is not used
        logits, found, bins = (np.asarray(x) for x in ReferenceEvaluator(exported).run(None, {"features": sample}))
    expected = statistic.apply(sample)
    wanted = statistic.logits(sample).cpu().numpy()
    in_logits = float((np.abs(logits - wanted) / np.maximum(1, np.abs(wanted))).max())
    difference = float(np.abs(found - expected.response).max())
    moved = (bins != expected.bin) & (_margin(statistic, expected.response, wanted) > TOLERANCE)
    if not max(in_logits, difference) <= TOLERANCE or moved.any():
        raise ExportError(
            f"the exported network is not the trained one: on {len(sample)} events its outputs differ by up to "
            f"{difference:.2g} and its logits by {in_logits:.2g}, at most {TOLERANCE:g} is allowed, and {moved.sum()} "
            "events are in another bin. Please report this, with the configuration of the run"
        )
    return difference


def _margin(statistic: Statistic, response: NDArray[np.float64], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each event is from being in another bin of the network."""
    model = statistic.module.model
    if model.kind == "inferno":
        second, first = np.partition(logits, -2, axis=-1)[:, -2:].T
        return np.asarray(first - second)
    scaled = response[:, 0] * model.bins
    return np.asarray(np.abs(scaled - np.rint(scaled)) / model.bins)
