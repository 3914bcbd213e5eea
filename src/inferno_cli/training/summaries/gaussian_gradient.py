"""A histogram of the score whose gradient is that of Gaussians (Wunsch et al., arXiv:2003.07186).

The bins are hard in the training too: an event is in one of them. That has no gradient. The one that is used in its
place is of a Gaussian about the centre of each bin, with half of its width as standard deviation and a height of 1. It
says where a score should go, not an edge: these Gaussians do not add up to 1, so with a bin that grows there seem to be
more events. Edges that followed it ran away in our trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from inferno_cli.section import Positive
from inferno_cli.training.summaries import SCORE_SPREAD, ScoreBins

if TYPE_CHECKING:
    from torch import Tensor, nn


class GaussianGradient(ScoreBins):
    """Hard bins of the score with a gradient."""

    smoothing: ClassVar[str] = "width"
    hard_forward: ClassVar[bool] = True
    kind: Literal["gaussian_gradient"] = "gaussian_gradient"
    """A histogram of the sigmoid of the one output, with the gradient of Gaussians."""
    width: Positive
    """Standard deviation of the Gaussians, in bins: of the gradient alone. Published: a half."""
    normalised: bool = False
    """Divide the Gaussians of an event by their sum: then none is lost or made by a step. Published: false."""

    @model_validator(mode="after")
    def _not_learnt(self) -> Self:
        if self.edges == "learnt":
            raise ValueError("the gradient of Gaussians cannot move edges; choose model.edges=balanced, or model=kde")
        return self

    def soft(self, outputs: Tensor) -> Tensor:
        """1 for the bin of the event, 0 for all others."""
        import torch

        positions = self.positions(outputs)[..., None]
        numbers = torch.arange(self.bins, device=outputs.device)
        own = (self.hard(outputs)[..., None] == numbers).double()
        exponent = -(((positions - numbers - 0.5) / self.width) ** 2) / 2
        gaussian = exponent.softmax(dim=-1) if self.normalised else exponent.exp()
        return own + (gaussian - gaussian.detach())

    def spread(self, network: nn.Sequential, features: Tensor) -> None:
        """Let the scores fill the bins."""
        from inferno_cli.training.layers import spread_outputs

        spread_outputs(network, features, SCORE_SPREAD)
