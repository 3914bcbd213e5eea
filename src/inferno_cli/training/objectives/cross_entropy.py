"""Binary cross-entropy: signal is told apart from background, whatever the fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.objectives import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood
    from inferno_cli.training.summaries import Summary


class CrossEntropy(Objective):
    """Weighted binary cross-entropy of the one output; it knows of no systematics."""

    nominal_only: ClassVar[bool] = True
    only_outputs: ClassVar[int | None] = 1
    kind: Literal["cross_entropy"] = "cross_entropy"
    """Binary cross-entropy of signal and background."""

    def loss(
        self,
        outputs: Sequence[Tensor],
        batch: Batch,
        summary: Summary,  # noqa: ARG002
        likelihood: SoftLikelihood,
    ) -> Tensor:
        """Cross-entropy in which signal and background count half each."""
        logits = [output[0, :, 0] for output in outputs]
        return balanced(likelihood, logits, likelihood.nominal_weights(batch))


def balanced(likelihood: SoftLikelihood, logits: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Cross-entropy in which signal and background count half each.

    Args:
        likelihood: Says which samples are signal.
        logits: Outputs for the events of each sample, shape (n_events,).
        weights: Their weights, shape (n_events,).
    """
    import torch
    from torch import nn

    total = weights[0].new_zeros(())
    for is_signal in (True, False):
        chosen = [i for i, stratum in enumerate(likelihood.strata) if stratum.is_signal == is_signal]
        weight = torch.cat([weights[i] for i in chosen])
        output = torch.cat([logits[i] for i in chosen]).double()
        cost = nn.functional.softplus(-output if is_signal else output)
        total = total + 0.5 * (weight * cost).sum() / weight.sum()
    return total
