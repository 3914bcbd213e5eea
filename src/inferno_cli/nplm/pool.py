"""The events that toys are drawn from: the simulated events of the reference, nominal and with parameters moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import ConfigError, DatasetError
from inferno_cli.events.dataset import Dataset, Request
from inferno_cli.events.effects import Effect
from inferno_cli.events.modifiers import Morph, NormFactor, NormSys
from inferno_cli.events.sample import DIRECTIONS, FloatArray, Sample, Variation
from inferno_cli.section import Names


@dataclass(frozen=True, eq=False)
class WeightedEvents:
    """Events with weights, of which data are drawn.

    Attributes:
        features: Float32, shape (n_events, n_features).
        weights: Expected events, shape (n_events,).
    """

    features: NDArray[np.float32]
    weights: FloatArray

    @property
    def expected(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum())

    @cached_property
    def _cumulative(self) -> FloatArray:
        return np.cumsum(self.weights)

    def drawn(self, rng: np.random.Generator, number: int) -> NDArray[np.intp]:
        """Draw rows in proportion to their weights, as often as they come: of a Poisson number each is Poisson."""
        at = rng.uniform(0.0, self._cumulative[-1], number)
        return np.minimum(np.searchsorted(self._cumulative, at, side="right"), len(self.weights) - 1)

    def require_positive(self, what: str) -> None:
        """Raise DatasetError if events have negative weights: none can be drawn with a negative probability."""
        n_negative = int((self.weights < 0).sum())
        if n_negative:
            raise DatasetError(
                f"{what}: {n_negative} of {len(self.weights)} events have negative weights, and toys are drawn in "
                "proportion to them. Leave the sample out, or give it a weight that is not negative (dataset.samples)"
            )


@dataclass(frozen=True)
class Part:
    """One sample of the pool.

    Attributes:
        events: Its events.
        effects: What each parameter does to them, by its name.
    """

    events: Sample
    effects: dict[str, Effect]


@dataclass(frozen=True)
class Pool:
    """The simulated events of some samples together.

    Attributes:
        parts: The samples.
        dataset: Theirs: it moves events as parameters do.
    """

    parts: tuple[Part, ...]
    dataset: Dataset

    @property
    def parameters(self) -> Names:
        """Nuisance parameters that move its events."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.effects))

    @cached_property
    def nominal(self) -> WeightedEvents:
        """All events as they are."""
        features = np.concatenate([part.events.features[0] for part in self.parts])
        return WeightedEvents(features, np.concatenate([part.events.weights[0] for part in self.parts]))

    def values(self, parameter: str, wanted: Sequence[float]) -> tuple[float, ...]:
        """Return values of a parameter, of those that are wanted, at which there are events: else those simulated."""
        found: set[float] = set()
        for part in self.parts:
            effect = part.effects.get(parameter)
            if effect is None:
                continue
            known = _simulated(effect)
            if known is None:
                known = tuple(x for x in wanted if effect.definition.is_possible(x, self.dataset))
            found = found & set(known) if found else set(known)
        return tuple(sorted(found))

    def at(self, parameter: str, value: float) -> WeightedEvents:
        """Return all events, row by row those of ``nominal``, with a parameter at a value that ``values`` has."""
        features, weights = [], []
        for part in self.parts:
            effect, events = part.effects.get(parameter), part.events
            moved, changed = events.features[0], events.weights[0]
            if effect is not None and _simulated(effect) is None:
                moved = effect.definition.true_features(moved, value, self.dataset)
                factor = effect.definition.true_yield(value)
                assert factor is not None
                changed = changed * factor
            elif effect is not None:
                variation = Variation(parameter, DIRECTIONS[0 if value > 0 else 1])
                number = events.variations.index(variation)
                moved, changed = events.features[events.view[number]], events.weights[number]
            features.append(moved)
            weights.append(changed)
        return WeightedEvents(np.concatenate(features), np.concatenate(weights))


def _simulated(effect: Effect) -> tuple[float, ...] | None:
    """Return the values of a parameter that were simulated; None: events can be moved to any."""
    if effect.definition.true_yield(1.0) is not None:
        return None
    modifier = effect.modifier
    assert isinstance(modifier, Morph)
    of_sides = {"up": 1 / modifier.scale, "down": -1 / modifier.scale}
    return tuple(value for side, value in of_sides.items() if side != modifier.missing)


def pool(dataset: Dataset, samples: Sequence[Sample], request: Request) -> Pool:
    """Return the pool of some samples; ConfigError for a systematic that is no expansion in one parameter."""
    parts = []
    for sample in samples:
        effects = {effect.parameter: effect for effect in request.effects_on(sample.name)}
        for name, effect in effects.items():
            _require_simple(name, effect)
        parts.append(Part(sample, effects))
    made = Pool(tuple(parts), dataset)
    finite = np.asarray(np.isfinite(made.nominal.features).all(axis=1))
    if not finite.all():
        raise DatasetError(
            f"{int((~finite).sum())} of {len(finite)} events of the reference have a feature that is not finite; "
            "select events that have it (dataset.selection)"
        )
    return made


def _require_simple(name: str, effect: Effect) -> None:
    modifier, key = effect.modifier, f"nuisance.fit: {name!r}"
    if isinstance(modifier, NormFactor):
        raise ConfigError(f"{key} has no constraint; inferno nplm needs one. Leave it out, or use kind 'normalisation'")
    if isinstance(modifier, Morph) and len(modifier.members) > 1:
        raise ConfigError(f"{key} is made of {len(modifier.members)} pairs of variations; inferno nplm takes one pair")
    if isinstance(modifier, Morph) and modifier.part != "both":
        raise ConfigError(f"{key} has part: {modifier.part}; inferno nplm takes the whole change, part: both")
    assert isinstance(modifier, Morph | NormSys)
