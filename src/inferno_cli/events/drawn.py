"""A dataset whose events are drawn, each split by itself, from one seed."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import ConfigError, closest
from inferno_cli.events.channels import Cells, Channels, everything
from inferno_cli.events.dataset import Dataset, Request
from inferno_cli.events.features import evaluated
from inferno_cli.events.sample import NOMINAL, Events, Sample
from inferno_cli.events.validation import ChannelYield, NotFinite, Validated, ValidatedSample
from inferno_cli.expressions import parse
from inferno_cli.section import Names


class DrawnDataset(Dataset):
    """What every dataset has whose events are drawn; a family says how many, and how they are drawn."""

    label: ClassVar[str] = ""
    """What every output must say about the events."""

    @property
    @abstractmethod
    def split_sizes(self) -> Mapping[str, int]:
        """Size of the training, validation and template split, by name, as the family counts it."""

    @property
    @abstractmethod
    def expected_yields(self) -> Mapping[str, float]:
        """Expected events of each sample."""

    @abstractmethod
    def drawn(self, seed: int, split: str, size: int, names: Names) -> dict[str, NDArray[np.float32]]:
        """Draw a split: the events of the samples ``names``, shape (n_events, n_features) each."""

    @abstractmethod
    def drawn_observed(self, seed: int, names: Names) -> NDArray[np.float32]:
        """Draw what is observed where the samples ``names`` are there, shape (n_events, n_features)."""

    def load(self, request: Request) -> Events:
        """Generate the three splits and one set of pseudo-data, every draw from one seed."""
        digest, channels = hashlib.sha256(), request.channels
        splits: dict[str, tuple[Sample, ...]] = {}
        fixed: list[Sample] = []
        for split, size in self.split_sizes.items():
            samples = []
            for name, features in self.drawn(request.seed, split, size, request.samples).items():
                sample = self._sample(name, features, self.expected_yields[name], request)
                cells = np.stack([self.cells(channels, view) for view in sample.features])
                samples += [part for part, _ in request.divided(sample, cells)]
                digest.update(features.tobytes())
            splits[split] = tuple(part for part in samples if part.bins is None)
            # Where the bins are not trained, one split is as good as another: that of the templates.
            fixed = [part for part in samples if part.bins is not None]
        request.require_acting([*fixed, *splits["template"]])
        observed = self.drawn_observed(request.seed, request.samples)
        digest.update(observed.tobytes())
        return Events(
            name=self.name,
            label=self.label,
            features=self.features,
            observed=channels.observed(observed, self.cells(channels, observed), np.zeros(len(observed), np.intp), 1),
            fixed=tuple(fixed),
            checksum=digest.hexdigest(),
            train=splits["train"],
            validation=splits["validation"],
            template=splits["template"],
        )

    def cells(self, channels: Channels, features: NDArray[np.float32]) -> Cells:
        """Return the cells of generated events, whose branches are their features, shape (n_events, n_features)."""
        n = len(features)
        if channels.is_everything:
            return np.zeros(n, dtype=np.int32)
        columns = dict(zip(self.features, features.T, strict=True))

        def numbers(text: str, key: str) -> NDArray[np.float64]:
            expression = parse(text)
            for name in expression.branches:
                if name not in columns:
                    raise ConfigError(f"{key}: {name!r} is no feature of the events{closest(name, columns)}")
            return np.broadcast_to(evaluated(expression, columns, {}, key, "the generated events"), (n,))

        def truth(text: str, key: str) -> NDArray[np.bool_]:
            return np.asarray(numbers(text, key) == 1)

        return channels.cells(n, "the generated events", truth, numbers)

    def _sample(self, name: str, features: NDArray[np.float32], expected: float, request: Request) -> Sample:
        n = len(features)
        weights = np.full((1, n), expected / n)
        is_signal = name in self.signal_names
        sample = Sample(name, is_signal, np.arange(n), (NOMINAL,), features[None], (0,), weights)
        for effect in request.effects_on(name):
            sample = effect.definition.vary(sample, effect.parameter, self)
        return sample

    def _channel_yields(self, sample: Sample, request: Request) -> tuple[ChannelYield, ...]:
        """Return what each channel has of a sample; nothing where one has everything."""
        if request.channels.is_everything:
            return ()
        cells = np.stack([self.cells(request.channels, view) for view in sample.features])
        return tuple(ChannelYield.of(part) for part, _ in request.divided(sample, cells))

    def validated(self, request: Request, source_branches: Names) -> Validated:
        """Describe the template split: the three splits are generated alike, and this one is what is fitted."""
        events = self.load(replace(request, channels=everything()))
        assert events.observed is not None
        observed, channels = events.observed[0].features, request.channels

        def seen(features: NDArray[np.float32]) -> NDArray[np.bool_]:
            return channels.seen(self.cells(channels, features))

        samples = []
        for parts in zip(events.train, events.validation, events.template, strict=True):
            train, validation, template = (len(part.group) for part in parts)
            features = parts[-1].features[0]
            shown = features[seen(features)]
            sample = ValidatedSample(
                events=parts[-1],
                features=shown,
                weights=parts[-1].weights[0],
                seen=seen(features),
                rows={NOMINAL: template},
                missing={NOMINAL: NotFinite.of(shown)},
                overlap={},
                splits=(train, validation, template),
                channels=self._channel_yields(parts[-1], request),
            )
            samples.append(sample)
        return Validated(
            name=events.name,
            label=events.label,
            features=events.features,
            samples=tuple(samples),
            observed=observed[seen(observed)],
            observed_rows=len(observed),
            observed_used=len(observed),
            findings=(),
            checksum=events.checksum,
            networks=() if channels.is_everything else channels.trained,
        )
