"""Summaries: from the outputs of a network to the bins of a histogram, soft for the gradient and hard for the fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from inferno_cli.section import Names, Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.events.sample import Sample
    from inferno_cli.training.onnx import Graph


@dataclass(frozen=True)
class NominalEvents:
    """The nominal events of one sample in the training split, on which bins are placed.

    Attributes:
        name: Name of the sample.
        is_signal: Whether the POI scales it.
        features: Shape (n_events, n_features).
        weights: Expected events, negative ones among them; shape (n_events,), float64.
    """

    name: str
    is_signal: bool
    features: Tensor
    weights: Tensor

    @classmethod
    def of(cls, sample: Sample) -> NominalEvents:
        """Take those of an event table."""
        import torch

        features, weights = (torch.from_numpy(array[0]) for array in (sample.features, sample.weights))
        return cls(sample.name, sample.is_signal, features, weights)


class Summary(Section, ABC):
    """What every summary answers. Outputs have shape (..., n_outputs), on any device.

    Attributes:
        ordered: Whether the bins have an order of their own, which merging keeps.
        smoothing: Key whose value makes the soft bins the hard ones as it falls.
        fixed: Keys that belong to the trained network: who reuses it cannot choose them anew.
        learnt: Keys that get their values in the training; they are stored with the network.
        one_output_a_sample: Whether the outputs are those of the samples, in their order.
    """

    ordered: ClassVar[bool]
    smoothing: ClassVar[str]
    fixed: ClassVar[Names] = ()
    learnt: ClassVar[Names] = ()
    one_output_a_sample: ClassVar[bool] = False
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

    def spread(self, network: nn.Sequential, features: Tensor) -> None:
        """Scale the last layer to features, shape (n_events, n_features), so that every bin has a share of them."""

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
    def state(self) -> dict[str, Any]:
        """Values of the keys in ``learnt`` that have one, for the checkpoint."""
        return self.model_dump(mode="json", include=set(self.learnt), exclude_none=True)

    def restored(self, state: Mapping[str, Any]) -> Self:
        """Return the summary with the ``state`` of a trained one; empty in the checkpoints of earlier versions.

        Raises:
            ValueError: If they do not fit.
        """
        return type(self).model_validate({**self.model_dump(), **state}, strict=False)
