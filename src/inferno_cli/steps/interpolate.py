"""make signals at new parameters from a grid of signals, and workspaces for a fit.

With conditional flows, and a Gaussian process for the yields; measured at points that trained nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.interpolation.settings import InterpolateConfig
from inferno_cli.progress import Stopwatch, progress
from inferno_cli.steps._logged import Asked, Called, RunStep, resolved

if TYPE_CHECKING:
    from inferno_cli.drawing.style import Pictures
    from inferno_cli.interpolation.grid import Grid
    from inferno_cli.interpolation.record import InterpolationRecord, TargetRecord
    from inferno_cli.interpolation.study import Compared, Flows
    from inferno_cli.runs.mlflow.run import Run

log = logging.getLogger(__name__)
SCHEMA = InterpolateConfig
TAKEN_BY = "`inferno fit workspace=RUN/at_.../workspace.json` takes its workspaces, `compare` and `log` it"
"""What takes its runs."""


class InterpolationRun(RunStep["InterpolationRecord"]):
    """Flows of the signal, and the workspaces that were made with them."""

    file = "interpolation.json"
    shown = file

    def load(self, folder: Path) -> InterpolationRecord:
        """Read ``interpolation.json``."""
        from inferno_cli.interpolation.record import InterpolationRecord

        return InterpolationRecord.load(folder / self.file)

    def called(self, record: InterpolationRecord) -> Called:
        """Return the dataset."""
        return _called(record.dataset, record.seed, record.code_version)

    def headline(self, record: InterpolationRecord) -> str:
        """Return where the flows hold, and where they fail."""
        said = []
        for name, group in record.groups.items():
            if name != "training":
                said.append(f"{name.replace('_', ' ')} {'holds' if group.holds else 'FAILS'}")
        return f"{', '.join(said)}; {len(record.targets)} workspaces"

    def show(self, record: InterpolationRecord) -> None:
        """Print the tables."""
        from inferno_cli.report.interpolation.tables import show

        show(record)

    def log(self, logged: Run, folder: Path, record: InterpolationRecord, *, checkpoint: bool) -> str:  # noqa: ARG002
        """Log numbers, workspaces and plots, with a table in Markdown."""
        from inferno_cli.report.interpolation.page import PAGE, as_markdown
        from inferno_cli.runs.mlflow.run import log_about

        said = as_markdown(record)
        log_about(logged, folder, record, said, ("training",))
        logged.metrics(record.metrics())
        logged.artifacts(folder / name for name in (self.file, PAGE))
        for target in record.targets:
            logged.artifacts([folder / target.workspace], Path(target.workspace).parent.name)
        logged.artifacts(sorted((folder / "plots").glob("*")), "plots")
        return said


RUN = InterpolationRun()


def run(config: InterpolateConfig, composed: Any) -> None:
    """Interpolate, and log what came of it."""
    from inferno_cli.code import code_version
    from inferno_cli.memory import LEAST_FOR_TORCH, require_memory
    from inferno_cli.runs.points import point_of_training
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.training.flows import require_zuko

    require_memory(LEAST_FOR_TORCH)
    require_zuko()
    job, version = HydraJob.current(), code_version()
    point = point_of_training(resolved(composed), None)
    called = _called(config.dataset.name, config.seed, version)
    asked = Asked(composed, config.tracking, config.overwrite, job, point, called)
    RUN.once(partial(_work, config, job.folder, version), asked)


def _called(dataset: str, seed: int, version: str) -> Called:
    return Called(f"interpolate {dataset}", {"seed": str(seed), "code_version": version})


def _work(config: InterpolateConfig, folder: Path, version: str) -> InterpolationRecord:
    """Train, compare and write the workspaces; return the record."""
    from inferno_cli.files import write_whole
    from inferno_cli.interpolation import study
    from inferno_cli.interpolation.grid import Grid
    from inferno_cli.interpolation.record import InterpolationRecord
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
    write_whole(folder / PAGE, as_html(record, pictures.png))
    return record


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
