"""events -> training -> templates -> workspace -> fit -> report, logged to MLflow.

The only place that knows the order of the pipeline. Each part takes and gives frozen dataclasses.
"""

from __future__ import annotations

import logging
import math
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config import Step, TrainConfig
from inferno_cli.errors import OutputError
from inferno_cli.files import user_path

if TYPE_CHECKING:
    from inferno_cli.events import Events
    from inferno_cli.fit import FitResult
    from inferno_cli.runs.finished import FinishedRun
    from inferno_cli.runs.job import Job
    from inferno_cli.runs.record import Results
    from inferno_cli.training import Summary, Training
    from inferno_cli.workspace import Workspace

log = logging.getLogger(__name__)

HONEST, EVEN = 0.05, 0.3
"""Relative difference of sigma(mu) with the noise of the variations, and even part of a shape that dominates its odd
part (in bin errors), above which a note says so."""
CLOSED_FORM = 0.01
"""Relative difference of HESSE from the closed form of the Asimov fit above which a note says so."""
TRAINED_IN = "trained_in.yaml"
"""In the folder of a run that takes a network: the configuration that it was trained with."""


def schema() -> type[Step]:
    """Return the class of this step's configuration."""
    return TrainConfig


class Stopwatch:
    """Wall seconds of each part, said aloud when the part begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str, message: str) -> Iterator[None]:
        """Time one part."""
        log.info(message)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def run(config: TrainConfig, composed: Any) -> float | None:
    """Run the pipeline once.

    Args:
        config: The validated configuration.
        composed: The same as Hydra composed it, for the record.

    Returns:
        What a search minimises, the hard sigma(mu) on the validation split; None if it stopped this trial early.
    """
    from omegaconf import OmegaConf

    from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
    from inferno_cli.report.run.headline import headline
    from inferno_cli.report.run.summary import show
    from inferno_cli.runs import folder, search, status
    from inferno_cli.runs import pretrained as trained
    from inferno_cli.runs.finished import CONFIG_FILE
    from inferno_cli.runs.folder import HYDRA, OVERRIDES_FILE
    from inferno_cli.runs.job import Job, code_version
    from inferno_cli.runs.mlflow.results import log_results, result_stays
    from inferno_cli.runs.mlflow.run import tracked
    from inferno_cli.runs.mlflow.store import check
    from inferno_cli.runs.record import RESULTS_FILE, Results
    from inferno_cli.shell import argument

    require_memory(LEAST_FOR_TORCH)
    job, version = Job.current(), code_version()
    params = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(params, dict)
    settings = {str(key): value for key, value in params.items()}
    taken = None
    if config.trained_in is not None:
        taken = trained.find(config)
        if taken.folder.samefile(job.folder):
            raise OutputError(f"the network of trained_in is in {job.folder} itself. {folder.OTHER}")
        settings["trained_in"] = trained.checksum(taken)  # the network makes the point, not where it is
    point = status.point(settings)
    if config.overwrite:  # before anything is removed
        check(config.tracking)
    if (before := _before(config, composed, job, point)) is not None:
        log.info(f"this point was finished before; it is not run again ({argument('reuse', before)})")
        sys.stdout.write(_closing_line(before))
        return search.objective(Results.load(before / RESULTS_FILE))
    config_path = job.folder / CONFIG_FILE
    config_path.write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
    check(config.tracking)
    tags = {"seed": str(config.seed), "code_version": version, "model": config.model.kind}
    name = f"{config.dataset.name} {config.model.kind}" if job.sweep is None else job.name
    results: Results | None = None
    try:
        with (
            result_stays(job.folder),
            tracked(
                config.tracking,
                name=name,
                params={str(key): value for key, value in params.items()},
                tags=tags,
                sweep_folder=job.sweep,
            ) as logged,
        ):
            logged.remember(job.folder)
            overrides = job.folder / HYDRA / OVERRIDES_FILE
            logged.artifacts([config_path, *([overrides] if overrides.is_file() else [])])
            try:
                results, files = pipeline(config, job.folder, version, taken)
            except search.Pruned as stop:
                logged.tags({"pruned": str(stop)})
                status.Status("pruned", point, error=str(stop)).write(job.folder)
                log.info(f"pruned: {stop}")
                return None
            status.finish(job.folder, point)  # whatever becomes of the tracking
            log_results(logged, results, headline(results), files)
    finally:
        if results is not None and folder.holds_finished(job.folder):
            show(results)
            sys.stdout.write(_closing_line(job.folder))
    return search.objective(results)


def _before(config: TrainConfig, composed: Any, job: Job, point: str) -> Path | None:
    """Begin the run in its folder, unless this point has finished: return where.

    Raises:
        OutputError: If the folder holds a finished run.
    """
    from inferno_cli.runs import folder, status
    from inferno_cli.shell import argument

    if not folder.begin(job.folder, composed, point, overwrite=config.overwrite):
        status.verify(job.folder)
        if job.sweep is None and config.reuse is None:
            raise OutputError(
                f"{job.folder} holds this very run, finished. {folder.OTHER}, set overwrite=true to train again, or "
                f"take it as it is: {argument('reuse', job.folder)}"
            )
        return job.folder
    before = None if config.reuse is None else status.finished(user_path(config.reuse), point)
    if before is not None:
        status.reused(job.folder, before, point).write(job.folder)
    return before


def _closing_line(folder: Path) -> str:
    from inferno_cli.report.run.summary import closing_line
    from inferno_cli.runs.record import RESULTS_FILE

    return closing_line(folder / RESULTS_FILE) + "\n"


def pipeline(
    config: TrainConfig, folder: Path, version: str, taken: FinishedRun | None = None
) -> tuple[Results, dict[str, list[Path]]]:
    """Train, bin, fit and report.

    Args:
        config: The configuration.
        folder: Where the files of the run go; ``results.json`` is written last.
        version: Version of the code.
        taken: The finished run whose network is taken; then nothing is trained.

    Returns:
        The record, and the files of the run by folder of the store.
    """
    from inferno_cli import training, workspace
    from inferno_cli.config import Measurement
    from inferno_cli.fit import fit_workspace
    from inferno_cli.report.run.figures import draw
    from inferno_cli.report.run.yields import write_yields
    from inferno_cli.runs import search
    from inferno_cli.runs.finished import CONFIG_FILE
    from inferno_cli.runs.pretrained import require_same_division
    from inferno_cli.runs.record import RESULTS_FILE

    clock = Stopwatch()
    statistic = None
    if taken is not None:
        statistic = taken.statistic()
        training.require_fits(config, statistic, taken.folder)
    with clock.part("events", f"events: {config.dataset.name}"):
        events = config.dataset.load(config.request)
    if events.label:
        log.info(f"events: {events.label}")
    if events.assignment is not None:
        events.assignment.save(folder)
        events = replace(events, assignment=None)  # as large as the ids of all events
    origin: list[Path] = []
    if taken is not None:
        require_same_division(config, taken, events.checksum)
        origin = [folder / TRAINED_IN]
        shutil.copyfile(taken.folder / CONFIG_FILE, origin[0])
    epochs = "exact, not trained" if config.model.kind == "optimal" else f"at most {config.trainer.max_epochs} epochs"
    what = f"{config.model.kind}, {epochs}" if taken is None else f"none, the network of {taken.folder}"
    with clock.part("training", f"training: {what}"):
        checkpoints = (folder / training.CHECKPOINT).parent
        if taken is None or statistic is None:
            trained = training.train(config, events, checkpoints, search.watcher(config.trainer.max_epochs))
        else:
            trained = training.take(config, events, statistic, taken.folder, checkpoints)
    with clock.part("templates", "templates: filling and merging bins"):
        summary = training.summarise(config, events, trained.module)
        templates_path = folder / "templates.root"
        summary.templates.save(templates_path)
    if summary.templates.n_bins < config.model.bins:
        for line in _merged(config, summary):
            log.info(line)
    with clock.part("onnx", "onnx: the network and its bins as ONNX"):
        onnx_path = folder / "model.onnx"
        training.export(
            training.Statistic(trained.module, events.features, summary.templates.groups),
            onnx_path,
            training.export_sample(events),
            dataset=events.name,
            label=events.label,
            code_version=version,
        )
    with clock.part("fit", f"fit: {config.fit.data} data"):
        built = workspace.build(
            summary.templates,
            Measurement.from_config(config, config.nuisance.fit),
            poi_bounds=config.likelihood.poi_bounds,
            observed=config.fit.data == "observed",
            folder=folder,
        )
        fit = fit_workspace(built.spec, config.grouped_fit, where=str(built.path))
    exported: tuple[Path, ...] = ()
    if config.export:
        with clock.part("export", "export: ROOT histograms, Combine datacard, cabinetry configuration"):
            exported = workspace.export(built, folder / "export", events.label)
    record = _record(config, events, trained, summary, fit, version, built, clock.seconds, taken)
    plots: tuple[Path, ...] = ()
    if config.report.plots:
        with clock.part("report", "report: plots"):
            plots = draw(
                record,
                folder=folder / "plots",
                formats=config.report.formats,
                templates=summary.templates,
                workspace=built.spec,
                fit=fit,
            )
    results_path = folder / RESULTS_FILE
    record = record.model_copy(update={"timing": dict(clock.seconds)})
    tables = write_yields(record, folder)
    record.save(results_path)
    files = {
        "": [results_path, built.path, built.config, templates_path, onnx_path, *tables, *origin],
        "plots": list(plots),
        "export": list(exported),
    }
    if config.tracking.log_checkpoint:
        files["checkpoints"] = [trained.checkpoint]
    return record, files


def _merged(config: TrainConfig, summary: Summary) -> Iterator[str]:
    """Say which bins were merged, by which rule, and which key changes it."""
    groups = "  ".join("+".join(map(str, group)) for group in summary.templates.groups)
    yield f"templates: {config.model.bins} bins merged to {summary.templates.n_bins}: {groups}"
    if summary.n_supported < config.model.bins:
        yield (
            f"templates: {summary.n_supported} bins have enough events (binning.min_yield="
            f"{config.binning.min_yield:g}, binning.min_effective_events={config.binning.min_effective_events:g})"
        )
    if summary.n_supported > summary.templates.n_bins:
        yield (
            f"templates: {summary.templates.n_bins} of these {summary.n_supported} bins give the smallest sigma(mu) "
            "once the noise of the variations is counted (binning.merge_noise=true)"
        )


def _record(
    config: TrainConfig,
    events: Events,
    trained: Training,
    summary: Summary,
    fit: FitResult,
    version: str,
    workspace: Workspace,
    seconds: dict[str, float],
    taken: FinishedRun | None,
) -> Results:
    """Gather what the parts found."""
    from inferno_cli.config import POI
    from inferno_cli.runs.fit_record import fit_records
    from inferno_cli.runs.pretrained import provenance
    from inferno_cli.runs.record import PartsRecord, PoiVarianceRecord, Results, TrainingRecord, bin_records, finite

    judged = trained.validation
    expected = config.dataset.quoted_signal()
    return Results(
        model=config.model.kind,
        dataset=events.name,
        label=events.label,
        seed=config.seed,
        poi_variance=PoiVarianceRecord(
            validation_soft=finite(judged.soft),
            validation_hard=finite(judged.hard),
            validation_honest=finite(judged.honest),
            templates=summary.poi_variance,
            honest=finite(summary.honest_variance),
        ),
        noise_information=summary.noise_information,
        noise_shares=summary.noise_shares,
        parts={name: PartsRecord.model_validate(vars(item)) for name, item in summary.parts.items()},
        stability=summary.stability,
        bins=bin_records(summary.templates),
        trained_in=None if taken is None else provenance(taken, config),
        training=TrainingRecord(
            best_epoch=trained.best.number,
            loss=tuple(finite(epoch.loss) for epoch in trained.epochs),
            sigma_mu_soft=tuple(finite(math.sqrt(epoch.evaluation.soft)) for epoch in trained.epochs),
            sigma_mu_hard=tuple(finite(math.sqrt(epoch.evaluation.hard)) for epoch in trained.epochs),
            nuisance=config.parameters(config.nuisance.train),
            history=tuple(epoch.metrics() for epoch in trained.epochs),
        )
        if taken is None
        else taken.results.training,
        dataset_checksum=events.checksum,
        code_version=version,
        workspace=str(workspace.path),
        timing=dict(seconds),
        sigma_s=None if expected is None else expected * fit.parameters[POI].hesse,
        cramer_rao_bound_s=config.dataset.cramer_rao_bound(config.nuisance.fit, config.nuisance.unconstrained),
        **fit_records(
            replace(fit, notes=(*fit.notes, *_template_notes(config, summary), *_closed_form_notes(fit, summary))),
            workspace.spec,
        ),
    )


def _template_notes(config: TrainConfig, summary: Summary) -> Iterator[str]:
    """Say what the templates leave open."""
    plain, honest = math.sqrt(summary.poi_variance), math.sqrt(summary.honest_variance)
    if honest > (1 + HONEST) * plain:
        yield (
            f"sigma(mu) is {plain:.3g} from the templates, and {honest:.3g} once the noise of their variations is "
            "counted: more simulated events would help"
        )
    for name, share in summary.noise_shares.items():
        if share > config.binning.max_noise_information:
            yield (
                f"{share:.0%} of what the fit knows of {name} is noise of its variations, more than "
                f"binning.max_noise_information={config.binning.max_noise_information:g}: its constraint is too small"
            )
    for name, item in summary.parts.items():
        if item.even > max(item.odd, EVEN):
            yield (
                f"up and down of {name} move the templates to the same side by {item.even:.2g} bin errors, apart by "
                f"{item.odd:.2g}: the training and HESSE see only the difference, take MINOS"
            )


def _closed_form_notes(fit: FitResult, summary: Summary) -> Iterator[str]:
    """Say where HESSE of the Asimov fit is not the closed form of the same likelihood, which the training used."""
    closed, hesse = math.sqrt(summary.poi_variance), fit.parameters[fit.poi].hesse
    if fit.data == "asimov" and not abs(hesse / closed - 1) <= CLOSED_FORM:
        yield (
            f"HESSE of {fit.poi} is {hesse:.4g}, and {closed:.4g} in closed form from the templates, right for "
            "Asimov data: please report this, with the workspace"
        )
