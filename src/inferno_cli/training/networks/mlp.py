"""A multilayer perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from inferno_cli.training.networks import Network

if TYPE_CHECKING:
    from torch import Tensor, nn


class Mlp(Network):
    """A multilayer perceptron."""

    kind: Literal["mlp"] = "mlp"
    """A multilayer perceptron."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    """Units of each hidden layer."""
    activation: Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh"]
    """Activation function of the hidden layers."""

    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:
        """Return linear layers with the activation between them."""
        from torch import nn

        from inferno_cli.training.layers import ACTIVATIONS, Linear, Standardise

        layers: list[nn.Module] = [Standardise(mean, deviation)]
        size = len(mean)
        for width in self.hidden:
            layers += [Linear(size, width), ACTIVATIONS[self.activation]()]
            size = width
        return nn.Sequential(*layers, Linear(size, n_outputs))
