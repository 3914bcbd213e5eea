"""What the network of a finished run learnt, from its template split, bins and likelihood; and ``explain.json``."""

from __future__ import annotations

import itertools
import logging
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inferno_cli.code import code_version
from inferno_cli.errors import DatasetError, RunError
from inferno_cli.files import write_whole
from inferno_cli.fit.result import Record
from inferno_cli.histograms.feature_map import feature_map, weighted_quantiles
from inferno_cli.histograms.templates import Templates
from inferno_cli.histograms.yield_changes import YieldChange, yield_changes
from inferno_cli.runs.record import PartsRecord, bin_records, finite
from inferno_cli.section import REGION

if TYPE_CHECKING:
    from inferno_cli.config.steps import ExplainConfig
    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.events.sample import Events, Sample
    from inferno_cli.histograms.feature_map import FeatureMap
    from inferno_cli.histograms.finished import Finished
    from inferno_cli.histograms.templates import Bins, Templates
    from inferno_cli.runs.run_folder import RunFolder
    from inferno_cli.training.explanation import Explainer

log = logging.getLogger(__name__)

Array = NDArray[Any]
POINTS = 200
"""Along each axis of a plane through the space of the features."""
QUANTILES = (0.16, 0.5, 0.84)
"""Of the third feature, where there is one: where the planes are."""
SCHEMA: Literal["inferno_cli/explanation/1"] = "inferno_cli/explanation/1"
EXPLANATION_FILE = "explain.json"


class ImportanceRecord(Record):
    """One feature: sigma(mu) when every event has that of another event, of any sample, the same in all variations.

    Null: the shuffled events cannot constrain the parameters any more, infinitely bad.
    """

    feature: str
    sigma_mu: tuple[float | None, ...]
    """Of each shuffle."""
    n_bins: tuple[int, ...]
    """Bins that are left of each shuffle: those that lost their support are merged."""
    change: float | None
    """Median over the shuffles of sigma_mu, minus that of the run; ``low`` and ``high`` are the extremes."""
    low: float | None
    high: float | None

    @classmethod
    def of(cls, feature: str, sigma: Sequence[float], n_bins: Sequence[int], nominal: float) -> Self:
        """Summarise the shuffles of one feature; ``sigma`` may be infinite."""
        low, middle, high = (finite(f(sigma) - nominal) for f in (min, statistics.median, max))
        shown = tuple(finite(value) for value in sigma)
        return cls(feature=feature, sigma_mu=shown, n_bins=tuple(n_bins), change=middle, low=low, high=high)


class BinComposition(Record):
    """What a fitted bin is made of; [events, statistical error of the simulation] where a pair."""

    channel: str = REGION
    """Name of its channel in the likelihood."""
    merged_from: tuple[int, ...]
    samples: dict[str, tuple[float, float]]
    total: tuple[float, float]


class ResponseRecord(Record):
    """Change of the yield of every bin in percent, for one parameter moved by ``step`` up and down.

    Null: the sample has nothing in the bin.
    """

    parameter: str
    step: float
    """1: a standard deviation of the parameter; of a NormFactor its error in the fit."""
    sample: str
    """Name of a sample, or "total"."""
    channel: str = REGION
    """Name of the channel, whose bins these are."""
    up: tuple[float | None, ...]
    down: tuple[float | None, ...]
    up_error: tuple[float | None, ...]
    """Statistical error of the simulation, of which events that both templates share have no part."""
    down_error: tuple[float | None, ...]

    @classmethod
    def of(cls, response: YieldChange, channel: str) -> Self:
        """Return a response in a channel, in percent."""
        columns = {
            name: tuple(finite(100 * float(value)) for value in getattr(response, name))
            for name in ("up", "down", "up_error", "down_error")
        }
        about = {"parameter": response.parameter, "step": response.step, "sample": response.sample}
        return cls(channel=channel, **about, **columns)


