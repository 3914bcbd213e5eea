"""A tempered softmax: each output of the network is a bin, and the largest output wins the event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from inferno_cli.section import Names, Positive
from inferno_cli.training.summaries import Summary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.training.onnx import Graph

SPREAD = 3.0
"""Standard deviation of each output over the events when the training of the bins begins, in temperatures."""


class Softmax(Summary):
    """One bin for each output of the network."""

    ordered: ClassVar[bool] = False
    smoothing: ClassVar[str] = "temperature"
    fixed: ClassVar[Names] = ("bins", "temperature")
    kind: Literal["softmax"] = "softmax"
    """A tempered softmax over the outputs."""
    bins: Annotated[int, Field(ge=2, le=200)]
    """Bins before sparse ones are merged: outputs of the network."""
    temperature: Positive
    """Temperature of the softmax: the smaller, the closer to a histogram and the noisier the gradient."""

    @property
    def n_outputs(self) -> int:
        """One for each bin."""
        return self.bins

    @property
    def n_bins(self) -> int:
        """Bins before sparse ones are merged."""
        return self.bins

    @property
    def response_names(self) -> Names:
        """Memberships by the number of the bin."""
        return tuple(f"output_{i}" for i in range(self.bins))

    def soft(self, outputs: Tensor) -> Tensor:
        """Tempered softmax."""
        import torch

        # In memory the bins come first: along a last axis of ten a processor takes six times as long.
        by_bin = outputs.movedim(-1, 0).to(torch.float64, memory_format=torch.contiguous_format)
        return (by_bin / self.temperature).softmax(dim=0).movedim(0, -1)

    def hard(self, outputs: Tensor) -> Tensor:
        """The bin with the largest membership."""
        return outputs.argmax(dim=-1)

    def margin(self, outputs: Tensor) -> Tensor:
        """Difference of the two largest outputs."""
        first, second = outputs.topk(2, dim=-1).values.unbind(dim=-1)
        return first - second

    def response(self, outputs: Tensor) -> Tensor:
        """The memberships."""
        return self.soft(outputs)

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add the softmax, and the largest output."""
        response = graph("Softmax", graph("Div", outputs, self.temperature), axis=-1)
        return response, graph("ArgMax", outputs, axis=-1, keepdims=0)

    def spread(self, network: nn.Sequential, features: Tensor) -> None:
        """Give every output mean 0 and a standard deviation of ``SPREAD`` temperatures over the events.

        From the usual initialisation most bins win no event, and with a small temperature no gradient brings them
        back.
        """
        from inferno_cli.training.layers import scale_outputs

        scale_outputs(network, features, SPREAD * self.temperature)
