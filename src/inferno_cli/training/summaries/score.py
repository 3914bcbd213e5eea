"""The score of a classifier: the sigmoid of its one output, in bins of equal width, at quantiles, or learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.section import Positive
from inferno_cli.training.summaries import ScoreBins

if TYPE_CHECKING:
    from torch import Tensor


class Score(ScoreBins):
    """Bins of the score with logistic edges, which a classifier is not trained on."""

    smoothing: ClassVar[str] = "edge_width"
    kind: Literal["score"] = "score"
    """The sigmoid of the one output."""
    edge_width: Positive
    """Width of the smoothed edges of the bins, in bins: of the soft templates alone."""

    def soft(self, outputs: Tensor) -> Tensor:
        """Bins with smooth edges: what falls into a bin after smearing the score by a share of the bin width."""
        from inferno_cli.training.edges import smooth

        return smooth(self.positions(outputs), self.bins, self.edge_width)
