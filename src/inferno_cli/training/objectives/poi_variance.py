"""INFERNO (arXiv:1806.04743): the variance of the POI in the fit of the soft templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from inferno_cli.training.objectives import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood
    from inferno_cli.training.summaries import Summary


class PoiVariance(Objective):
    """The variance of the POI, everything else profiled.

    The hidden layers first learn to tell the samples apart, for the first epochs with cross-entropy: with few simulated
    events the gradient of the variance alone finds poorer features. The bins themselves are trained on the variance.
    """

    kind: Literal["poi_variance"] = "poi_variance"
    """The variance of the POI in the fit."""
    warm_up: Annotated[float, Field(ge=0, lt=1)]
    """Share of trainer.max_epochs in which the hidden layers first learn to tell the samples apart."""

    def loss(self, outputs: Sequence[Tensor], batch: Batch, summary: Summary, likelihood: SoftLikelihood) -> Tensor:
        """Logarithm of the variance: the same minimum, and steps that do not depend on the size of the error."""
        return self.value(likelihood.expectation(batch, [summary.soft(output) for output in outputs])).log()

    def warm_up_epochs(self, max_epochs: int) -> int:
        """Return a share of all epochs."""
        return int(self.warm_up * max_epochs)

    def warm_up_head(self, network: nn.Sequential, n_samples: int) -> nn.Module | None:
        """Return a classifier of the samples."""
        from torch import nn

        from inferno_cli.training.layers import last_linear

        return nn.Linear(last_linear(network).in_features, n_samples)

    def warm_up_loss(self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood) -> Tensor:
        """Cross-entropy of the samples, at their expected yields."""
        import torch
        from torch import nn

        logits = torch.cat([output[0] for output in outputs])
        labels = torch.cat([weights.new_full(weights.shape[1:], i).long() for i, (_, weights) in enumerate(batch)])
        weight = torch.cat(likelihood.nominal_weights(batch))
        cost = nn.functional.cross_entropy(logits.double(), labels, reduction="none")
        return (weight * cost).sum() / weight.sum()
