"""A classifier against an adversary, which tells from its output how an event was varied (arXiv:1611.01046).

    loss = cross-entropy of signal and background - strength * cross-entropy of the adversary

The adversary is a small network of the one output. For each systematic of the training it says whether an event is
nominal, up or down; its cross-entropy is ln 3 if the output does not depend on the systematics. The classifier gives up
as much of its own as ``strength`` asks for. Publication and adversary take turns; here both make the same step, with
the gradient reversed between them (arXiv:1505.07818). What is made equal is the distribution of the score in all
variations, whether the fit would have cared or not: a baseline, as ``augmented_cross_entropy`` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PrivateAttr

from inferno_cli.errors import ConfigError
from inferno_cli.section import Names, NonNegative
from inferno_cli.training.objectives import BinaryClassifier

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood
    from inferno_cli.training.soft_templates import Stratum
    from inferno_cli.training.summaries import Summary

CLASSES = ("", "up", "down")
"""Directions that the adversary tells apart, nominal first."""


class Adversarial(BinaryClassifier):
    """Weighted binary cross-entropy of the one output, minus that of an adversary on it."""

    kind: Literal["adversarial"] = "adversarial"
    """Binary cross-entropy of signal and background against an adversary that tells variations apart."""
    strength: NonNegative
    """Weight of the adversary: the larger, the less the output depends on the systematics, and the worse it divides."""
    adversary: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """Units of each hidden layer of the adversary."""
    _network: nn.Module | None = PrivateAttr(default=None)

    def begun(self, likelihood: SoftLikelihood) -> tuple[Self, nn.Module]:
        """Return the objective with its adversary, and the adversary.

        Raises:
            ConfigError: If the training has no systematic that varies events.
        """
        from torch import nn

        systematics = _systematics(likelihood)
        if not systematics:
            raise ConfigError(
                "model.objective.kind is 'adversarial', and no systematic of the training varies events or their "
                "weights, so there is nothing that an adversary could tell apart. Use nuisance.train with one, or "
                "model/objective=cross_entropy"
            )
        layers: list[nn.Module] = []
        size = 1
        for width in self.adversary:
            layers += [nn.Linear(size, width), nn.Tanh()]
            size = width
        network = nn.Sequential(*layers, nn.Linear(size, len(systematics) * len(CLASSES)))
        made = self.model_copy()
        made._network = network
        return made, network

    def counted(
        self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the nominal events."""
        return [output[0, :, 0] for output in outputs], likelihood.nominal_weights(batch)

    def loss(
        self, outputs: Sequence[Tensor], batch: Batch, summaries: Sequence[Summary], likelihood: SoftLikelihood
    ) -> Tensor:
        """Cross-entropy minus that of the adversary; of a network that is not trained there is none."""
        loss = super().loss(outputs, batch, summaries, likelihood)
        if self._network is None:
            return loss
        # The same numbers; their gradient is turned around on its way back to the classifier.
        turned = [(1 + self.strength) * output.detach() - self.strength * output for output in outputs]
        cost = self._cost(self._network, turned, batch, likelihood)
        return loss + cost - (1 + self.strength) * cost.detach()

    @staticmethod
    def _cost(network: nn.Module, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood) -> Tensor:
        """Return the cross-entropy of the adversary: its mean over samples, by yields, and what varies each of them.

        A sample has its nominal yield in all three classes of a systematic: what is in it tells nothing.
        """
        import torch

        systematics = _systematics(likelihood)
        total, norm = batch[0][1].new_zeros(()), 0.0
        for stratum, (_, weights), output in zip(likelihood.strata, batch, outputs, strict=True):
            logits = torch.unflatten(network(output).double(), -1, (len(systematics), len(CLASSES)))
            costs = -logits.log_softmax(dim=-1)  # (n_views, n_events, n_systematics, 3)
            scaled = weights * (stratum.yields[0] / weights.sum(dim=1))[:, None]
            for number, systematic in enumerate(systematics):
                rows = _rows(stratum, systematic)
                for direction, row in rows.items() if len(rows) > 1 else ():
                    total = total + scaled[row] @ costs[stratum.view[row], :, number, CLASSES.index(direction)]
                    norm += stratum.yields[0]
        return total / norm


def _rows(stratum: Stratum, systematic: str) -> dict[str, int]:
    """Return the numbers of the variations of a sample by a systematic, by their direction, with the nominal one."""
    rows = {}
    for row, variation in enumerate(stratum.variations):
        if variation.systematic in ("", systematic):
            rows[variation.direction] = row
    return rows


def _systematics(likelihood: SoftLikelihood) -> Names:
    """Return the systematics that vary a sample of the training, in their order."""
    names: dict[str, None] = {}
    for stratum in likelihood.strata:
        names |= dict.fromkeys(variation.systematic for variation in stratum.variations if variation.direction)
    return tuple(names)
