"""The event tables that every other package reads."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError, TemplateError
from inferno_cli.events import arrays
from inferno_cli.events.ids import distinct, numbered
from inferno_cli.section import REGION

if TYPE_CHECKING:
    from inferno_cli.events.assignment import SplitAssignment
    from inferno_cli.events.earlier import Recognised

FloatArray = NDArray[np.float64]
Direction = Literal["up", "down"]
DIRECTIONS: tuple[Direction, Direction] = ("up", "down")


class Variation(NamedTuple):
    """One nuisance parameter (or a member of an envelope) in one direction; both empty for the nominal."""

    systematic: str
    direction: str

    def __str__(self) -> str:
        return f"{self.systematic}_{self.direction}" if self.systematic else "nominal"


NOMINAL = Variation("", "")


def variations(systematics: Sequence[str]) -> tuple[Variation, ...]:
    """Return the nominal, then up and down of each systematic."""
    return (NOMINAL, *(Variation(name, direction) for name in systematics for direction in DIRECTIONS))


Varied = tuple[NDArray[np.float32], FloatArray]


@dataclass(frozen=True)
class ReadyHistogram:
    """What a histogram that somebody else made has beside its contents.

    Attributes:
        variances: Statistical variance of every bin in each variation, shape (n_variations, n_bins).
        edges: Of its bins, shape (n_bins + 1,).
    """

    variances: FloatArray
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Sample:
    """The events of one sample, nominal and varied, aligned by event.

    Row i is one event in every variation. An event that a variation does not select has weight 0 there: so the
    simulation's noise, which the nominal and the shifted events share, cancels in up - down, while events that
    migrate into the selection are still counted.

    Attributes:
        name: Name of the sample.
        is_signal: Whether a POI scales it.
        group: Events that must stay in one split share a number, shape (n_events,).
        variations: Nominal first.
        features: One block per distinct set of features, float32, shape (n_views, n_events, n_features).
        view: For each variation, the block of ``features`` that it uses (a weight systematic uses the nominal's).
        weights: Expected events, shape (n_variations, n_events); each row sums to the yield.
        channel: The channel that these events are in.
        fold: The fold whose network has not seen them; 0 where there is one network.
        bins: Bin of every event in every view, where the channel has bins of its own, shape (n_views, n_events); there
            are no features then. None: the network says.
        histogram: Of a histogram that somebody else made: each row is one of its bins, with the contents as weights,
            and here is what else it has. None: rows are events.
    """

    name: str
    is_signal: bool
    group: NDArray[np.int64]
    variations: tuple[Variation, ...]
    features: NDArray[np.float32]
    view: tuple[int, ...]
    weights: FloatArray
    channel: str = REGION
    fold: int = 0
    bins: NDArray[np.int32] | None = None
    histogram: ReadyHistogram | None = None

    def __post_init__(self) -> None:
        n_variations, n_events = self.weights.shape
        if len(self.variations) != n_variations or len(self.view) != n_variations:
            raise DatasetError(f"sample {self.name!r}: {len(self.variations)} variations, {n_variations} weight rows")
        if self.features.shape[1] != n_events or self.group.shape != (n_events,):
            raise DatasetError(f"sample {self.name!r}: features, group and weights differ in length")
        if not n_events:
            raise DatasetError(f"sample {self.name!r} has no events")
        require_yields(self.name, self.variations, self.yields, "" if self.channel == REGION else self.channel)

    @cached_property
    def yields(self) -> FloatArray:
        """Expected events of each variation, shape (n_variations,)."""
        return np.asarray(self.weights.sum(axis=1))

    @property
    def systematics(self) -> tuple[str, ...]:
        """Names of the systematics that vary this sample's events."""
        return tuple(dict.fromkeys(variation.systematic for variation in self.variations[1:]))

    @cached_property
    def effective_events(self) -> float:
        """Unweighted events with the same relative statistical error as the nominal: (sum w)^2 / sum w^2.

        Rows that are made from one generated event (``split_by``) fluctuate together: their weights are one w.
        """
        nominal = self.weights[0]
        if self.histogram is not None:
            variance = float(self.histogram.variances[0].sum())
            return float(nominal.sum() ** 2 / variance) if variance > 0 else np.inf
        return float(nominal.sum() ** 2 / sum_of_squares(self.group, nominal))

    def subset(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Sample:
        """Return some of the events, reweighted so that every variation keeps its yield."""
        weights = arrays.of_rows(self.weights, rows)
        kept = weights.sum(axis=1, keepdims=True)
        if weights.shape[1] == 0 or not (kept > 0).all():
            raise DatasetError(
                f"sample {self.name!r}, channel {self.channel!r}: a split of {weights.shape[1]} events has no positive "
                f"yield left; the sample has {len(self.group)} events there. Give it more events or a larger share in "
                f"dataset.splits, or leave it out with channels.{self.channel}.samples"
            )
        return self._of(rows, arrays.times(weights, self.yields[:, None] / kept))

    def only(self, systematics: Collection[str]) -> Sample:
        """Return the sample with the nominal and these variations, without the events that none of them selects."""
        others = [item.systematic for item in self.variations[1:] if item.systematic not in systematics]
        if not others:
            return self
        left = self.without(others)
        if left.histogram is not None:
            return left
        rows = np.flatnonzero(left.weights.any(axis=0))
        return left._of(rows, arrays.of_rows(left.weights, rows))

    def _of(self, rows: NDArray[np.intp] | NDArray[np.bool_], weights: FloatArray) -> Sample:
        """Return some of the events with these weights."""
        bins = None if self.bins is None else arrays.of_rows(self.bins, rows)
        features, (group,) = arrays.of_rows(self.features, rows), arrays.of_rows(self.group[None], rows)
        return replace(self, group=group, features=features, weights=weights, bins=bins)

    def without(self, systematics: Collection[str]) -> Sample:
        """Return the sample, with all its events, without these variations."""
        chosen = [i for i, item in enumerate(self.variations) if item.systematic not in systematics]
        if len(chosen) == len(self.variations):
            return self
        blocks = sorted({self.view[i] for i in chosen})
        histogram = self.histogram
        if histogram is not None:
            histogram = replace(histogram, variances=histogram.variances[chosen])
        return replace(
            self,
            variations=tuple(self.variations[i] for i in chosen),
            features=arrays.of_blocks(self.features, blocks),
            view=tuple(blocks.index(self.view[i]) for i in chosen),
            weights=arrays.of_blocks(self.weights, chosen),
            bins=None if self.bins is None else arrays.of_blocks(self.bins, blocks),
            histogram=histogram,
        )

    def scaled(self, factor: float) -> Sample:
        """Return the sample with every weight multiplied."""
        histogram = self.histogram
        if histogram is not None:
            histogram = replace(histogram, variances=histogram.variances * factor**2)
        return replace(self, weights=arrays.times(self.weights, factor), histogram=histogram)

    def with_variation(self, name: str, up: Varied, down: Varied) -> Sample:
        """Return the sample with one more systematic: features (n_events, n_features) and weights up and down."""
        n = len(self.features)
        return replace(
            self,
            variations=(*self.variations, *variations((name,))[1:]),
            features=arrays.stacked([*self.features, up[0], down[0]]),
            view=(*self.view, n, n + 1),
            weights=arrays.stacked([*self.weights, up[1], down[1]]),
        )


def require_yields(sample: str, variations: Sequence[Variation], yields: FloatArray, channel: str) -> None:
    """Check the yield of every variation of a sample, shape (n_variations,), in a channel; empty: in all of them.

    Raises:
        TemplateError: If one is not positive.
    """
    where, key = "", "likelihood.samples"
    if channel:
        where, key = f", channel {channel!r}", f"likelihood.samples or channels.{channel}.samples"
    for variation, total in zip(variations, yields, strict=True):
        if not total > 0:
            raise TemplateError(
                f"sample {sample!r}{where}, {variation}: the weights sum to {total:g}, expected a positive "
                f"yield; check the weight expression or leave the sample out with {key}"
            )


@dataclass(frozen=True)
class Observed:
    """Observed events of one channel, of which one network makes the bins, or which has its own.

    Attributes:
        channel: The channel.
        fold: The fold whose network evaluates them.
        features: Shape (n_events, n_features); without any where the channel has bins of its own.
        bins: Bin of every event where that is so, shape (n_events,).
    """

    channel: str
    fold: int
    features: NDArray[np.float32]
    bins: NDArray[np.int32] | None = None


@dataclass(frozen=True)
class Events:
    """Everything that a run reads: three disjoint splits, and the observed events.

    A split has an entry for each sample in each channel whose bins a network makes, with the same yields in every
    split. With k folds there is one network for each: ``template`` has an entry for each fold as well, of the events
    that its network does not see, with a k-th of the yield; ``fold`` makes the splits that one network is trained with.

    Attributes:
        name: Name of the dataset.
        label: Printed on every table and plot ("simulated stand-in, not CMS data"), or empty.
        features: Names of the features.
        train, validation, template: The same samples in each, with the same yields.
        fixed: Samples in the channels that have bins of their own: all events, as no network has seen any.
        observed: The observed events, by channel, or None.
        checksum: SHA-256 of what was read or generated.
        observed_checksum: The same of the files of the observed events alone; empty of events without files.
        assignment: Which rows of the files are in which split; None of generated events.
        folds: How the events are divided; None: into three splits.
        recognised: By sample how many events are known to the training of a network that was trained on others; then
            there is no training and no validation split. None: the splits are drawn here.
    """

    name: str
    label: str
    features: tuple[str, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    template: tuple[Sample, ...]
    observed: tuple[Observed, ...] | None
    checksum: str
    observed_checksum: str = ""
    assignment: SplitAssignment | None = None
    fixed: tuple[Sample, ...] = ()
    folds: Folds | None = None
    recognised: Mapping[str, Recognised] | None = None

    @property
    def n_folds(self) -> int:
        """Number of networks."""
        return 1 if self.folds is None else self.folds.number

    @property
    def blinding_key(self) -> str:
        """What the hidden offset of a blinded fit is drawn from: the observed data, and nothing else of the run.

        Not the events that are used where they are of a file: subsets of one set of data would have an offset each,
        and the mean over many of them would have none.
        """
        if self.observed is None or self.observed_checksum:
            return self.observed_checksum
        digest = hashlib.sha256()
        for part in self.observed:
            digest.update(part.features.tobytes() if part.bins is None else part.bins.tobytes())
        return digest.hexdigest()

    def fold(self, number: int) -> Events:
        """Return the events with the splits of the network of one fold, which sees nothing of that fold."""
        if self.folds is None or self.recognised is not None:
            return self
        return self.folds.splits(self, number)


@dataclass(frozen=True)
class Folds:
    """How events are divided into k folds.

    Attributes:
        number: k.
        validation: Share of the events of the other folds that selects the epoch of a network.
        seed: Seed of the draws.
    """

    number: int
    validation: float
    seed: int

    def splits(self, events: Events, number: int) -> Events:
        """Return the events with the splits of one network: training and validation of what is in the other folds."""
        seen: dict[tuple[str, str], list[Sample]] = {}
        for sample in events.template:
            if sample.fold != number:
                seen.setdefault((sample.channel, sample.name), []).append(sample)
        groups: dict[str, list[NDArray[np.int64]]] = {}
        for (_, name), parts in seen.items():
            groups.setdefault(name, []).extend(part.group for part in parts)
        validated = {}
        for name, members in groups.items():
            shuffled = generator(self.seed, f"fold {number} {name}").permutation(distinct(np.concatenate(members)))
            validated[name] = shuffled[: round(self.validation * len(shuffled))]
        train, validation = [], []
        for (_, name), parts in seen.items():
            every = joined(parts).scaled(self.number / (self.number - 1))
            is_validated = np.isin(every.group, validated[name])
            train.append(replace(every.subset(~is_validated), fold=number))
            validation.append(replace(every.subset(is_validated), fold=number))
        return replace(events, train=tuple(train), validation=tuple(validation))


def effective_events(template: Sequence[Sample], sample: Sample) -> float:
    """Return the effective events of the templates of a sample in its channel, those of all folds together.

    Args:
        template: The split whose templates are fitted.
        sample: The sample in any split.
    """
    parts = [item for item in template if (item.channel, item.name) == (sample.channel, sample.name)]
    if len(parts) == 1:
        return parts[0].effective_events
    yields = np.array([item.yields[0] for item in parts])
    return float(yields.sum() ** 2 / (yields**2 / [item.effective_events for item in parts]).sum())


def joined(parts: Sequence[Sample]) -> Sample:
    """Return events of one sample in one channel, which have the same variations, as one table."""
    return replace(
        parts[0],
        group=np.concatenate([part.group for part in parts]),
        features=arrays.joined([part.features for part in parts]),
        weights=arrays.joined([part.weights for part in parts]),
    )


def sum_of_squares(group: NDArray[np.int64], weights: FloatArray) -> float:
    """Return the variance of a sum of weights, those of one group fluctuating together."""
    _, number = numbered(group)
    return float((np.bincount(number, weights) ** 2).sum())


def generator(seed: int, stream: str) -> np.random.Generator:
    """Return the random generator of one purpose: streams of the same seed are independent."""
    return np.random.default_rng(np.random.SeedSequence([seed, *stream.encode()]))


def split_rows(
    group: NDArray[np.int64],
    shares: Sequence[float],
    rng: np.random.Generator,
    members: NDArray[np.int64] | None = None,
) -> list[NDArray[np.intp]]:
    """Divide events at random into shares that sum to 1, keeping the events of one group together.

    Args:
        group: Of each event, shape (n_events,).
        shares: Of each part.
        rng: Draws the division.
        members: The groups that are divided, also such that none of the events is in; None: those of the events.

    Returns:
        Row numbers of each part, ascending.
    """
    members = distinct(group) if members is None else members
    edges = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(int)
    parts = np.split(rng.permutation(members), edges)
    return [np.flatnonzero(np.isin(group, part)) for part in parts]
