"""A tempered softmax: each output of the network is a bin, and the largest output wins the event.

Which output has which events is the luck of a training, so a mean of outputs, or of weights, means nothing. What a bin
is to the fit does: its efficient score says how far one event in it moves the POIs, once the nuisance parameters are
profiled. Each training so has an estimate of the efficient score of an event, the mean over its memberships; the mean
over trainings is a better one. Events of nearly the same score belong together: the variance of the score within the
bins is the information that they lose. So the bins of an average are the cells of k centres, and the centre c that is
nearest to a score s is that with the largest 2 c.s - c.c: a linear layer, whose outputs are again those of a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from inferno_cli.section import Names, Positive
from inferno_cli.training.summaries import NominalEvents, Summary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.training.onnx import Graph

CHUNK = 4_000
"""Events that pass the members of an average together: what is between their layers stays in the cache."""
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
    averages_scores: ClassVar[bool] = True
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
        scaled = (outputs / self.temperature).movedim(-1, 0)
        by_bin = scaled.to(torch.float64, memory_format=torch.contiguous_format)
        return by_bin.softmax(dim=0).movedim(0, -1)

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

    def average(self, members: Sequence[nn.Sequential], n_scores: int) -> nn.Sequential:
        """Return the mean efficient score of the members, and outputs whose largest is that of the nearest centre."""
        from torch import nn

        from inferno_cli.training.layers import Mean, Memberships

        parts = []
        for member in members:
            scores = nn.Linear(self.bins, n_scores, bias=False)
            parts.append(nn.Sequential(member, Memberships(self.temperature), scores))
        return nn.Sequential(Mean(parts), nn.Linear(n_scores, self.bins))

    def settle(self, network: nn.Sequential, scores: Sequence[Tensor], samples: Sequence[NominalEvents]) -> None:
        """Set the scores of the bins of each member, and the centres."""
        import torch

        from inferno_cli.training.centres import best_centres
        from inferno_cli.training.layers import Mean, last_linear

        mean, last = network[0], last_linear(network)
        assert isinstance(mean, Mean)
        points = []
        with torch.no_grad():
            for part, values in zip(mean.parts, scores, strict=True):
                assert isinstance(part, torch.nn.Sequential)
                last_linear(part).weight.copy_(values.T)
            for sample in samples:
                points += [mean(chunk) for chunk in torch.split(sample.features, CHUNK)]
            found = torch.cat(points).double()
            centres = best_centres(found, torch.cat([sample.weights for sample in samples]), self.bins)
            squares = centres.square().sum(dim=1)
            # As wide as those of one training: the memberships are as soft as its.
            factor = SPREAD * self.temperature / (2 * found @ centres.T - squares).std(dim=0).mean()
            last.weight.copy_(2 * factor * centres)
            last.bias.copy_(-factor * squares)

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
