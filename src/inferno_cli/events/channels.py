"""Channels: disjoint selections of events, each with an observable whose histogram is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from inferno_cli.choices import any_of
from inferno_cli.errors import DatasetError
from inferno_cli.events import arrays
from inferno_cli.events.channel import NO_BIN, ChannelObservable
from inferno_cli.events.observables.summary import TrainedSummary
from inferno_cli.events.ready import HistogramFile
from inferno_cli.events.sample import Observed, Sample, require_yields
from inferno_cli.section import REGION, ExpressionText, Names, Section

if TYPE_CHECKING:
    AnyObservable = ChannelObservable
else:
    AnyObservable = any_of("inferno_cli.events.observables", ChannelObservable)

Cells = NDArray[np.int32]
"""The number of an event's bin among those of all channels, one channel behind the other; ``NO_BIN``: none.

A channel whose bins the network makes has one number for all its events.
"""
Truth = Callable[[str, str], NDArray[np.bool_]]
"""Says for which events a selection is true, given it and its key in the configuration, shape (n_events,)."""
Numbers = Callable[[str, str], NDArray[np.float64]]
"""Returns the values of an expression, given it and its key in the configuration, shape (n_events,)."""


class Channel(Section):
    """A selection of events, and what they are counted by. Channels are disjoint."""

    selection: ExpressionText | None = None
    """Events that are in it, an expression of branches, in addition to the dataset's selection; null: all."""
    observable: AnyObservable = Field(default_factory=TrainedSummary)
    """What they are counted by."""
    samples: Names | None = None
    """Samples that it has; null: each that has events in it."""
    train: bool = True
    """Whether it is in the training's likelihood; the fit has every channel."""
    histograms: dict[str, HistogramFile] = Field(default={})
    """Samples that come as histograms of somebody else's, with the bins of the channel, in the place of events."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.observable.is_trained and self.histograms:
            raise ValueError(
                f"histograms: {', '.join(self.histograms)} would be a histogram of bins that the network makes, which "
                "nobody has before it is trained; expected events. Take the sample out, or give it to a channel with "
                "bins of its own"
            )
        if not self.observable.has_events and self.selection is not None:
            raise ValueError(
                f"selection: the channel is made of histograms (kind {self.observable.kind!r}), and there are no "
                "events to select; leave it out"
            )
        for name in self.histograms:
            if self.samples is not None and name not in self.samples:
                raise ValueError(f"histograms: {name!r} is not in samples, {list(self.samples)}; add it there")
        return self

    def source_of(self, sample: str) -> HistogramFile | None:
        """Return the file that the histograms of a sample are in; None: it is made of events, or left out."""
        return self.histograms.get(sample, self.observable.source) if self.has(sample) else None

    def has(self, sample: str) -> bool:
        """Whether a sample may be in it."""
        return self.samples is None or sample in self.samples


@dataclass(frozen=True)
class Channels:
    """All channels of a measurement, by name."""

    by_name: Mapping[str, Channel]

    @property
    def is_everything(self) -> bool:
        """Whether there is one channel, of all events and all samples, whose bins the network makes."""
        channels = list(self.by_name.values())
        first = channels[0]
        is_all = first.selection is None and first.samples is None
        return len(channels) == 1 and is_all and first.observable.is_trained

    @property
    def trained(self) -> Names:
        """Those whose bins the network makes."""
        return tuple(name for name, channel in self.by_name.items() if channel.observable.is_trained)

    @property
    def networks(self) -> dict[str, Names]:
        """The channels of each network, by its name."""
        found: dict[str, Names] = {}
        for name in self.trained:
            network = self.by_name[name].observable.network_name
            found[network] = (*found.get(network, ()), name)
        return found

    @property
    def fixed(self) -> Names:
        """Those that have bins of their own."""
        return tuple(name for name in self.by_name if name not in self.trained)

    @property
    def starts(self) -> dict[str, int]:
        """Number of the first bin of each channel among those of all."""
        first, found = 0, {}
        for name, channel in self.by_name.items():
            found[name] = first
            first += channel.observable.n_bins
        return found

    def seen(self, cells: Cells) -> NDArray[np.bool_]:
        """Return which events a network sees, those of channels whose bins it makes, shape (n_events,)."""
        return np.isin(cells, [self.starts[name] for name in self.trained])

    def texts(self) -> dict[str, str]:
        """Return the expressions that are needed of the events, by the key of the configuration."""
        found = {}
        for name, channel in self.by_name.items():
            if channel.selection is not None:
                found[f"channels.{name}.selection"] = channel.selection
            if channel.observable.variable is not None:
                found[f"channels.{name}.observable.expression"] = channel.observable.variable
        return found

    def cells(self, n: int, where: str, truth: Truth, numbers: Numbers) -> Cells:
        """Return the number of the bin of each of n events, shape (n,).

        Raises:
            DatasetError: If an event is in two channels, or the observable of one in its channel is no number.
        """
        found = np.full(n, NO_BIN, dtype=np.int32)
        chosen_by = np.full(n, NO_BIN, dtype=np.int32)
        names = list(self.by_name)
        for number, (name, channel) in enumerate(self.by_name.items()):
            if not channel.observable.has_events:
                continue
            key = f"channels.{name}"
            inside = np.ones(n, dtype=np.bool_)
            if channel.selection is not None:
                inside = np.broadcast_to(truth(channel.selection, f"{key}.selection"), (n,))
            both = inside & (chosen_by != NO_BIN)
            if both.any():
                other = names[chosen_by[np.flatnonzero(both)[0]]]
                raise DatasetError(
                    f"{both.sum()} of {n} events of {where} are in channel {other!r} and in channel {name!r}, expected "
                    f"each in one: its data would count twice. Fix channels.{other}.selection or {key}.selection"
                )
            chosen_by[inside] = number
            bins = self._bins(name, where, inside, numbers)
            found[inside] = np.where(bins == NO_BIN, NO_BIN, self.starts[name] + bins)
        return found

    def _bins(self, name: str, where: str, inside: NDArray[np.bool_], numbers: Numbers) -> Cells:
        """Return the bins of the events that are inside a channel."""
        observable = self.by_name[name].observable
        if observable.variable is None:
            return observable.bins(np.zeros(int(inside.sum())))
        key = f"channels.{name}.observable.expression"
        values = np.broadcast_to(numbers(observable.variable, key), inside.shape)[inside]
        if unknown := int((~np.isfinite(values)).sum()):
            raise DatasetError(
                f"{observable.variable} is not a number in {unknown} of {len(values)} events of {where} in channel "
                f"{name!r}. Fix {key}, or leave these events out with channels.{name}.selection"
            )
        return observable.bins(values)

    def observed(
        self, features: NDArray[np.float32], cells: Cells, folds: NDArray[np.intp], n_folds: int
    ) -> tuple[Observed, ...]:
        """Divide observed events into the channels, and those whose bins the network makes into folds.

        Args:
            features: Shape (n_events, n_features).
            cells: Shape (n_events,).
            folds: Fold of each event, shape (n_events,).
        """
        found = []
        for name, channel in self.by_name.items():
            if not channel.observable.has_events:
                continue
            first = self.starts[name]
            inside = (cells >= first) & (cells < first + channel.observable.n_bins)
            if not channel.observable.is_trained:
                found.append(Observed(name, 0, features[inside, :0], cells[inside] - first))
                continue
            for fold in range(n_folds):
                found.append(Observed(name, fold, features[inside & (folds == fold)]))
        return tuple(found)

    def divided(self, sample: Sample, cells: Cells) -> list[tuple[Sample, NDArray[np.intp]]]:
        """Divide a sample into its channels.

        Args:
            sample: All its events.
            cells: Of every event in every view, shape (n_views, n_events).

        Returns:
            What is in each channel, in a variation or more, with the numbers of these events.

        Raises:
            TemplateError: If the yield of a variation in a channel is not positive.
        """
        if self.is_everything:
            (name,) = self.by_name
            return [(replace(sample, channel=name), np.arange(len(sample.group)))]
        found = []
        for name, channel in self.by_name.items():
            if not channel.has(sample.name) or channel.source_of(sample.name) is not None:
                continue
            observable, first = channel.observable, self.starts[name]
            inside = (cells >= first) & (cells < first + observable.n_bins)
            rows = _rows_inside(sample, inside)
            if not len(rows):
                continue
            inside, weights = inside[:, rows], arrays.Growing(np.float64)
            for of_variation, view in zip(sample.weights, sample.view, strict=True):
                for some in arrays.chunks(len(rows)):
                    weights.append(of_variation[rows[some]] * inside[view, some])
            of_channel = weights.array().reshape(len(sample.variations), len(rows))
            require_yields(sample.name, sample.variations, of_channel.sum(axis=1), name)
            part = Sample(
                name=sample.name,
                is_signal=sample.is_signal,
                group=sample.group[rows],
                variations=sample.variations,
                features=arrays.of_rows(sample.features if observable.is_trained else sample.features[..., :0], rows),
                view=sample.view,
                weights=of_channel,
                channel=name,
                bins=None if observable.is_trained else np.where(inside, cells[:, rows] - first, 0),
            )
            found.append((part, rows))
        return found


def _rows_inside(sample: Sample, inside: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the events that are in a channel in some variation, given which are in each view (n_views, n_events)."""
    found = []
    for part in arrays.chunks(inside.shape[1]):
        counts = sample.weights[:, part] * inside[list(sample.view), part]
        found.append(part.start + np.flatnonzero(counts.any(axis=0)))
    return np.concatenate(found)


def everything(name: str = REGION) -> Channels:
    """Return the one channel of all events, whose bins the network makes."""
    return Channels({name: Channel()})
