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
        from inferno_cli.training.costs import balanced_cross_entropy

        logits = [output[0, :, 0] for output in outputs]
        return balanced_cross_entropy(likelihood, logits, likelihood.nominal_weights(batch))
