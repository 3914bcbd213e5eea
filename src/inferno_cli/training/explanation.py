"""What a trained observable learnt: the importance of each feature, and its bins over planes of features.

A feature is shuffled: every event takes that of another event, of any sample, as often as the nominal expectation
has it. So it tells nothing of the sample, and has the distribution of the expected data in all of them. (Within one
sample it would keep the sample's own distribution, and a network that sees nothing else would not notice.) An event
takes it from one and the same nominal event in every variation: so the systematics do not move it, and what they
change in the other features still is the difference of paired events, not noise.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning
from inferno_cli.errors import SingularInformationError
from inferno_cli.events.sample import FloatArray, Sample, generator
from inferno_cli.histograms.finished import Finished, finished
from inferno_cli.histograms.smoothing import smoothed
from inferno_cli.histograms.templates import Bins, Templates
from inferno_cli.likelihood.information import covariance
from inferno_cli.training.observables import Observables
from inferno_cli.training.recipe import merged, template_channels


@dataclass(frozen=True)
class Explainer:
    """Observables with their final bins, the events of the templates, the measurement of the fit, the rule of merging.

    The samples are those in all channels.
    """

    observables: Observables
    samples: tuple[Sample, ...]
    measurement: Measurement
    rule: Binning

    def bins(self) -> list[Bins]:
        """Fitted bin of every event of every sample in every view, shape (n_views, n_events) each."""
        found = []
        for sample, numbers in zip(self.samples, self.observables.assign(self.samples), strict=True):
            found.append(self.observables.final(self.observables.name_of(sample), self._n_bins(sample))[numbers])
        return found

    def _n_bins(self, sample: Sample) -> int:
        if sample.bins is None:
            return self.observables.first.summary.n_bins
        if sample.histogram is not None:
            return len(sample.histogram.edges) - 1
        return self.observables.channels.by_name[sample.channel].observable.n_bins

    def fitted(self, symmetrise: float | None, prune: float | None = None, keep: Collection[str] = ()) -> Finished:
        """Return the templates of the fit, finished as they were there (see ``histograms.finished``)."""
        filled = self._filled(self.samples, None)
        return finished(filled, self.measurement, symmetrise=symmetrise, prune=prune, keep=keep)

    def templates(self, samples: Sequence[Sample]) -> tuple[Templates, ...]:
        """Fill the fitted bins with other events.

        The bins are those of the fit. Where these events leave one without the support that ``binning`` asks for, it
        is merged with a neighbour as in the training: an empty bin that a variation fills would be fake information.
        """
        filled = self._filled(samples, self.rule)
        return tuple(smoothed(item, self.measurement.within(item.channel))[0] for item in filled)

    def _filled(self, samples: Sequence[Sample], rule: Binning | None) -> tuple[Templates, ...]:
        fillings = self.observables.fillings(samples, self.observables.assign(samples))
        filled = [item.templates(self.measurement) for item in fillings]
        return merged(filled, self.measurement, groups=self.observables.groups, rule=rule)

    def deviations(self, templates: Sequence[Templates]) -> dict[str, float]:
        """Standard deviation of every parameter in the Asimov fit, in closed form, by name."""
        channel = template_channels(self.measurement, templates)
        deviation = covariance(channel).diagonal().sqrt().tolist()
        return dict(zip(channel.parameters, deviation, strict=True))

    @torch.no_grad()
    def importance(self, feature: str, repeats: int, seed: int) -> tuple[list[float], list[int]]:
        """Return sigma of the POI, and the number of bins that are left, for each of several shuffles of a feature.

        Where the information matrix is singular sigma is infinite.
        """
        column = self.observables.features.index(feature)
        sigma, n_bins = [], []
        for repeat in range(repeats):
            seen = [sample for sample in self.samples if sample.bins is None]
            others = [sample for sample in self.samples if sample.bins is not None]
            samples = shuffled(seen, column, generator(seed, f"explain {feature} {repeat}"))
            templates = self.templates([*samples, *others])
            n_bins.append(sum(item.n_bins for item in templates if item.is_trained))
            try:
                sigma.append(next(iter(self.deviations(templates).values())))
            except SingularInformationError:
                sigma.append(math.inf)
        return sigma, n_bins

    def plane(self, axes: dict[str, FloatArray], fixed: dict[str, float]) -> tuple[FloatArray, Bins]:
        """Evaluate the first observable on the plane of the values of two features, all others at one value each.

        Returns:
            All features of each point, shape (n_x, n_y, n_features), and its fitted bin, shape (n_x, n_y).
        """
        values: dict[str, Any] = fixed | dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
        shape = tuple(map(len, axes.values()))
        points = np.stack([np.broadcast_to(values[name], shape) for name in self.observables.features], axis=-1)
        found = self.observables.of(self.observables.channels.trained[0]).apply(
            points.reshape(-1, points.shape[-1]).astype(np.float32)
        )
        return points, found.bin.reshape(shape)


def shuffled(samples: Sequence[Sample], column: int, rng: np.random.Generator) -> list[Sample]:
    """Return the samples with one feature of every event from another event, the same in every variation."""
    known = np.concatenate([sample.features[sample.view[0], :, column] for sample in samples])
    expected = np.cumsum(np.concatenate([sample.weights[0].clip(min=0) for sample in samples]))
    found = []
    for sample in samples:
        # Equal steps through the expected events, in random order: the distribution is the same in every sample.
        steps = (np.arange(len(sample.group)) + rng.random()) / len(sample.group)
        source = np.searchsorted(expected, steps * expected[-1], side="right").clip(max=len(known) - 1)
        features = sample.features.copy()
        features[:, :, column] = known[rng.permutation(source)]
        found.append(replace(sample, features=features))
    return found
