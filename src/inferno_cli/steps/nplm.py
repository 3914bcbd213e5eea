"""test data against a reference without a model of the signal (New Physics Learning Machine).

inferno nplm reference=A data=B        compare two samples
inferno nplm +experiment=exponential   toys alone: null distribution, validation, injection
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.nplm import NplmConfig
from inferno_cli.errors import RunError
from inferno_cli.steps._logged import Asked, Called, RunStep, do_part, resolved

if TYPE_CHECKING:
    from inferno_cli.nplm.record import Compared, Record, Tail
    from inferno_cli.runs.mlflow.run import Run
    from inferno_cli.shard import Shard

log = logging.getLogger(__name__)
SCHEMA = NplmConfig
TAKEN_BY = "nplm.calibration, `inferno compare` and `inferno log` take it"
"""What takes its runs."""
NO_USE = {"model": "what is fitted is nplm/model=NAME"}
"""Choices that would change nothing, with what stands in their place."""
SHORT = {"reference": "nplm.reference", "data": "nplm.data"}
"""Keys that need no path."""
ELSEWHERE = {"seed", "events", "systematics", "path"}
"""Keys of a dataset that may differ where the expected significance of a run is compared."""


class NplmRun(RunStep["Record"]):
    """A finished test."""

    file = "nplm.json"
    shown = "nplm.html"

    def load(self, folder: Path) -> Record:
        """Read ``nplm.json``."""
        from inferno_cli.nplm.record import Record

        return Record.load(folder, "run")

    def called(self, record: Record) -> Called:
        """Return the dataset."""
        return _called(record.dataset, record.seed, record.code_version)

    def headline(self, record: Record) -> str:
        """Return the significance of the signal and of the data, or of the toys whether they agree with chi2.

        By toys where these do not.
        """
        tails: dict[str, Tail | None] = {"injected": record.injected, "data": record.tested}
        said = []
        for name, tail in tails.items():
            if tail is not None:
                z = f"Z {tail.z:.2f}" if record.null.follows_chi2 else f"Z by toys {tail.by_toys}"
                said.append(f"{z} ({name})")
        return ", ".join(said) or f"{len(record.null.t)} toys, p-value of chi2 {record.null.ks:.2g}"

    def show(self, record: Record) -> None:
        """Print the tables."""
        from inferno_cli.report.nplm.tables import show_test

        show_test(record)

    def log(self, logged: Run, folder: Path, record: Record, *, checkpoint: bool) -> str:  # noqa: ARG002
        """Log numbers, the page and plots."""
        from inferno_cli.report.nplm.tables import about
        from inferno_cli.runs.mlflow.run import log_about

        said = about(record)
        log_about(logged, folder, record, said, ("test",))
        logged.metrics(record.metrics())
        logged.artifacts(folder / name for name in (self.file, self.shown))
        logged.artifacts(sorted((folder / "plots").glob("*")), "plots")
        return said


RUN = NplmRun()


def run(config: NplmConfig, composed: Any) -> None:
    """Throw toys, test the data, and report."""
    from inferno_cli.code import code_version
    from inferno_cli.runs.points import point_of_training
    from inferno_cli.runs.run_folder import finished_run
    from inferno_cli.runs.sweeps import HydraJob

    job, version = HydraJob.current(), code_version()
    if config.nplm.calibration is not None:
        finished_run(config.nplm.calibration, "nplm.calibration", ("nplm",))
    compared = [_compared(config, place) for place in config.nplm.compare_with]
    point = point_of_training(resolved(composed), None)
    called = _called(config.dataset.name, config.data_seed, version)
    asked = Asked(composed, config.tracking, config.overwrite, job, point, called)
    if config.shard is not None:
        do_part(config.shard, asked, partial(_throw, config, job.folder))
        return
    RUN.once(partial(_test, config, job.folder, compared, version), asked)


def _called(dataset: str, seed: int, version: str) -> Called:
    return Called(f"nplm {dataset}", {"seed": str(seed), "code_version": version})


def _test(config: NplmConfig, folder: Path, compared: list[Compared], version: str) -> Record:
    """Throw toys, test the data and write the page; return the record."""
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


def _throw(config: NplmConfig, folder: Path, shard: Shard) -> str:
    """Throw the toys of a shard; return what was done."""
    from inferno_cli.nplm.analysis import Analysis
    from inferno_cli.runs.folder import PARTIAL
    from inferno_cli.training.environment import device_of

    events = config.dataset.validated(config.request, ())
    analysis = Analysis(config, events, folder / PARTIAL, device_of(config.trainer))
    return f"{analysis.throw(shard)} toys"


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
