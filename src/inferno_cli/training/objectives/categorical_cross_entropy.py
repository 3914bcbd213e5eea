"""Cross-entropy of several categories: every sample is told apart from all others, whatever the fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.objectives import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood
    from inferno_cli.training.summaries import Summary


class CategoricalCrossEntropy(Objective):
    """Weighted cross-entropy with one category for each sample, all of which count the same."""

    nominal_only: ClassVar[bool] = True
    one_output_a_sample: ClassVar[bool] = True
    sees_bins: ClassVar[bool] = False
    kind: Literal["categorical_cross_entropy"] = "categorical_cross_entropy"
    """Cross-entropy with one category a sample."""

    def loss(
        self,
        outputs: Sequence[Tensor],
        batch: Batch,
        summaries: Sequence[Summary],  # noqa: ARG002
        likelihood: SoftLikelihood,
    ) -> Tensor:
        """Mean over the categories, of the nominal events."""
        names = list(dict.fromkeys(stratum.name for stratum in likelihood.strata))
        total = batch[0][1].new_zeros(())
        totals = dict.fromkeys(names, total)
        costs = dict.fromkeys(names, total)
        weights = likelihood.nominal_weights(batch)
        for stratum, output, weight in zip(likelihood.strata, outputs, weights, strict=True):
            cost = -output[0].double().log_softmax(dim=-1)[:, names.index(stratum.name)]
            costs[stratum.name] = costs[stratum.name] + (weight * cost).sum()
            totals[stratum.name] = totals[stratum.name] + weight.sum()
        for name in names:
            total = total + costs[name] / totals[name] / len(names)
        return total
