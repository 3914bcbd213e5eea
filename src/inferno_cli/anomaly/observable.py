"""The score as an observable in equal bins, for what is applied to trees of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inferno_cli.anomaly.score import NAMES, Score
from inferno_cli.errors import ExportError
from inferno_cli.events.channels import Channels
from inferno_cli.training.observable import ChannelNetworks, Observable
from inferno_cli.training.observables import Observables
from inferno_cli.training.summaries import Summary

if TYPE_CHECKING:
    from inferno_cli.anomaly.settings import AnomalyConfig
    from inferno_cli.training.onnx import Graph


class EqualBins(Summary):
    """Equal bins of the score, the first of the outputs, all of which are told of an event."""

    ordered: ClassVar[bool] = True
    smoothing: ClassVar[str] = "kind"
    n_outputs: ClassVar[int] = len(NAMES)
    response_names: ClassVar[tuple[str, ...]] = NAMES
    kind: Literal["anomaly"] = "anomaly"
    bins: Annotated[int, Field(ge=2)]

    @property
    def n_bins(self) -> int:
        """Bins of the score."""
        return self.bins

    def soft(self, outputs: Tensor) -> Tensor:
        """Return the hard bins: nothing is trained with them."""
        return nn.functional.one_hot(self.hard(outputs), self.bins).double()

    def hard(self, outputs: Tensor) -> Tensor:
        """Return the bin."""
        return (outputs[..., 0].double() * self.bins).floor().clamp(0, self.bins - 1).long()

    def margin(self, outputs: Tensor) -> Tensor:
        """Return the distance from the next edge, in units of the score."""
        scaled = outputs[..., 0].double() * self.bins
        return (scaled - scaled.round()).abs() / self.bins

    def response(self, outputs: Tensor) -> Tensor:
        """Return the score and the parts of the loss."""
        return outputs.double()

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:  # noqa: ARG002
        """Raise ExportError: the score has an ONNX file of its own, without bins."""
        raise ExportError("the anomaly score is exported without bins, see inferno_cli.anomaly.score")


def observables(config: AnomalyConfig, score: Score, bins: int) -> Observables:
    """Return the score in equal bins, in the channels of a configuration."""
    channels = Channels(config.channels)
    observable = Observable(nn.Sequential(score), EqualBins(bins=bins), config.dataset.features)
    by_name = dict.fromkeys(channels.networks, observable)
    groups = dict.fromkeys(channels.trained, tuple((number,) for number in range(bins)))
    return Observables((ChannelNetworks.by_channels(by_name, channels.networks),), channels, groups)


def restored(config: AnomalyConfig, weights: dict[str, Tensor], median: float, width: float) -> Score:
    """Return the score of a finished run, given the weights of its network.

    Raises:
        RuntimeError: If they are not of such a network.
    """
    from inferno_cli.anomaly.vae import Autoencoder

    names = config.dataset.features
    outputs = [config.vae.of(name) for name in names]
    standard = torch.zeros(len(names)), torch.ones(len(names))
    network = Autoencoder(config.vae, outputs, [(0.0,) * output.n_parameters for output in outputs], standard)
    network.load_state_dict(weights)
    return Score(network.double().eval(), config.vae.beta, median, width)
