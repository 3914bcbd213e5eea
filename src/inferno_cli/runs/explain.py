"""What the network of a finished run learnt, from the run's own template split, bins and likelihood."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError, RunError
from inferno_cli.histograms.feature_map import feature_map, weighted_quantiles
from inferno_cli.histograms.yield_changes import yield_changes
from inferno_cli.runs.explanation import Explanation, ImportanceRecord, ResponseRecord, by_importance, compositions
from inferno_cli.runs.job import code_version
from inferno_cli.runs.record import bin_records

if TYPE_CHECKING:
    from inferno_cli.config.steps import ExplainConfig
    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.events.sample import Events
    from inferno_cli.histograms.feature_map import FeatureMap
    from inferno_cli.histograms.templates import Bins, Templates
    from inferno_cli.runs.run_folder import RunFolder
    from inferno_cli.training.explanation import Explainer

log = logging.getLogger(__name__)

Array = NDArray[Any]
POINTS = 200
"""Along each axis of a plane through the space of the features."""
QUANTILES = (0.16, 0.5, 0.84)
"""Of the third feature of the synthetic mixture: where the planes are."""


@dataclass(frozen=True)
class Slice:
    """The fitted bin over a plane of two features, the others fixed.

    Attributes:
        features: Names, x and y.
        title: Where the others are.
        x, y: Centres of the cells, shape (n_x,) and (n_y,).
        bin: Shape (n_x, n_y).
        signal_share: Expected share of signal, shape (n_x, n_y), where the densities are known.
    """

    features: tuple[str, str]
    title: str
    x: Array
    y: Array
    bin: Array
    signal_share: Array | None = None


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


def fitted_templates(finished: RunFolder, explainer: Explainer) -> Templates:
    """Fill the templates of the run again."""
    templates = explainer.fitted(finished.config.likelihood.symmetrise)
    ours = [(item.signal, item.background) for item in bin_records(templates)]
    theirs = [(item.signal, item.background) for item in finished.results.bins or ()]
    if not np.allclose(ours, theirs, rtol=1e-9):
        raise RunError(
            f"the bins of the run in {finished.folder} do not come out again. Its files may be of different runs: "
            "train again"
        )
    return templates


def explain(
    config: ExplainConfig, finished: RunFolder, explainer: Explainer, bins: Sequence[Bins], templates: Templates
) -> Explanation:
    """Shuffle the features, and take the bins apart."""
    results, measurement = finished.results, explainer.measurement
    deviations = explainer.deviations(templates)
    sigma = next(iter(deviations.values()))
    free = {name: deviations[name] for name in measurement.free}
    return Explanation(
        run=str(finished.folder.absolute()),
        model=finished.config.model.name,
        dataset=results.dataset,
        label=results.label,
        dataset_checksum=results.dataset_checksum,
        code_version=code_version(),
        seed=config.seed,
        repeats=config.repeats,
        sigma_mu=sigma,
        importance=by_importance(_importance(config, explainer, sigma)),
        bins=compositions(templates),
        responses=tuple(
            ResponseRecord.of(item) for item in yield_changes(explainer.samples, bins, templates, measurement, free)
        ),
    )


def _importance(config: ExplainConfig, explainer: Explainer, sigma: float) -> list[ImportanceRecord]:
    found = []
    for number, feature in enumerate(explainer.observable.features, start=1):
        start = time.perf_counter()
        item = explainer.importance(feature, config.repeats, config.seed)
        found.append(ImportanceRecord.of(feature, item.sigma, item.n_bins, sigma))
        seconds = time.perf_counter() - start
        log.info(f"explain: {feature} shuffled {number}/{len(explainer.observable.features)}, {seconds:.1f} s")
    return found


def bins_over_features(
    config: ExplainConfig, finished: RunFolder, explainer: Explainer, bins: Sequence[Bins], found: Explanation
) -> tuple[list[FeatureMap], list[Slice]]:
    """Return the bins over pairs of features: of the events, or, where the densities are known, of the plane."""
    if (exact := finished.config.dataset.exact_classifier()) is not None:
        return [], _planes(exact, explainer)
    names = [item.feature for item in found.importance]
    # The first pairs of the order in which the sum of the two ranks rises.
    ranked = sorted(itertools.combinations(range(len(names)), 2), key=lambda pair: (sum(pair), pair))
    pairs = [(names[a], names[b]) for a, b in ranked[: config.pairs]]
    observable, samples = explainer.observable, explainer.samples
    return [feature_map(samples, bins, len(found.bins), observable.features, pair, config.cells) for pair in pairs], []


def _planes(exact: LogRatio, explainer: Explainer) -> list[Slice]:
    """Cut the synthetic mixture at quantiles of its third feature."""
    samples = explainer.samples
    values = np.concatenate([sample.features[0] for sample in samples]).astype(np.float64)
    weights = np.concatenate([sample.weights[0] for sample in samples])
    ends = [weighted_quantiles(column, weights, (0.005, 0.995)) for column in values.T[:2]]
    first, second, third = explainer.observable.features
    axes = {name: np.linspace(low, high, POINTS) for name, (low, high) in zip((first, second), ends, strict=True)}
    slices = []
    for share, value in zip(QUANTILES, weighted_quantiles(values[:, 2], weights, QUANTILES), strict=True):
        plane = explainer.plane(axes, {third: float(value)})
        title = f"{third} = {value:.2f} ({share:.0%} quantile)"
        purity = exact.signal_share(plane.points).reshape(plane.bin.shape)
        slices.append(Slice(plane.features, title, plane.x, plane.y, plane.bin, purity))
    return slices
