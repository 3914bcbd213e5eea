"""An observable as an ONNX file: from raw features to the bin of the fitted histogram, in one graph.

The few operators of a perceptron are written by hand: torch's exporter would need two more packages, and would not
know of bins. The graph computes in float64, as the templates do, so that an event is in the same bin everywhere. Only
operators are used that onnxruntime has in float64 on the CPU; it has no asinh, elu or erf, so the first two are
spelled out, and erf alone (gelu) is in float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inferno_cli.errors import ExportError
from inferno_cli.events.sample import Events, Sample
from inferno_cli.files import write_whole
from inferno_cli.training.observable import Observable
from inferno_cli.training.observables import Observables

SCHEMA = "inferno_cli/statistic/1"
TOLERANCE = 1e-5
"""Largest difference from torch, in the outputs and relative in the logits."""
SAMPLE_EVENTS = 500
"""Events of each sample and variation on which both are compared."""
# What the operators need; runtimes of 2021 and later read it.
OPSET, IR_VERSION = 13, 7


class Graph:
    """Nodes and constants, named by number; the version of each set of operators, by its domain."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.domains: dict[str, int] = {"": OPSET}

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
        # Named: onnxruntime before 1.22 gives parts of two nodes without a name the same one.
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def cast(self, x: str, dtype: type, name: str = "") -> str:
        """Add a change of type."""
        from onnx import helper

        return self("Cast", x, name=name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def asinh(self, x: str) -> str:
        """Add an inverse hyperbolic sine."""
        root = self("Sqrt", self("Add", self("Mul", x, x), 1.0))
        return self("Mul", self("Sign", x), self("Log", self("Add", self("Abs", x), root)))

    def layer(self, layer: nn.Module, x: str) -> str:
        """Add a layer, or several.

        Raises:
            ExportError: If it is neither known here nor has a method ``to_onnx``.
        """
        if hasattr(layer, "to_onnx"):
            return str(layer.to_onnx(self, x))  # type: ignore[operator]
        match layer:
            case nn.Sequential():
                for part in layer:
                    x = self.layer(part, x)
                return x
            case nn.Linear():
                x = self("MatMul", x, self.constant(layer.weight.detach().cpu().T))
                return x if layer.bias is None else self("Add", x, self.constant(layer.bias.detach().cpu()))
            case nn.ReLU():
                return self("Max", x, 0.0)
            case nn.LeakyReLU():
                return self("Max", x, self("Mul", x, layer.negative_slope))
            case nn.ELU():
                negative = self("Sub", self("Exp", self("Min", x, 0.0)), 1.0)
                return self("Add", self("Max", x, 0.0), self("Mul", negative, layer.alpha))
            case nn.SiLU():
                # onnxruntime makes of x * sigmoid(x) one operator, which it has in float32 alone.
                half = self("Mul", x, 0.5)
                return self("Add", half, self("Mul", half, self("Tanh", half)))
            case nn.GELU():
                erf = self("Erf", self.cast(self("Mul", x, math.sqrt(0.5)), np.float32))
                return self("Mul", self("Mul", x, 0.5), self("Add", self.cast(erf, np.float64), 1.0))
            case nn.Tanh():
                return self("Tanh", x)
        raise ExportError(
            f"no ONNX operator is known for the layer {type(layer).__name__}; give it a method to_onnx(graph, x), as "
            "inferno_cli.training.layers.Standardise has one"
        )


def export(observable: Observable, path: Path, sample: NDArray[np.float32], **metadata: str) -> float:
    """Write an observable as an ONNX file, and check it against torch.

    Input: ``features``, float32, shape (n, n_features), raw. Outputs: ``logits`` and ``outputs`` (the response
    of the summary, such as a score), float32; ``bin`` of the fitted histogram, int64, shape (n,).
    The names of the features and how the bins were merged are in the metadata of the file, as JSON.

    Args:
        observable: The trained network and its bins.
        path: The file.
        sample: Features of events on which both are compared, shape (n_events, n_features).
        **metadata: More to write into the file.

    Returns:
        The largest difference from torch in the outputs.

    Raises:
        ExportError: If it exceeds ``TOLERANCE``, or an event is in another bin; no file is left.
    """
    import onnx
    from onnx import TensorProto, helper

    summary, graph = observable.summary, Graph()
    logits = graph.layer(observable.network, graph.cast("features", np.float64))
    response, network_bin = summary.to_onnx(graph, logits)
    graph.cast(logits, np.float32, "logits")
    graph.cast(response, np.float32, "outputs")
    graph("Gather", graph.constant(observable.final, np.int64), network_bin, name="bin", axis=0)
    value = helper.make_tensor_value_info
    outputs = [
        value("logits", TensorProto.FLOAT, ["n", summary.n_outputs]),
        value("outputs", TensorProto.FLOAT, ["n", len(summary.response_names)]),
        value("bin", TensorProto.INT64, ["n"]),
    ]
    inputs = [value("features", TensorProto.FLOAT, ["n", len(observable.features)])]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "observable", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in graph.domains.items()],
        ir_version=IR_VERSION,
        producer_name="inferno_cli",
    )
    about = {"schema": SCHEMA, "summary": summary.model_dump_json()}
    about |= {"features": json.dumps(observable.features), "groups": json.dumps(observable.groups), **metadata}
    helper.set_model_props(made, about)
    onnx.checker.check_model(made, full_check=True)
    content = made.SerializeToString()
    difference = compare(observable, content, sample)
    write_whole(path, content)
    return difference


