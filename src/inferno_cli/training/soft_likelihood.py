"""The likelihood of soft templates: what a loss is differentiated through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Sample, Variation, effective_events
from inferno_cli.histograms.fitted import channel_templates
from inferno_cli.histograms.morph import envelope, floored, sides
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.build import ChannelTemplates, build
from inferno_cli.likelihood.expectation import Expectation, expectation
from inferno_cli.training.batches import Batch

TINY_YIELD = 1e-9
"""Expected events of each sample in a bin without any."""


@dataclass(frozen=True)
class Stratum:
    """What the loss knows of one sample apart from its events.

    Attributes:
        name: Name of the sample.
        channel: The channel that these events are in.
        is_signal: Whether the POI scales it.
        variations: Nominal first.
        view: The feature block of each variation.
        yields: Expected events of each variation, from the full sample.
        effective_events: Effective events of the split whose templates are fitted: the size of its staterror.
    """

    name: str
    channel: str
    is_signal: bool
    variations: tuple[Variation, ...]
    view: tuple[int, ...]
    yields: tuple[float, ...]
    effective_events: float

    @classmethod
    def of(cls, sample: Sample, effective_events: float) -> Stratum:
        """Describe a sample."""
        yields = tuple(sample.yields.tolist())
        about = sample.name, sample.channel, sample.is_signal, sample.variations, sample.view
        return cls(*about, yields, effective_events)


@dataclass(frozen=True)
class SoftLikelihood:
    """The likelihood of batches of events, with soft bins, and of the channels whose bins are fixed.

    Attributes:
        measurement: Samples, parameters and constraints.
        strata: What is known of each sample in each channel, in the order of the batches.
        fixed: Templates of the channels that have bins of their own, which constrain the nuisance parameters.
    """

    measurement: Measurement
    strata: tuple[Stratum, ...]
    fixed: tuple[ChannelTemplates, ...] = ()

    @classmethod
    def of(
        cls,
        measurement: Measurement,
        samples: Sequence[Sample],
        template: Sequence[Sample],
        fixed: Sequence[Templates] = (),
    ) -> SoftLikelihood:
        """Describe samples with the variations of a measurement, beside those whose templates are fitted.

        Args:
            fixed: Templates of the channels that have bins of their own.
        """
        strata = tuple(Stratum.of(sample, effective_events(template, sample)) for sample in samples)
        return cls(measurement, strata, tuple(channel_templates(item, torch.from_numpy) for item in fixed))

    def on(self, device: torch.device) -> SoftLikelihood:
        """Return the likelihood with its fixed templates on a device, so that no step has to move them."""
        return replace(self, fixed=tuple(_moved(item, device) for item in self.fixed))

    @property
    def categories(self) -> list[int]:
        """Number of the sample of each entry of a batch, among all."""
        names = list(dict.fromkeys(stratum.name for stratum in self.strata))
        return [names.index(stratum.name) for stratum in self.strata]

    @property
    def is_signal(self) -> list[bool]:
        """Whether each sample is signal, in the order of their numbers."""
        return list({stratum.name: stratum.is_signal for stratum in self.strata}.values())

    def nominal_weights(self, batch: Batch) -> list[Tensor]:
        """Nominal weights of a batch, scaled to the expected yields of the samples."""
        return [
            weights[0] * (stratum.yields[0] / weights[0].sum())
            for stratum, (_, weights) in zip(self.strata, batch, strict=True)
        ]

    def expectation(self, batch: Batch, memberships: Sequence[Tensor]) -> Expectation:
        """Build the likelihood of the soft templates of a batch, scaled to the expected yields.

        Args:
            batch: Features and weights of each sample.
            memberships: Of each bin, for each sample, shape (n_views, n_events, n_bins).
        """
        channels: dict[str, list[_SoftTemplates]] = {}
        for stratum, (_, weights), membership in zip(self.strata, batch, memberships, strict=True):
            yields = weights.new_tensor(stratum.yields)
            scaled = weights * (yields / weights.sum(dim=1))[:, None]
            templates = {
                variation: scaled[row] @ membership[view]
                for row, (variation, view) in enumerate(zip(stratum.variations, stratum.view, strict=True))
            }
            # The share of sum w^2 in each bin, at the size of the split whose templates are fitted.
            squares = weights[0].square()
            share = (squares @ membership[stratum.view[0]]) / squares.sum()
            variance = yields[0] ** 2 / stratum.effective_events * share
            varied = {}
            for parameter, by_sample in self.measurement.within(stratum.channel).shapes.items():
                if (morph := by_sample.get(stratum.name)) is not None:
                    varied[parameter, stratum.name] = _soft_pair(morph, templates)
            found = _SoftTemplates(stratum.name, templates[stratum.variations[0]], variance, varied)
            channels.setdefault(stratum.channel, []).append(found)
        soft = [_channel(name, samples) for name, samples in channels.items()]
        fixed = self.on(batch[0][1].device).fixed
        return expectation(build(self.measurement, [*soft, *fixed]))


@dataclass(frozen=True)
class _SoftTemplates:
    """Templates of one sample in one channel, shape (B,) each; ``varied`` by (parameter, sample)."""

    name: str
    nominal: Tensor
    variance: Tensor
    varied: Mapping[tuple[str, str], tuple[Tensor, Tensor]]


def _channel(name: str, samples: Sequence[_SoftTemplates]) -> ChannelTemplates:
    varied: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
    for sample in samples:
        varied.update(sample.varied)
    nominal = torch.stack([sample.nominal for sample in samples])
    variance = torch.stack([sample.variance for sample in samples])
    return _supported(ChannelTemplates(name, tuple(sample.name for sample in samples), nominal, variance, varied))


def _supported(channel: ChannelTemplates) -> ChannelTemplates:
    """Return templates in which a bin without nominal events says nothing, whatever its variations have.

    A batch may leave a bin empty where an event is in one alone. It has a tiny yield then, the same in every variation.
    """
    has = channel.nominal.sum(dim=0) > 0
    tiny = torch.full_like(channel.nominal, TINY_YIELD)
    varied = {}
    for key, pair in channel.varied.items():
        up, down = (torch.where(has, template, tiny[0]) for template in pair)
        varied[key] = up, down
    nominal = torch.where(has, channel.nominal, tiny)
    variance = torch.where(has, channel.variance, torch.zeros_like(tiny))
    return ChannelTemplates(channel.name, channel.samples, nominal, variance, varied)


def _moved(channel: ChannelTemplates, device: torch.device) -> ChannelTemplates:
    """Return templates on a device; those that are there are not copied."""
    varied = {key: (up.to(device), down.to(device)) for key, (up, down) in channel.varied.items()}
    nominal, variance = channel.nominal.to(device), channel.variance.to(device)
    return ChannelTemplates(channel.name, channel.samples, nominal, variance, varied)


def _soft_pair(morph: Morph, templates: Mapping[Variation, Tensor]) -> tuple[Tensor, Tensor]:
    """Templates up and down of one sample, at one standard deviation, shape (B,) each."""
    nominal, pairs = templates[NOMINAL], []
    for label in morph.members:
        up, down = (templates[Variation(label, direction)] for direction in DIRECTIONS)
        pairs.append(floored(morph, nominal, sides(morph, nominal, up, down)))
    return pairs[0] if len(pairs) == 1 else envelope(nominal, pairs)
