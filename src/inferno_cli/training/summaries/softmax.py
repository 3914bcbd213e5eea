"""A tempered softmax: each output of the network is a bin, and the largest output wins the event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from inferno_cli.section import Names, Positive
from inferno_cli.training.summaries import NominalEvents, Summary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.training.onnx import Graph

SPREAD = 3.0
"""Standard deviation of each output over the events when the training of the bins begins, in temperatures."""
HALVES = 0.3
"""How far apart both halves of a bin begin: standard deviation of either logit from the bin's, in temperatures."""
TINY = 1e-30
"""Of a sum that is divided by: events without weights, and inputs that are all the same."""
LAST = 0.7
"""Share of the epochs after which no bin is revived: a new one has to find its place."""


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
    revive_below: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of events, relative to that of all bins alike, below which a bin gets a half of another; 0: never."""

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

    def revive(self, network: nn.Sequential, samples: Sequence[NominalEvents], passed: float) -> dict[int, int]:
        """Make each bin that has hardly any events a half of the one with most signal, for most of the training.

        The gradient of a bin is that of its events: one that has lost them does not come back by itself. Every sample
        counts alike. Both halves begin apart in the direction of the last hidden layer in which the events of the bin
        differ most; where they go from there, the objective decides.
        """
        import torch

        from inferno_cli.training.layers import last_linear

        if not self.revive_below or passed > LAST:
            return {}
        copies: dict[int, int] = {}
        with torch.no_grad():
            last = last_linear(network)
            hidden = torch.cat([network[:-1](sample.features) for sample in samples])
            sizes = torch.cat([_share(sample) for sample in samples])[:, None]
            of_signal = torch.cat([sizes.new_full((len(x.weights), 1), float(x.is_signal)) for x in samples])
            shares = sizes * self.soft(last(hidden))
            least = self.revive_below * shares.sum() / self.bins
            for empty in torch.nonzero(shares.sum(dim=0) < least)[:, 0].tolist():
                shares = sizes * self.soft(last(hidden))
                largest = int((of_signal * shares).sum(dim=0).argmax())
                _halve(last, largest, empty, hidden, shares[:, largest], HALVES * self.temperature)
                copies[empty] = largest
        return copies


def _share(sample: NominalEvents) -> Tensor:
    """Return the share of each event in its sample, shape (n_events,); one with a negative weight is an event, too."""
    sizes = sample.weights.abs()
    return sizes / sizes.sum().clamp_min(TINY)


def _halve(last: nn.Linear, largest: int, empty: int, hidden: Tensor, shares: Tensor, distance: float) -> None:
    """Make an output of a layer a copy of another one, and move both apart.

    Args:
        last: The layer.
        largest: The output that is copied.
        empty: The output that becomes its copy.
        hidden: Inputs of the layer, shape (n_events, n_inputs).
        shares: How much of each event is in the bin, shape (n_events,), float64.
        distance: How far either output moves: the standard deviation over these events.
    """
    import torch

    weights, inputs = shares / shares.sum(), hidden.double()
    mean = weights @ inputs
    centred = inputs - mean
    variances, directions = torch.linalg.eigh(centred.T @ (weights[:, None] * centred))
    step = directions[:, -1] * (distance / variances[-1].clamp_min(TINY).sqrt())
    weight, bias = last.weight[largest].clone(), last.bias[largest].clone()
    for output, sign in ((empty, 1.0), (largest, -1.0)):
        last.weight[output] = weight + (sign * step).to(weight)
        last.bias[output] = bias - (sign * (step @ mean)).to(bias)
