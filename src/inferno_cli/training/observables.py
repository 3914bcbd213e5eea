"""The observables of a run: its networks, one or one for each fold, and the bins of every channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from inferno_cli.events.channels import Channels, everything
from inferno_cli.events.sample import Observed, Sample
from inferno_cli.histograms.templates import Bins
from inferno_cli.names import fold_of
from inferno_cli.training.observable import ChannelNetworks, Observable
from inferno_cli.training.recipe import Filling, Groups, fixed_fillings


@dataclass(frozen=True)
class Observables:
    """The networks of a run, and the channels in which they make the bins.

    Attributes:
        networks: Those of each fold.
        channels: All channels.
        groups: For each bin of a fitted histogram, the bins that it is made of, by channel of the likelihood; empty:
            none are merged.
    """

    networks: tuple[ChannelNetworks, ...]
    channels: Channels = field(default_factory=everything)
    groups: Mapping[str, Groups] = field(default_factory=dict)

    @property
    def first(self) -> Observable:
        """One of the networks: features, number of bins and what is told of an event are those of all."""
        return self.networks[0].first

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return self.first.features

    @property
    def folds(self) -> range:
        """Numbers of the folds."""
        return range(len(self.networks))

    def name(self, channel: str, fold: int) -> str:
        """Return the name in the likelihood of what the network of a fold makes of a channel."""
        return fold_of(channel, fold, len(self.networks))

    def name_of(self, sample: Sample) -> str:
        """Return the name in the likelihood of the channel that events are in."""
        return sample.channel if sample.bins is not None else self.name(sample.channel, sample.fold)

    @property
    def names(self) -> dict[str, tuple[str, int]]:
        """All channels of the likelihood, in order: the channel and the fold of each."""
        found = {}
        for channel in self.channels.by_name:
            n_folds = len(self.networks) if channel in self.channels.trained else 1
            for fold in range(n_folds):
                found[fold_of(channel, fold, n_folds)] = channel, fold
        return found

    def of(self, channel: str, fold: int = 0) -> Observable:
        """Return the network of a fold with the bins that are fitted in a channel."""
        groups = tuple(tuple(group) for group in self.groups.get(self.name(channel, fold), ()))
        return replace(self.networks[fold].of(channel), groups=groups)

    def final(self, name: str, n_bins: int) -> Bins:
        """Return the bin of the fitted histogram of each of the bins of a channel of the likelihood, before merging."""
        final = np.arange(n_bins)
        for number, group in enumerate(self.groups.get(name, ())):
            final[list(group)] = number
        return final

    def assign(self, samples: Sequence[Sample]) -> list[Bins]:
        """Return the bin of every event of every sample in every view before any are merged, (n_views, n_events) each.

        Of a channel with bins of its own they are its; else those that the network makes which has not seen the events.
        """
        found: list[Bins] = []
        for sample in samples:
            if sample.bins is not None:
                found.append(sample.bins.astype(np.intp))
            else:
                found.append(self.networks[sample.fold].of(sample.channel).network_bins(sample.features))
        return found

    def fillings(
        self, samples: Sequence[Sample], bins: Sequence[Bins], observed: Sequence[Observed] | None = None
    ) -> list[Filling]:
        """Return what is in each channel of the likelihood, in their order.

        Args:
            samples: In all channels.
            bins: As ``assign`` returns them.
            observed: The observed events of all channels.
        """
        found = {item.channel: item for item in fixed_fillings(self.channels, samples, observed)}
        summary = self.first.summary
        for name, (channel, fold) in self.names.items():
            if name in found:
                continue
            rows = [i for i, item in enumerate(samples) if (item.channel, item.fold) == (channel, fold)]
            data = None
            if observed is not None:
                (features,) = (x.features for x in observed if (x.channel, x.fold) == (channel, fold))
                data = self.networks[fold].of(channel).network_bins(features)
            own = [samples[row] for row in rows], [bins[row] for row in rows]
            found[name] = Filling(name, *own, summary.n_bins, summary.ordered, observed=data)
        return [found[name] for name in self.names]
