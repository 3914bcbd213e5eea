"""make signals at new parameters from a grid of signals, and workspaces for a fit.

With conditional flows, and a Gaussian process for the yields; measured at points that trained nothing.
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.interpolation.settings import InterpolateConfig
from inferno_cli.progress import Stopwatch, progress

if TYPE_CHECKING:
    from inferno_cli.drawing.style import Pictures
    from inferno_cli.interpolation.grid import Grid
    from inferno_cli.interpolation.record import InterpolationRecord, TargetRecord
    from inferno_cli.interpolation.study import Compared, Flows

log = logging.getLogger(__name__)
SCHEMA = InterpolateConfig


def run(config: InterpolateConfig, composed: Any) -> None:
    """Interpolate, and log what came of it."""
    from inferno_cli.interpolation.record import INTERPOLATION_FILE, InterpolationRecord
    from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
    from inferno_cli.report.interpolation.tables import show
    from inferno_cli.runs import folder, points
    from inferno_cli.runs.mlflow.store import check
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.steps._logged import resolved
    from inferno_cli.training.flows import require_zuko

    require_memory(LEAST_FOR_TORCH)
    require_zuko()
    job = HydraJob.current()
    check(config.tracking)
    point = points.point_of_training(resolved(composed), None)
    path = job.folder / INTERPOLATION_FILE
    if folder.begin(job.folder, composed, point, overwrite=config.overwrite):
        for place in job.folder.glob("at_[-0-9]*"):  # of a run before, perhaps at other points
            shutil.rmtree(place)
        _logged(config, composed, job, point)
    else:
        folder.verify(job.folder)
        log.info("this was interpolated here before, with the same settings; overwrite=true does it again")
    show(InterpolationRecord.load(path))
    sys.stdout.write(f"results: {path}\n")


def _logged(config: InterpolateConfig, composed: Any, job: Any, point: str) -> None:
    """Do the work within a run of MLflow."""
    from omegaconf import OmegaConf

    from inferno_cli.code import code_version
    from inferno_cli.report.interpolation.page import as_markdown
    from inferno_cli.runs.folder import CONFIG_FILE, finish
    from inferno_cli.runs.mlflow.afterwards import DESCRIPTION
    from inferno_cli.runs.mlflow.run import log_configuration, tracked
    from inferno_cli.steps._logged import resolved

    version = code_version()
    (job.folder / CONFIG_FILE).write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
    name = f"interpolate {config.dataset.name}" if job.sweep is None else job.name
    tags = {"seed": str(config.seed), "code_version": version}
    with tracked(config.tracking, name=name, params=resolved(composed), tags=tags, sweep_folder=job.sweep) as logged:
        if logged is not None:
            log_configuration(logged, job.folder)
        record, files = _work(config, job.folder, version)
        finish(job.folder, point)
        if logged is not None:
            logged.metrics(record.metrics())
            logged.tags({"dataset_checksum": record.dataset_checksum, "label": record.label or "none"})
            logged.tags({DESCRIPTION: as_markdown(record)})
            logged.artifacts([file for file in files if file.parent == job.folder])
            for below in dict.fromkeys(file.parent for file in files if file.parent != job.folder):
                logged.artifacts([file for file in files if file.parent == below], below.name)


def _work(config: InterpolateConfig, folder: Path, version: str) -> tuple[InterpolationRecord, list[Path]]:
    """Return the record, which is written last, and all files."""
    from inferno_cli.files import write_whole
    from inferno_cli.interpolation import study
    from inferno_cli.interpolation.grid import Grid
    from inferno_cli.interpolation.record import INTERPOLATION_FILE, InterpolationRecord
    from inferno_cli.interpolation.workspace import write_workspaces
    from inferno_cli.report.interpolation.page import PAGE, as_html

    clock = Stopwatch()
    with clock.part("events", f"events: {config.dataset.name}"):
        events = config.dataset.load(config.request)
        grid = Grid.of(events, config.parameter_names, config.points, config.held_out)
    flows = _trained(config, grid, clock)
    with clock.part("pulls", "pulls: flow against simulation in bins"):
        found = study.compared(grid, flows, events.features, config.pulls, config.seed, config.dataset.log_density)
    process, yields = (None, None) if config.yields is None else study.fit_yields(grid, config.seed)
    targets: list[TargetRecord] = []
    if config.at and process is not None:
        with clock.part("templates", f"templates: at {len(config.at)} new points"):
            targets = write_workspaces(config, events, grid, flows.ensemble, process, folder)
    groups = found.groups()
    record = InterpolationRecord(
        dataset=events.name,
        label=events.label,
        seed=config.seed,
        parameters=grid.parameters,
        features=events.features,
        members=config.flow.members,
        groups=groups,
        points=tuple(found.points),
        yields=yields,
        targets=tuple(targets),
        flows=flows.records,
        notes=tuple(study.notes(groups)),
        dataset_checksum=events.checksum,
        code_version=version,
        timing=dict(clock.seconds),
    )
    pictures = _pictures(config, record, found, folder)
    page, path = folder / PAGE, folder / INTERPOLATION_FILE
    write_whole(page, as_html(record, pictures.png))
    record.save(path)
    return record, [path, page, *(folder / target.workspace for target in targets), *pictures.files]


def _trained(config: InterpolateConfig, grid: Grid, clock: Stopwatch) -> Flows:
    """Train all flows."""
    import torch

    from inferno_cli.interpolation import study
    from inferno_cli.training.environment import device_of

    torch.set_num_threads(config.trainer.threads)
    total = study.n_steps(grid, config)
    said = f"flows: {total // config.flow.iterations}, {config.flow.iterations} iterations each"
    with clock.part("flows", said), progress(config.trainer.progress, "flows", total) as advance:
        return study.train(grid, config, device_of(config.trainer), advance)


def _pictures(config: InterpolateConfig, record: InterpolationRecord, found: Compared, folder: Path) -> Pictures:
    """Draw what is to be drawn."""
    from inferno_cli.drawing.style import save_figures
    from inferno_cli.report.interpolation.figures import figures
    from inferno_cli.report.presentation import presentation

    if not config.report.plots:
        return save_figures((), folder / "plots")
    shown = presentation(config.report, config.dataset.downsample_factor)
    axes = config.pulls.features or record.features[:2]
    drawn = figures(record, found.pulls, found.comparisons, axes, shown)
    return save_figures(drawn, folder / "plots", config.report.formats)
