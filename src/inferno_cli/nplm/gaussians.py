"""Sums of Gaussians about fixed centres: a kernel method in Nystroem's approximation, one sum for each toy."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from inferno_cli.events.sample import FloatArray

FEW = 1000
"""Events whose distances choose the width."""
JITTER = 1e-8
"""Added to the kernel matrix of the centres, relative to its largest eigenvalue: what is below it is rounding."""


class Gaussians:
    """A sum of Gaussians and a constant; an ``Exponent``.

    Its parameters multiply combinations of the Gaussians that are orthonormal in the kernel's norm, so that the penalty
    is the same for each: ``white`` makes them, from the inverse square root of the kernel matrix of the centres.
    """

    def __init__(self, centres: FloatArray, width: float, penalty: float, device: str = "cpu") -> None:
        """Take the centres, shape (n_centres, n_features), the width of the Gaussians, and the penalty."""
        self._centres = torch.as_tensor(centres, dtype=torch.float64, device=device)
        self.width = width
        values, vectors = torch.linalg.eigh(self._kernel(self._centres[None])[0])
        kept = values > JITTER * values.max()
        self._white = vectors[:, kept] / values[kept].sqrt()
        self.n_parameters = int(kept.sum()) + 1
        self.bound = torch.full((self.n_parameters,), torch.inf, dtype=torch.float64, device=device)
        self.ridge = torch.full_like(self.bound, penalty)
        self.ridge[-1] = 0  # of the constant

    @classmethod
    def drawn(
        cls, events: FloatArray, rng: np.random.Generator, number: int, width: float | None, penalty: float, device: str
    ) -> Self:
        """Draw the centres from events, shape (n_events, n_features), and choose the width, unless it is given."""
        centres = events[rng.choice(len(events), min(number, len(events)), replace=False)]
        if width is None:
            few = events[rng.choice(len(events), min(FEW, len(events)), replace=False)]
            distances = np.sqrt(((few[:, None] - few[None]) ** 2).sum(axis=2))
            width = float(np.quantile(distances[np.triu_indices(len(few), 1)], 0.9))
        return cls(centres, width, penalty, device)

    def _kernel(self, x: Tensor) -> Tensor:
        """Return every Gaussian at every event, shape (toys, events, centres)."""
        square = (x**2).sum(dim=2, keepdim=True) + (self._centres**2).sum(dim=1) - 2 * x @ self._centres.T
        return torch.exp(-square.clamp(min=0) / (2 * self.width**2))

    def _basis(self, x: Tensor) -> Tensor:
        combined = self._kernel(x) @ self._white
        return torch.cat([combined, torch.ones_like(combined[..., :1])], dim=2)

    def value(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum, shape (toys, events)."""
        return torch.bmm(self._basis(x), parameters[..., None])[..., 0]

    def jacobian(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum, and the basis, in which it is linear."""
        basis = self._basis(x)
        return torch.bmm(basis, parameters[..., None])[..., 0], basis

    def start(self, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """Return zeros: there is one minimum."""
        return np.zeros(self.n_parameters)
