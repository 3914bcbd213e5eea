"""Every event of a dataset, before anything is trained on it, and what is odd about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.arrays import chunks
from inferno_cli.events.features import Inputs
from inferno_cli.events.sample import FloatArray, Sample, Variation


@dataclass(frozen=True)
class ChannelYield:
    """What one channel has of a sample.

    Attributes:
        channel, sample: Their names.
        events: Nominal events.
        expected: Their yield.
        effective: Unweighted events with the same relative error.
    """

    channel: str
    sample: str
    events: int
    expected: float
    effective: float

    @classmethod
    def of(cls, sample: Sample) -> ChannelYield:
        """Count the events of a sample in its channel; of a histogram that somebody else made the effective ones."""
        if sample.histogram is not None:
            n = round(sample.effective_events) if np.isfinite(sample.effective_events) else 0
            return cls(sample.channel, sample.name, n, float(sample.yields[0]), sample.effective_events)
        n = int((sample.weights[0] != 0).sum())
        return cls(sample.channel, sample.name, n, float(sample.yields[0]), sample.effective_events)


@dataclass(frozen=True)
class NotFinite:
    """Values of features that are not finite, where a network would see them.

    Attributes:
        values: Of each feature, shape (n_features,).
        rows: Of how many rows.
    """

    values: NDArray[np.intp]
    rows: int

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> NotFinite:
        """Count those of rows, shape (n_rows, n_features)."""
        found = np.zeros(features.shape[1], dtype=np.intp)
        for part in chunks(len(features)):
            found += (~np.isfinite(features[part])).sum(axis=0)
        return cls(found, len(features))


@dataclass(frozen=True)
class ValidatedSample:
    """One simulated sample.

    Attributes:
        events: All its events, nominal and varied; features that are not finite are as they are in the file.
        features: Of the nominal rows that a network sees, shape (n_seen, n_features).
        weights: Of the nominal rows, expected events, shape (n_rows,).
        seen: Which of these a network sees, shape (n_rows,): others are in channels with bins of their own.
        rows: Number of rows of the nominal and of every shifted selection.
        missing: Features that are not finite, of the same selections.
        overlap: Share of events that a shifted selection has in common with the nominal, of the smaller of the two.
        splits: Events in the train, validation and template split, or in each fold.
        read: Nominal rows before the selection; None: of generated events, of which all are taken.
        selection: Of this sample alone, an expression; empty: none.
        channels: What each channel has of it; empty where one has everything.
    """

    events: Sample
    features: NDArray[np.float32]
    weights: FloatArray
    seen: NDArray[np.bool_]
    rows: Mapping[Variation, int]
    missing: Mapping[Variation, NotFinite]
    overlap: Mapping[Variation, float]
    splits: tuple[int, ...]
    read: int | None = None
    selection: str = ""
    channels: tuple[ChannelYield, ...] = ()

    @property
    def seen_weights(self) -> FloatArray:
        """Expected events of the rows that a network sees, shape (n_seen,)."""
        return self.weights if self.seen.all() else self.weights[self.seen]


@dataclass(frozen=True)
class Validated:
    """A dataset.

    Attributes:
        name: Its name.
        label: What every output must say about it, or empty.
        features: Names of the features.
        samples: The simulated samples, signal first.
        observed: Features of the observed events that are used and that a network sees, shape (n_seen, n_features), or
            None.
        observed_rows: Observed events that are selected; fewer are used with ``downsample_factor``.
        observed_used: Those that are used.
        observed_read: Observed events in the files, before the selection.
        findings: What is odd, but no error: whole sentences.
        checksum: SHA-256 of what was read or generated.
        selection: Of all samples, an expression; empty: none.
        observed_selection: Of the observed events alone, the same.
        inputs: How the features are computed and shown; None: they are what is generated.
        observed_channels: Observed events that are used in each channel, by name.
        networks: Channels whose events networks see; empty where one has everything.
        ready: Samples of channels that are histograms which somebody else made.
        observed_findings: The same of the observed events; every count is "N of M", see ``uncounted``.
    """

    name: str
    label: str
    features: tuple[str, ...]
    samples: tuple[ValidatedSample, ...]
    observed: NDArray[np.float32] | None
    observed_rows: int
    observed_used: int
    findings: tuple[str, ...]
    checksum: str
    observed_findings: tuple[str, ...] = ()
    observed_read: int = 0
    selection: str = ""
    observed_selection: str = ""
    inputs: Inputs | None = None
    observed_channels: Mapping[str, int] = field(default_factory=dict)
    ready: tuple[ChannelYield, ...] = ()
    networks: tuple[str, ...] = ()


def uncounted(text: str) -> str:
    """Return a message about blinded events without their numbers.

    Example:
        >>> uncounted("12 of 900 rows are equal to another one")
        'some rows are equal to another one'
    """
    return re.sub(r"\b\d+ of \d+\b", "some", text)
