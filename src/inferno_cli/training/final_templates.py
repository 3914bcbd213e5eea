"""What a trained network makes of the template split: the templates that are fitted, and how sound they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.sample import Events, Sample, generator, split_rows
from inferno_cli.histograms.binning import noise_information
from inferno_cli.histograms.finished import finished
from inferno_cli.histograms.pruning import Pruned
from inferno_cli.histograms.smoothing import smoothed
from inferno_cli.histograms.symmetry import Parts
from inferno_cli.histograms.templates import Bins, Templates
from inferno_cli.likelihood.expectation import Expectation
from inferno_cli.likelihood.information import covariance
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.metrics import measured
from inferno_cli.training.observables import Observables
from inferno_cli.training.recipe import linear_fit, merged, template_channels


@dataclass(frozen=True)
class FinalTemplates:
    """Final templates and their closed-form checks.

    Attributes:
        channels: Templates of every channel, sorted, merged and finished (``histograms.finished``).
        measurement: What is fitted, without what was pruned.
        n_supported: Bins of each channel that have enough events (``binning.min_yield``,
            ``binning.min_effective_events``).
        n_made: Bins of each channel before any were merged.
        poi_variance: Of the Asimov fit of these templates, in closed form.
        honest_variance: The same with the noise of the variations; see ``histograms.binning``.
        noise_information: Information on each shape parameter that the simulation's noise alone makes.
        noise_shares: The same as a share of what the fit knows of it.
        parts: Odd and even part of each shape.
        stability: For each parameter its standard deviation from two disjoint halves of the split.
        pruned: Effects that were left out.
        unsmoothed: (parameter, sample) of what was to be smoothed, and has too few bins.
        metrics: Every metric of these templates that can be had, by its kind (``training.metrics``).
        unmeasured: Why the others cannot.
    """

    channels: tuple[Templates, ...]
    measurement: Measurement
    n_supported: tuple[int, ...]
    n_made: tuple[int, ...]
    poi_variance: float
    honest_variance: float
    noise_information: dict[str, float]
    noise_shares: dict[str, float]
    parts: Mapping[str, Parts]
    stability: dict[str, tuple[float, float]]
    pruned: tuple[Pruned, ...]
    unsmoothed: tuple[tuple[str, str], ...]
    metrics: Mapping[str, float]
    unmeasured: Mapping[str, str]


@torch.no_grad()
def final_templates(
    observables: Observables,
    likelihoods: Likelihoods,
    events: Events,
    *,
    symmetrise: float | None,
    prune: float | None = None,
    keep: Collection[str] = (),
    seed: int,
) -> FinalTemplates:
    """Fill the templates of the template split, and of all events where a channel has bins of its own; check them.

    Args:
        symmetrise: Smallest p-value at which the even part of a shape counts as noise; None: it never does.
        prune: Relative change below which an effect is left out; None: none is.
        keep: Parameters that are not pruned.
        seed: Seed of the halves.

    Raises:
        SingularInformationError: If the templates cannot constrain the parameters of the fit.
    """
    measurement, rule = likelihoods.fitted, likelihoods.binning
    samples = (*events.template, *events.fixed)
    bins = observables.assign(samples)
    fillings = observables.fillings(samples, bins, events.observed)
    filled = [item.templates(measurement) for item in fillings]
    asymmetric = merged(filled, measurement, rule=rule)
    supported = merged(filled, measurement, rule=rule.model_copy(update={"merge_noise": False}))
    final = finished(asymmetric, measurement, symmetrise=symmetrise, prune=prune, keep=keep)
    channels, measurement = final.channels, final.measurement
    for templates in channels:
        templates.require_positive()
    model = template_channels(measurement, channels)
    variance = float(covariance(model)[0, 0])
    fit = linear_fit(measurement, channels)
    metrics, unmeasured = measured(model)

    observables = replace(observables, groups={templates.channel: templates.groups for templates in channels})
    shares = zip(model.parameters, fit.noise_shares().tolist(), strict=True)
    noise: dict[str, float] = {}
    for templates in channels:
        for name, values in noise_information(templates).items():
            noise[name] = noise.get(name, 0.0) + float(values.sum())
    return FinalTemplates(
        channels=channels,
        measurement=measurement,
        n_supported=tuple(item.n_bins for item in supported),
        n_made=tuple(item.n_bins for item in fillings),
        poi_variance=variance,
        honest_variance=fit.honest_variance(),
        noise_information=noise,
        noise_shares={name: share for name, share in shares if name in measurement.shapes},
        parts=final.parts,
        stability=_stability(observables, samples, bins, measurement, model, seed),
        pruned=final.pruned,
        unsmoothed=final.unsmoothed,
        metrics=metrics,
        unmeasured=unmeasured,
    )


def _stability(
    observables: Observables,
    samples: Sequence[Sample],
    bins: Sequence[Bins],
    measurement: Measurement,
    model: Expectation,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Return the standard deviation of each parameter of the fitted ``model`` from two halves of the events."""
    deviations = []
    halves = _halves(samples, seed)
    samples = [replace(sample, features=sample.features[..., :0]) for sample in samples]  # their bins are known
    for half in halves:
        parts = [sample.subset(rows) for sample, rows in zip(samples, half, strict=True)]
        numbers = [array[:, rows] for array, rows in zip(bins, half, strict=True)]
        filled = [item.templates(measurement) for item in observables.fillings(parts, numbers)]
        smooth = []
        for item in merged(filled, measurement, groups=observables.groups):
            smooth.append(smoothed(item, measurement.within(item.channel))[0])
        # The staterror of the whole: what differs between the halves is noise alone.
        of_half = replace(template_channels(measurement, smooth), relative_error=model.relative_error)
        deviations.append(covariance(of_half).diagonal().sqrt().tolist())
    return dict(zip(model.parameters, zip(*deviations, strict=True), strict=True))


def _halves(samples: Sequence[Sample], seed: int) -> list[list[NDArray[np.intp]]]:
    """Return the rows of every sample in each of two halves; where one has no yield both have all rows.

    So have both of a histogram that somebody else made, which has no events to divide.
    """
    parts = []
    for sample in samples:
        halves = split_rows(sample.group, (0.5, 0.5), generator(seed, f"halves {sample.name}"))
        has_yields = all((sample.weights[:, rows].sum(axis=1) > 0).all() for rows in halves)
        if sample.histogram is not None or not has_yields:
            halves = [np.arange(len(sample.group))] * 2
        parts.append(halves)
    return [[rows[i] for rows in parts] for i in (0, 1)]
