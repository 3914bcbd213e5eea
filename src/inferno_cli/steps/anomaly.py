"""score events by how unlike the backgrounds they are: a variational autoencoder that sees no signal."""

from __future__ import annotations

import logging
import sys
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
    from inferno_cli.steps._logged import resolved

    require_memory(LEAST_FOR_TORCH)
    job, version = HydraJob.current(), code_version()
    check(config.tracking)
    reference = Reference.find(config)
    point = points.point_of_training(resolved(composed), None if reference is None else reference.checksum)
    if begin(job.folder, composed, point, overwrite=config.overwrite):
        record = _run_and_log(config, composed, job, point, version, reference)
    else:
        verify(job.folder)
        log.info("this point was finished here before; overwrite=true trains again")
        record = AnomalyRecord.load(job.folder / FILE)
    if record is None:
        return None
    _show(record, job.folder)
    return record.value


def _run_and_log(
    config: AnomalyConfig, composed: Any, job: Any, point: str, version: str, reference: Reference | None
) -> AnomalyRecord | None:
    """Do the work and log it; None where a search stopped the trial early."""
    from omegaconf import OmegaConf

    from inferno_cli.runs import search
    from inferno_cli.runs.folder import CONFIG_FILE, Status, finish
    from inferno_cli.runs.mlflow.run import log_configuration, tracked
    from inferno_cli.steps._logged import resolved

    (job.folder / CONFIG_FILE).write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
    name = f"{config.dataset.name} anomaly" if job.sweep is None else job.name
    tags = {"seed": str(config.seed), "code_version": version, "model": "vae"}
    with tracked(config.tracking, name=name, params=resolved(composed), tags=tags, sweep_folder=job.sweep) as logged:
        if logged is not None:
            log_configuration(logged, job.folder)
        try:
            record = _work(config, job.folder, version, reference)
        except search.Pruned as stop:
            if logged is not None:
                logged.tags({"pruned": str(stop)})
            Status("pruned", point, error=str(stop)).write(job.folder)
            search.log.info(f"pruned: {stop}")
            return None
        finish(job.folder, point)  # whatever becomes of the tracking
        if logged is not None:
            _log(logged, job.folder, record, checkpoint=config.tracking.log_checkpoint)
    return record


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


def _log(logged: Run, folder: Path, record: AnomalyRecord, *, checkpoint: bool) -> None:
    """Log what was found, with a description in Markdown."""
    from inferno_cli.anomaly import record as recorded
    from inferno_cli.anomaly import score
    from inferno_cli.anomaly.analysis import CHECKPOINT
    from inferno_cli.report.anomaly.page import PAGE
    from inferno_cli.report.anomaly.tables import description
    from inferno_cli.runs.mlflow.afterwards import DESCRIPTION

    logged.tags({"dataset_checksum": record.dataset_checksum, "label": record.label or "none"})
    logged.epochs([{key: value for key, value in epoch.items() if value is not None} for epoch in record.epochs])
    logged.metrics(record.metrics())
    logged.tags({DESCRIPTION: description(record)})
    logged.artifacts(folder / name for name in (recorded.FILE, PAGE, score.FILE))
    logged.artifacts(sorted((folder / "plots").glob("*")), "plots")
    if checkpoint:
        logged.artifacts([folder / CHECKPOINT], CHECKPOINT.parent.name)


def _show(record: AnomalyRecord, folder: Path) -> None:
    """Print the tables, and where the record and the score are."""
    from inferno_cli.anomaly.record import FILE
    from inferno_cli.report.anomaly.tables import show

    show(record)
    sys.stdout.write(f"results: {folder / FILE}\n")
