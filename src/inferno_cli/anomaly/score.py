"""The score of an event, from 0 to 1, and the same as an ONNX file that any fit can use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inferno_cli.anomaly.vae import Autoencoder
from inferno_cli.errors import ExportError
from inferno_cli.files import write_whole
from inferno_cli.section import Names
from inferno_cli.training.onnx import IR_VERSION, Graph

FloatArray = NDArray[np.float64]
SCHEMA = "inferno_cli/anomaly_score/1"
FILE = "score.onnx"
NAMES = ("score", "loss", "reconstruction", "divergence")
"""What is told of every event, see ``Evaluated``."""
TOLERANCE = 1e-4
"""Largest difference of an exported score from the trained one."""
ROWS = 50_000
"""Events that pass the network together."""


@dataclass(frozen=True)
class Evaluated:
    """What the network says of some events, float64, shape (n_events,) each.

    Attributes:
        score: The loss from 0 to 1, see ``Score``.
        loss: The reconstruction with beta times the divergence, at the mean of the posterior: it is not drawn.
        reconstruction: -ln p(x | z).
        divergence: Of the posterior from the prior.
    """

    score: FloatArray
    loss: FloatArray
    reconstruction: FloatArray
    divergence: FloatArray


class Score(nn.Module):
    """The anomaly score: the loss of an event, on a scale from 0 to 1 that rises with it.

    (1 + u / (1 + |u|)) / 2 with u = (loss - median) / width of the backgrounds, so that bins of equal width are of some
    use and the far tail is not rounded to 1, as it would be by a sigmoid.

    Args:
        network: The trained autoencoder.
        beta: Weight of the divergence.
        median, width: Of the loss of the backgrounds in the validation split; half of what holds 68%.
    """

    def __init__(self, network: Autoencoder, beta: float, median: float = 0.0, width: float = 1.0) -> None:
        super().__init__()
        self.network, self.beta, self.median, self.width = network, beta, median, width

    def forward(self, x: Tensor) -> Tensor:
        """Return ``NAMES`` of events, shape (n_events, 4), of features, shape (n_events, n_features)."""
        terms = self.network.terms(x)
        loss = terms.loss(self.beta)
        u = (loss - self.median) / self.width
        score = torch.where(u.isinf(), (u > 0).to(u), 0.5 + 0.5 * u / (1 + u.abs()))
        return torch.stack([score, loss, *terms], dim=-1)

    @torch.no_grad()
    def of(self, features: NDArray[np.float32]) -> Evaluated:
        """Evaluate events in float64, shape (n_events, n_features)."""
        x = torch.from_numpy(np.ascontiguousarray(features))
        parts = [self(chunk.double()) for chunk in torch.split(x, ROWS)]
        return Evaluated(*torch.cat(parts).T.numpy())

    def export(self, path: Path, features: Names, sample: NDArray[np.float32], **metadata: str) -> float:
        """Write the score as an ONNX file and check it; return the largest difference.

        Input: ``features``, float32, shape (n_events, n_features), raw. Output: ``score``, float32, (n_events, 1).

        Args:
            path: The file.
            features: Names, which the file has with the rest of ``metadata``.
            sample: Features of events on which both are compared.

        Raises:
            ExportError: If the difference exceeds ``TOLERANCE``; no file is left.
        """
        import onnx
        from onnx import TensorProto, helper
        from onnx.reference import ReferenceEvaluator

        graph = Graph()
        loss = self.network.loss_in(graph, graph.cast("features", np.float64), self.beta)
        u = graph("Div", graph("Sub", loss, self.median), self.width)
        ratio = graph("Div", u, graph("Add", graph("Abs", u), 1.0))
        graph.cast(graph("Add", graph("Mul", ratio, 0.5), 0.5), np.float32, "score")
        value = helper.make_tensor_value_info
        inputs = [value("features", TensorProto.FLOAT, ["n", len(features)])]
        outputs = [value("score", TensorProto.FLOAT, ["n", 1])]
        made = helper.make_model(
            helper.make_graph(graph.nodes, "anomaly_score", inputs, outputs, graph.constants),
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in graph.domains.items()],
            ir_version=IR_VERSION,
            producer_name="inferno_cli",
        )
        scale = json.dumps({"beta": self.beta, "median": self.median, "width": self.width})
        about = {"schema": SCHEMA, "features": json.dumps(features), "loss": scale, **metadata}
        helper.set_model_props(made, about)
        onnx.checker.check_model(made, full_check=True)
        content = made.SerializeToString()
        (found,) = ReferenceEvaluator(content).run(None, {"features": sample})
        difference = float(np.abs(np.asarray(found)[:, 0] - self.of(sample).score).max())
        if not difference <= TOLERANCE:
            raise ExportError(
                f"the exported score is not the trained one: on {len(sample)} events they differ by up to "
                f"{difference:.2g}, at most {TOLERANCE:g} is allowed. Please report this, with the configuration"
            )
        write_whole(path, content)
        return difference
