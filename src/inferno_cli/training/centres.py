"""The cells into which points are best divided: the centres of a k-means quantisation."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 300
"""Steps of Lloyd's algorithm, at most."""


def best_centres(points: Tensor, weights: Tensor, n_centres: int) -> Tensor:
    """Return centres such that points are near to one: the variance within the cells is smallest, near a minimum.

    The points begin in slices of equal weight across their longest axis, and Lloyd's algorithm moves the centres.
    Nothing is drawn.

    Args:
        points: Shape (n_points, n_dimensions), float64.
        weights: How often each counts, shape (n_points,); negative ones do not.

    Returns:
        Shape (n_centres, n_dimensions). A cell that no point is in keeps its centre: where there are fewer points.
    """
    weights = weights.clamp_min(0.0)
    cell = _slices(points, weights, n_centres)
    centres = _means(points, weights, cell, points.new_zeros(n_centres, points.shape[1]))
    for _ in range(ROUNDS):
        before, cell = cell, torch.cdist(points, centres).argmin(dim=1)
        if torch.equal(before, cell):
            break
        centres = _means(points, weights, cell, centres)
    return centres


def _slices(points: Tensor, weights: Tensor, n_slices: int) -> Tensor:
    """Return the number of the slice of each point, shape (n_points,)."""
    offset = points - (weights @ points) / weights.sum()
    axis = torch.linalg.eigh((offset * weights[:, None]).T @ offset).eigenvectors[:, -1]
    axis = axis * axis[axis.abs().argmax()].sign()  # which of both signs is found is a matter of the library
    order = (offset @ axis).argsort(stable=True)
    share = (weights[order].cumsum(dim=0) - weights[order] / 2) / weights.sum()
    cell = torch.empty(len(points), dtype=torch.long, device=points.device)
    cell[order] = (share * n_slices).long().clamp(0, n_slices - 1)
    return cell


def _means(points: Tensor, weights: Tensor, cell: Tensor, empty: Tensor) -> Tensor:
    """Return the mean of the points in each cell, shape (n_cells, n_dimensions); without any that of ``empty``."""
    total = points.new_zeros(len(empty)).index_add_(0, cell, weights)
    summed = torch.zeros_like(empty).index_add_(0, cell, weights[:, None] * points)
    return torch.where(total[:, None] > 0, summed / total.clamp_min(1e-300)[:, None], empty)
