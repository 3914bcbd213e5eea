"""test data against a reference without a model of the signal (New Physics Learning Machine).

inferno nplm reference=A data=B        compare two samples
inferno nplm +experiment=exponential   toys alone: null distribution, validation, injection
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.nplm import NplmConfig
from inferno_cli.errors import OutputError, RunError

if TYPE_CHECKING:
    from inferno_cli.nplm.analysis import Result
    from inferno_cli.nplm.record import Compared
    from inferno_cli.runs.sweeps import HydraJob

log = logging.getLogger(__name__)
SCHEMA = NplmConfig
SHORT = {"reference": "nplm.reference", "data": "nplm.data"}
"""Keys that need no path."""
ELSEWHERE = {"seed", "events", "systematics", "path"}
"""Keys of a dataset that may differ where the expected significance of a run is compared."""


def run(config: NplmConfig, composed: Any) -> None:
    """Throw toys, test the data, and report."""
    from inferno_cli.code import code_version
    from inferno_cli.nplm.record import PAGE
    from inferno_cli.report.nplm.tables import show_test
    from inferno_cli.runs.folder import OTHER, begin, finish
    from inferno_cli.runs.mlflow.run import log_configuration, tracked
    from inferno_cli.runs.mlflow.store import check
    from inferno_cli.runs.points import point_of_training
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.steps._logged import resolved

    job, version = HydraJob.current(), code_version()
    compared = [_compared(config, place) for place in config.nplm.compare_with]
    check(config.tracking)
    point = point_of_training(resolved(composed), None)
    if not begin(job.folder, composed, point, overwrite=config.overwrite):
        raise OutputError(f"{job.folder} holds this very test, finished. {OTHER}, or set overwrite=true")
    name, tags = f"nplm {config.dataset.name}", {"code_version": version}
    params = resolved(composed)
    with tracked(config.tracking, name=name, params=params, tags=tags, sweep_folder=job.sweep) as logged:
        if logged is not None:
            log_configuration(logged, job.folder)
        result, files = _test(config, job, compared, version)
        finish(job.folder, point)
        if logged is not None:
            logged.tags({"dataset_checksum": result.record.dataset_checksum, "label": result.record.label or "none"})
            logged.metrics(result.record.metrics())
            logged.artifacts(files)
    show_test(result.record)
    sys.stdout.write(f"results: {job.folder / PAGE}\n")


def _test(config: NplmConfig, job: HydraJob, compared: list[Compared], version: str) -> tuple[Result, tuple[Path, ...]]:
    from dataclasses import replace

    from inferno_cli.nplm.analysis import Analysis
    from inferno_cli.progress import Stopwatch
    from inferno_cli.report.nplm.page import write_test
    from inferno_cli.report.presentation import presentation
    from inferno_cli.runs.folder import PARTIAL
    from inferno_cli.training.environment import device_of

    clock = Stopwatch()
    with clock.part("events", f"events: {config.dataset.name}"):
        events = config.dataset.validated(config.request, ())
    if events.label:
        log.info(f"events: {events.label}")
    with clock.part("test", "test: toys"):
        analysis = Analysis(config, events, job.folder / PARTIAL, device_of(config.trainer))
        result = analysis.run(compared, version, {})
    result = replace(result, record=replace(result.record, timing=dict(clock.seconds)))
    log.info("report: tables" + (" and plots" if config.report.plots else ""))
    shown = presentation(config.report, config.dataset.downsample_factor)
    return result, write_test(result, config.dataset.features, job.folder, config.report, shown)


def _compared(config: NplmConfig, place: str) -> Compared:
    """Return the expected significance of a finished run, of the signal that is injected."""
    from inferno_cli.nplm.record import Compared
    from inferno_cli.runs.run_folder import RunFolder

    key = "nplm.compare_with"
    finished = RunFolder.load(place, key)
    here, there = (item.dataset.model_dump(exclude=ELSEWHERE) for item in (config, finished.config))
    if config.nplm.inject is None or config.nplm.inject.events is not None:
        raise RunError(f"{key}: the run has the signal that the dataset expects; set 'nplm.inject={{sample: NAME}}'")
    if here != there:
        differing = ", ".join(name for name in here if here[name] != there.get(name))
        raise RunError(f"{key}: {finished.folder} is of another dataset ({differing}); train with the same")
    found = finished.results["significance"]
    expected = None if found is None else found.expected if found.a_priori is None else found.a_priori
    if expected is None:
        raise RunError(f"{key}: {finished.folder} has no expected significance; train with fit.significance=true")
    return Compared(str(finished.folder), finished.config.model.name, expected)
