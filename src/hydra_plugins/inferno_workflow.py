"""Points of a multirun that run elsewhere: a launcher that writes them down, and a sweeper that runs one of them.

A multirun leaves ``multirun.yaml`` in its folder, which says what each of its jobs is, and where the command was given.
The workflow beside it only has to call jobs by their numbers; nothing is quoted twice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class WorkflowLauncher(Launcher):
    """Writes the jobs as a workflow, and runs none of them."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.points: list[Any] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Keep what ``launch`` needs; refuse what is no workflow before anything is written."""
        from inferno_cli.runs.workflow import require_workflow, settings_of

        self.config, self.hydra_context = config, hydra_context
        self.chosen = settings_of(self.settings)
        require_workflow(config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Check every job, and write the files; of several batches the last one writes all jobs."""
        from inferno_cli.choices import STEPS, choices
        from inferno_cli.progress import progress
        from inferno_cli.runs.workflow import point, write

        step = str(self.config.hydra.job.config_name)
        module = choices(STEPS)[step].load()
        with progress("auto", "points checked", len(job_overrides)) as advance:
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
                self.points.append(point(number, overrides, composed, module.SCHEMA))
                advance()
        folder = Path(self.config.hydra.sweep.dir)
        write(folder, step, self.points, self.chosen, is_compared=hasattr(module, "RUN"))
        place = f"{len(self.points)} points in {folder.absolute()}"
        sys.stdout.write(f"workflow: {place}; next, there: snakemake --cores N, or condor_submit_dag points.dag\n")
        return []


class PointSweeper(Sweeper):
    """Runs one job of a multirun as the multirun would have done."""

    def __init__(self, number: int, **_: Any) -> None:
        self.number = number

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what ``sweep`` needs."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the job, or the part of it that is asked for, and say of the last one how the multirun ended."""
        from inferno_cli.runs.mlflow.afterwards import link
        from inferno_cli.runs.mlflow.sweep import PARENT_FILE, SweepCallback, end_parent
        from inferno_cli.runs.sweeps import is_whole, planned

        assert self.config is not None
        assert self.launcher is not None
        SweepCallback.folder = None  # a signal ends this job: the others may run on other machines
        folder = Path(self.config.hydra.sweep.dir)
        part = [text for text in arguments if text.startswith("shard=")]
        returns = self.launcher.launch([[*planned(folder)[self.number], *part]], initial_job_idx=self.number)
        for job in returns:
            _ = job.return_value  # raises its error
        if is_whole(folder):  # a point that failed before may have ended it otherwise
            end_parent(folder, "FINISHED", again=True)
            link(folder / PARENT_FILE)
        return returns
