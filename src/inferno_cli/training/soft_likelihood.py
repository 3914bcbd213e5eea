"""The likelihood of soft templates: what a loss is differentiated through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.sample import Sample, effective_events
from inferno_cli.histograms.fitted import channel_templates
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.build import ChannelTemplates
from inferno_cli.likelihood.expectation import Expectation
from inferno_cli.training.batches import Batch
from inferno_cli.training.frame import Frame
from inferno_cli.training.soft_templates import Stratum, filled


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
    frames: dict[tuple[int, torch.device], Frame] = field(default_factory=dict, repr=False, compare=False)

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
        return self.of_sums(*filled(self.strata, batch, memberships))

    def of_sums(self, rows: Tensor, weights: Tensor) -> Expectation:
        """Build the likelihood of what ``filled`` returns, or of its sums over chunks of events."""
        n_bins, device = rows.shape[-1], rows.device
        if (n_bins, device) not in self.frames:
            self.frames[n_bins, device] = Frame.of(self.measurement, self.strata, self.fixed, n_bins, device)
        return self.frames[n_bins, device].filled(rows, weights)