class Explanation(Record):
    """What the network of a run learnt, on the run's template split."""

    # pydantic's BaseModel has an attribute of the name that the file uses.
    schema_version: Literal["inferno_cli/explanation/1"] = Field(default=SCHEMA, alias="schema")
    run: str
    model: str
    model_title: str = ""
    """What tables and plots call it; empty: its name."""
    dataset: str
    label: str
    """Must be shown with every number; empty when there is nothing to say."""
    dataset_checksum: str
    code_version: str
    seed: int
    """Of the shuffles."""
    repeats: int
    sigma_mu: float
    """HESSE error of mu in closed form, of the templates that were fitted."""
    importance: tuple[ImportanceRecord, ...]
    """The most important feature first."""
    bins: tuple[BinComposition, ...]
    responses: tuple[ResponseRecord, ...]
    parts: dict[str, PartsRecord] = Field(default_factory=dict)
    """Odd and even part of each shape, in units of the bin errors."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels in the likelihood."""
        return tuple(dict.fromkeys(item.channel for item in self.bins))

    @property
    def bin_labels(self) -> list[str]:
        """The number of every bin in its channel, with the name of that where there are several."""
        found: list[str] = []
        for channel in self.channels:
            n_bins = sum(item.channel == channel for item in self.bins)
            found += [f"{channel} {i}" if len(self.channels) > 1 else str(i) for i in range(n_bins)]
        return found

    def of_channel(self, channel: str) -> Self:
        """Return what is known of one channel alone: its bins, and their responses."""
        bins = tuple(item for item in self.bins if item.channel == channel)
        responses = tuple(item for item in self.responses if item.channel == channel)
        return self.model_copy(update={"bins": bins, "responses": responses})

    def save(self, path: Path) -> None:
        """Write the file in one step: it is whole, or not there."""
        write_whole(path, self.model_dump_json(indent=1, by_alias=True) + "\n")


def by_importance(records: Sequence[ImportanceRecord]) -> tuple[ImportanceRecord, ...]:
    """Return the features, the most important first."""
    return tuple(sorted(records, key=lambda item: -(math.inf if item.change is None else item.change)))


def compositions(channels: Sequence[Templates]) -> tuple[BinComposition, ...]:
    """Return what every bin of all channels is made of; a sample that a channel does not have is 0 there."""
    names = dict.fromkeys(name for templates in channels for name in templates.samples)
    found = []
    for templates in channels:
        nominal = dict(zip(templates.samples, templates.nominal, strict=True))
        deviation = dict(zip(templates.samples, np.sqrt(templates.variance), strict=True))
        total, error = templates.nominal.sum(axis=0), np.sqrt(templates.variance.sum(axis=0))
        nothing = np.zeros(templates.n_bins)
        for i, group in enumerate(templates.groups):
            samples = {}
            for name in names:
                samples[name] = float(nominal.get(name, nothing)[i]), float(deviation.get(name, nothing)[i])
            of_all = float(total[i]), float(error[i])
            found.append(BinComposition(channel=templates.channel, merged_from=group, samples=samples, total=of_all))
    return tuple(found)


@dataclass(frozen=True)
class Slice:
    """The fitted bin over a plane of two features, the others fixed as ``title`` says.

    The centres of its cells, ``x`` and ``y``, have the shapes (n_x,) and (n_y,); ``bin`` and ``signal_share``, the
    expected share of signal, (n_x, n_y).
    """

    features: tuple[str, str]
    title: str
    x: Array
    y: Array
    bin: Array
    signal_share: Array


def read_events(finished: RunFolder) -> Events:
    """Generate or read the events of the run again."""
    dataset = finished.config.dataset
    log.info(f"events: {dataset.name}")
    events = dataset.load(finished.config.request)
    if events.checksum != finished.results.dataset_checksum:
        raise DatasetError(
            f"{dataset.origin} are not those of the run (checksum {events.checksum[:12]}..., the run has "
            f"{finished.results.dataset_checksum[:12]}...). Put the files of the run back, or train again"
        )
    if events.label:
        log.info(f"events: {events.label}")
    return events


def fitted_templates(finished: RunFolder, explainer: Explainer) -> Finished:
    """Fill the templates of the run again, and finish them as it did."""
    rules = finished.config.likelihood
    found = explainer.fitted(rules.symmetrise, rules.prune, finished.config.named_in_fit)
    ours = [(item.signal, item.background) for item in bin_records(found.channels)]
    theirs = [(item.signal, item.background) for item in finished.results.bins or ()]
    if not np.allclose(ours, theirs, rtol=1e-9):
        raise RunError(
            f"the bins of the run in {finished.folder} do not come out again. Its files may be of different runs: "
            "train again"
        )
    return found