def export_all(observables: Observables, folder: Path, events: Events, **metadata: str) -> None:
    """Write an ONNX file for each channel whose bins a network makes, and of several networks for each of them.

    Of one channel and one network it is ``model.onnx``; else the files are called after what the likelihood has.

    Raises:
        ExportError: As of ``export``.
    """
    made = {}
    for name, (channel, fold) in observables.names.items():
        if channel in observables.channels.trained:
            made[name] = channel, fold
    for name, (channel, fold) in made.items():
        path = folder / ("model.onnx" if len(made) == 1 else f"model_{name}.onnx")
        export(observables.of(channel, fold), path, export_sample(events.template), channel=name, **metadata)


def export_sample(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """Return some events of every sample and variation, to compare on, shape (n_events, n_features)."""
    blocks = [sample.features[:, :SAMPLE_EVENTS] for sample in samples]
    return np.concatenate([block.reshape(-1, block.shape[-1]) for block in blocks])


def compare(observable: Observable, exported: bytes, sample: NDArray[np.float32]) -> float:
    """Return the largest difference of the outputs from torch, with ONNX's own evaluator in numpy.

    Raises:
        ExportError: If it exceeds ``TOLERANCE``, or an event is in another bin that is not within it of the edge.
    """
    from onnx.reference import ReferenceEvaluator

    with np.errstate(over="ignore", invalid="ignore"):  # in a branch of its sigmoid that is not used
        logits, found, bins = (np.asarray(x) for x in ReferenceEvaluator(exported).run(None, {"features": sample}))
    expected = observable.apply(sample)
    wanted = observable.logits(sample).cpu().numpy()
    in_logits = float((np.abs(logits - wanted) / np.maximum(1, np.abs(wanted))).max())
    difference = float(np.abs(found - expected.response).max())
    margin = observable.summary.margin(torch.from_numpy(wanted)).numpy()
    moved = (bins != expected.bin) & (margin > TOLERANCE)
    if not max(in_logits, difference) <= TOLERANCE or moved.any():
        raise ExportError(
            f"the exported network is not the trained one: on {len(sample)} events its outputs differ by up to "
            f"{difference:.2g} and its logits by {in_logits:.2g}, at most {TOLERANCE:g} is allowed, and {moved.sum()} "
            "events are in another bin. Please report this, with the configuration of the run"
        )
    return difference
