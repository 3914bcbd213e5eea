"""show what the network of a finished run learnt: its bins, their content, the importance of each feature.

On the run's own template split, with the bins and the likelihood of its fit.
"""

from __future__ import annotations

import itertools
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config import ExplainConfig
from inferno_cli.errors import DatasetError, OutputError, RunError
from inferno_cli.files import together, user_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferno_cli.events import Events
    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.histograms import BinMap, Templates
    from inferno_cli.histograms.templates import Bins
    from inferno_cli.report.network.explanation import Explanation, ImportanceRecord
    from inferno_cli.report.network.figures import Slice
    from inferno_cli.runs.run_folder import RunFolder
    from inferno_cli.training import Explainer

log = logging.getLogger(__name__)

POINTS = 200
"""Along each axis of a plane through the space of the features."""
QUANTILES = (0.16, 0.5, 0.84)
"""Of the third feature of the synthetic mixture: where the planes are."""


def schema() -> type[ExplainConfig]:
    """Return the class of this step's configuration."""
    return ExplainConfig


def run(config: ExplainConfig, composed: Any) -> None:  # noqa: ARG001
    """Explain a run, and write and log what comes of it.

    Raises:
        RunError: If that is no finished run with a network.
        DatasetError: If its events have changed.
        TrackingError: If the plots cannot be logged; the files are written by then.
    """
    from inferno_cli.report.network.explanation import EXPLANATION_FILE, show_explanation
    from inferno_cli.report.network.figures import draw_explanation
    from inferno_cli.runs.mlflow.afterwards import log_to_run
    from inferno_cli.runs.run_folder import RunFolder

    finished = RunFolder.load(config.run)
    folder = finished.folder / "explain" if config.output is None else user_path(config.output)
    statistic = finished.statistic()
    from inferno_cli.training import Explainer  # after it is known that there is memory for torch

    events = _events(finished)
    explainer = Explainer(finished.config, statistic, events.template)
    bins, templates = explainer.bins(), _templates(finished, explainer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}. Choose another folder: output=...") from error
    explanation = _explanation(config, finished, explainer, bins, templates)
    maps, slices = _pictures(config, finished, explainer, bins, explanation)
    path = folder / EXPLANATION_FILE
    plots: tuple[Path, ...] = ()
    try:
        with together(folder) as scratch:
            if config.report.plots:
                signal = [sample.name for sample in events.template if sample.is_signal]
                plots = draw_explanation(
                    explanation, maps, slices, signal=signal, folder=scratch, formats=config.report.formats
                )
            explanation.save(scratch / path.name)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}. Choose another folder: output=...") from error
    show_explanation(explanation)
    if (
        config.track
        and (uri := log_to_run(finished.folder, [path, *(folder / plot.name for plot in plots)], "explain")) is not None
    ):
        log.info("tracking: logged to the run in %s", uri)
    sys.stdout.write(f"results: {path}\n")


def _events(finished: RunFolder) -> Events:
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


def _templates(finished: RunFolder, explainer: Explainer) -> Templates:
    """Fill the templates of the run again."""
    import numpy as np

    from inferno_cli.runs.record import bin_records

    templates = explainer.fitted()
    ours = [(item.signal, item.background) for item in bin_records(templates)]
    theirs = [(item.signal, item.background) for item in finished.results.bins or ()]
    if not np.allclose(ours, theirs, rtol=1e-9):
        raise RunError(
            f"the bins of the run in {finished.folder} do not come out again. Its files may be of different runs: "
            "train again"
        )
    return templates


def _explanation(
    config: ExplainConfig, finished: RunFolder, explainer: Explainer, bins: Sequence[Bins], templates: Templates
) -> Explanation:
    """Shuffle the features, and take the bins apart."""
    from inferno_cli.histograms import responses
    from inferno_cli.report.network.explanation import Explanation, ResponseRecord, by_importance, compositions
    from inferno_cli.runs.job import code_version

    results, measurement = finished.results, explainer.measurement
    deviations = explainer.deviations(templates)
    sigma = next(iter(deviations.values()))
    free = {name: deviations[name] for name in measurement.free}
    return Explanation(
        run=str(finished.folder.absolute()),
        model=finished.config.model.kind,
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
            ResponseRecord.of(item) for item in responses(explainer.samples, bins, templates, measurement, free)
        ),
    )


def _importance(config: ExplainConfig, explainer: Explainer, sigma: float) -> list[ImportanceRecord]:
    from inferno_cli.report.network.explanation import ImportanceRecord

    found = []
    for number, feature in enumerate(explainer.statistic.features, start=1):
        start = time.perf_counter()
        item = explainer.importance(feature, config.repeats, config.seed)
        found.append(ImportanceRecord.of(feature, item.sigma, item.n_bins, sigma))
        seconds = time.perf_counter() - start
        log.info(f"explain: {feature} shuffled {number}/{len(explainer.statistic.features)}, {seconds:.1f} s")
    return found


def _pictures(
    config: ExplainConfig, finished: RunFolder, explainer: Explainer, bins: Sequence[Bins], found: Explanation
) -> tuple[list[BinMap], list[Slice]]:
    """Return the bins over pairs of features: of the events, or, where the densities are known, of the plane."""
    if not config.report.plots:
        return [], []
    from inferno_cli.histograms import bin_map

    dataset = finished.config.dataset
    if (exact := dataset.exact_classifier()) is not None:
        return [], _planes(exact, explainer)
    names = [item.feature for item in found.importance]
    # The first pairs of the order in which the sum of the two ranks rises.
    ranked = sorted(itertools.combinations(range(len(names)), 2), key=lambda pair: (sum(pair), pair))
    pairs = [(names[a], names[b]) for a, b in ranked[: config.pairs]]
    statistic, samples = explainer.statistic, explainer.samples
    return [bin_map(samples, bins, len(found.bins), statistic.features, pair, config.cells) for pair in pairs], []


def _planes(exact: LogRatio, explainer: Explainer) -> list[Slice]:
    """Cut the synthetic mixture at quantiles of its third feature."""
    import numpy as np

    from inferno_cli.histograms.cells import weighted_quantiles
    from inferno_cli.report.network.figures import Slice

    samples = explainer.samples
    values = np.concatenate([sample.features[0] for sample in samples]).astype(np.float64)
    weights = np.concatenate([sample.weights[0] for sample in samples])
    ends = [weighted_quantiles(column, weights, (0.005, 0.995)) for column in values.T[:2]]
    first, second, third = explainer.statistic.features
    axes = {name: np.linspace(low, high, POINTS) for name, (low, high) in zip((first, second), ends, strict=True)}
    slices = []
    for share, value in zip(QUANTILES, weighted_quantiles(values[:, 2], weights, QUANTILES), strict=True):
        plane = explainer.plane(axes, {third: float(value)})
        title = f"{third} = {value:.2f} ({share:.0%} quantile)"
        purity = exact.signal_share(plane.points).reshape(plane.bin.shape)
        slices.append(Slice(plane.features, title, plane.x, plane.y, plane.bin, purity))
    return slices
