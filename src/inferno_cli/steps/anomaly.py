"""score events by how unlike the backgrounds they are: a variational autoencoder that sees no signal."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.anomaly.settings import AnomalyConfig
from inferno_cli.progress import Stopwatch

if TYPE_CHECKING:
    from inferno_cli.anomaly.record import AnomalyRecord
    from inferno_cli.anomaly.reference import Reference
    from inferno_cli.runs.mlflow.run import Run

log = logging.getLogger(__name__)
SCHEMA = AnomalyConfig
COMPARED = True
"""Whether `inferno compare` takes its runs: a workflow ends with that."""


def run(config: AnomalyConfig, composed: Any) -> float | None:
    """Train, evaluate and write the score.

    Returns:
        What a search minimises; None if it stopped this trial early.
    """
    from inferno_cli.anomaly.record import FILE, AnomalyRecord
    from inferno_cli.anomaly.reference import Reference
    from inferno_cli.code import code_version
    from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
    from inferno_cli.runs import points
    from inferno_cli.runs.folder import begin, verify
    from inferno_cli.runs.mlflow.store import check
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.steps._logged import resolved, run_and_log

    require_memory(LEAST_FOR_TORCH)
    job, version = HydraJob.current(), code_version()
    check(config.tracking)
    reference = Reference.find(config)
    point = points.point_of_training(resolved(composed), None if reference is None else reference.checksum)
    if begin(job.folder, composed, point, overwrite=config.overwrite):
        record = run_and_log(
            partial(_work, config, job.folder, version, reference),
            composed,
            config.tracking,
            job,
            point,
            name=called(config.dataset.name),
            tags={"seed": str(config.seed), "code_version": version, "model": "vae"},
            logs=log_finished,
            show=_show,
        )
        return None if record is None else record.value
    verify(job.folder)
    log.info("this point was finished here before; overwrite=true trains again")
    record = AnomalyRecord.load(job.folder / FILE)
    _show(job.folder, record)
    return record.value


def called(dataset: str) -> str:
    """Return what a run is called in MLflow."""
    return f"{dataset} anomaly"


def _work(config: AnomalyConfig, folder: Path, version: str, reference: Reference | None) -> AnomalyRecord:
    """Return the record, which is written to the folder last."""
    from inferno_cli.anomaly import score as scoring
    from inferno_cli.anomaly.analysis import Split, record, trained
    from inferno_cli.anomaly.record import FILE
    from inferno_cli.report.anomaly.page import write
    from inferno_cli.report.presentation import presentation
    from inferno_cli.runs.search import watcher
    from inferno_cli.training.onnx import export_sample

    clock = Stopwatch()
    with clock.part("events", f"events: {config.dataset.name}"):
        events = config.dataset.load(config.request)
        split = Split.of(events)
    if events.label:
        log.info(f"events: {events.label}")
    if events.assignment is not None:
        events.assignment.save(folder)
    with clock.part("training", f"training: a VAE on the backgrounds, at most {config.trainer.max_epochs} epochs"):
        network, score = trained(config, events, split, folder, watcher(config.trainer.max_epochs))
    with clock.part("evaluation", "evaluation: the template split, ROC and significances"):
        found = record(config, events, split, network, score, reference, version)
    with clock.part("onnx", "onnx: the score as ONNX"):
        about = {"dataset": events.name, "label": events.label, "code_version": version}
        score.export(folder / scoring.FILE, events.features, export_sample(events.template), **about)
    found = found.model_copy(update={"timing": dict(clock.seconds)})
    shown = presentation(config.report, config.dataset.downsample_factor)
    write(found, folder, plots=config.report.plots, formats=config.report.formats, shown=shown)
    found.save(folder / FILE)
    return found


def log_finished(logged: Run, folder: Path, *, checkpoint: bool) -> str:
    """Log what the run that has finished in a folder found; return its description in Markdown."""
    from inferno_cli.anomaly import score
    from inferno_cli.anomaly.analysis import CHECKPOINT
    from inferno_cli.anomaly.record import FILE, AnomalyRecord
    from inferno_cli.report.anomaly.page import PAGE
    from inferno_cli.report.anomaly.tables import description
    from inferno_cli.runs.mlflow.inputs import SPLITS
    from inferno_cli.runs.mlflow.run import log_about

    record = AnomalyRecord.load(folder / FILE)
    said = description(record)
    log_about(logged, folder, record, said, SPLITS)
    logged.tags({"model": "vae"})
    logged.epochs([{key: value for key, value in epoch.items() if value is not None} for epoch in record.epochs])
    logged.metrics(record.metrics())
    logged.artifacts(folder / name for name in (FILE, PAGE, score.FILE))
    logged.artifacts(sorted((folder / "plots").glob("*")), "plots")
    if checkpoint:
        logged.artifacts([folder / CHECKPOINT], CHECKPOINT.parent.name)
    return said


def _show(folder: Path, record: AnomalyRecord) -> None:
    """Print the tables, and where the record and the score are."""
    from inferno_cli.anomaly.record import FILE
    from inferno_cli.report.anomaly.tables import show

    show(record)
    sys.stdout.write(f"results: {folder / FILE}\n")