def explain(
    config: ExplainConfig, finished: RunFolder, explainer: Explainer, bins: Sequence[Bins], fitted: Finished
) -> Explanation:
    """Shuffle the features, and take the bins apart."""
    results, measurement = finished.results, explainer.measurement
    deviations = explainer.deviations(fitted.channels)
    sigma = next(iter(deviations.values()))
    free = {name: deviations[name] for name in measurement.free}
    importance = []
    for number, feature in enumerate(explainer.observables.features, start=1):
        start = time.perf_counter()
        shuffles = explainer.importance(feature, config.repeats, config.seed)
        importance.append(ImportanceRecord.of(feature, *shuffles, sigma))
        seconds = time.perf_counter() - start
        log.info(f"explain: {feature} shuffled {number}/{len(explainer.observables.features)}, {seconds:.1f} s")
    return Explanation(
        run=str(finished.folder.absolute()),
        model=finished.config.model.name,
        model_title=results.model_title,
        dataset=results.dataset,
        label=results.label,
        dataset_checksum=results.dataset_checksum,
        code_version=code_version(),
        seed=config.seed,
        repeats=config.repeats,
        sigma_mu=sigma,
        importance=by_importance(importance),
        bins=compositions(fitted.channels),
        responses=tuple(_responses(explainer, bins, fitted, free)),
        parts={name: PartsRecord.model_validate(vars(item)) for name, item in fitted.parts.items()},
    )


def _responses(
    explainer: Explainer, bins: Sequence[Bins], fitted: Finished, steps: Mapping[str, float]
) -> Iterator[ResponseRecord]:
    """Yield the responses of the bins of each channel."""
    for templates in fitted.channels:
        samples, own = _within(explainer, bins, templates.channel)
        measurement = explainer.measurement.within(templates.channel)
        for item in yield_changes(samples, own, templates, measurement, steps):
            yield ResponseRecord.of(item, templates.channel)


def _within(explainer: Explainer, bins: Sequence[Bins], channel: str) -> tuple[list[Sample], list[Bins]]:
    """Return the samples in a channel of the likelihood, and their bins."""
    samples, own = [], []
    for sample, numbers in zip(explainer.samples, bins, strict=True):
        if explainer.observables.name_of(sample) == channel:
            samples.append(sample)
            own.append(numbers)
    return samples, own


def bins_over_features(
    config: ExplainConfig, finished: RunFolder, explainer: Explainer, bins: Sequence[Bins], found: Explanation
) -> tuple[list[FeatureMap], list[Slice]]:
    """Return the bins over pairs of features: of the events, or, where the densities are known, of the plane.

    Those of each channel that a network makes; of several networks the first one's.
    """
    if (exact := finished.config.dataset.exact_classifier()) is not None:
        return [], _planes(exact, explainer)
    names = [item.feature for item in found.importance]
    # The first pairs of the order in which the sum of the two ranks rises.
    ranked = sorted(itertools.combinations(range(len(names)), 2), key=lambda pair: (sum(pair), pair))
    pairs = [(names[a], names[b]) for a, b in ranked[: config.pairs]]
    names, ranges = list(explainer.observables.features), finished.config.dataset.inputs.ranges
    observables, maps = explainer.observables, []
    shown = [observables.name(channel, 0) for channel in observables.channels.trained]
    for name in shown:
        samples, own = _within(explainer, bins, name)
        n_bins = sum(item.channel == name for item in found.bins)
        for pair in pairs:
            item = feature_map(samples, own, n_bins, names, pair, config.cells, ranges)
            maps.append(replace(item, channel=name if len(shown) > 1 else ""))
    return maps, []


def _planes(exact: LogRatio, explainer: Explainer) -> list[Slice]:
    """Return the bins over the first two of two or three features, at quantiles of the third one."""
    samples = [sample for sample in explainer.samples if sample.bins is None]
    values = np.concatenate([sample.features[0] for sample in samples]).astype(np.float64)
    weights = np.concatenate([sample.weights[0] for sample in samples])
    ends = [weighted_quantiles(column, weights, (0.005, 0.995)) for column in values.T[:2]]
    first, second, *others = explainer.observables.features
    axes = {name: np.linspace(low, high, POINTS) for name, (low, high) in zip((first, second), ends, strict=True)}
    fixed: list[tuple[dict[str, float], str]] = [({}, "")]
    if others:
        (third,) = others
        levels = weighted_quantiles(values[:, 2], weights, QUANTILES)
        fixed = []
        for share, value in zip(QUANTILES, levels, strict=True):
            fixed.append(({third: float(value)}, f"{third} = {value:.2f} ({share:.0%} quantile)"))
    slices = []
    for others_at, title in fixed:
        points, bins = explainer.plane(axes, others_at)
        slices.append(Slice((first, second), title, axes[first], axes[second], bins, exact.signal_share(points)))
    return slices
