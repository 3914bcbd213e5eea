"""Templates: yields and statistical errors by sample, systematic and direction, as ``hist`` objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import hist
import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import TemplateError
from inferno_cli.events.ids import numbered
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Sample, Variation
from inferno_cli.names import distinct
from inferno_cli.section import REGION

FloatArray = NDArray[np.float64]
Bins = NDArray[np.intp]
T = TypeVar("T")

# Keys of the file that are no sample.
_OBSERVED, _GROUPS, _SIGNAL, _NAMES = "_observed", "_groups", "_signal", "_names"
_CHANNELS = "_channels"
"""Beside the folders of several channels, their names."""
_ABOUT_CHANNEL = ("channel", "is_trained", "ordered", "edges", "axis")
"""Attributes of the templates that are in ``_names`` as they are."""
_NOISE = ("noise", "evennoise")
"""What stands for the direction where the file has the noise of the odd and of the even part."""
LONGEST = 1000
"""Bytes of a name in the file; ROOT sets no limit of its own."""


@dataclass(frozen=True)
class Templates:
    """The binned expectation of every sample, nominal and varied.

    Attributes:
        samples: Names, signal first.
        signal: Those that the POI scales.
        histograms: One histogram with weight storage per sample and variation.
        noise: Variance that the simulation's noise gives to (up - down) / 2 and to (up + down) / 2 - nominal, by
            (systematic, sample), shape (2, B); NaN where it is not known, and none of what somebody else made.
        observed: Histogram of the observed events, or None.
        groups: For each bin, the bins of the channel, before any were merged, that it is made of.
        channel: Name of the channel in the likelihood.
        is_trained: Whether a network makes the bins.
        ordered: Whether the bins have an order of their own, which merging keeps.
        edges: Edges of the bins, shape (B + 1,), where they are of a histogram; else empty.
        axis: What stands below the axis in plots; empty: it is the number of the bin.
    """

    samples: tuple[str, ...]
    signal: tuple[str, ...]
    histograms: Mapping[tuple[str, Variation], hist.Hist]
    noise: Mapping[tuple[str, str], FloatArray]
    observed: hist.Hist | None
    groups: tuple[tuple[int, ...], ...]
    channel: str = REGION
    is_trained: bool = True
    ordered: bool = True
    edges: tuple[float, ...] = ()
    axis: str = ""

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.groups)

    def values(self, sample: str, variation: Variation = NOMINAL) -> FloatArray:
        """Yields of one template, shape (B,)."""
        return np.asarray(self.histograms[sample, variation].values())

    def present(self, by_sample: Mapping[str, T]) -> dict[str, T]:
        """Return what is given of the samples that the channel has."""
        return {name: value for name, value in by_sample.items() if name in self.samples}

    def has(self, sample: str, label: str) -> bool:
        """Whether a variation acts on a sample: on histograms that somebody else made not every one does."""
        return (sample, Variation(label, "up")) in self.histograms

    @property
    def nominal(self) -> FloatArray:
        """Nominal yields, shape (S, B)."""
        return np.stack([self.values(sample) for sample in self.samples])

    @property
    def variance(self) -> FloatArray:
        """Statistical variances of the nominal yields, shape (S, B)."""
        return np.stack([np.asarray(self.histograms[sample, NOMINAL].variances()) for sample in self.samples])

    @property
    def is_signal(self) -> NDArray[np.bool_]:
        """Which samples are signal, shape (S,)."""
        return np.array([sample in self.signal for sample in self.samples])

    @property
    def varied(self) -> dict[tuple[str, str], tuple[FloatArray, FloatArray]]:
        """Templates up and down by (systematic, sample), each of shape (B,)."""
        found = {}
        for sample, variation in self.histograms:
            if variation.direction == "up":
                down = Variation(variation.systematic, "down")
                found[variation.systematic, sample] = self.values(sample, variation), self.values(sample, down)
        return found

    @property
    def where(self) -> str:
        """What errors begin with: the channel, where it is not the one that a run has without a word."""
        return "" if self.channel == REGION else f"channel {self.channel!r}, "

    def require_positive(self) -> None:
        """Raise TemplateError if a template or a bin has no positive yield, or a variation takes a bin below 0."""
        for (sample, variation), histogram in self.histograms.items():
            total = float(histogram.values().sum())
            if not total > 0:
                raise TemplateError(
                    f"{self.where}sample {sample!r}, {variation}: the template's yield is {total:g}, expected above 0"
                )
        nominal = self.nominal.sum(axis=0)
        for bin_number, total in enumerate(nominal):
            if not total > 0:
                raise TemplateError(
                    f"{self.where}bin {bin_number} expects {total:g} events; a fit needs more than 0. "
                    "Raise binning.min_yield"
                )
        varied: dict[Variation, FloatArray] = {}
        for (sample, variation), histogram in self.histograms.items():
            if variation != NOMINAL:
                change = histogram.values() - self.values(sample)
                varied[variation] = varied.get(variation, nominal) + change
        for variation, values in varied.items():
            lowest = int(values.argmin())
            if values[lowest] < 0:
                raise TemplateError(
                    f"{self.where}{variation}: bin {lowest} would have {values[lowest]:.3g} events, nominal "
                    f"{nominal[lowest]:.3g}; expected at least 0. Lower "
                    f"dataset.systematics.{variation.systematic}.scale, or check its events"
                )

    def grouped(self, groups: Sequence[Sequence[int]]) -> Templates:
        """Return the templates with bins reordered and merged: each new bin of a group of the present ones."""
        if sorted(i for group in groups for i in group) != list(range(self.n_bins)):
            raise ValueError(f"groups {list(groups)} do not hold each of {self.n_bins} bins once")

        def total(array: FloatArray) -> FloatArray:
            return np.stack([array[list(group)].sum(axis=0) for group in groups])

        def regroup(histogram: hist.Hist) -> hist.Hist:
            return from_arrays(total(histogram.values()), total(histogram.variances()))

        return replace(
            self,
            histograms={key: regroup(histogram) for key, histogram in self.histograms.items()},
            noise={key: np.stack([total(odd), total(even)]) for key, (odd, even) in self.noise.items()},
            observed=None if self.observed is None else regroup(self.observed),
            groups=tuple(tuple(sorted(j for i in group for j in self.groups[i])) for group in groups),
            edges=(self.edges[0], *(self.edges[group[-1] + 1] for group in groups)) if self.edges else (),
        )

    def with_errors_scaled(self, factors: Sequence[float]) -> Templates:
        """Return the templates as a split of another size would have them: variances and noise times a factor each."""
        by_sample = dict(zip(self.samples, factors, strict=True))
        histograms = dict(self.histograms)
        for key, histogram in self.histograms.items():
            histograms[key] = from_arrays(histogram.values(), histogram.variances() * by_sample[key[0]])
        noise = {key: noise * by_sample[key[1]] for key, noise in self.noise.items()}
        return replace(self, histograms=histograms, noise=noise)

    def save(self, path: Path) -> None:
        """Write a ROOT file: one TH1 per template, ``sample/variation``, and how the bins came about."""
        save((self,), path)

    def _write(self, file: Any, folder: str) -> None:
        """Write the histograms into a folder of a ROOT file.

        A "/" or ":" in a name means something else to ROOT: the text ``_names`` says which key is which template.
        """
        contents = dict(self.histograms)
        for (systematic, sample), noises in self.noise.items():
            for kind, noise in zip(_NOISE, noises, strict=True):
                if not np.isnan(noise).any():
                    contents[sample, Variation(systematic, kind)] = from_arrays(noise, np.zeros_like(noise))
        folders = distinct(self.samples, _key, taken=(_OBSERVED, _GROUPS, _SIGNAL, _NAMES), longest=LONGEST, fold=str)
        labels = distinct((str(variation) for _, variation in contents), _key, longest=LONGEST, fold=str)
        names: dict[str, tuple[str, str, str]] = {}
        for (sample, variation), histogram in contents.items():
            key = f"{folders[sample]}/{labels[str(variation)]}"
            file[f"{folder}{key}"], names[key] = histogram, (sample, *variation)
        if self.observed is not None:
            file[f"{folder}{_OBSERVED}/nominal"] = self.observed
        file[f"{folder}{_GROUPS}"] = ";".join(",".join(map(str, group)) for group in self.groups)
        file[f"{folder}{_SIGNAL}"] = ",".join(self.signal)
        about = {"samples": self.samples, "signal": self.signal, "templates": names}
        about |= {name: getattr(self, name) for name in _ABOUT_CHANNEL}
        file[f"{folder}{_NAMES}"] = json.dumps(about)

    @classmethod
    def load(cls, path: Path) -> Templates:
        """Read a file with one channel that ``save`` wrote, also one without ``_names``, as it was written before."""
        (templates,) = load(path)
        return templates

    @classmethod
    def _read(cls, file: Any) -> Templates:
        histograms: dict[tuple[str, Variation], hist.Hist] = {}
        noise: dict[tuple[str, str], FloatArray] = {}
        observed = None
        groups = tuple(tuple(int(i) for i in part.split(",")) for part in str(file[_GROUPS]).split(";"))
        names = json.loads(str(file[_NAMES])) if _NAMES in file else _names_in_keys(file)
        for key in file.keys(cycle=False, filter_classname="TH1*"):
            content = file[key]
            histogram = from_arrays(content.values(), content.variances())
            if key == f"{_OBSERVED}/nominal":
                observed = histogram
                continue
            sample, systematic, direction = names["templates"][key]
            if direction in _NOISE:
                unknown = np.full((len(_NOISE), len(groups)), np.nan)
                noise.setdefault((systematic, sample), unknown)[_NOISE.index(direction)] = content.values()
            else:
                histograms[sample, Variation(systematic, direction)] = histogram
        about = {name: names[name] for name in _ABOUT_CHANNEL if name in names}
        about["edges"] = tuple(about.get("edges", ()))
        return cls(tuple(names["samples"]), tuple(names["signal"]), histograms, noise, observed, groups, **about)


def save(channels: Sequence[Templates], path: Path) -> None:
    """Write the templates of all channels into a ROOT file; of several each has a folder, of one it has none."""
    import uproot

    folders = [""]
    if len(channels) > 1:
        names = [item.channel for item in channels]
        by_name = distinct(names, _key, taken=(_CHANNELS,), longest=LONGEST, fold=str)
        folders = [f"{by_name[name]}/" for name in names]
    with uproot.recreate(path) as file:
        for item, folder in zip(channels, folders, strict=True):
            item._write(file, folder)
        if len(channels) > 1:
            file[_CHANNELS] = json.dumps(folders)


def load(path: Path) -> tuple[Templates, ...]:
    """Read the templates of all channels from a file that ``save`` wrote."""
    import uproot

    with uproot.open(path) as file:
        if _CHANNELS not in file:
            return (Templates._read(file),)
        return tuple(Templates._read(file[folder.rstrip("/")]) for folder in json.loads(str(file[_CHANNELS])))


def _key(name: str) -> str:
    """Return a name without the signs of a path and of a cycle, which a key of a ROOT file can have."""
    return "_" if name in (".", "..") else re.sub(r"[\x00-\x1f/\\:;]", "_", name)


def _names_in_keys(file: Any) -> dict[str, Any]:
    """Return what ``_names`` would say, from keys SAMPLE/SYSTEMATIC_DIRECTION."""
    templates = {}
    for key in file.keys(cycle=False, filter_classname="TH1*"):
        sample, _, label = key.partition("/")
        if sample != _OBSERVED:
            templates[key] = (sample, *(NOMINAL if label == str(NOMINAL) else label.rsplit("_", 1)))
    samples = dict.fromkeys(sample for sample, *_ in templates.values())
    return {"samples": tuple(samples), "signal": str(file[_SIGNAL]).split(","), "templates": templates}


def from_arrays(values: FloatArray, variances: FloatArray) -> hist.Hist:
    """Return a histogram with these contents, each of shape (B,)."""
    histogram = hist.Hist(hist.axis.Integer(0, len(values), flow=False, name="bin"), storage=hist.storage.Weight())
    histogram[...] = np.stack([values, variances], axis=-1)
    return histogram


def fill(
    samples: Sequence[Sample], bins: Sequence[Bins], n_bins: int, observed: Bins | None = None, **about: Any
) -> Templates:
    """Fill the templates of hard-binned events of one channel.

    Statistical errors count generated events: the rows of one (``split_by``) in one bin are one entry, of their sum.

    Args:
        bins: For each sample, the bin of every event in every view of its features, shape (n_views, n_events).
        observed: Bins of the observed events.
        about: Further attributes of the templates.
    """
    histograms: dict[tuple[str, Variation], Any] = {}
    noise: dict[tuple[str, str], FloatArray] = {}
    for sample, numbers in zip(samples, bins, strict=True):
        if sample.histogram is not None:
            histograms |= _of_histogram(sample, numbers, n_bins)
            continue
        variance = BinnedVariance(sample.group, n_bins)
        places = [numbers[view] for view in sample.view]
        for row, variation in enumerate(sample.variations):
            values = np.bincount(places[row], sample.weights[row], n_bins).astype(np.float64)
            histograms[sample.name, variation] = from_arrays(values, variance((places[row], sample.weights[row])))
        nominal = places[0], sample.weights[0]
        for systematic in sample.systematics:
            up, down = (sample.variations.index(Variation(systematic, direction)) for direction in DIRECTIONS)
            half_up, half_down = ((places[row], sample.weights[row] / 2) for row in (up, down))
            odd, even = variance(half_up, minus(half_down)), variance(half_up, half_down, minus(nominal))
            noise[systematic, sample.name] = np.stack([odd, even])
    data = None
    if observed is not None:
        counts = np.bincount(observed, minlength=n_bins).astype(np.float64)
        data = from_arrays(counts, counts)
    return Templates(
        samples=tuple(sample.name for sample in samples),
        signal=tuple(sample.name for sample in samples if sample.is_signal),
        histograms=histograms,
        noise=noise,
        observed=data,
        groups=tuple((i,) for i in range(n_bins)),
        **about,
    )


def _of_histogram(sample: Sample, numbers: Bins, n_bins: int) -> dict[tuple[str, Variation], Any]:
    """Fill a histogram that somebody else made. What its variations share with the nominal events nobody knows."""
    assert sample.histogram is not None
    found = {}
    for row, variation in enumerate(sample.variations):
        bins = numbers[sample.view[row]]
        contents = (sample.weights[row], sample.histogram.variances[row])
        values, variances = (np.bincount(bins, array, n_bins).astype(np.float64) for array in contents)
        found[sample.name, variation] = from_arrays(values, variances)
    return found


Filling = tuple[Bins, FloatArray]
"""The bin and the weight of every event."""


def minus(filling: Filling) -> Filling:
    """Return the filling with the opposite weights."""
    return filling[0], -filling[1]


class BinnedVariance:
    """The statistical variance of binned sums and differences of weights of the same events."""

    def __init__(self, group: NDArray[np.int64], n_bins: int) -> None:
        """Take the generated event of every row, shape (n_events,)."""
        self.n_bins = n_bins
        members, self.group = numbered(group)
        self.is_alone = len(members) == len(group)

    def __call__(self, *fillings: Filling) -> FloatArray:
        """Return the variance of the sum of some fillings, shape (B,): in every bin the squares of each event's sum."""
        if self.is_alone:
            return self._of_rows(fillings)
        cells, number = np.unique(
            np.concatenate([self.group * self.n_bins + bins for bins, _ in fillings]), return_inverse=True
        )
        sums = np.bincount(number, np.concatenate([weights for _, weights in fillings]))
        return np.asarray(np.bincount(cells % self.n_bins, sums**2, self.n_bins))

    def _of_rows(self, fillings: Sequence[Filling]) -> FloatArray:
        """Return the same where every row is an event: the squares, and twice the products of what shares a bin."""
        total = np.zeros(self.n_bins)
        for i, (bins, weights) in enumerate(fillings):
            total += np.bincount(bins, weights**2, self.n_bins)
            for other_bins, other_weights in fillings[:i]:
                shared = bins == other_bins
                total += 2 * np.bincount(bins[shared], (weights * other_weights)[shared], self.n_bins)
        # Where they cancel, rounding leaves a little on either side of 0.
        return np.asarray(total.clip(min=0))
