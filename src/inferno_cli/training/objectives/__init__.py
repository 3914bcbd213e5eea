"""Objectives: what a network is trained for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from inferno_cli.section import Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.likelihood.expectation import Expectation
    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood
    from inferno_cli.training.summaries import Summary


class Objective(Section, ABC):
    """What every objective answers. Outputs are those of each sample, shape (n_views, n_events, n_outputs).

    Attributes:
        nominal_only: Whether the loss needs the nominal events alone: ``n_views`` is 1 then.
        only_outputs: Number of outputs of the network that it is of; None: any.
    """

    nominal_only: ClassVar[bool] = False
    only_outputs: ClassVar[int | None] = None
    kind: str

    @abstractmethod
    def loss(self, outputs: Sequence[Tensor], batch: Batch, summary: Summary, likelihood: SoftLikelihood) -> Tensor:
        """Loss of a batch, a float64 scalar."""

    def value(self, templates: Expectation) -> Tensor:
        """What templates are worth, soft or hard: the variance of the POI, the smaller the better."""
        from inferno_cli.likelihood.information import poi_variance

        variance: Tensor = poi_variance(templates)
        return variance

    def warm_up_epochs(self, max_epochs: int) -> int:  # noqa: ARG002
        """Epochs that prepare the network, before its bins mean anything."""
        return 0

    def warm_up_head(self, network: nn.Sequential, n_samples: int) -> nn.Module | None:  # noqa: ARG002
        """Return what takes the place of the network's last layer meanwhile, or None without a warm-up."""
        return None

    def warm_up_loss(self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood) -> Tensor:
        """Loss of a batch meanwhile, of the outputs of the head for the nominal events."""
        raise NotImplementedError(f"{type(self).__name__} has a warm-up and no warm_up_loss")
