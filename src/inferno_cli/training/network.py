"""The network: standardisation and a multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, both stored with the network, and shorten the tails.

    The inverse hyperbolic sine is the identity for small and a logarithm for large values: a few events with a very
    large momentum do not steer the network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise features, shape (..., n_features)."""
        return torch.asinh((x - self.mean) / self.deviation)


class Quadratic(nn.Module):
    """A polynomial of second order without mixed terms, in float64; its coefficients are not trained."""

    square: Tensor
    linear: Tensor
    constant: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("square", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("linear", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("constant", torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate at features, shape (..., n_features); the result has shape (..., 1)."""
        x = x.double()
        return (x * (self.square * x + self.linear)).sum(dim=-1, keepdim=True) + self.constant


def mlp(mean: Tensor, deviation: Tensor, hidden: Sequence[int], n_outputs: int, activation: str) -> nn.Sequential:
    """Build a perceptron of features that it standardises itself.

    Args:
        mean: Mean of each feature on the training split, shape (n_features,).
        deviation: Standard deviations, the same shape.
        hidden: Sizes of the hidden layers.
        n_outputs: Size of the output.
        activation: A key of ``ACTIVATIONS``.
    """
    layers: list[nn.Module] = [Standardise(mean, deviation)]
    size = len(mean)
    for width in hidden:
        layers += [nn.Linear(size, width), ACTIVATIONS[activation]()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, n_outputs))


def moments(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over several samples, each counted alike.

    A feature that is constant keeps its scale.
    """
    means = torch.stack([x.double().mean(dim=0) for x in features])
    squares = torch.stack([x.double().square().mean(dim=0) for x in features])
    mean = means.mean(dim=0)
    deviation = (squares.mean(dim=0) - mean**2).clamp_min(0).sqrt()
    constant = deviation <= 1e-6 * squares.mean(dim=0).sqrt()
    return mean.float(), torch.where(constant, torch.ones_like(deviation), deviation).float()
