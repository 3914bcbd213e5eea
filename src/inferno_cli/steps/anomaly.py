"""score events by how unlike the backgrounds they are: a variational autoencoder that sees no signal."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.anomaly.settings import AnomalyConfig
from inferno_cli.progress import Stopwatch
from inferno_cli.steps._logged import Asked, Called, RunStep, resolved

if TYPE_CHECKING:
    from inferno_cli.anomaly.record import AnomalyRecord
    from inferno_cli.anomaly.reference import Reference
    from inferno_cli.runs.mlflow.run import Run

log = logging.getLogger(__name__)
SCHEMA = AnomalyConfig
TAKEN_BY = "`inferno predict`, `compare` and `log` take it"
"""What takes its runs."""
NO_USE = {"model": "it trains an autoencoder, vae=NAME, with model.learning_rate and model.batch_size"}
"""Choices that would change nothing, with what stands in their place."""


class AnomalyRun(RunStep["AnomalyRecord"]):
    """A trained autoencoder."""

    file = "anomaly.json"
    shown = file

    def load(self, folder: Path) -> AnomalyRecord:
        """Read ``anomaly.json``."""
        from inferno_cli.anomaly.record import AnomalyRecord

        return AnomalyRecord.load(folder / self.file)

    def called(self, record: AnomalyRecord) -> Called:
        """Return the dataset."""
        return _called(record.dataset, record.seed, record.code_version)

    def headline(self, record: AnomalyRecord) -> str:
        """Return the area under the ROC curve, and the bound that is minimised."""
        area, error = record.scores[0].auc
        return f"AUC {area:.3f} +- {error:.3f}, -ELBO {record.negative_elbo:.3f}"

    def show(self, record: AnomalyRecord) -> None:
        """Print the tables."""
        from inferno_cli.report.anomaly.tables import show

        show(record)

    def log(self, logged: Run, folder: Path, record: AnomalyRecord, *, checkpoint: bool) -> str:
        """Log numbers and plots, with tables in Markdown."""
        from inferno_cli.anomaly import score
        from inferno_cli.anomaly.analysis import CHECKPOINT
        from inferno_cli.report.anomaly.page import PAGE
        from inferno_cli.report.anomaly.tables import description
        from inferno_cli.runs.mlflow.inputs import SPLITS
        from inferno_cli.runs.mlflow.run import log_about

        said = description(record)
        log_about(logged, folder, record, said, SPLITS)
        logged.epochs([{key: value for key, value in epoch.items() if value is not None} for epoch in record.epochs])
        logged.metrics(record.metrics())
        logged.artifacts(folder / name for name in (self.file, PAGE, score.FILE))
        logged.artifacts(sorted((folder / "plots").glob("*")), "plots")
        if checkpoint:
            logged.artifacts([folder / CHECKPOINT], CHECKPOINT.parent.name)
        return said


RUN = AnomalyRun()


def run(config: AnomalyConfig, composed: Any) -> float | None:
    """Train, evaluate and write the score.

    Returns:
        What a search minimises; None if it stopped this trial early.
    """
    from inferno_cli.anomaly.reference import Reference
    from inferno_cli.code import code_version
    from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
    from inferno_cli.runs.points import point_of_training
    from inferno_cli.runs.sweeps import HydraJob

    require_memory(LEAST_FOR_TORCH)
    job, version = HydraJob.current(), code_version()
    reference = Reference.find(config)
    point = point_of_training(resolved(composed), None if reference is None else reference.checksum)
    called = _called(config.dataset.name, config.seed, version)
    asked = Asked(composed, config.tracking, config.overwrite, job, point, called)
    record = RUN.once(partial(_work, config, job.folder, version, reference), asked)
    return None if record is None else record.value


def _called(dataset: str, seed: int, version: str) -> Called:
    return Called(f"{dataset} anomaly", {"seed": str(seed), "code_version": version, "model": "vae"})


def _work(config: AnomalyConfig, folder: Path, version: str, reference: Reference | None) -> AnomalyRecord:
    """Train and evaluate; return the record."""
    from inferno_cli.anomaly import score as scoring
    from inferno_cli.anomaly.analysis import Split, record, trained
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
    if reference is not None:
        reference.require_unseen(config, events)
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
    return found
