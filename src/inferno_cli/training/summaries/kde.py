"""A binned kernel density estimate of the score (arXiv:2203.05570): each event is a Gaussian, shared by bins.

    share of a bin = Phi((high - x) / h) - Phi((low - x) / h)

Here x is the position of the score in units of the bins, so the bandwidth h is one of the width of the bin that the
event is in, also where the bins are not equal. As h falls the shares become the histogram.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.section import Positive
from inferno_cli.training.summaries import SCORE_SPREAD, ScoreBins

if TYPE_CHECKING:
    from torch import Tensor, nn


class Kde(ScoreBins):
    """Bins of the score of which the events near an edge have a part."""

    smoothing: ClassVar[str] = "bandwidth"
    kind: Literal["kde"] = "kde"
    """A binned kernel density estimate of the sigmoid of the one output."""
    bandwidth: Positive
    """Standard deviation of the kernel, in bins: the smaller, the closer to a histogram, the noisier the gradient."""
    closed: bool
    """What the kernel carries below 0 and above 1 is in the outer bins; false: it is lost from the soft templates."""

    def soft(self, outputs: Tensor) -> Tensor:
        """Shares of a Gaussian; their sum is below 1 for events near 0 and 1 where the outer edges are open."""
        import torch

        own = self.positions(outputs)[..., None]
        edges = torch.arange(self.bins + 1, dtype=own.dtype, device=own.device)
        if self.closed:
            edges = torch.cat([edges[:1] - torch.inf, edges[1:-1], edges[-1:] + torch.inf])
        below: Tensor = torch.special.ndtr((edges - own) / self.bandwidth)
        return below.diff(dim=-1)

    def spread(self, network: nn.Sequential, features: Tensor) -> None:
        """Let the scores fill the bins."""
        from inferno_cli.training.layers import spread_outputs

        spread_outputs(network, features, SCORE_SPREAD)
