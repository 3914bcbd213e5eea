"""From binned events to templates, and to the likelihood of them: the one recipe for all that is filled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning
from inferno_cli.events.sample import Sample
from inferno_cli.histograms.binning import LinearFit, merge
from inferno_cli.histograms.fitted import specification
from inferno_cli.histograms.morph import enveloped, scaled
from inferno_cli.histograms.templates import Bins, Templates, fill
from inferno_cli.likelihood.expectation import Expectation, expectation, yields_and_jacobian
from inferno_cli.likelihood.information import bin_variance


def make_templates(
    samples: Sequence[Sample],
    bins: Sequence[Bins],
    n_bins: int,
    measurement: Measurement,
    *,
    observed: Bins | None = None,
    error_scale: Sequence[float] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
    rule: Binning | None = None,
    ordered: bool = True,
) -> Templates:
    """Fill, bring every variation to one standard deviation, merge bins, and take the envelopes.

    The size is linear in the variation, and an envelope is not: so the one before bins are merged, the other after.

    Args:
        samples: Event tables with all variations of the measurement.
        bins: Bin of every event of every sample in every view, shape (n_views, n_events) each.
        n_bins: Bins of the network.
        measurement: What the variations are to the likelihood.
        observed: Bin of every observed event.
        error_scale: Factors on the statistical errors of each sample.
        groups: Bins that are one from the start.
        rule: Which bins are merged; None: no others.
        ordered: The bins have an order of their own, which merging keeps.
    """
    templates = fill(samples, bins, n_bins, observed)
    if error_scale is not None:
        templates = templates.with_errors_scaled(error_scale)
    templates = scaled(templates, measurement)
    if groups is not None:
        templates = templates.grouped(groups)
    if rule is not None:
        fit = linear_fit(measurement, enveloped(templates, measurement)) if rule.merge_noise else None
        templates = merge(templates, rule, fit, ordered=ordered)
    return enveloped(templates, measurement)


def template_channel(measurement: Measurement, templates: Templates) -> Expectation:
    """Return the likelihood of hard templates, in torch."""
    return expectation(specification(templates, measurement, torch.from_numpy))


@torch.no_grad()
def linear_fit(measurement: Measurement, templates: Templates) -> LinearFit:
    """Return the fit of templates near the nominal parameters, with the noise of their variations."""
    channel = template_channel(measurement, templates)
    yields, jacobian = yields_and_jacobian(channel, channel.init)
    noise = np.zeros(tuple(jacobian.shape))
    for (name, _), (odd, _) in templates.noise.items():
        if name in channel.parameters:
            noise[:, channel.parameters.index(name)] += odd
    return LinearFit(
        jacobian=jacobian.numpy(),
        prior=(channel.prior.width > 0).numpy().astype(np.float64),
        variance=bin_variance(channel, yields).numpy(),
        noise=noise,
        merit=partial(measurement.merit.of, parameters=channel.parameters),
    )
