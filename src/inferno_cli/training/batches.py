"""Batches: slices of tensors that stay on the device, stratified by sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from inferno_cli.events.sample import Sample

Batch = list[tuple[Tensor, Tensor]]
"""For each sample: features (n_views, n_events, n_features) and weights (n_variations, n_events)."""

WHOLE = 500
"""A sample this small is in every batch whole: its template would be too noisy from a share of it."""


def to_tensors(samples: Sequence[Sample], device: torch.device | str) -> Batch:
    """Move event tables to a device."""
    return [
        (torch.from_numpy(sample.features).to(device), torch.from_numpy(sample.weights).to(device))
        for sample in samples
    ]


class StratifiedBatches:
    """One pass over the training split: every batch has its share of every sample.

    One permutation per epoch and sample, then parts of it; the last incomplete batch is spread over the others.
    """

    def __init__(self, samples: Sequence[Sample], batch_size: int, seed: int, device: torch.device | str) -> None:
        self.tensors = to_tensors(samples, device)
        sizes = [weights.shape[1] for _, weights in self.tensors]
        self.n_batches = max(1, round(sum(sizes) / batch_size))
        self.rows = [max(-(-n // self.n_batches), min(n, WHOLE)) for n in sizes]
        self.generator = torch.Generator().manual_seed(seed)

    def nominal_features(self, most: int, rows: Sequence[int]) -> Tensor:
        """Features of at most ``most`` nominal events of the samples of some ``rows``, shape (n_events, n_features)."""
        chosen = [self.tensors[row] for row in rows]
        return torch.cat([features[0][weights[0] != 0][:most] for features, weights in chosen])

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Batch]:
        orders = []
        for (_, weights), rows in zip(self.tensors, self.rows, strict=True):
            order = torch.randperm(weights.shape[1], generator=self.generator)
            # Cycle through the permutation, so that every batch has as many rows.
            order = order.repeat(-(-rows * self.n_batches // len(order)))[: rows * self.n_batches]
            orders.append(torch.split(order.to(weights.device), rows))
        for chosen in zip(*orders, strict=True):
            # Batch by batch: in memory is no more of a table in a file than that.
            yield [
                (_picked(features, rows), _picked(weights, rows))
                for (features, weights), rows in zip(self.tensors, chosen, strict=True)
            ]


def _picked(table: Tensor, rows: Tensor) -> Tensor:
    """Some events of a table (n_views, n_events, ...), in memory in this order.

    ``index_select`` takes a seventh of the time of an index in brackets where the table lies in memory as its shape
    says, and a hundred times as long where the events come first, as in a large table that is in a file.
    """
    return table.index_select(1, rows) if table.is_contiguous() else table[:, rows]
