"""Toys of the test: data and references that are drawn, and t of each, in chunks that a killed run goes on from."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import OutputError
from inferno_cli.events.sample import FloatArray, generator
from inferno_cli.files import write_whole
from inferno_cli.nplm.models import Exponent
from inferno_cli.nplm.pool import Pool, WeightedEvents
from inferno_cli.nplm.standard import Standard
from inferno_cli.nplm.statistic import Data, Stack, Statistics, statistics
from inferno_cli.nplm.taylor import Taylor
from inferno_cli.progress import Mode, progress
from inferno_cli.shard import Shard

SPARE = 1.2
"""Events of the pool that are drawn for each of the reference: those in the data are left out."""


@dataclass(frozen=True)
class Truth:
    """What toys are drawn from.

    Attributes:
        name: Says what they are; it names their random numbers.
        nuisance: True values of the nuisance parameters that are not 0, in units of sigma, by name; at most one.
        signal: Expected events of the signal that are added.
    """

    name: str
    nuisance: tuple[tuple[str, float], ...] = ()
    signal: float = 0.0


NULL = Truth("null")


@dataclass(frozen=True, eq=False)
class Drawing:
    """How data and references are drawn.

    Attributes:
        pool: Events of the reference.
        signal: Events of the signal that is injected, or None.
        standard: How features are standardised.
        seed: Of every draw.
        n_reference: Events of the reference of a toy, the mean where there is an envelope; None: all that are not in
            its data.
        fixed: Events of the data, whose number does not fluctuate then; None: Poisson of what is expected.
        envelope: How often each event of the pool is drawn for a reference, relative to the others, shape (n_events,);
            None: all alike.
    """

    pool: Pool
    signal: WeightedEvents | None
    standard: Standard
    seed: int
    n_reference: int | None
    fixed: int | None = None
    envelope: FloatArray | None = None

    @property
    def expected(self) -> float:
        """Expected events of the data without a signal, N(R0): the sum of the weights of a reference."""
        return self.pool.nominal.expected if self.fixed is None else float(self.fixed)

    def source(self, truth: Truth) -> WeightedEvents:
        """Return the events that data are drawn from."""
        return self.pool.at(*truth.nuisance[0]) if truth.nuisance else self.pool.nominal

    def features(self, truth: Truth, source: WeightedEvents, toy: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Draw the data of a toy; return all their features, and the rows of the pool that they are."""
        rng = generator(self.seed, f"nplm data {truth.name} {toy}")
        rows = source.drawn(rng, rng.poisson(source.expected) if self.fixed is None else self.fixed)
        data = source.features[rows]
        if truth.signal and self.signal is not None:
            of_signal = self.signal.drawn(rng, rng.poisson(truth.signal))
            data = np.concatenate([data, self.signal.features[of_signal]])
        return data, rows

    def reference(self, stream: str, rows: NDArray[np.intp]) -> WeightedEvents:
        """Draw a reference from the events of the pool that are not in the data."""
        rng = generator(self.seed, f"nplm reference {stream}")
        nominal = self.pool.nominal
        chances = self._chances
        if chances is None:
            chosen = self._drawn_alike(rng, rows)
        else:
            chosen = np.flatnonzero(rng.uniform(size=len(chances)) < chances)
            chosen = chosen[~np.isin(chosen, rows)]
        # An event is not in the data with the probability exp(-w): those with large weights are missing more often.
        weights = nominal.weights[chosen] * np.exp(nominal.weights[chosen] if len(rows) else 0.0)
        if chances is not None:
            weights /= chances[chosen]
        return WeightedEvents(nominal.features[chosen], weights * (self.expected / weights.sum()))

    @cached_property
    def _chances(self) -> FloatArray | None:
        """Probability of each event to be in a reference; None: all have the same.

        Where a nuisance parameter makes events more frequent, the reference has more of them, with smaller weights:
        else those few, whose weights r makes large, would have the reference fluctuate, and t be larger, there.
        """
        if self.envelope is None or self.n_reference is None:
            return None
        chances: FloatArray = np.minimum(self.envelope * (self.n_reference / self.envelope.sum()), 1.0)
        return chances

    def _drawn_alike(self, rng: np.random.Generator, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        n_events = len(self.pool.nominal.weights)
        wanted = n_events if self.n_reference is None else self.n_reference
        n_drawn = min(n_events, round(SPARE * wanted) + len(rows))
        chosen = rng.choice(n_events, n_drawn, replace=False)
        return chosen[~np.isin(chosen, rows)][:wanted]

    def toy(self, truth: Truth, source: WeightedEvents, number: int) -> Data:
        """Draw a toy: the same whichever others are drawn."""
        features, rows = self.features(truth, source, number)
        reference = self.reference(f"{truth.name} {number}", rows)
        rng = generator(self.seed, f"nplm auxiliary {truth.name} {number}")
        nuisance = dict(truth.nuisance)
        true = np.array([nuisance.get(name, 0.0) for name in self.pool.parameters])
        auxiliary = rng.normal(true, 1.0)
        return Data(self.standard(features), self.standard(reference.features), reference.weights, auxiliary)


@dataclass(frozen=True, eq=False)
class LearningTest:
    """The test: what is fitted, and where.

    Attributes:
        taylor: Change of the reference with the nuisance parameters.
        exponent: What f is.
        label: Says what f is, with its clip: toys of another are others.
        restarts: Fits of each toy, of which the lowest minimum counts.
        seed: Of where they begin.
        device: Where they are done.
    """

    taylor: Taylor
    exponent: Exponent
    label: str
    restarts: int
    seed: int
    device: str

    def __call__(self, sets: list[Data], streams: list[str]) -> Statistics:
        """Return t of some sets of data; ``streams`` name their random numbers."""
        starts = np.empty((self.restarts, len(sets), self.exponent.n_parameters))
        for number, stream in enumerate(streams):
            rng = generator(self.seed, f"nplm start {stream}")
            for restart in range(self.restarts):
                starts[restart, number] = self.exponent.start(rng)
        return statistics(Stack.of(sets, self.taylor, self.device), self.taylor, self.exponent, starts)


class Toys:
    """Throws toys in chunks, and keeps those that are finished.

    Args:
        drawing: How they are drawn.
        folder: Where finished chunks are kept; None: nowhere.
        key: What decides their numbers beside what ``Truth`` and ``LearningTest`` say: settings, data and code.
        at_once: Toys of a chunk, which are fitted together.
        mode: How progress is shown.
    """

    def __init__(self, drawing: Drawing, folder: Path | None, key: str, at_once: int, mode: Mode) -> None:
        self.drawing, self._folder, self._key, self._at_once, self._mode = drawing, folder, key, at_once, mode

    def __call__(self, what: str, test: LearningTest, truth: Truth, number: int) -> Statistics:
        """Throw toys, or take those that were thrown before; ``what`` they are for stands in the progress."""
        return joined(list(self._thrown(what, test, truth, self._chunks(number))))

    def throw(self, what: str, test: LearningTest, truth: Truth, number: int, shard: Shard) -> int:
        """Throw the chunks of a shard, which are kept; return how many toys they have."""
        own = shard.take(self._chunks(number))
        return sum(len(part.t) for part in self._thrown(what, test, truth, own))

    def _chunks(self, number: int) -> list[range]:
        return [range(first, min(first + self._at_once, number)) for first in range(0, number, self._at_once)]

    def _thrown(self, what: str, test: LearningTest, truth: Truth, chunks: list[range]) -> Iterator[Statistics]:
        source, number = self.drawing.source(truth), sum(map(len, chunks))
        began, n_new, n_done = time.monotonic(), 0, 0
        with progress(self._mode, what, number) as advance:
            for toys in chunks:
                path = self._path(test, truth, toys)
                kept = None if path is None else _read(path)
                if kept is None:
                    sets = [self.drawing.toy(truth, source, toy) for toy in toys]
                    kept = test(sets, [f"{truth.name} {toy}" for toy in toys])
                    n_new += len(toys)
                    _write(path, kept)
                n_done += len(toys)
                left = (number - n_done) * (time.monotonic() - began) / n_new if n_new else 0.0
                advance(len(toys), f"{what}: {n_done} of {number}, {_duration(left)} left")
                yield kept

    def _path(self, test: LearningTest, truth: Truth, toys: range) -> Path | None:
        if self._folder is None:
            return None
        text = f"{self._key} {test.label} {test.restarts} {test.seed} {test.device} {truth!r} {toys!r}"
        return self._folder / f"nplm-{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"


def joined(parts: list[Statistics]) -> Statistics:
    """Return the statistics of several stacks, one behind the other."""
    columns = {}
    for field in fields(Statistics):
        columns[field.name] = np.concatenate([getattr(part, field.name) for part in parts])
    return Statistics(**columns)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _write(path: Path | None, found: Statistics) -> None:
    if path is None:
        return
    stream = BytesIO()
    np.savez(stream, **vars(found))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, stream.getvalue())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error


def _read(path: Path) -> Statistics | None:
    """Return what was kept; None where there is no such file, or a damaged one: these toys are thrown again."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            columns: Mapping[str, np.ndarray] = dict(stored)
        return Statistics(**columns)
    except (OSError, ValueError, TypeError, BadZipFile):
        return None
