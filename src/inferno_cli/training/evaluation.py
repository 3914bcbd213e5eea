"""What a network is worth on a split: the variance of the POI with soft and with hard bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import SingularInformationError
from inferno_cli.events.sample import Events, Sample
from inferno_cli.likelihood.information import correlation, covariance, poi_variance
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.observable import Observable
from inferno_cli.training.recipe import linear_fit, make_templates, template_channel
from inferno_cli.training.soft_likelihood import SoftLikelihood


@dataclass(frozen=True)
class Likelihoods:
    """What a network is trained for, and what it is judged by.

    Attributes:
        trained: The measurement of the loss; the variance that selects the epoch is its.
        fitted: The measurement of the fit, which may have more nuisance parameters.
        binning: Which bins are merged.
    """

    trained: Measurement
    fitted: Measurement
    binning: Binning

    @classmethod
    def from_config(cls, config: TrainConfig) -> Likelihoods:
        """Return those of a configuration."""
        trained, fitted = (Measurement.from_config(config, x) for x in (config.nuisance.train, config.nuisance.fit))
        return cls(trained, fitted, config.binning)


@dataclass(frozen=True)
class Evaluation:
    """Figures of merit of one epoch on the validation split.

    Attributes:
        soft: poi_variance with soft bins; infinite when the information is singular.
        hard: The same with hard bins, sparse ones merged.
        honest: That with the noise of the variations in it (see ``histograms.binning``): of mu.
        merit: The figure of merit with this noise: what selects the epoch.
        n_bins: Hard bins that are left.
        deviations: Standard deviation of every parameter with hard bins, by name; empty when singular.
        correlations: Correlation of each pair of parameters, by "a-b".
    """

    soft: float
    hard: float
    honest: float
    merit: float
    n_bins: int
    deviations: dict[str, float]
    correlations: dict[str, float]


NOTHING = Evaluation(math.inf, math.inf, math.inf, math.inf, 0, {}, {})
"""What a network is worth whose outputs mean nothing: it is warming up, or has diverged."""


@torch.no_grad()
def evaluate(
    observable: Observable,
    likelihood: SoftLikelihood,
    samples: Sequence[Sample],
    rule: Binning,
    fitted: Measurement | None = None,
) -> Evaluation:
    """Evaluate a network once over a whole split.

    The statistical errors are scaled to the size of the split whose templates will be fitted, and so is the support
    that the merging asks for: the value predicts that fit. A singular information matrix counts as infinite variance.

    Args:
        likelihood: That of the variance.
        samples: The split, with all variations of the fit.
        fitted: The measurement of the fit, whose parameters decide what is merged; without, that of the variance.
    """
    measurement, summary = likelihood.measurement, observable.summary
    outputs = [observable.outputs(torch.from_numpy(sample.features)) for sample in samples]
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        return NOTHING
    soft = _soft_variance(observable, likelihood, samples, outputs)
    bins = [summary.hard(output).cpu().numpy() for output in outputs]
    strata = zip(samples, likelihood.strata, strict=True)
    scale = [sample.effective_events / stratum.effective_events for sample, stratum in strata]
    filling = samples, bins, summary.n_bins, fitted or measurement
    templates = make_templates(*filling, error_scale=scale, rule=rule, ordered=summary.ordered)
    channel = template_channel(measurement, templates)
    try:
        matrix = covariance(channel)
    except SingularInformationError:
        return Evaluation(soft, math.inf, math.inf, math.inf, templates.n_bins, {}, {})
    names, deviation, rho = channel.parameters, matrix.diagonal().sqrt(), correlation(matrix)
    correlations = {}
    for (i, first), (j, second) in combinations(enumerate(names), 2):
        correlations[f"{first}-{second}"] = float(rho[i, j])
    fit = linear_fit(measurement, templates)
    return Evaluation(
        soft=soft,
        hard=float(matrix[0, 0]),
        honest=fit.honest_variance(),
        merit=fit.honest_merit(),
        n_bins=templates.n_bins,
        deviations={name: float(value) for name, value in zip(names, deviation, strict=True)},
        correlations=correlations,
    )


def _soft_variance(
    observable: Observable, likelihood: SoftLikelihood, samples: Sequence[Sample], outputs: Sequence[Tensor]
) -> float:
    """Return poi_variance with soft bins, of outputs for all variations of the fit; infinite where it is singular."""
    batch, memberships = [], []
    for sample, output in zip(samples, outputs, strict=True):
        trained = sample.only(likelihood.measurement.variations)
        batch += to_tensors([trained], output.device)
        own = output if trained is sample else observable.outputs(torch.from_numpy(trained.features))
        memberships.append(observable.summary.soft(own))
    try:
        return float(poi_variance(likelihood.expectation(batch, memberships)))
    except SingularInformationError:
        return math.inf


def judge(observable: Observable, likelihoods: Likelihoods, events: Events) -> Evaluation:
    """Evaluate a network on the validation split in the likelihood that is fitted, whatever it was trained with."""
    likelihood = SoftLikelihood.of(likelihoods.fitted, events.validation, events.template)
    return evaluate(observable, likelihood, events.validation, likelihoods.binning)
