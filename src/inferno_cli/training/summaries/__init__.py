"""Summaries: from the outputs of a network to the bins of a histogram, soft for the gradient and hard for the fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from inferno_cli.errors import ConfigError
from inferno_cli.section import Names, Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.sample import Sample
    from inferno_cli.training.onnx import Graph

SCORE_SPREAD = 1.5
"""Standard deviation of the logit over the events when the training of the bins begins: the score is nearly uniform."""
EDGE_SPEED = 10.0
"""How much faster than a weight of the network a learnt edge moves: it is one number, and has to go far."""
STEPS = 200
"""Parts into which the quantiles divide the events that learnt edges move along."""
NARROWEST = 1e-9
"""Least distance of two of these: many events may share a score."""


@dataclass(frozen=True)
class NominalEvents:
    """The nominal events of one sample in one channel in the training split, on which bins are placed.

    Attributes:
        name: Name of the sample.
        channel: Name of the channel.
        is_signal: Whether the POI scales it.
        features: Shape (n_events, n_features).
        weights: Expected events, negative ones among them; shape (n_events,), float64.
    """

    name: str
    channel: str
    is_signal: bool
    features: Tensor
    weights: Tensor

    @classmethod
    def of(cls, sample: Sample) -> NominalEvents:
        """Take those of an event table."""
        import torch

        features, weights = (torch.from_numpy(array[0]) for array in (sample.features, sample.weights))
        return cls(sample.name, sample.channel, sample.is_signal, features, weights)


class Summary(Section, ABC):
    """What every summary answers. Outputs have shape (..., n_outputs), on any device.

    Attributes:
        ordered: Whether the bins have an order of their own, which merging keeps.
        smoothing: Key whose value makes the soft bins the hard ones as it falls.
        fixed: Keys that belong to the trained network: who reuses it cannot choose them anew.
        learnt: Keys that get their values in the training; they are stored with the network.
        one_output_a_sample: Whether the outputs are those of the samples, in their order.
        hard_forward: Whether ``soft`` is ``hard``, and only its gradient smooth.
        averages_scores: Whether the average of several trainings is that of the efficient scores of their bins: the
            same output is another thing in each.
    """

    ordered: ClassVar[bool]
    smoothing: ClassVar[str]
    fixed: ClassVar[Names] = ()
    learnt: ClassVar[Names] = ()
    one_output_a_sample: ClassVar[bool] = False
    hard_forward: ClassVar[bool] = False
    averages_scores: ClassVar[bool] = False
    kind: str

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Outputs of the network for each event."""

    @property
    @abstractmethod
    def n_bins(self) -> int:
        """Bins of the histogram before sparse ones are merged."""

    @property
    @abstractmethod
    def response_names(self) -> Names:
        """Names of the numbers in ``response``."""

    @abstractmethod
    def soft(self, outputs: Tensor) -> Tensor:
        """Membership of each bin, shape (..., n_bins), float64; rows sum to 1."""

    @abstractmethod
    def hard(self, outputs: Tensor) -> Tensor:
        """Bin of each event, shape (...): the limit of ``soft``."""

    @abstractmethod
    def margin(self, outputs: Tensor) -> Tensor:
        """Distance of each event from the edge of its bin, shape (...): rounding moves nothing that is far from it."""

    @abstractmethod
    def response(self, outputs: Tensor) -> Tensor:
        """What is told of each event beside its bin, shape (..., n_responses), float64."""

    @abstractmethod
    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add ``response`` and ``hard`` to a graph; return the names of both."""

    def take_over(self, network: nn.Sequential, head: nn.Linear, is_signal: Sequence[bool]) -> None:
        """Begin the last layer of a network with a classifier of the samples, which had its place in the warm-up.

        Args:
            head: One output for each sample.
            is_signal: Whether each of them is signal.
        """

    def spread(self, network: nn.Sequential, features: Tensor) -> None:
        """Scale the last layer to features, shape (n_events, n_features), so that every bin has a share of them."""

    def revive(self, network: nn.Sequential, samples: Sequence[NominalEvents], passed: float) -> dict[int, int]:  # noqa: ARG002
        """Give bins that have lost their events a part of another bin, in the last layer of a network, in place.

        Called between epochs. The optimiser then continues with a copy as it does with the original.

        Args:
            samples: Some nominal events of each sample.
            passed: Share of the epochs of the bins that has passed, above 0.

        Returns:
            Outputs of the last layer that are copies now, each with the one that it was copied from; in order.
        """
        return {}

    def for_samples(self, samples: Mapping[str, bool]) -> Self:  # noqa: ARG002
        """Return the summary for a training of samples, each with whether it is signal, before the network is built.

        Raises:
            ConfigError: If it cannot be.
        """
        return self

    def placed(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> Self:  # noqa: ARG002
        """Return the summary with bins placed on events of the training split; after every epoch, and before the first.

        Args:
            samples: The events of each sample.
            outputs: The network of now: features of shape (n_events, n_features) to outputs (n_events, n_outputs).
        """
        return self

    @property
    def n_trained(self) -> int:
        """How many numbers of its own the objective trains beside the network; they begin at 0."""
        return 0

    def at(self, numbers: Tensor) -> Self:  # noqa: ARG002
        """Return the summary at values of these numbers, shape (n_trained,): ``soft`` is differentiable in them.

        What it has of them when a training ends, ``placed`` writes into the keys in ``learnt``.
        """
        return self

    def average(self, members: Sequence[nn.Sequential], n_scores: int) -> nn.Sequential:  # noqa: ARG002
        """Return one network with outputs for this summary, made of those of several trainings.

        Here the mean of their outputs. What it has beside the members, ``settle`` sets, or a checkpoint.

        Args:
            n_scores: Of each bin, where ``averages_scores``; 0: the scores are of no use.
        """
        from torch import nn

        from inferno_cli.training.layers import Mean

        return nn.Sequential(Mean(members))

    def settle(self, network: nn.Sequential, scores: Sequence[Tensor], samples: Sequence[NominalEvents]) -> None:
        """Set what an ``average`` has beside its members.

        Args:
            scores: Efficient scores of the bins of each member, shape (n_bins, n_scores).
            samples: The events of each sample in the training split.
        """

    def require_average(self) -> None:
        """Check that several trainings have an ``average``.

        Raises:
            ConfigError: If they have bins of their own, which were trained with each.
        """
        if self.n_trained:
            raise ConfigError(
                "trainer.combine=mean takes the mean of several trainings, or epochs, and each has trained bins of "
                f"its own (model.summary is {self.kind!r} with {self.n_trained} trained numbers). Use "
                "trainer.combine=best, and no trainer.snapshots"
            )

    @property
    def state(self) -> dict[str, Any]:
        """Values of the keys in ``learnt`` that have one, for the checkpoint."""
        return self.model_dump(mode="json", include=set(self.learnt), exclude_none=True)

    def restored(self, state: Mapping[str, Any]) -> Self:
        """Return the summary with the ``state`` of a trained one; empty in the checkpoints of earlier versions.

        Raises:
            ValueError: If they do not fit.
        """
        return type(self).model_validate({**self.model_dump(), **state}, strict=False)


class ScoreBins(Summary, ABC):
    """Bins of the score, one output or its sigmoid: all but the soft ones.

    Where the events of a network are between 0 and 1 depends on how it is trained: bins of equal width may have few
    of them. Edges at quantiles follow the events, and any increasing function of the score has the same bins. At
    quantiles of the signal, most of the background is in the first bins. Balanced, signal and background have half
    of the weight each, as they have in the cross-entropy: then both ends of the score have bins. Learnt edges are
    trained with the network, by the same gradient: they are the cumulative softmax of as many numbers as there are
    bins, so they rise by construction. A network that is trained spreads its scores over them before; the scores of one
    that is not are where they are, perhaps most of the signal between 0.99 and 1: their edges move along quantiles.
    """

    ordered: ClassVar[bool] = True
    learnt: ClassVar[Names] = ("edges_at", "quantiles_at")
    bins: Annotated[int, Field(ge=2, le=200)]
    """Bins before sparse ones are merged."""
    edges: Literal["uniform", "signal", "balanced", "learnt"] = "uniform"
    """Edges: `uniform`, at quantiles of `signal`, or of signal and background, half each (`balanced`), or `learnt`."""
    learnt_along: Literal["uniform", "signal", "balanced"] = "uniform"
    """What learnt edges begin at and move along; of a network that is not trained, as `external`, take `balanced`."""
    output: Literal["logit", "score"] = "logit"
    """What the output of the network is: the logit of the score, or the score itself, between 0 and 1."""
    edges_at: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    """Scores of the inner edges that are not uniform: the training places and stores them."""
    quantiles_at: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    """Scores at the quantiles that learnt edges move along, where these are not uniform: the training stores them."""
    _numbers: Tensor | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.edges_at is None:
            return self
        if self.edges == "uniform":
            raise ValueError("edges_at has edges at quantiles, and edges is uniform; leave edges_at out")
        if len(self.edges_at) != self.bins - 1:
            raise ValueError(
                f"edges_at has the edges of {len(self.edges_at) + 1} bins, and bins is {self.bins}; leave edges_at out"
            )
        if any(low > high for low, high in pairwise(self.edges_at)):
            raise ValueError(f"edges_at does not rise: {self.edges_at}")
        return self

    @property
    def n_outputs(self) -> int:
        """The logit of the score."""
        return 1

    @property
    def n_bins(self) -> int:
        """Bins before sparse ones are merged."""
        return self.bins

    @property
    def response_names(self) -> Names:
        """The score."""
        return ("score",)

    @property
    def n_trained(self) -> int:
        """One number for each bin where the edges are learnt."""
        return self.bins if self.edges == "learnt" else 0

    def at(self, numbers: Tensor) -> Self:
        """Return the summary with the edges that are the cumulative softmax of numbers, shape (bins,)."""
        if not self.n_trained:
            return self
        summary = self.model_copy()
        summary._numbers = numbers
        return summary

    def take_over(self, network: nn.Sequential, head: nn.Linear, is_signal: Sequence[bool]) -> None:
        """Begin with the score of signal against background.

        From any other direction one output finds poorer bins: on the synthetic problem sigma(mu) is 10% larger.
        """
        import torch

        from inferno_cli.training.layers import last_linear

        signal = torch.tensor(is_signal, device=head.weight.device)
        with torch.no_grad():
            last_linear(network).weight.copy_(
                (head.weight[signal].mean(dim=0) - head.weight[~signal].mean(dim=0))[None]
            )

    def positions(self, outputs: Tensor) -> Tensor:
        """Number of the bin and how far in it each score is, shape (...): between 0 and the number of bins."""
        from inferno_cli.training.edges import position

        score = self.response(outputs)[..., 0]
        if self.edges == "uniform":
            return score * self.bins
        return position(self._along(score), self._along(self._inner(score)), 0.0, 1.0)

    def hard(self, outputs: Tensor) -> Tensor:
        """Bins whose lower edge belongs to them."""
        from inferno_cli.training.edges import number

        score = self.response(outputs)[..., 0]
        if self.edges == "uniform":
            return (score * self.bins).long().clamp_max(self.bins - 1)
        return number(score, self._inner(score))

    def margin(self, outputs: Tensor) -> Tensor:
        """Difference of the score from the nearest edge."""
        score = self.response(outputs)
        if self.edges != "uniform":
            return (score - self._inner(score)).abs().amin(dim=-1)
        scaled = score[..., 0] * self.bins
        return (scaled - scaled.round()).abs() / self.bins

    def response(self, outputs: Tensor) -> Tensor:
        """The score."""
        own = outputs.double()
        return own.sigmoid() if self.output == "logit" else own.clamp(0.0, 1.0)

    def placed(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> Self:
        """Place the edges at quantiles, so that every bin has the same share of the events, or where they are learnt.

        Raises:
            ConfigError: If they are learnt, and nothing is trained; or if the outputs are no scores.
        """
        if self.output == "score":
            self._require_scores(samples, outputs)
        if self.edges == "uniform":
            return self
        if self.edges != "learnt":
            return self._with(self._quantiles(self.edges, samples, outputs, self.bins))
        if self._numbers is None or self.learnt_along == "uniform" or self.quantiles_at is not None:
            return self._with(self._learnt_edges())
        begun = self.model_copy(update={"quantiles_at": self._quantiles(self.learnt_along, samples, outputs, STEPS)})
        return begun._with(begun._learnt_edges())

    def _require_scores(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> None:
        for sample in samples:
            lowest, highest = outputs(sample.features).aminmax()
            if not 0 <= float(lowest) <= float(highest) <= 1:
                raise ConfigError(
                    f"model.summary.output is 'score', a number from 0 to 1, and the events of {sample.name} have "
                    f"{float(lowest):.4g} to {float(highest):.4g}. Use model.summary.output=logit, whose sigmoid is "
                    "binned, for any other number"
                )

    def _quantiles(
        self, of: str, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor], n_parts: int
    ) -> tuple[float, ...]:
        """Return inner edges at quantiles of the scores of the signal, or of signal and background, half each."""
        import torch

        from inferno_cli.training.quantiles import quantiles

        scores, weights = [], []
        for is_signal in (True, False) if of == "balanced" else (True,):
            chosen = [sample for sample in samples if sample.is_signal == is_signal]
            total = sum(float(sample.weights.sum()) for sample in chosen)
            for sample in chosen:
                scores.append(self.response(outputs(sample.features))[..., 0])
                weights.append(sample.weights / total)
        return quantiles(torch.cat(scores), torch.cat(weights), n_parts)

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add the score, and its bin."""
        import numpy as np

        if self.output == "logit":
            response = graph("Sigmoid", outputs)
        else:
            response = graph("Max", graph("Min", outputs, 1.0), 0.0)
        axis = graph.constant([-1], np.int64)
        if self.edges != "uniform":
            above = graph("GreaterOrEqual", response, graph.constant(self._edges_at))
            return response, graph("ReduceSum", graph.cast(above, np.int64), axis, keepdims=0)
        number = graph.cast(graph("Mul", response, float(self.bins)), np.int64)
        last = graph.constant(self.bins - 1, np.int64)
        return response, graph("Squeeze", graph("Min", number, last), axis)

    def _with(self, edges: tuple[float, ...]) -> Self:
        summary = self.model_copy(update={"edges_at": edges})
        summary._numbers = None
        return summary

    def _learnt_edges(self) -> tuple[float, ...]:
        if self._numbers is None:
            raise ConfigError(
                f"the edges of the {self.bins} bins are learnt in a training, and this network comes without them. Use "
                "model.edges=balanced, or the bins of the run in trained_in"
            )
        return tuple(self._live(self._numbers.detach()).tolist())

    @property
    def _edges_at(self) -> tuple[float, ...]:
        if self.edges_at is None:
            raise ValueError(f"the edges are not uniform ({self.edges}), and no training has placed them yet")
        return self.edges_at

    def _inner(self, score: Tensor) -> Tensor:
        """Return the edges between bins, shape (bins - 1,)."""
        from inferno_cli.training.constants import constant

        return constant(self._edges_at, score) if self._numbers is None else self._live(self._numbers).to(score)

    def _live(self, numbers: Tensor) -> Tensor:
        """Return the inner edges, shape (bins - 1,), for numbers of shape (bins,), in float64."""
        from inferno_cli.training.constants import constant
        from inferno_cli.training.edges import interpolated

        along = (EDGE_SPEED * numbers.double()).softmax(dim=-1).cumsum(dim=-1)[:-1].clamp_max(1.0)
        if self.quantiles_at is None:
            return along
        return interpolated(along, constant([0.0, *self.quantiles_at, 1.0], along))

    def _along(self, score: Tensor) -> Tensor:
        """Return the share of the quantiles that is below each score, shape (...); without any the score itself."""
        from inferno_cli.training.constants import constant
        from inferno_cli.training.edges import position

        if self.quantiles_at is None:
            return score
        return position(score, constant(self.quantiles_at, score), 0.0, 1.0, NARROWEST) / STEPS
