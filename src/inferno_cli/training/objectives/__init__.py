"""Objectives: what a network is trained for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field

from inferno_cli.section import POI, Names, Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.likelihood.expectation import Expectation
    from inferno_cli.training.batches import Batch
    from inferno_cli.training.soft_likelihood import SoftLikelihood
    from inferno_cli.training.summaries import Summary

NOTHING_TOLD = 1e-20
"""Of the statistic of a test whose logarithm is taken: templates without signal have 0."""


def variance(covariance: Any) -> Any:
    """Return the variance of the first POI, given the covariance of K POIs, shape (K, K)."""
    return covariance[0, 0]


@dataclass(frozen=True)
class FigureOfMerit:
    """The number that an epoch and bins are chosen by, in units of a POI squared; the smaller the better.

    Attributes:
        pois: POIs that it is of.
        combined: Takes their covariance, shape (K, K), of numpy or torch, to the number. Bins are merged by it.
        exact: Takes templates and all POIs to the number that an epoch is chosen by, where the covariance of the POIs
            does not say it; None: it does.
    """

    pois: Names = (POI,)
    combined: Callable[[Any], Any] = variance
    exact: Callable[[Expectation, Names], Any] | None = None

    def of(self, covariance: Any, parameters: Sequence[str]) -> Any:
        """Return the number of a fit, given the covariance of its ``parameters``, shape (P, P)."""
        chosen = [parameters.index(poi) for poi in self.pois]
        return self.combined(covariance[chosen][:, chosen])


def memberships(outputs: Sequence[Tensor], summaries: Sequence[Summary]) -> list[Tensor]:
    """Return the memberships of each sample, shape (n_views, n_events, n_bins), given its outputs and its summary.

    Samples that share a summary are evaluated together.
    """
    import torch

    if any(summary is not summaries[0] for summary in summaries):
        return [summary.soft(output) for summary, output in zip(summaries, outputs, strict=True)]
    flat = [output.flatten(0, 1) for output in outputs]
    # Bins first, as the softmax has them in memory: so its gradient comes in this order, too.
    parts = torch.split(summaries[0].soft(torch.cat(flat)).mT, [len(rows) for rows in flat], dim=1)
    return [torch.unflatten(part.mT, 0, output.shape[:2]) for part, output in zip(parts, outputs, strict=True)]


class Objective(Section, ABC):
    """What every objective answers. Outputs are those of each sample, shape (n_views, n_events, n_outputs).

    Attributes:
        nominal_only: Whether the loss needs the nominal events alone: ``n_views`` is 1 then.
        only_outputs: Number of outputs of the network that it is of; None: any.
        fixed: Keys that belong to the trained network: who reuses it cannot choose them anew.
        one_output_a_sample: Whether the outputs are those of the samples, in their order.
        sees_bins: Whether the loss depends on the bins, so that it can train what a summary has of its own.
    """

    nominal_only: ClassVar[bool] = False
    only_outputs: ClassVar[int | None] = None
    fixed: ClassVar[Names] = ()
    one_output_a_sample: ClassVar[bool] = False
    sees_bins: ClassVar[bool] = True
    kind: str

    @property
    def fits_templates(self) -> bool:
        """Whether a loss takes a fit of the templates, which numpy does: the step waits for the device then."""
        return False

    @abstractmethod
    def loss(
        self, outputs: Sequence[Tensor], batch: Batch, summaries: Sequence[Summary], likelihood: SoftLikelihood
    ) -> Tensor:
        """Loss of a batch, a float64 scalar; there is a summary for the outputs of each sample."""

    def merit(self, pois: Names) -> FigureOfMerit:  # noqa: ARG002
        """Return what chooses the epoch and the bins in a measurement of ``pois``: the variance of mu."""
        return FigureOfMerit()

    def value(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:
        """What templates are worth, soft or hard: the figure of merit without the noise, the smaller the better."""
        from inferno_cli.likelihood.information import poi_covariance

        merit = self.merit(pois)
        value: Tensor = merit.combined(poi_covariance(templates, merit.pois))
        return value

    def begun(self, likelihood: SoftLikelihood) -> tuple[Self, nn.Module | None]:  # noqa: ARG002
        """Return the objective for a training, and what of it the training's optimiser trains beside the network.

        Raises:
            ConfigError: If it cannot be trained for.
        """
        return self, None

    def warm_up_epochs(self, max_epochs: int) -> int:  # noqa: ARG002
        """Epochs that prepare the network, before its bins mean anything."""
        return 0

    def warm_up_head(self, network: nn.Sequential, n_samples: int) -> nn.Module | None:  # noqa: ARG002
        """Return what takes the place of the network's last layer meanwhile, or None without a warm-up."""
        return None

    def warm_up_loss(self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood) -> Tensor:
        """Loss of a batch meanwhile, of the outputs of the head for the nominal events."""
        raise NotImplementedError(f"{type(self).__name__} has a warm-up and no warm_up_loss")


