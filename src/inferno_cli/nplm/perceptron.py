"""A stack of perceptrons, one for each toy, with the derivative of every output in every parameter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from inferno_cli.events.sample import FloatArray


class Perceptron:
    """Hidden layers of sigmoids and one linear output; an ``Exponent``.

    Parameters are one row for each toy: of each layer the weights (outputs, inputs), then the biases.

    Attributes:
        sizes: Inputs, units of the hidden layers, outputs (1).
    """

    def __init__(self, sizes: Sequence[int], clip: float, device: str = "cpu") -> None:
        """Take the sizes, and the largest absolute weight; biases have no limit."""
        self.sizes = tuple(sizes)
        bounds: list[Tensor] = []
        for n_in, n_out in pairwise(self.sizes):
            bounds += [torch.full((n_in * n_out,), clip), torch.full((n_out,), torch.inf)]
        self.clip = clip
        self.bound = torch.cat(bounds).to(device, torch.float64)
        self.ridge = torch.zeros_like(self.bound)
        self.n_parameters = len(self.bound)

    def _layers(self, parameters: Tensor) -> list[tuple[Tensor, Tensor]]:
        layers, first = [], 0
        for n_in, n_out in pairwise(self.sizes):
            middle, last = first + n_in * n_out, first + (n_in + 1) * n_out
            layers.append((parameters[:, first:middle].reshape(-1, n_out, n_in), parameters[:, middle:last]))
            first = last
        return layers

    def _activations(self, x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Return the inputs of every layer, and the output behind them."""
        found = [x]
        for number, (weight, bias) in enumerate(layers):
            z = torch.baddbmm(bias[:, None], found[-1], weight.mT)
            found.append(z if number == len(layers) - 1 else torch.sigmoid(z))
        return found

    def value(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Return the outputs, shape (toys, events)."""
        return self._activations(x, self._layers(parameters))[-1][..., 0]

    def jacobian(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs, and their derivatives: backpropagation of each event by itself."""
        layers = self._layers(parameters)
        inputs = self._activations(x, layers)
        columns: list[Tensor] = []
        change = torch.ones_like(inputs[-1])  # of the output with what each unit of a layer adds up
        for number in reversed(range(len(layers))):
            before = inputs[number]
            columns = [(change[..., :, None] * before[..., None, :]).flatten(2), change, *columns]
            if number:
                change = (change @ layers[number][0]) * before * (1 - before)
        return inputs[-1][..., 0], torch.cat(columns, dim=2)

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw the hidden layers; the output layer is 0, and with it the function."""
        parts: list[FloatArray] = []
        for n_in, n_out in pairwise(self.sizes):
            size = min(self.clip, 3 * np.sqrt(6 / (n_in + n_out)))
            parts += [rng.uniform(-size, size, n_in * n_out), rng.uniform(-size, size, n_out)]
        parts[-2][:] = 0
        parts[-1][:] = 0
        return np.concatenate(parts)
