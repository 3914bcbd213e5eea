"""Binary cross-entropy: signal is told apart from background, whatever the fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.objectives import BinaryClassifier

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood


class CrossEntropy(BinaryClassifier):
    """Weighted binary cross-entropy of the one output; it knows of no systematics."""

    nominal_only: ClassVar[bool] = True
    kind: Literal["cross_entropy"] = "cross_entropy"
    """Binary cross-entropy of signal and background."""

    def counted(
        self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return those of the nominal events."""
        return [output[0, :, 0] for output in outputs], likelihood.nominal_weights(batch)
