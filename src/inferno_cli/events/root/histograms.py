"""Histograms that somebody else made, read as the samples of a channel: nominal, varied and observed.

A shape acts on such a sample where the file has its histograms; one that the file has none of does not act there, which
is told. A yield acts on it as on every sample. The statistical errors are those of the file (fSumw2), or the root of
the contents where it has none, as ROOT has it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError, DatasetFileError, TemplateError, closest
from inferno_cli.events.channels import Channel
from inferno_cli.events.dataset import Request
from inferno_cli.events.effects import Effect
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.ready import HistogramFile
from inferno_cli.events.root.catalogue import direction_words, filled
from inferno_cli.events.root.layout import NtupleLayout
from inferno_cli.events.root.trees import contents, find_files, readable
from inferno_cli.events.sample import (
    DIRECTIONS,
    NOMINAL,
    FloatArray,
    Observed,
    ReadyHistogram,
    Sample,
    Variation,
    generator,
)
from inferno_cli.remote import address

log = logging.getLogger(__name__)

VARIATION = "{variation}"
SAME = 1e-6
"""Edges and contents are the same up to this share of a bin's width, or of the largest bin."""


@dataclass(frozen=True)
class Contents:
    """One histogram: contents and variances, shape (n_bins,), and edges, shape (n_bins + 1,).

    ``beyond`` is what is in the underflow and the overflow and in no bin.
    """

    values: FloatArray
    variances: FloatArray
    edges: FloatArray
    beyond: float


@dataclass(frozen=True)
class Place:
    """Which histograms a channel has of a file: of one sample, or of all; ``key`` is that of the configuration."""

    channel: str
    source: HistogramFile
    key: str

    def name(self, name: str) -> str:
        """Return what the file calls a channel, a sample or a nuisance parameter."""
        return self.source.names.get(name, name)

    @property
    def is_varied(self) -> bool:
        """Whether the names are of variations, too."""
        return VARIATION in self.source.histogram or VARIATION in self.source.file

    def locate(self, sample: str, variation: Variation) -> tuple[Path, str]:
        """Return the file and the name of the histogram of one sample in one variation, which need not be there."""
        suffix = self.source.nominal
        if variation != NOMINAL:
            words = direction_words(self.name(variation.systematic), variation.direction)
            suffix = filled(self.source.variation, f"{self.key}.variation", **words)
        names = {"channel": self.name(self.channel), "sample": self.name(sample), "variation": suffix}
        return self._file(**names), filled(self.source.histogram, f"{self.key}.histogram", **names).strip("/")

    def observed(self, pattern: str) -> tuple[Path, str]:
        """Return the file and the name of the histogram of the observed events."""
        names = {"channel": self.name(self.channel)}
        return self._file(**names), filled(pattern, f"{self.key}.data", **names).strip("/")

    def _file(self, **names: str) -> Path:
        key = f"{self.key}.file"
        # A "*" or "[" in a name is no pattern.
        text = filled(self.source.file, key, **{word: escape(name) for word, name in names.items()})
        files = find_files(text, "*.root", key, key)
        if len(files) > 1:
            raise DatasetFileError(
                f"{key}: {text} stands for {len(files)} files, such as {files[0].name} and {files[1].name}, expected "
                "one. Name it, with {channel}, {sample} or {variation} where there is one for each"
            )
        return files[0]


