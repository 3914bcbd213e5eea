"""A dataset whose events are drawn: one signal and one background of known densities."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inferno_cli.errors import ConfigError, closest
from inferno_cli.events.channels import Cells, Channels, everything
from inferno_cli.events.dataset import Dataset, Request
from inferno_cli.events.features import evaluated
from inferno_cli.events.sample import NOMINAL, Events, Sample, generator
from inferno_cli.events.validation import ChannelYield, Validated, ValidatedSample
from inferno_cli.expressions import parse
from inferno_cli.section import POI, Names, Positive, Section

GeneratedCount = Annotated[int, Field(ge=100)]


class ExpectedYields(Section):
    """Expected events."""

    signal: Positive
    """Expected events of the signal."""
    background: Positive
    """Expected events of the background."""


class GeneratedEvents(Section):
    """Generated events of each split, half of them signal."""

    train: GeneratedCount
    """Events for the training."""
    validation: GeneratedCount
    """Events that choose the epoch."""
    template: GeneratedCount
    """Events for the templates that are fitted."""


class GeneratedDataset(Dataset):
    """What every generated dataset has; a kind adds ``features``, its own keys (to ``made_by`` too) and ``draw``."""

    yields: ExpectedYields
    events: GeneratedEvents

    sample_names: ClassVar[Names] = ("signal", "background")
    signal_names: ClassVar[Names] = ("signal",)
    made_by: ClassVar[Names] = ("events", "downsample_factor", "yields")

    @property
    def expected(self) -> tuple[float, float]:
        """Expected events of signal and background."""
        return self.yields.signal * self.downsample_factor, self.yields.background * self.downsample_factor

    @abstractmethod
    def draw(self, rng: np.random.Generator, signal: int, background: int) -> list[NDArray[np.float32]]:
        """Draw so many events of the signal, then of the background, shape (n, n_features) each."""

    def load(self, request: Request) -> Events:
        """Generate the three splits and one set of pseudo-data, every draw from one seed."""
        digest, channels = hashlib.sha256(), request.channels
        splits: dict[str, tuple[Sample, ...]] = {}
        fixed: list[Sample] = []
        for split, n in self.events:
            drawn = self.draw(generator(request.seed, split), n // 2, n - n // 2)
            samples = []
            for name, features, expected in zip(self.sample_names, drawn, self.expected, strict=True):
                sample = self._sample(name, features, expected, request)
                cells = np.stack([self.cells(channels, view) for view in sample.features])
                samples += [part for part, _ in request.divided(sample, cells)]
                digest.update(features.tobytes())
            splits[split] = tuple(part for part in samples if part.bins is None)
            # Where the bins are not trained, one split is as good as another: that of the templates.
            fixed = [part for part in samples if part.bins is not None]
        request.require_acting([*fixed, *splits["template"]])
        rng = generator(request.seed, "observed")
        observed = np.concatenate(self.draw(rng, *rng.poisson(self.expected)))
        digest.update(observed.tobytes())
        return Events(
            name=self.name,
            label="",
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

    def pseudo_data(
        self, request: Request, mu: float, values: Mapping[str, float], rng: np.random.Generator
    ) -> NDArray[np.float32] | None:
        """Draw Poisson numbers of nominal events, and change each as the true parameters do."""
        counts = []
        for name, expected in zip(self.sample_names, self.expected, strict=True):
            rate = expected * (mu if name in self.pois[POI] else 1.0) * (name in request.samples)
            for effect in request.effects_on(name):
                factor = effect.definition.true_yield(values[effect.parameter]) if effect.parameter in values else 1.0
                if factor is None:
                    return None
                rate *= factor
            counts.append(rng.poisson(rate))
        parts = []
        for name, features in zip(self.sample_names, self.draw(rng, *counts), strict=True):
            for effect in request.effects_on(name):
                if effect.parameter in values:
                    features = effect.definition.true_features(features, values[effect.parameter], self)
            parts.append(features)
        return np.concatenate(parts)

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
        observed = events.observed[0].features
        samples = []
        for parts in zip(events.train, events.validation, events.template, strict=True):
            train, validation, template = (len(part.group) for part in parts)
            sample = ValidatedSample(
                events=parts[-1],
                features=parts[-1].features[0],
                weights=parts[-1].weights[0],
                rows={NOMINAL: template},
                missing={NOMINAL: np.zeros(len(self.features), dtype=np.intp)},
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
            observed=observed,
            observed_rows=len(observed),
            findings=(),
            checksum=events.checksum,
        )