class BinaryClassifier(Objective):
    """Weighted binary cross-entropy of the one output, in which signal and background count half each."""

    only_outputs: ClassVar[int | None] = 1
    sees_bins: ClassVar[bool] = False

    @abstractmethod
    def counted(
        self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the outputs that count, and their weights: for each sample, shape (n,) each."""

    def loss(
        self,
        outputs: Sequence[Tensor],
        batch: Batch,
        summaries: Sequence[Summary],  # noqa: ARG002
        likelihood: SoftLikelihood,
    ) -> Tensor:
        """Cross-entropy."""
        from inferno_cli.training.costs import balanced_cross_entropy

        return balanced_cross_entropy(likelihood, *self.counted(outputs, batch, likelihood))


class FitObjective(Objective):
    """An objective that is the figure of merit itself, in the fit of the soft templates.

    The hidden layers first learn to tell the samples apart, for the first epochs with cross-entropy: with few simulated
    events the gradient of the variance alone finds poorer features. The bins themselves are trained on the variance.
    """

    warm_up: Annotated[float, Field(ge=0, lt=1)]
    """Share of trainer.max_epochs in which the hidden layers first learn to tell the samples apart."""

    def loss(
        self, outputs: Sequence[Tensor], batch: Batch, summaries: Sequence[Summary], likelihood: SoftLikelihood
    ) -> Tensor:
        """Cost of the soft templates."""
        templates = likelihood.expectation(batch, memberships(outputs, summaries))
        return self.cost(templates, likelihood.measurement.pois)

    def cost(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:
        """Logarithm of the value: the same minimum, and steps that do not depend on the size of the error."""
        return self.value(templates, pois).log()

    def warm_up_epochs(self, max_epochs: int) -> int:
        """Return a share of all epochs."""
        return int(self.warm_up * max_epochs)

    def warm_up_head(self, network: nn.Sequential, n_samples: int) -> nn.Module | None:
        """Return a classifier of the samples, if there is a warm-up."""
        if not self.warm_up:
            return None
        from torch import nn

        from inferno_cli.training.layers import last_linear

        return nn.Linear(last_linear(network).in_features, n_samples)

    def warm_up_loss(self, outputs: Sequence[Tensor], batch: Batch, likelihood: SoftLikelihood) -> Tensor:
        """Cross-entropy of the samples, at their expected yields."""
        import torch
        from torch import nn

        logits = torch.cat([output[0] for output in outputs])
        pairs = zip(likelihood.categories, batch, strict=True)
        labels = torch.cat([weights.new_full(weights.shape[1:], number).long() for number, (_, weights) in pairs])
        weight = torch.cat(likelihood.nominal_weights(batch))
        cost = nn.functional.cross_entropy(logits.double(), labels, reduction="none")
        return (weight * cost).sum() / weight.sum()


class HypothesisTest(FitObjective):
    """An expected p-value of one POI: everything else is profiled, the statistical errors of the templates too.

    The gradient is that of the statistic at the fitted parameters (see ``likelihood.profile``).

    What is minimised is -ln q and not ln p, which is about -q / 2 and has the same minimum. The loss is a mean over
    batches, and q of a batch is too large where a bin happens to have signal and hardly any background: q0 has no limit
    there. A mean of -q / 2 is that of the luckiest batches, and the network goes on to make such bins: with 1000 events
    of background, Z was 12 in the training and 3 in other events. In -ln q each batch counts by its relative change.
    """

    fixed: ClassVar[Names] = ("poi",)
    poi: str = POI
    """The POI; others are fitted."""

    @property
    def fits_templates(self) -> bool:
        """Yes: how many steps the fit takes depends on its numbers."""
        return True

    @abstractmethod
    def statistic(self, templates: Expectation) -> Tensor:
        """Statistic of the test on Asimov data, whose POI is ``templates.poi``."""

    @abstractmethod
    def log_p_value(self, statistic: Tensor) -> Tensor:
        """Logarithm of the p-value of a statistic; it is a number where the p-value itself is too small for one."""

    def cost(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:  # noqa: ARG002
        """Logarithm of the variance that the statistic stands for."""
        return -self.statistic(self._with_poi(templates)).clamp_min(NOTHING_TOLD).log()

    def value(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:  # noqa: ARG002
        """p-value."""
        return self.log_p_value(self.statistic(self._with_poi(templates))).exp()

    def merit(self, pois: Names) -> FigureOfMerit:  # noqa: ARG002
        """Return what the statistic says of the variance: (mu - mu')^2 / q, which rises with the p-value."""
        return FigureOfMerit((self.poi,), exact=self._asimov_variance)

    def _asimov_variance(self, templates: Expectation, pois: Names) -> Tensor:  # noqa: ARG002
        # arXiv:1007.1727, equation 32; mu and mu' are 0 and 1.
        return 1 / self.statistic(self._with_poi(templates))

    def _with_poi(self, templates: Expectation) -> Expectation:
        return replace(templates, poi=templates.parameters.index(self.poi))
