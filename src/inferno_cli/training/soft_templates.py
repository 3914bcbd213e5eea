"""Soft templates: weights of a batch times memberships of its events, for all samples and variations at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from inferno_cli.events.sample import Sample, Variation
from inferno_cli.training.batches import Batch


@dataclass(frozen=True)
class _Block:
    """Rows of weights and the views of the events that they are of: one view of them all, or one for each.

    Attributes:
        rows: Rows of the weights.
        views: Views of the memberships.
    """

    rows: slice
    views: slice

    @property
    def is_one_view(self) -> bool:
        """Whether all rows are of one view."""
        return bool(self.views.stop - self.views.start == 1)


@dataclass(frozen=True)
class Stratum:
    """What the loss knows of one sample apart from its events.

    Attributes:
        name: Name of the sample.
        channel: The channel that these events are in.
        is_signal: Whether the POI scales it.
        variations: Nominal first.
        view: The feature block of each variation.
        yields: Expected events of each variation, from the full sample.
        effective_events: Effective events of the split whose templates are fitted: the size of its staterror.
    """

    name: str
    channel: str
    is_signal: bool
    variations: tuple[Variation, ...]
    view: tuple[int, ...]
    yields: tuple[float, ...]
    effective_events: float

    @classmethod
    def of(cls, sample: Sample, effective_events: float) -> Stratum:
        """Describe a sample."""
        yields = tuple(sample.yields.tolist())
        about = sample.name, sample.channel, sample.is_signal, sample.variations, sample.view
        return cls(*about, yields, effective_events)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The variations by their view, so that those of one view lie beside each other; the nominal one is first."""
        first = self.view[0]
        return tuple(sorted(range(len(self.view)), key=lambda i: (self.view[i] != first, self.view[i])))

    @property
    def labels(self) -> tuple[Variation | None, ...]:
        """What the rows of ``filled`` are of this sample: None, its statistical variance, then the variations."""
        return (None, *(self.variations[i] for i in self.order))

    @property
    def sizes(self) -> tuple[float, ...]:
        """Sum over the bins of each of these rows."""
        return (self.yields[0] ** 2 / self.effective_events, *(self.yields[i] for i in self.order))

    @cached_property
    def blocks(self) -> tuple[_Block, ...]:
        """Blocks of these rows: first those of the nominal view, the variance among them."""
        views = [self.view[0], *(self.view[i] for i in self.order)]
        blocks: list[_Block] = []
        for row, view in enumerate(views):
            last = blocks[-1] if blocks else _Block(slice(0, 0), slice(-1, -1))
            if last.is_one_view and view == last.views.start:
                blocks[-1] = _Block(slice(last.rows.start, row + 1), last.views)
                continue
            # A view that has one variation joins those before it: a single product for all of them.
            is_next = view == last.views.stop and last.rows.stop - last.rows.start == last.views.stop - last.views.start
            if is_next and views.count(view) == 1:
                blocks[-1] = _Block(slice(last.rows.start, row + 1), slice(last.views.start, view + 1))
            else:
                blocks.append(_Block(slice(row, row + 1), slice(view, view + 1)))
        return tuple(blocks)

    def rows(self, weights: Tensor) -> Tensor:
        """Return the squares of the nominal weights, then the weights (n_variations, n_events) in their ``order``."""
        squares = weights[:1].square()
        if self.order == tuple(range(len(self.order))):
            return torch.cat([squares, weights])
        return torch.cat([squares, *(weights[i : i + 1] for i in self.order)])


def filled(strata: Sequence[Stratum], batch: Batch, memberships: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the rows of all samples (see ``Stratum.labels``), shape (n_rows, n_bins), and the sum of weights of each.

    Args:
        memberships: Of each bin, for each sample, shape (n_views, n_events, n_bins).
    """
    rows = [stratum.rows(weights) for stratum, (_, weights) in zip(strata, batch, strict=True)]
    sums = torch.cat([row.sum(dim=1) for row in rows])
    blocks = tuple(stratum.blocks for stratum in strata)
    return _Filled.apply(blocks, *memberships, *rows), sums  # type: ignore[no-untyped-call]


class _Filled(torch.autograd.Function):
    """Weights (n_rows, n_events) of each sample times memberships (n_views, n_events, n_bins), one below the other.

    Written out, as what autograd makes of the same products fills an array of zeros for every view.
    """

    @staticmethod
    def forward(ctx: Any, blocks: Sequence[Sequence[_Block]], *tensors: Tensor) -> Tensor:
        """Multiply."""
        memberships, weights = tensors[: len(blocks)], tensors[len(blocks) :]
        result = memberships[0].new_empty(sum(map(len, weights)), memberships[0].shape[-1])
        parts = torch.split(result, [len(rows) for rows in weights])
        for own, membership, rows, part in zip(blocks, memberships, weights, parts, strict=True):
            for block in own:
                if block.is_one_view:
                    torch.mm(rows[block.rows], membership[block.views.start], out=part[block.rows])
                else:
                    product = part[block.rows][:, None]
                    torch.bmm(rows[block.rows][:, None], membership[block.views], out=product)
        ctx.blocks, ctx.n_views = blocks, [len(membership) for membership in memberships]
        ctx.save_for_backward(*weights)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the memberships, which in memory have the bins first."""
        weights = ctx.saved_tensors
        gradients: list[Tensor | None] = []
        parts = torch.split(gradient, [len(rows) for rows in weights])
        for own, n_views, rows, part in zip(ctx.blocks, ctx.n_views, weights, parts, strict=True):
            by_bin = rows.new_zeros if _unused(own, n_views) else rows.new_empty
            result = by_bin(gradient.shape[1], n_views, rows.shape[1])
            for block in own:
                by_row = part[block.rows].T
                if block.is_one_view:
                    torch.mm(by_row, rows[block.rows], out=result[:, block.views.start])
                else:
                    torch.mul(by_row[..., None], rows[block.rows], out=result[:, block.views])
            gradients.append(result.movedim(0, -1))
        return (None, *gradients, *([None] * len(weights)))


def _unused(blocks: Sequence[_Block], n_views: int) -> bool:
    """Return whether there are views without a weight."""
    used = 0
    for block in blocks:
        used += block.views.stop - block.views.start
    return used < n_views
