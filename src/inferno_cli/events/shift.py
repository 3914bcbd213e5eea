"""Artificial shifts of one feature: a systematic of any size, for closure studies."""

from __future__ import annotations

from collections.abc import Sequence

from inferno_cli.config import Effect, ShiftSystematic
from inferno_cli.events.sample import Sample


def shifted(sample: Sample, features: Sequence[str], chosen: Sequence[Effect]) -> Sample:
    """Return the sample with the artificial shifts among the effects ``chosen``."""
    for effect in chosen:
        item = effect.definition
        if not isinstance(item, ShiftSystematic) or effect.sample != sample.name:
            continue
        column, sides = list(features).index(item.feature), []
        for sign in (1, -1):
            moved = sample.features[0].copy()
            moved[:, column] += sign * item.size * (moved[:, column] if item.relative else 1)
            sides.append((moved, sample.weights[0] * (1 + sign * item.yield_change)))
        sample = sample.with_variation(effect.parameter, *sides)
    return sample
