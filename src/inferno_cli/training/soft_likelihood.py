"""The likelihood of soft templates: what a loss is differentiated through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Sample, Variation
from inferno_cli.histograms.morph import envelope, floored, sides
from inferno_cli.likelihood.build import build
from inferno_cli.likelihood.expectation import Expectation, expectation
from inferno_cli.training.batches import Batch


@dataclass(frozen=True)
class Stratum:
    """What the loss knows of one sample apart from its events.

    Attributes:
        name: Name of the sample.
        is_signal: Whether the POI scales it.
        variations: Nominal first.
        view: The feature block of each variation.
        yields: Expected events of each variation, from the full sample.
        effective_events: Effective events of the split whose templates are fitted: the size of its staterror.
    """

    name: str
    is_signal: bool
    variations: tuple[Variation, ...]
    view: tuple[int, ...]
    yields: tuple[float, ...]
    effective_events: float

    @classmethod
    def of(cls, sample: Sample, effective_events: float) -> Stratum:
        """Describe a sample."""
        yields = tuple(sample.yields.tolist())
        return cls(sample.name, sample.is_signal, sample.variations, sample.view, yields, effective_events)


@dataclass(frozen=True)
class SoftLikelihood:
    """The likelihood of batches of events, with soft bins.

    Attributes:
        measurement: Samples, parameters and constraints.
        strata: What is known of each sample, in the order of the batches.
    """

    measurement: Measurement
    strata: tuple[Stratum, ...]

    @classmethod
    def of(cls, measurement: Measurement, samples: Sequence[Sample], template: Sequence[Sample]) -> SoftLikelihood:
        """Describe samples with the variations of a measurement, beside those whose templates are fitted."""
        strata = (Stratum.of(x, y.effective_events) for x, y in zip(samples, template, strict=True))
        return cls(measurement, tuple(strata))

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
        nominal, variance, varied = [], [], {}
        for stratum, (_, weights), membership in zip(self.strata, batch, memberships, strict=True):
            yields = weights.new_tensor(stratum.yields)
            scaled = weights * (yields / weights.sum(dim=1))[:, None]
            templates = {
                variation: scaled[row] @ membership[view]
                for row, (variation, view) in enumerate(zip(stratum.variations, stratum.view, strict=True))
            }
            nominal.append(templates[stratum.variations[0]])
            # The share of sum w^2 in each bin, at the size of the split whose templates are fitted.
            squares = weights[0].square()
            share = (squares @ membership[stratum.view[0]]) / squares.sum()
            variance.append(yields[0] ** 2 / stratum.effective_events * share)
            for parameter, by_sample in self.measurement.shapes.items():
                if (morph := by_sample.get(stratum.name)) is not None:
                    varied[parameter, stratum.name] = _soft_pair(morph, templates)
        return expectation(build(self.measurement, torch.stack(nominal), torch.stack(variance), varied))


def _soft_pair(morph: Morph, templates: Mapping[Variation, Tensor]) -> tuple[Tensor, Tensor]:
    """Templates up and down of one sample, at one standard deviation, shape (B,) each."""
    nominal, pairs = templates[NOMINAL], []
    for label in morph.members:
        up, down = (templates[Variation(label, direction)] for direction in DIRECTIONS)
        pairs.append(floored(morph, nominal, sides(morph, nominal, up, down)))
    return pairs[0] if len(pairs) == 1 else envelope(nominal, pairs)
