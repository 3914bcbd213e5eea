"""Costs that several objectives share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inferno_cli.training.soft_likelihood import SoftLikelihood


def balanced_cross_entropy(likelihood: SoftLikelihood, logits: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Return the binary cross-entropy in which signal and background count half each.

    Args:
        likelihood: Says which samples are signal.
        logits: Outputs for the events of each sample, shape (n_events,).
        weights: Their weights, shape (n_events,).
    """
    total = weights[0].new_zeros(())
    for is_signal in (True, False):
        chosen = [i for i, stratum in enumerate(likelihood.strata) if stratum.is_signal == is_signal]
        weight = torch.cat([weights[i] for i in chosen])
        output = torch.cat([logits[i] for i in chosen]).double()
        cost = nn.functional.softplus(-output if is_signal else output)
        total = total + 0.5 * (weight * cost).sum() / weight.sum()
    return total
