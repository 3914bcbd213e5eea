"""What a trained network makes of the template split: the templates that are fitted, and how sound they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.sample import Events, Sample, generator, split_rows
from inferno_cli.histograms.binning import noise_information
from inferno_cli.histograms.finished import finished
from inferno_cli.histograms.pruning import Pruned
from inferno_cli.histograms.smoothing import smoothed
from inferno_cli.histograms.symmetry import Parts
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.information import covariance
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.observable import Observable
from inferno_cli.training.recipe import linear_fit, make_templates, template_channel


@dataclass(frozen=True)
class FinalTemplates:
    """Final templates and their closed-form checks.

    Attributes:
        templates: Sorted, merged and finished (``histograms.finished``).
        measurement: What is fitted, without what was pruned.
        n_supported: Bins that have enough events (``binning.min_yield``, ``binning.min_effective_events``).
        poi_variance: Of the Asimov fit of these templates, in closed form.
        honest_variance: The same with the noise of the variations; see ``histograms.binning``.
        noise_information: Information on each shape parameter that the simulation's noise alone makes.
        noise_shares: The same as a share of what the fit knows of it.
        parts: Odd and even part of each shape.
        stability: For each parameter its standard deviation from two disjoint halves of the split.
        pruned: Effects that were left out.
        unsmoothed: (parameter, sample) of what was to be smoothed, and has too few bins.
    """

    templates: Templates
    measurement: Measurement
    n_supported: int
    poi_variance: float
    honest_variance: float
    noise_information: dict[str, float]
    noise_shares: dict[str, float]
    parts: Mapping[str, Parts]
    stability: dict[str, tuple[float, float]]
    pruned: tuple[Pruned, ...]
    unsmoothed: tuple[tuple[str, str], ...]


@torch.no_grad()
def final_templates(
    observable: Observable,
    likelihoods: Likelihoods,
    events: Events,
    *,
    symmetrise: float | None,
    prune: float | None = None,
    keep: Collection[str] = (),
    seed: int,
) -> FinalTemplates:
    """Fill the templates of the template split and check them.

    Args:
        symmetrise: Smallest p-value at which the even part of a shape counts as noise; None: it never does.
        prune: Relative change below which an effect is left out; None: none is.
        keep: Parameters that are not pruned.
        seed: Seed of the halves.

    Raises:
        SingularInformationError: If the templates cannot constrain the parameters of the fit.
    """
    measurement, rule, summary = likelihoods.fitted, likelihoods.binning, observable.summary
    bins = observable.assign(events.template)
    observed = None if events.observed is None else observable.network_bins(events.observed)
    filling = events.template, bins, summary.n_bins, measurement
    asymmetric = make_templates(*filling, observed=observed, rule=rule, ordered=summary.ordered)
    supported = rule.model_copy(update={"merge_noise": False})
    final = finished(asymmetric, measurement, symmetrise=symmetrise, prune=prune, keep=keep)
    templates, measurement = final.templates, final.measurement
    templates.require_positive()
    channel = template_channel(measurement, templates)
    variance = float(covariance(channel)[0, 0])
    fit = linear_fit(measurement, templates)

    halves = []
    for half in _halves(events.template, seed):
        samples = [sample.subset(rows) for sample, rows in zip(events.template, half, strict=True)]
        numbers = [array[:, rows] for array, rows in zip(bins, half, strict=True)]
        filled = make_templates(samples, numbers, summary.n_bins, measurement, groups=templates.groups)
        part, _ = smoothed(filled, measurement)
        # The staterror of the whole: what differs between the halves is noise alone.
        model = replace(template_channel(measurement, part), relative_error=channel.relative_error)
        halves.append(covariance(model).diagonal().sqrt().tolist())
    shares = zip(channel.parameters, fit.noise_shares().tolist(), strict=True)
    return FinalTemplates(
        templates=templates,
        measurement=measurement,
        n_supported=make_templates(*filling, rule=supported, ordered=summary.ordered).n_bins,
        poi_variance=variance,
        honest_variance=fit.honest_variance(),
        noise_information={name: float(values.sum()) for name, values in noise_information(templates).items()},
        noise_shares={name: share for name, share in shares if name in measurement.shapes},
        parts=final.parts,
        stability={name: (first, second) for name, first, second in zip(channel.parameters, *halves, strict=True)},
        pruned=final.pruned,
        unsmoothed=final.unsmoothed,
    )


def _halves(samples: Sequence[Sample], seed: int) -> list[list[np.ndarray[tuple[int], np.dtype[np.intp]]]]:
    parts = [split_rows(sample.group, (0.5, 0.5), generator(seed, f"halves {sample.name}")) for sample in samples]
    return [[rows[i] for rows in parts] for i in (0, 1)]