class Histograms:
    """Reads the histograms of the channels of one run."""

    def __init__(self, dataset: NtupleLayout, request: Request) -> None:
        self.dataset, self.request = dataset, request
        self.scale = dataset.luminosity_scale * dataset.downsample_factor
        self.used: set[Path] = set()

    def samples(self) -> tuple[Sample, ...]:
        """Return the samples of all channels that are histograms.

        Raises:
            DatasetError: If a file, or a histogram that is needed, is missing, or its contents mean nothing.
            TemplateError: If it has other bins than its channel, or nothing in it.
        """
        found: list[Sample] = []
        for name, channel in self.request.channels.by_name.items():
            own = self._of_channel(name, channel)
            if not channel.observable.has_events and not own:
                raise self._nothing(name, channel)
            found += own
        return tuple(found)

    def _of_channel(self, name: str, channel: Channel) -> list[Sample]:
        found: list[Sample] = []
        absent = []
        for sample in self.request.samples:
            if (source := channel.source_of(sample)) is None:
                continue
            is_asked = sample in channel.histograms or channel.samples is not None
            place = self._place(name, channel, sample, source)
            path, histogram = place.locate(sample, NOMINAL)
            if not is_asked and histogram not in contents(path):
                absent.append(sample)
                continue
            bins_of = next(((item.name, item.histogram) for item in found if item.histogram is not None), None)
            found.append(self._sample(place, channel, sample, bins_of))
        if absent and found:
            log.info(f"events: channel {name} has no histogram of {', '.join(absent)}")
        return found

    @staticmethod
    def _place(name: str, channel: Channel, sample: str, source: HistogramFile) -> Place:
        is_own = sample in channel.histograms
        return Place(name, source, f"channels.{name}." + (f"histograms.{sample}" if is_own else "observable"))

    def _nothing(self, name: str, channel: Channel) -> DatasetError:
        """Return the error of a channel for which the file has no histogram of any sample."""
        wanted = [sample for sample in self.request.samples if channel.has(sample)]
        if not wanted:
            return DatasetError(f"channels.{name}.samples has none of the samples of the likelihood. Add one of them")
        source = channel.source_of(wanted[0])
        assert source is not None
        path, histogram = self._place(name, channel, wanted[0], source).locate(wanted[0], NOMINAL)
        return DatasetError(
            f"channel {name!r}: {path} has no histogram of any of {', '.join(wanted)}, such as {histogram!r}"
            f"{closest(histogram, contents(path))}. Fix channels.{name}.observable.histogram, nominal or names"
        )

    def _sample(self, place: Place, channel: Channel, name: str, bins_of: tuple[str, ReadyHistogram] | None) -> Sample:
        """Read one sample in a channel; ``bins_of`` is the one before, with its bins."""
        nominal = self._read(*place.locate(name, NOMINAL), place, f"sample {name!r}")
        self._require_bins(place, channel, name, nominal, bins_of)
        if not nominal.values.sum() > 0:
            raise TemplateError(
                f"channel {place.channel!r}, sample {name!r}: the histogram of {place.key} is empty, expected a "
                f"positive yield. Leave the sample out with channels.{place.channel}.samples"
            )
        if nominal.beyond:
            log.info(
                f"events: channel {place.channel}, {name}: {self.scale * nominal.beyond:g} events beyond the axis are "
                f"in no bin; {place.key}.overflow=true counts them"
            )
        found = {NOMINAL: nominal, **self._varied(place, name, nominal)}
        n = len(nominal.values)
        values = np.stack([item.values for item in found.values()])
        variances = np.stack([item.variances for item in found.values()])
        return Sample(
            name=name,
            is_signal=name in self.dataset.signal_names,
            group=np.arange(n),
            variations=tuple(found),
            features=np.zeros((1, n, 0), dtype=np.float32),
            view=(0,) * len(found),
            weights=values * self.scale,
            channel=place.channel,
            bins=np.arange(n, dtype=np.int32)[None],
            histogram=ReadyHistogram(variances * self.scale**2, tuple(nominal.edges.tolist())),
        )

    def _require_bins(
        self, place: Place, channel: Channel, name: str, found: Contents, bins_of: tuple[str, ReadyHistogram] | None
    ) -> None:
        """Check that a histogram has the bins of its channel, or of the sample before in it."""
        edges: Sequence[float] = channel.observable.edges_of_bins
        n_bins, whose = channel.observable.n_bins, f"the channel, {channel.observable.kind},"
        if not channel.observable.has_events:
            if bins_of is None:
                return
            whose, edges = f"sample {bins_of[0]!r}", bins_of[1].edges
            n_bins = len(edges) - 1
        begin = f"channel {place.channel!r}, sample {name!r}: the histogram of {place.key} has"
        if len(found.values) != n_bins:
            raise TemplateError(
                f"{begin} {len(found.values)} bins, and {whose} {n_bins}; expected the same. Ask for a histogram in "
                f"these bins, or fix channels.{place.channel}.observable"
            )
        is_numbered = np.array_equal(found.edges, np.arange(n_bins + 1))
        if edges and not is_numbered and not _same_edges(found.edges, np.array(edges)):
            raise TemplateError(
                f"{begin} the edges {_listed(found.edges)}, and {whose} {_listed(np.array(edges))}; expected the same, "
                f"or bins that are numbered from 0. Fix channels.{place.channel}.observable, or ask for another one"
            )

    # ------------------------------------------------------------------------------------------------ variations
    def _varied(self, place: Place, name: str, nominal: Contents) -> dict[Variation, Contents]:
        """Read the variations of a sample that the file has.

        Raises:
            DatasetError: If it has one direction of two, some members of an envelope, or no histogram of any shape.
        """
        found: dict[Variation, Contents] = {}
        absent: list[str] = []
        for effect in self.request.effects_on(name):
            if effect.channel not in ("", place.channel) or not isinstance(effect.modifier, Morph):
                continue
            own = self._of_effect(place, effect, nominal) if place.is_varied else {}
            found |= own
            if not own:
                absent.append(effect.parameter)
        if absent and place.is_varied and not found:
            path, histogram = place.locate(name, Variation(absent[0], "up"))
            raise DatasetError(
                f"channel {place.channel!r}, sample {name!r}: {path} has no histogram of any of "
                f"{', '.join(absent)}, such as {histogram!r}{closest(histogram, contents(path))}. Fix "
                f"{place.key}.variation or names, or take {VARIATION} out where there is none"
            )
        if absent:
            log.info(
                f"events: channel {place.channel}: no histogram varies {name} by {', '.join(absent)}, which "
                f"{'does' if len(absent) == 1 else 'do'} not act on it there"
            )
        return found

    def _of_effect(self, place: Place, effect: Effect, nominal: Contents) -> dict[Variation, Contents]:
        """Read the variations of one parameter; none, where the file has none of it."""
        missing = effect.definition.missing
        found: dict[Variation, Contents] = {}
        lacking = []
        for label in effect.members:
            for direction in DIRECTIONS:
                variation = Variation(label, direction)
                path, histogram = self._try(place, effect.sample, variation)
                if path is not None:
                    found[variation] = self._read(path, histogram, place, f"sample {effect.sample!r}", nominal)
                elif direction != missing:
                    lacking.append(histogram)
        if found and lacking:
            raise DatasetError(
                f"channel {place.channel!r}, sample {effect.sample!r}: the file of {place.key} has histograms of "
                f"{effect.parameter!r}, and no {', '.join(map(repr, lacking))}; expected up and down"
                f"{' of each member' if len(effect.members) > 1 else ''}. Add it, or say in "
                f"dataset.systematics.{effect.systematic} that there is one direction"
            )
        if missing is not None and found:
            for label in effect.members:
                self._stand_in(place, effect, label, found, nominal)
        # Up before down, as of events.
        return {item: found[item] for label in effect.members for item in _sides(label) if item in found}

    def _try(self, place: Place, sample: str, variation: Variation) -> tuple[Path | None, str]:
        """Return the file of a histogram, or None where it is not there, and its name."""
        try:
            path, histogram = place.locate(sample, variation)
        except DatasetFileError:
            if VARIATION not in place.source.file:
                raise
            return None, str(variation)
        return (path if histogram in contents(path) else None), histogram

    def _stand_in(
        self, place: Place, effect: Effect, label: str, found: dict[Variation, Contents], nominal: Contents
    ) -> None:
        """Put the nominal into the direction that the configuration says to be missing, as with events.

        What that direction is in the likelihood is said by the modifier; a histogram of it must be the same.
        """
        missing, morph = effect.definition.missing, effect.modifier
        assert missing is not None
        assert isinstance(morph, Morph)
        up, down = _sides(label)
        absent, known = (up, down) if missing == "up" else (down, up)
        ruled = 2 * nominal.values - found[known].values if morph.mirror else nominal.values
        given = found.get(absent)
        if given is not None and np.abs(given.values - ruled).max() > SAME * nominal.values.max():
            raise DatasetError(
                f"channel {place.channel!r}, sample {effect.sample!r}: the file of {place.key} has a histogram of "
                f"{absent}, and dataset.systematics.{effect.systematic} says that there is none and that it is "
                f"{'the mirror image' if morph.mirror else 'the nominal'}, which the histogram is not. Give the "
                "systematic both directions, or leave the histogram out"
            )
        found[absent] = nominal

    # ------------------------------------------------------------------------------------------------ one histogram
    def _read(
        self, path: Path, name: str, place: Place, what: str, like: Contents | None = None, *, blind: bool = False
    ) -> Contents:
        """Read one histogram; errors of a ``blind`` one have no numbers of it."""
        known = contents(path)
        where, fix = f"channel {place.channel!r}, {what}: histogram {name!r} in {path}", f"Fix {place.key}"
        if name not in known:
            near = closest(name, [key for key, kind in known.items() if kind.startswith("TH1")])
            raise DatasetError(f"{where} is missing{near}. {fix}")
        if not known[name].startswith("TH1"):
            raise DatasetError(f"{where} is a {known[name]}, expected a histogram of one dimension (TH1). {fix}")
        self.used.add(path)
        found = _contents(path, name, is_with_overflow=place.source.overflow)
        for array, of in ((found.values, "content"), (found.variances, "squared error")):
            bad = np.flatnonzero(~np.isfinite(array) | (array < 0))
            if len(bad):
                shown = "" if blind else f": {array[bad[0]]:g}"
                raise DatasetError(
                    f"{where}: the {of} of bin {bad[0] + 1} of {len(array)} is negative or not a number{shown}; "
                    "expected at least 0 in every bin. Ask whoever made it to merge or to repair the bin"
                )
        if like is not None and not _same_edges(found.edges, like.edges):
            raise TemplateError(
                f"{where} has {len(found.values)} bins with the edges {_listed(found.edges)}, the nominal "
                f"{len(like.values)} with {_listed(like.edges)}; expected the same. {fix}"
            )
        return found

    # -------------------------------------------------------------------------------------------- the observed events
    def observed(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.int64]]:
        """Return all observed events in each bin, by channel, of those channels that have a histogram of them.

        Args:
            samples: As ``samples`` returns them.

        Raises:
            DatasetError: Without a number of them: errors are written down, also where the observed events are blinded.
        """
        found = {}
        for name, channel in self.request.channels.by_name.items():
            pattern, source = channel.observable.observed, channel.observable.source
            if pattern is None or source is None or not self.dataset.observed_name:
                continue
            place = Place(name, source, f"channels.{name}.observable")
            path, histogram = place.observed(pattern)
            counted = self._read(path, histogram, place, "observed events", blind=True)
            edges = next(item.histogram.edges for item in samples if item.channel == name and item.histogram)
            is_same = len(counted.values) == len(edges) - 1 and _same_edges(counted.edges, np.array(edges))
            if not is_same:
                raise TemplateError(
                    f"channel {name!r}: the histogram {histogram!r} of the observed events in {path} has "
                    f"{len(counted.values)} bins, other ones than the templates; expected the same. Fix {place.key}"
                )
            if not np.array_equal(counted.values, np.rint(counted.values)):
                raise DatasetError(
                    f"channel {name!r}: the histogram {histogram!r} of the observed events in {path} has contents that "
                    f"are no whole numbers, expected counted events. Fix {place.key}.data"
                )
            found[name] = counted.values.astype(np.int64)
        return found

    def used_data(self, counts: dict[str, NDArray[np.int64]]) -> tuple[Observed, ...]:
        """Return the observed events that are used: a seeded share of ``downsample_factor`` in each channel."""
        found = []
        for name, numbers in counts.items():
            bins = np.repeat(np.arange(len(numbers), dtype=np.int32), numbers)
            kept = round(len(bins) * self.dataset.downsample_factor)
            rows = np.sort(generator(self.request.seed, f"observed {name}").permutation(len(bins))[:kept])
            found.append(Observed(name, 0, np.zeros((kept, 0), dtype=np.float32), bins[rows]))
        return tuple(found)


