"""Hard templates as a likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import TemplateError
from inferno_cli.events.sample import DIRECTIONS, Variation
from inferno_cli.histograms.templates import FloatArray, Templates
from inferno_cli.likelihood.build import ChannelTemplates, build
from inferno_cli.likelihood.spec import Spec


def specification(
    channels: Sequence[Templates],
    measurement: Measurement,
    array: Callable[[FloatArray], Any] = np.asarray,
    observed: Sequence[FloatArray] | None = None,
    **options: Any,
) -> Spec:
    """Return the likelihood of the templates of all channels.

    Args:
        array: Makes the arrays of the likelihood; ``torch.from_numpy`` for those of torch.
        observed: Events observed in each channel.
        options: Further arguments of ``likelihood.build``.
    """
    parts = [channel_templates(item, array) for item in channels]
    if observed is not None:
        parts = [replace(part, observed=events) for part, events in zip(parts, observed, strict=True)]
    return build(measurement, parts, **options)


def channel_templates(templates: Templates, array: Callable[[FloatArray], Any] = np.asarray) -> ChannelTemplates:
    """Return the templates of one channel as the likelihood takes them; ``array`` makes its arrays."""
    varied, variance = {}, {}
    for (name, sample), pair in templates.varied.items():
        varied[name, sample] = tuple(array(values) for values in pair)
        histograms = [templates.histograms[sample, Variation(name, direction)] for direction in DIRECTIONS]
        variance[name, sample] = tuple(array(histogram.variances()) for histogram in histograms)
    nominal, errors = array(templates.nominal), array(templates.variance)
    return ChannelTemplates(templates.channel, templates.samples, nominal, errors, varied, variance)


def fitted(
    channels: Sequence[Templates], measurement: Measurement, *, poi_bounds: tuple[float, float], observed: bool
) -> Spec:
    """Return the likelihood that a run fits, with its data: a run on Asimov data leaves no observed data in its files.

    Args:
        observed: Take the observed events; else the Asimov data.

    Raises:
        TemplateError: If a template cannot be fitted, or one bin is left for a shape.
    """
    for item in channels:
        item.require_positive()
    shapes = [name for name in measurement.shapes if any(name == key for item in channels for key, _ in item.varied)]
    if sum(item.n_bins for item in channels) == 1 and shapes:
        raise TemplateError(
            f"one bin is left after merging, and a shape nuisance parameter ({', '.join(shapes)}) needs at least two. "
            "Lower binning.min_effective_events or binning.min_yield, raise model.bins, or train longer"
        )
    data = []
    for item in channels:
        if observed and item.observed is None:
            raise TemplateError(f"{item.where}fit.data is 'observed', and there are no observed events")
        data.append(item.observed.values() if observed and item.observed else item.nominal.sum(axis=0))
    return specification(channels, measurement, observed=data, poi_bounds=poi_bounds)
