"""Every event of a dataset, before anything is trained on it, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.ids import UNKNOWN, EventIds
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, FloatArray, Sample, Variation

LARGE_CHANGE, SAME_SIDE = 0.5, 0.01
"""Relative changes of a yield: of one direction, and of both to one side, that are probably mistakes."""


@dataclass(frozen=True)
class ValidatedSample:
    """One simulated sample.

    Attributes:
        events: All its events, nominal and varied; features that are not finite are as they are in the file.
        features: Of the nominal rows, shape (n_rows, n_features).
        weights: Of the nominal rows, expected events, shape (n_rows,).
        rows: Number of rows of the nominal and of every shifted selection.
        missing: Features that are not finite, of the same selections, shape (n_features,) each.
        overlap: Share of events that a shifted selection has in common with the nominal, of the smaller of the two.
        splits: Events in the train, validation and template split.
    """

    events: Sample
    features: NDArray[np.float32]
    weights: FloatArray
    rows: Mapping[Variation, int]
    missing: Mapping[Variation, NDArray[np.intp]]
    overlap: Mapping[Variation, float]
    splits: tuple[int, int, int]


@dataclass(frozen=True)
class Validated:
    """A dataset.

    Attributes:
        name: Its name.
        label: What every output must say about it, or empty.
        features: Names of the features.
        samples: The simulated samples, signal first.
        observed: Features of the observed events that are used, shape (n_events, n_features), or None.
        observed_rows: Observed events in the file; fewer are used with ``downsample_factor``.
        findings: What is odd, but no error: whole sentences.
        checksum: SHA-256 of what was read or generated.
    """

    name: str
    label: str
    features: tuple[str, ...]
    samples: tuple[ValidatedSample, ...]
    observed: NDArray[np.float32] | None
    observed_rows: int
    findings: tuple[str, ...]
    checksum: str


def leaks(source: NDArray[Any], split: NDArray[Any]) -> int:
    """Return how many source events have rows in more than one split.

    Args:
        source: Number of the source event of each row, from 0, shape (n_rows,).
        split: Split of each row, shape (n_rows,).

    Example:
        >>> leaks(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
        1
    """
    pairs = np.unique(np.stack([source, split]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def not_finite(features: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return how many values of each feature are not finite, shape (n_features,)."""
    return np.asarray((~np.isfinite(features)).sum(axis=0))


def odd_sample(sample: ValidatedSample, features: tuple[str, ...]) -> Iterator[str]:
    """Say where features are not finite and weights negative."""
    name, weights = sample.events.name, sample.weights
    for variation, bad in sample.missing.items():
        what = f"sample {name!r}" if variation == NOMINAL else f"sample {name!r}, {variation}"
        yield from odd_features(what, bad, sample.rows[variation], features)
    if (negative := weights < 0).any():
        lost = -weights[negative].sum() / np.abs(weights).sum()
        yield (
            f"sample {name!r}: {negative.sum()} of {len(weights)} weights are negative ({negative.mean():.1%}), with "
            f"{lost:.1%} of the sum of |w|; effective number of events {sample.events.effective_events:.0f}"
        )


def odd_variations(events: Sample) -> Iterator[str]:
    """Say which systematics are probably mistakes: such as a nominal weight that was forgotten in an expression."""
    for label in dict.fromkeys(item.systematic for item in events.variations if item != NOMINAL):
        rows = [events.variations.index(Variation(label, direction)) for direction in DIRECTIONS]
        changes = [float(events.yields[row] / events.yields[0] - 1) for row in rows]
        said = (
            f"sample {events.name!r}, {label}: up and down change the yield by {changes[0]:+.1%} and {changes[1]:+.1%}"
        )
        if all(_is_nominal(events, row) for row in rows):
            yield f"sample {events.name!r}, {label}: up and down are the nominal; the systematic does nothing"
        elif max(map(abs, changes)) > LARGE_CHANGE:
            yield f"{said}; an expression without the nominal `weight`, or other units, would do so"
        elif min(changes) > SAME_SIDE or max(changes) < -SAME_SIDE:
            yield f"{said}, both to the same side; a systematic moves it up and down"


def _is_nominal(events: Sample, row: int) -> bool:
    features = events.features[events.view[row]]
    return np.array_equal(events.weights[row], events.weights[0]) and np.array_equal(features, events.features[0])


def odd_features(what: str, bad: NDArray[np.intp], rows: int, features: tuple[str, ...]) -> Iterator[str]:
    """Say which features are not finite, given how often each is."""
    for feature, n in zip(features, bad, strict=True):
        if n:
            yield (
                f"{what}: {n} of {rows} values of {feature!r} are not finite; the numbers here leave them out, and "
                "`train` refuses them: remove these events or repair the branch"
            )


def _bits(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each row as integers that are equal where the row is, shape (n_rows, n_features)."""
    return np.ascontiguousarray(features).view(np.int32).astype(np.int64)


def odd_rows(what: str, features: NDArray[np.float32]) -> Iterator[str]:
    """Say how many rows are copies."""
    if n := len(features) - len(EventIds(_bits(features))):
        yield (
            f"{what}: {n} of {len(features)} rows are equal to another one in every feature; where the "
            "features are continuous these are copies, and statistical errors come out too small"
        )


def shared_rows(what: str, features: NDArray[np.float32], samples: Sequence[ValidatedSample]) -> Iterator[str]:
    """Say how many rows are also simulated ones."""
    bits = _bits(features)
    shared = []
    for sample in samples:
        if n := int((EventIds(_bits(sample.features)).find(bits) != UNKNOWN).sum()):
            shared.append(f"{sample.events.name} {n}")
    if shared:
        yield (
            f"{what}: some of the {len(features)} rows are equal to simulated ones in every feature "
            f"({', '.join(shared)}); if these are the same generated events, a fit of the observed data is a "
            "demonstration"
        )
