"""The prior of the latent variables, and how far a posterior is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from inferno_cli.training.onnx import Graph


class Prior(nn.Module):
    """Independent normal densities: standard ones, or with means and widths that are trained with the network."""

    mean: Tensor
    log_width: Tensor

    def __init__(self, latent: int, *, is_learned: bool) -> None:
        """Begin with standard normal densities of ``latent`` variables."""
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(latent), requires_grad=is_learned)
        self.log_width = nn.Parameter(torch.zeros(latent), requires_grad=is_learned)

    def divergence(self, mean: Tensor, log_width: Tensor) -> Tensor:
        """Return the Kullback-Leibler divergence of a posterior from the prior, shape (n_events,).

        1/2 sum over the latent variables of (s_z/s_p)^2 + ((m_p - m_z)/s_p)^2 + 2 ln(s_p/s_z) - 1; the k of the
        published 1/(2k) is the number of events of the mean, arXiv:1811.10276.

        Args:
            mean: Of the posterior, shape (n_events, latent).
            log_width: Logarithm of its standard deviation, of the same shape.
        """
        ratio, distance = log_width - self.log_width, (mean - self.mean) / self.log_width.exp()
        return 0.5 * ((2 * ratio).exp() + distance.square() - 2 * ratio - 1).sum(dim=-1)

    def divergence_in(self, graph: Graph, mean: str, log_width: str) -> str:
        """Add the divergence to a graph, shape (n_events, 1)."""
        ratio = graph("Sub", log_width, graph.constant(self.log_width.detach().cpu()))
        centred = graph("Sub", mean, graph.constant(self.mean.detach().cpu()))
        distance = graph("Div", centred, graph.constant(self.log_width.detach().exp().cpu()))
        twice = graph("Mul", ratio, 2.0)
        parts = graph("Add", graph("Exp", twice), graph("Mul", distance, distance))
        parts = graph("Sub", graph("Sub", parts, twice), 1.0)
        return graph("MatMul", parts, graph.constant(torch.full((len(self.mean), 1), 0.5)))
