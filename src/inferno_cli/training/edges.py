"""Bins between edges: the number of a score's bin, and how far it is in it."""

from __future__ import annotations

import torch
from torch import Tensor

from inferno_cli.training.constants import constant


def number(score: Tensor, inner: Tensor) -> Tensor:
    """Return how many inner edges, shape (n_edges,), are not above each score, shape (...)."""
    return (score[..., None] >= inner).sum(dim=-1)


def position(score: Tensor, inner: Tensor, low: float, high: float, narrowest: float = 0.0) -> Tensor:
    """Return the number of the bin and how far in it each score is, shape (...): between 0 and the number of bins.

    The outer edges are ``low`` and ``high``; no bin counts as narrower than ``narrowest``, which bounds the derivative.
    """
    found = number(score, inner)
    edges = torch.cat([constant([low], score), inner, constant([high], score)])
    # Scores that many events share make edges that are the same: no event is between them.
    width = (edges[found + 1] - edges[found]).clamp_min(max(narrowest, torch.finfo(score.dtype).tiny))
    return found + (score - edges[found]) / width


def interpolated(share: Tensor, edges: Tensor) -> Tensor:
    """Return where a share, shape (...) and from 0 to 1, of the bins between edges, shape (n_edges,), ends."""
    n_bins = len(edges) - 1
    found = (share * n_bins).long().clamp(0, n_bins - 1)
    return edges[found] + (share * n_bins - found) * (edges[found + 1] - edges[found])


def smooth(positions: Tensor, n_bins: int, width: float) -> Tensor:
    """Return what falls into each bin after smearing the positions, shape (...), by a width in bins: (..., n_bins)."""
    own = positions[..., None]
    edges = torch.arange(1, n_bins, dtype=own.dtype, device=own.device)
    above = torch.sigmoid((own - edges) / width)
    ones, zeros = torch.ones_like(own), torch.zeros_like(own)
    return torch.cat([ones, above], dim=-1) - torch.cat([above, zeros], dim=-1)
