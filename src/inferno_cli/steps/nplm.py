"""test data against a reference without a model of the signal (New Physics Learning Machine).

inferno nplm reference=A data=B        compare two samples
inferno nplm +experiment=exponential   toys alone: null distribution, validation, injection
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.nplm import NplmConfig
from inferno_cli.errors import OutputError, RunError

if TYPE_CHECKING:
    from inferno_cli.nplm.record import Compared, Record
    from inferno_cli.runs.mlflow.run import Run

log = logging.getLogger(__name__)
SCHEMA = NplmConfig
SHORT = {"reference": "nplm.reference", "data": "nplm.data"}
"""Keys that need no path."""
ELSEWHERE = {"seed", "events", "systematics", "path"}
"""Keys of a dataset that may differ where the expected significance of a run is compared."""


def run(config: NplmConfig, composed: Any) -> None:
    """Throw toys, test the data, and report."""
    from inferno_cli.code import code_version
    from inferno_cli.runs.folder import OTHER, begin
    from inferno_cli.runs.mlflow.store import check
    from inferno_cli.runs.points import point_of_training
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.steps._logged import resolved, run_and_log

    job, version = HydraJob.current(), code_version()
    compared = [_compared(config, place) for place in config.nplm.compare_with]
    check(config.tracking)
    point = point_of_training(resolved(composed), None)
    if not begin(job.folder, composed, point, overwrite=config.overwrite):
        raise OutputError(f"{job.folder} holds this very test, finished. {OTHER}, or set overwrite=true")
    run_and_log(
        partial(_test, config, job.folder, compared, version),
        composed,
        config.tracking,
        job,
        point,
        name=called(config.dataset.name),
        tags={"seed": str(config.seed), "code_version": version},
        logs=log_finished,
        show=_show,
    )


def called(dataset: str) -> str:
    """Return what a test is called in MLflow."""
    return f"nplm {dataset}"


def log_finished(logged: Run, folder: Path, *, checkpoint: bool) -> str:  # noqa: ARG001
    """Log what the test that has finished in a folder found; return its description in Markdown."""
    from inferno_cli.nplm.record import FILE, PAGE, Record
    from inferno_cli.report.nplm.tables import about
    from inferno_cli.runs.mlflow.run import log_about

    record = Record.load(folder)
    said = about(record)
    log_about(logged, folder, record, said, ("test",))
    logged.metrics(record.metrics())
    logged.artifacts([folder / FILE, folder / PAGE])
    logged.artifacts(sorted((folder / "plots").glob("*")), "plots")
    return said


def _show(folder: Path, record: Record) -> None:
    """Print the tables, and where the page is."""
    from inferno_cli.nplm.record import PAGE
    from inferno_cli.report.nplm.tables import show_test

    show_test(record)
    sys.stdout.write(f"results: {folder / PAGE}\n")


def _test(config: NplmConfig, folder: Path, compared: list[Compared], version: str) -> Record:
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
        analysis = Analysis(config, events, folder / PARTIAL, device_of(config.trainer))
        result = analysis.run(compared, version, {})
    result = replace(result, record=replace(result.record, timing=dict(clock.seconds)))
    log.info("report: tables" + (" and plots" if config.report.plots else ""))
    shown = presentation(config.report, config.dataset.downsample_factor)
    write_test(result, config.dataset.features, folder, config.report, shown)
    return result.record


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
