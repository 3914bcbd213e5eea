"""What a network is worth on a split: the variance of the POI with soft and with hard bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import FitFailedError, SingularInformationError
from inferno_cli.events.arrays import chunks
from inferno_cli.events.channels import Channels, everything
from inferno_cli.events.sample import Events, Sample
from inferno_cli.histograms.binning import LinearFit
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.expectation import Expectation
from inferno_cli.likelihood.information import correlation, covariance, poi_variance
from inferno_cli.training.metrics import measured
from inferno_cli.training.observable import Bins, ChannelNetworks, Observable
from inferno_cli.training.recipe import Filling, fixed_fillings, linear_fit, merged, template_channels
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.soft_templates import Stratum, filled


@dataclass(frozen=True)
class Likelihoods:
    """What a network is trained for, and what it is judged by.

    Attributes:
        trained: The measurement of the loss; the variance that selects the epoch is its.
        fitted: The measurement of the fit, which may have more nuisance parameters.
        binning: Which bins are merged.
        channels: All channels, of which a measurement has some.
    """

    trained: Measurement
    fitted: Measurement
    binning: Binning
    channels: Channels = field(default_factory=everything)

    @classmethod
    def from_config(cls, config: TrainConfig) -> Likelihoods:
        """Return those of a configuration."""
        trained = Measurement.from_config(config, config.nuisance.train, of_training=True)
        fitted = Measurement.from_config(config, config.nuisance.fit)
        return cls(trained, fitted, config.binning, Channels(config.channels))

    def fixed(self, events: Events, measurement: Measurement) -> tuple[Templates, ...]:
        """Return the filled templates of the channels of a measurement that have bins of their own, none merged."""
        samples = [sample.only(measurement.variations) for sample in events.fixed]
        fillings = fixed_fillings(self.channels, samples, events.observed)
        return tuple(item.templates(measurement) for item in fillings if item.channel in measurement.channels)

    def soft(self, measurement: Measurement, samples: Sequence[Sample], events: Events) -> SoftLikelihood:
        """Return the likelihood of a measurement with soft bins for samples of ``events`` with its variations.

        The bins of the channels that have their own are merged for want of events alone: what noise does is judged
        with hard bins.
        """
        rule = self.binning.model_copy(update={"merge_noise": False})
        fixed = merged(self.fixed(events, measurement), measurement, rule=rule)
        return SoftLikelihood.of(measurement, samples, events.template, fixed)


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
        metrics: Every metric with hard bins that is quick and can be had, by its kind (``training.metrics``).
    """

    soft: float
    hard: float
    honest: float
    merit: float
    n_bins: int
    deviations: dict[str, float]
    correlations: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)


NOTHING = Evaluation(math.inf, math.inf, math.inf, math.inf, 0, {}, {})
"""What a network is worth whose outputs mean nothing: it is warming up, or has diverged."""


@torch.no_grad()
def evaluate(
    networks: ChannelNetworks,
    likelihood: SoftLikelihood,
    samples: Sequence[Sample],
    rule: Binning,
    fitted: Measurement | None = None,
    fixed: Sequence[Templates] = (),
) -> Evaluation:
    """Evaluate the networks of a training once over a whole split.

    The statistical errors are scaled to the size of the split whose templates will be fitted, and so is the support
    that the merging asks for: the value predicts that fit. A singular information matrix counts as infinite variance.

    Args:
        likelihood: That of the variance.
        samples: The split, with all variations of the fit.
        fitted: The measurement of the fit, whose parameters decide what is merged; without, that of the variance.
        fixed: Filled templates of the channels that have bins of their own, with all variations of the fit.
    """
    measurement = likelihood.measurement
    summed = []
    for sample, stratum in zip(samples, likelihood.strata, strict=True):
        trained = sample.only(measurement.variations)
        of_sample = _summed(networks.of(sample.channel), stratum, sample, trained)
        if of_sample is None:
            return NOTHING
        summed.append(of_sample)
    soft = _soft_variance(likelihood, summed)
    filled = []
    by_channel: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        by_channel.setdefault(sample.channel, []).append(row)
    for channel, rows in by_channel.items():
        own, summary = [samples[row] for row in rows], networks.of(channel).summary
        bins = [summed[row].bins for row in rows]
        scale = [samples[row].effective_events / likelihood.strata[row].effective_events for row in rows]
        filling = Filling(channel, own, bins, summary.n_bins, summary.ordered, error_scale=scale)
        filled.append(filling.templates(fitted or measurement))
    every = merged([*filled, *fixed], fitted or measurement, rule=rule)
    templates = [item for item in every if item.channel in measurement.channels]
    n_bins = sum(item.n_bins for item in templates if item.is_trained)
    model = template_channels(measurement, templates)
    try:
        matrix = covariance(model)
    except SingularInformationError:
        return Evaluation(soft, math.inf, math.inf, math.inf, n_bins, {}, {})
    names, deviation, rho = model.parameters, matrix.diagonal().sqrt(), correlation(matrix)
    correlations = {}
    for (i, first), (j, second) in combinations(enumerate(names), 2):
        correlations[f"{first}-{second}"] = float(rho[i, j])
    fit = linear_fit(measurement, templates)
    return Evaluation(
        soft=soft,
        hard=float(matrix[0, 0]),
        honest=fit.honest_variance(),
        merit=_merit(measurement, model, matrix, fit),
        n_bins=n_bins,
        deviations={name: float(value) for name, value in zip(names, deviation, strict=True)},
        correlations=correlations,
        metrics=measured(model, of_an_epoch=True)[0],
    )


