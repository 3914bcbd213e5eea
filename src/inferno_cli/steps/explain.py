"""show what the network of a finished run learnt: its bins, their content, the importance of each feature.

On the run's own template split, with the bins and the likelihood of its fit.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import ExplainConfig
from inferno_cli.errors import OutputError
from inferno_cli.files import together, user_path

log = logging.getLogger(__name__)
SCHEMA = ExplainConfig


def run(config: ExplainConfig, composed: Any) -> None:  # noqa: ARG001
    """Explain a run, and write and log what comes of it."""
    from inferno_cli.drawing.style import save_figures
    from inferno_cli.report.network.figures import figures
    from inferno_cli.report.network.tables import show_explanation
    from inferno_cli.report.presentation import presentation
    from inferno_cli.runs.explanation import (
        EXPLANATION_FILE,
        bins_over_features,
        explain,
        fitted_templates,
        read_events,
    )
    from inferno_cli.runs.mlflow.afterwards import RUN_FILE, log_files
    from inferno_cli.runs.run_folder import RunFolder

    finished = RunFolder.load(config.run)
    # What the run was shown with, unless this configuration says something else.
    report = config.report.over(finished.config.report)
    report.check(finished.config.dataset.sample_names, finished.config.dataset.signal_names)
    folder = finished.folder / "explain" if config.output is None else user_path(config.output)
    observables = finished.observables
    from inferno_cli.training.explanation import Explainer  # after it is known that there is memory for torch

    events = read_events(finished)
    measurement = Measurement.from_config(finished.config, finished.config.nuisance.fit)
    samples = (*events.template, *events.fixed)
    explainer = Explainer(observables, samples, measurement, finished.config.binning)
    bins, fitted = explainer.bins(), fitted_templates(finished, explainer)
    explainer = replace(explainer, measurement=fitted.measurement)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}. Choose another folder: output=...") from error
    explanation = explain(config, finished, explainer, bins, fitted)
    path = folder / EXPLANATION_FILE
    plots: tuple[Path, ...] = ()
    try:
        with together(folder) as scratch:
            if config.report.plots:
                maps, slices = bins_over_features(config, finished, explainer, bins, explanation)
                signal = list(dict.fromkeys(sample.name for sample in samples if sample.is_signal))
                dataset = finished.config.dataset
                shown = presentation(report, dataset.downsample_factor)
                drawn = figures(explanation, maps, slices, signal, dataset.inputs.labels, shown)
                plots = save_figures(drawn, scratch, config.report.formats).files
            explanation.save(scratch / path.name)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}. Choose another folder: output=...") from error
    show_explanation(explanation)
    if config.track:
        uri = log_files(finished.folder / RUN_FILE, [path, *(folder / plot.name for plot in plots)], "explain")
        if uri is not None:
            log.info("tracking: logged to the run in %s", uri)
    sys.stdout.write(f"results: {path}\n")
