"""Binary cross-entropy over nominal and varied events: a classifier that has seen the systematics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from inferno_cli.training.objectives import BinaryClassifier

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood


class AugmentedCrossEntropy(BinaryClassifier):
    """Weighted binary cross-entropy of the one output, over the nominal events and every variation of them alike.

    It is the usual remedy against systematics (data augmentation): the classifier gets less sensitive to what changes
    in the variations, and still knows nothing of the fit.
    """

    kind: Literal["augmented_cross_entropy"] = "augmented_cross_entropy"
    """Binary cross-entropy of signal and background, over nominal and varied events."""

    def counted(
        self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return those of all variations; all of a sample count the same."""
        import torch

        from inferno_cli.training.constants import constant

        logits: list[Tensor] = []
        shares: list[Tensor] = []
        for stratum, (_, weights), output in zip(likelihood.strata, batch, outputs, strict=True):
            yields = constant(stratum.yields, weights) / len(stratum.variations)
            shares.append((weights * (yields / weights.sum(dim=1))[:, None]).flatten())
            views = constant(stratum.view, output, torch.int64)
            logits.append(output[..., 0].index_select(0, views).flatten())
        return logits, shares