def observed_checksum(of_files: str, counts: dict[str, NDArray[np.int64]]) -> str:
    """Return the checksum of all observed data: of the files of events, and of the contents of the histograms.

    Not of the files that these are in: they hold the simulation as well, and the same data must have one checksum.
    """
    if not counts:
        return of_files
    digest = hashlib.sha256(of_files.encode())
    for name, numbers in sorted(counts.items()):
        digest.update(name.encode() + numbers.tobytes())
    return digest.hexdigest()


def _sides(label: str) -> tuple[Variation, Variation]:
    return Variation(label, "up"), Variation(label, "down")


def _contents(path: Path, name: str, *, is_with_overflow: bool) -> Contents:
    import uproot

    with readable(f"the histogram {name!r} in {path} cannot be read"), uproot.open(address(path)) as file:
        histogram = file[name]
        values, variances = (np.asarray(array(flow=True), float) for array in (histogram.values, histogram.variances))
        edges = np.asarray(histogram.axis().edges(flow=False), float)
    beyond = 0.0 if is_with_overflow else float(values[0] + values[-1])
    if is_with_overflow:
        for array in (values, variances):
            array[1] += array[0]
            array[-2] += array[-1]
    return Contents(values[1:-1], variances[1:-1], edges, beyond)


def _same_edges(first: FloatArray, second: FloatArray) -> bool:
    if len(first) != len(second):
        return False
    return bool((np.abs(first - second) <= SAME * np.diff(second).min()).all())


def _listed(edges: FloatArray) -> str:
    shown = [f"{edge:g}" for edge in edges]
    return "[" + ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]]) + "]"
