"""From binned events to templates, and to the likelihood of them: the one recipe for all that is filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning
from inferno_cli.events.channels import Channels
from inferno_cli.events.sample import Observed, Sample
from inferno_cli.histograms.binning import LinearFit, merge
from inferno_cli.histograms.fitted import specification
from inferno_cli.histograms.morph import enveloped, scaled
from inferno_cli.histograms.templates import Bins, Templates, fill
from inferno_cli.likelihood.expectation import Expectation, expectation, yields_and_jacobian
from inferno_cli.likelihood.information import bin_variance

Groups = Sequence[Sequence[int]]
"""Bins of a channel that are one."""


@dataclass(frozen=True)
class Filling:
    """The events of one channel of the likelihood, and the bins that they are in.

    Attributes:
        channel: Name of the channel in the likelihood.
        samples: Event tables with all variations of the measurement.
        bins: Bin of every event of every sample in every view, shape (n_views, n_events) each.
        n_bins: Bins before any are merged.
        ordered: The bins have an order of their own, which merging keeps.
        is_trained: A network makes the bins.
        observed: Bin of every observed event.
        error_scale: Factors on the statistical errors of each sample; empty: none.
        edges: Of a histogram, shape (n_bins + 1,).
        axis: What stands below its axis in plots.
    """

    channel: str
    samples: Sequence[Sample]
    bins: Sequence[Bins]
    n_bins: int
    ordered: bool = True
    is_trained: bool = True
    observed: Bins | None = None
    error_scale: Sequence[float] = ()
    edges: tuple[float, ...] = ()
    axis: str = ""

    def templates(self, measurement: Measurement) -> Templates:
        """Fill, and bring every variation to one standard deviation.

        The size is linear in the variation, and an envelope is not: so the one before bins are merged, the other after.
        """
        about = {name: getattr(self, name) for name in ("channel", "ordered", "is_trained", "edges", "axis")}
        templates = fill(self.samples, self.bins, self.n_bins, self.observed, **about)
        if self.error_scale:
            templates = templates.with_errors_scaled(self.error_scale)
        return scaled(templates, measurement.within(self.channel))


def fixed_fillings(
    channels: Channels, samples: Sequence[Sample], observed: Sequence[Observed] | None = None
) -> list[Filling]:
    """Return what is in the channels that have bins of their own.

    Args:
        samples: Those of these channels, whatever others there are.
        observed: The observed events of all channels; those of a channel whose templates are in a file may be missing.
    """
    found = []
    for name in channels.fixed:
        own = [sample for sample in samples if sample.channel == name]
        observable = channels.by_name[name].observable
        data = None
        if observed is not None:
            data = next((part.bins for part in observed if part.channel == name), None)
        bins = [sample.bins for sample in own]
        n_bins, edges, axis = observable.n_bins, observable.edges_of_bins, observable.axis
        if not observable.has_events:  # the file has the bins, the same for all samples
            (edges,) = {sample.histogram.edges for sample in own if sample.histogram is not None}
            n_bins = len(edges) - 1
        found.append(Filling(name, own, bins, n_bins, is_trained=False, observed=data, edges=edges, axis=axis))  # type: ignore[arg-type]
    return found


def merged(
    channels: Sequence[Templates],
    measurement: Measurement,
    *,
    groups: Mapping[str, Groups] | None = None,
    rule: Binning | None = None,
) -> tuple[Templates, ...]:
    """Merge bins of filled channels, and take the envelopes.

    Args:
        measurement: What the variations are to the likelihood.
        groups: Bins that are one from the start, by channel.
        rule: Which bins are merged; None: no others.
    """
    found = list(channels)
    if groups is not None:
        found = [replace(item.grouped(groups[item.channel]), ordered=True) for item in found]
    if rule is not None:
        every = [enveloped(item, measurement.within(item.channel)) for item in found]
        # Of several signals the fit says with which bin one without events is merged, whatever the noise.
        has_order = all(item.ordered for item in found)
        is_asked = rule.merge_noise or (len(measurement.pois) > 1 and not has_order)
        found = list(merge(found, rule, linear_fit(measurement, every) if is_asked else None))
    return tuple(enveloped(item, measurement.within(item.channel)) for item in found)


def template_channels(measurement: Measurement, channels: Sequence[Templates]) -> Expectation:
    """Return the likelihood of hard templates, in torch."""
    return expectation(specification(channels, measurement, torch.from_numpy))


@torch.no_grad()
def linear_fit(measurement: Measurement, channels: Sequence[Templates]) -> LinearFit:
    """Return the fit of templates near the nominal parameters, with the noise of their variations."""
    model = template_channels(measurement, channels)
    yields, jacobian = yields_and_jacobian(model)
    noise = np.zeros(tuple(jacobian.shape))
    first = 0
    for templates in channels:
        rows = slice(first, first + templates.n_bins)
        for (name, _), (odd, _) in templates.noise.items():
            if name in model.parameters:
                noise[rows, model.parameters.index(name)] += odd
        first += templates.n_bins
    return LinearFit(
        jacobian=jacobian.numpy(),
        prior=(model.prior.width > 0).numpy().astype(np.float64),
        variance=bin_variance(model, yields).numpy(),
        noise=noise,
        merit=partial(measurement.merit.of, parameters=model.parameters),
        several=len(measurement.pois) > 1,
    )
