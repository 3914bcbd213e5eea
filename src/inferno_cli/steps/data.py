"""describe and validate a dataset: yields, systematics, features, control plots on one page."""

from __future__ import annotations

import logging
import sys
from typing import Any

from inferno_cli.config.steps import DataConfig
from inferno_cli.errors import OutputError
from inferno_cli.steps._logged import resolved

log = logging.getLogger(__name__)
SCHEMA = DataConfig


def run(config: DataConfig, composed: Any) -> None:
    """Describe the dataset that `inferno train` would read."""
    from inferno_cli.events.description import describe
    from inferno_cli.report.dataset.page import write_data
    from inferno_cli.report.dataset.tables import show_data
    from inferno_cli.report.presentation import presentation
    from inferno_cli.runs.folder import OTHER, begin, finish
    from inferno_cli.runs.points import point_of_training
    from inferno_cli.runs.sweeps import HydraJob

    folder, point = HydraJob.current().folder, point_of_training(resolved(composed), None)
    if not begin(folder, composed, point, overwrite=config.overwrite):
        raise OutputError(f"{folder} holds this description of the dataset. {OTHER}, or set overwrite=true")
    log.info(f"events: {config.dataset.name}")
    description = describe(
        config.dataset.validated(config.request, config.source_branches),
        config.request.effects,
        bins=config.bins,
        seed=config.data_seed,
        downsample_factor=config.dataset.downsample_factor,
        max_signal_share=config.shown_signal_share,
    )
    log.info("report: tables" + (" and plots" if config.report.plots else ""))
    shown = presentation(config.report, config.dataset.downsample_factor)
    page, *_ = write_data(description, folder, plots=config.report.plots, formats=config.report.formats, shown=shown)
    finish(folder, point)
    show_data(description)
    sys.stdout.write(f"results: {page}\n")