def _merit(measurement: Measurement, model: Expectation, matrix: Tensor, fit: LinearFit) -> float:
    """Return the figure of merit with the noise of the variations; infinite where the templates cannot be fitted."""
    merit = fit.honest_merit()
    if measurement.merit.exact is None:
        return merit
    # To first order the noise of the variations makes a number that is not of the covariance better than it is by as
    # much as one that is.
    noise = merit / float(measurement.merit.of(matrix, model.parameters))
    try:
        return float(measurement.merit.exact(model, measurement.pois)) * noise
    except FitFailedError:
        return math.inf


@dataclass(frozen=True)
class _Summed:
    """What is filled of one sample.

    Attributes:
        bins: Hard bin of each event in every view, shape (n_views, n_events).
        rows: Its rows of the soft templates, see ``soft_templates.filled``, shape (n_rows, n_bins).
        weights: Sum of the weights of each, shape (n_rows,).
    """

    bins: Bins
    rows: Tensor
    weights: Tensor


def _summed(observable: Observable, stratum: Stratum, sample: Sample, trained: Sample) -> _Summed | None:
    """Fill one sample, chunk by chunk; None where an output is not finite.

    Args:
        sample: With all variations of the fit.
        trained: The same with those of the loss.
    """
    bins, sums = [], list[tuple[Tensor, Tensor]]()
    for part in chunks(len(sample.group)):
        outputs = _outputs(observable, sample, part)
        if not math.isfinite(outputs.abs().amax()):
            return None
        bins.append(observable.summary.hard(outputs).cpu().numpy())
        if trained is sample:
            sums.append(_sums(observable, stratum, sample, part, outputs))
    if trained is not sample:
        for part in chunks(len(trained.group)):
            sums.append(_sums(observable, stratum, trained, part, _outputs(observable, trained, part)))
    rows, weights = (sum(of_chunks[1:], start=of_chunks[0]) for of_chunks in zip(*sums, strict=True))
    return _Summed(np.concatenate(bins, axis=1), rows, weights)


def _outputs(observable: Observable, sample: Sample, part: slice) -> Tensor:
    """Return the outputs for some events in all views, shape (n_views, n_events, n_outputs)."""
    return observable.outputs(torch.from_numpy(sample.features[:, part]))


def _sums(
    observable: Observable, stratum: Stratum, sample: Sample, part: slice, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Fill some events of a sample softly."""
    weights = torch.from_numpy(sample.weights[:, part]).to(outputs.device)
    return filled([stratum], [(outputs, weights)], [observable.summary.soft(outputs)])


def _soft_variance(likelihood: SoftLikelihood, summed: Sequence[_Summed]) -> float:
    """Return poi_variance with soft bins; infinite where the information is singular."""
    rows, weights = torch.cat([item.rows for item in summed]), torch.cat([item.weights for item in summed])
    try:
        return float(poi_variance(likelihood.of_sums(rows, weights)))
    except SingularInformationError:
        return math.inf


def judge(networks: ChannelNetworks, likelihoods: Likelihoods, events: Events) -> Evaluation:
    """Evaluate networks on the validation split in the likelihood that is fitted, whatever they were trained with."""
    measurement, samples = likelihoods.fitted, events.validation
    likelihood = likelihoods.soft(measurement, samples, events)
    fixed = likelihoods.fixed(events, measurement)
    return evaluate(networks, likelihood, samples, likelihoods.binning, fixed=fixed)
