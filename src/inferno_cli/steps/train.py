"""events -> training -> templates -> workspace -> fit -> report, logged to MLflow.

The only place that knows the order of the pipeline. Each part takes and gives frozen dataclasses.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import FitFailedError, OutputError, SingularInformationError, TemplateError
from inferno_cli.files import read_json
from inferno_cli.progress import Stopwatch
from inferno_cli.steps._logged import Asked, do_part, resolved
from inferno_cli.steps._networks import Networks, networks, train_part
from inferno_cli.steps._results import MeasuredRun, of_training

if TYPE_CHECKING:
    from inferno_cli.config.schema import Coverage
    from inferno_cli.events.sample import Events
    from inferno_cli.fit.result import FitResult
    from inferno_cli.likelihood.spec import Spec
    from inferno_cli.runs.record import Results
    from inferno_cli.runs.run_folder import RunFolder
    from inferno_cli.training.epochs import Training
    from inferno_cli.training.final_templates import FinalTemplates
    from inferno_cli.training.members import Member
    from inferno_cli.training.observables import Observables

log = logging.getLogger(__name__)
SCHEMA = TrainConfig
TAKEN_BY = "`inferno predict`, `explain`, `compare`, `log` and trained_in take it"
"""What takes its runs."""
RUN = MeasuredRun()


def run(config: TrainConfig, composed: Any) -> float | None:
    """Run the pipeline once.

    Returns:
        What a search minimises (``runs.search.objective``); None if it stopped this trial early.
    """
    from inferno_cli.code import code_version
    from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
    from inferno_cli.runs import folder, points, pretrained
    from inferno_cli.runs.folder import begin_or_reuse
    from inferno_cli.runs.mlflow.store import check
    from inferno_cli.runs.search import objective
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.shell import argument

    require_memory(LEAST_FOR_TORCH)
    job, version = HydraJob.current(), code_version()
    network = None
    if config.trained_in is not None:
        network = pretrained.find(config)
        if network.folder.samefile(job.folder):
            raise OutputError(f"the network of trained_in is in {job.folder} itself. {folder.OTHER}")
    checksum = None if network is None else pretrained.checksum(network)
    point = points.point_of_training(resolved(composed), checksum)
    called = of_training(config.dataset.name, config.model.name, config.seed, version)
    asked = Asked(composed, config.tracking, config.overwrite, job, point, called)
    if config.shard is not None:
        do_part(config.shard, asked, partial(train_part, config, job.folder, point))
        return None
    if config.overwrite:  # before anything is removed
        check(config.tracking)
    if (before := begin_or_reuse(config, composed, job.folder, point, in_sweep=job.sweep is not None)) is not None:
        log.info(f"this point was finished before; it is not run again ({argument('reuse', before)})")
        RUN.tell(before)
        return objective(RUN.load(before))
    results = RUN.begun(partial(pipeline, config, job.folder, version, point, network), asked)
    return None if results is None else objective(results)


def pipeline(
    config: TrainConfig, folder: Path, version: str, point: str, pretrained: RunFolder | None = None
) -> Results:
    """Train, bin, fit and report; return the record.

    With the network of a finished run, ``pretrained``, nothing is trained. A training of the same ``point`` that was
    interrupted in this folder goes on.
    """
    from inferno_cli.histograms.templates import save
    from inferno_cli.likelihood.writers import cabinetry, datacard, pyhf
    from inferno_cli.report.presentation import presentation
    from inferno_cli.report.run.figures import draw
    from inferno_cli.report.run.summary import write_tables
    from inferno_cli.runs.folder import TEMPLATES_FILE
    from inferno_cli.runs.training_record import merging, pruning, training_results, with_members
    from inferno_cli.training.onnx import export_all

    clock = Stopwatch()
    trained = networks(config, folder, clock, point, pretrained)
    events = trained.events
    with clock.part("templates", "templates: filling and merging bins"):
        observables, final = _templates(config, events, trained.chosen)
        members = _members(config, trained, final)
        stored = tuple(replace(item, observed=None) if config.is_blind else item for item in final.channels)
        save(stored, folder / TEMPLATES_FILE)
    for line in (*merging(config, final), *pruning(config, final)):
        log.info(line)
    with clock.part("onnx", "onnx: the network and its bins as ONNX"):
        about = {"model": config.model.name, "dataset": events.name, "label": events.label, "code_version": version}
        about |= {"inputs": json.dumps(config.dataset.inputs.as_json())}
        export_all(observables, folder, events, **about)
    blinding = ", blinded" if config.fit.data == "observed" and config.is_blind else ""
    with clock.part("fit", f"fit: {config.fit.data} data{blinding}"):
        likelihood, fit = _fit(config, folder, final, events.blinding_key)
        cabinetry.write(likelihood, folder)
    if config.export:
        with clock.part("export", "export: ROOT histograms, Combine datacard, cabinetry configuration"):
            data = "observed events" if config.fit.data == "observed" and not config.is_blind else "Asimov data"
            datacard.write(likelihood, folder / "export", data=data, label=events.label)
    path = folder / pyhf.FILE
    record = training_results(
        config, events, trained.chosen, final, path, fit, version=version, seconds=clock.seconds, pretrained=pretrained
    )
    record = with_members(record, config, members)
    if config.coverage is not None:
        with clock.part("coverage", "coverage: pseudo-experiments whose truth is known"):
            record = _with_coverage(record, config, config.coverage, events, observables, final, path)
    if config.report.plots:
        with clock.part("report", "report: plots"):
            shown = presentation(config.report, config.dataset.downsample_factor)
            by_channel = {item.channel: item for item in stored}
            draw(record, folder=folder / "plots", formats=config.report.formats, templates=by_channel, shown=shown)
    record = record.model_copy(update={"timing": dict(clock.seconds)})
    write_tables(record, folder)
    return record


def _templates(config: TrainConfig, events: Events, trained: Sequence[Training]) -> tuple[Observables, FinalTemplates]:
    """Return the networks with the bins that are fitted, and the templates in these."""
    from inferno_cli.events.channels import Channels
    from inferno_cli.training.evaluation import Likelihoods
    from inferno_cli.training.final_templates import final_templates
    from inferno_cli.training.observables import Observables

    observables = Observables(tuple(item.networks for item in trained), Channels(config.channels))
    final = final_templates(
        observables,
        Likelihoods.from_config(config),
        events,
        symmetrise=config.likelihood.symmetrise,
        prune=config.likelihood.prune,
        keep=config.named_in_fit,
        seed=config.data_seed,
    )
    return replace(observables, groups={item.channel: item.groups for item in final.channels}), final


def _members(config: TrainConfig, trained: Networks, final: FinalTemplates) -> list[Member]:
    """Return the members, with the templates of each; ``final`` has those of the chosen ones."""
    from inferno_cli.training.members import Member

    found = []
    for number, trainings in trained.complete.items():
        chosen_for = tuple(fold for fold, training in enumerate(trainings) if training is trained.chosen[fold])
        templates: FinalTemplates | None = final
        if len(chosen_for) < len(trainings):
            try:
                _, templates = _templates(config, trained.events, trainings)
            except SingularInformationError:
                templates = None
        found.append(Member(number, trainings, templates, chosen_for))
    return found


def _fit(config: TrainConfig, folder: Path, final: FinalTemplates, key: str) -> tuple[Spec, FitResult]:
    """Write the workspace and fit; return the likelihood that may be written to other files, and the fit.

    Blinded observed data are fitted, and hidden with offsets drawn from ``key``: no file has them, nor toys around them
    that a killed fit could go on with.
    """
    from inferno_cli.fit.analysis import fit_workspace
    from inferno_cli.fit.blinding import blinded, errors_without_numbers
    from inferno_cli.histograms.fitted import fitted
    from inferno_cli.likelihood.writers import pyhf
    from inferno_cli.runs.folder import PARTIAL

    measurement, bounds = final.measurement, config.likelihood.poi_bounds
    settings = config.fit_of(final.measurement.parameters)
    is_hidden = config.fit.data == "observed" and config.is_blind
    shown = config.fit.data == "observed" and not is_hidden
    likelihood = fitted(final.channels, measurement, poi_bounds=bounds, observed=shown)
    path = folder / pyhf.FILE
    content = pyhf.write(likelihood, path)
    if not is_hidden:
        return likelihood, fit_workspace(content, settings, where=str(path), partial=folder / PARTIAL)
    hidden = fitted(final.channels, measurement, poi_bounds=bounds, observed=True)
    with errors_without_numbers():
        fit = fit_workspace(pyhf.workspace(hidden), settings, where="the blinded data")
    return likelihood, blinded(fit, key)


def _with_coverage(
    record: Results,
    config: TrainConfig,
    settings: Coverage,
    events: Events,
    observables: Observables,
    final: FinalTemplates,
    workspace: Path,
) -> Results:
    """Add the coverage of the intervals; where no pseudo-data can be had, a note says why, and the rest stays."""
    from inferno_cli.runs.coverage import coverage

    spec, where = read_json(workspace), str(workspace)
    try:
        studied = coverage(config, settings, events, observables, final.channels, final.measurement, spec, where)
    except (TemplateError, FitFailedError) as error:
        return record.model_copy(update={"notes": (*record.notes, f"no coverage: {error}")})
    return record.model_copy(update={"coverage": studied, "notes": (*record.notes, *studied.notes())})
