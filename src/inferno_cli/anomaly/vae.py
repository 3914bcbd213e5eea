"""A variational autoencoder of features: how probable an event is, by what the training events were."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from inferno_cli.anomaly.prior import Prior
from inferno_cli.training.layers import ACTIVATIONS, Standardise, last_linear

if TYPE_CHECKING:
    from inferno_cli.anomaly.outputs import Output
    from inferno_cli.anomaly.settings import Vae
    from inferno_cli.training.onnx import Graph

LEAST, MOST = -7.0, 3.0
"""Range of the logarithm of the width of a posterior."""


class Terms(NamedTuple):
    """The parts of the loss of some events, shape (n_events,) each."""

    reconstruction: Tensor
    """-ln p(x | z)."""
    divergence: Tensor
    """Of the posterior of z from its prior."""

    def loss(self, beta: float) -> Tensor:
        """Return the reconstruction with the divergence times beta; with 1 it is the negative ELBO."""
        return self.reconstruction + beta * self.divergence


class Autoencoder(nn.Module):
    """Encoder, prior and decoder.

    Args:
        settings: Their sizes.
        outputs: The density of each feature.
        fitted: Numbers of that density for all training events.
        standard: Mean and standard deviation of each feature, shape (n_features,) each.
    """

    constants: Tensor

    def __init__(
        self,
        settings: Vae,
        outputs: Sequence[Output],
        fitted: Sequence[tuple[float, ...]],
        standard: tuple[Tensor, Tensor],
    ) -> None:
        super().__init__()
        self.outputs, self.latent = tuple(outputs), settings.latent
        # With the weights in a checkpoint, and in float64: rounded, a density would be another one.
        self.register_buffer("constants", torch.tensor([x for own in fitted for x in own], dtype=torch.float64))
        sizes = settings.hidden
        self.encoder = nn.Sequential(
            Standardise(*standard), _perceptron((len(outputs), *sizes, 2 * self.latent), settings.activation)
        )
        n_raw = sum(output.n_parameters for output in outputs)
        self.decoder = _perceptron((self.latent, *reversed(sizes), n_raw), settings.activation)
        last = last_linear(self.decoder)
        with torch.no_grad():  # begin with the density that each feature has over all events
            last.weight *= 0.1
            last.bias.zero_()
        self.prior = Prior(settings.latent, is_learned=settings.prior == "learned")

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the width of the latent variables, shape (n_events, latent) each."""
        mean, log_width = self.encoder(x).chunk(2, dim=-1)
        return mean, log_width.clamp(LEAST, MOST)

    def terms(self, x: Tensor, noise: Tensor | None = None, seen: Tensor | None = None) -> Terms:
        """Return the parts of the loss of events.

        Args:
            x: Features, shape (n_events, n_features).
            noise: Standard normal numbers, shape (n_events, latent), which draw from the posterior; None: its mean.
            seen: What the encoder sees in the place of ``x``.
        """
        mean, log_width = self.posterior(x if seen is None else seen)
        z = mean if noise is None else mean + log_width.exp() * noise
        return Terms(-self.log_prob(x, z), self.prior.divergence(mean, log_width))

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Return ln p(x | z), shape (n_events,)."""
        raw, constants = self.decoder(z).unbind(dim=-1), self.constants.tolist()
        total, first = torch.zeros_like(x[:, 0]), 0
        for number, output in enumerate(self.outputs):
            own = slice(first, first + output.n_parameters)
            total = total + output.log_prob(x[:, number], *output.parameters(raw[own], constants[own]))
            first += output.n_parameters
        return total

    def loss_in(self, graph: Graph, x: str, beta: float) -> str:
        """Add the loss at the mean of the posterior to a graph; return the name of its output, shape (n_events, 1)."""
        encoded = graph.layer(self.encoder, x)
        mean = _columns_in(graph, encoded, 0, self.latent)
        log_width = _columns_in(graph, encoded, self.latent, 2 * self.latent)
        log_width = graph("Min", graph("Max", log_width, LEAST), MOST)
        decoded, constants, first = graph.layer(self.decoder, mean), self.constants.tolist(), 0
        total = graph("Mul", self.prior.divergence_in(graph, mean, log_width), beta)
        for number, output in enumerate(self.outputs):
            last = first + output.n_parameters
            own = [_columns_in(graph, decoded, i, i + 1) for i in range(first, last)]
            value = _columns_in(graph, x, number, number + 1)
            total = graph("Sub", total, output.to_onnx(graph, value, own, constants[first:last]))
            first = last
        return total


def _perceptron(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Return linear layers with the activation between them."""
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(sizes)):
        if number:
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)


def _columns_in(graph: Graph, x: str, first: int, last: int) -> str:
    """Add some columns of a matrix to a graph."""
    import numpy as np

    return graph("Gather", x, graph.constant(range(first, last), np.int64), axis=-1)
