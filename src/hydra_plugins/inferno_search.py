"""A sweeper of Hydra's that asks Optuna (4 or newer) for the points; Hydra finds plugins in this package alone.

Hydra's own ``hydra-optuna-sweeper`` takes Optuna 4 since its version 1.3.0 (which still asks pip for Optuna 2; 1.4 asks
for 4.9 or 5). It has no pruning, and started again it makes as many trials as before, not those that are left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class OptunaSweeper(Sweeper):
    """Minimises what the task returns; a task that returns None was pruned.

    The trials are in a journal in the folder of the sweep, so that the same command goes on, and several of them share
    the trials. Every trial has a seed of its own: a search that was stopped and goes on asks for the points of one that
    was not, as long as it asks for one at a time.
    """

    def __init__(
        self,
        n_trials: int,
        parallel: int,
        pruning: bool,
        seed: int,
        params: DictConfig,
        merit: str,
        merit_title: str,
        storage: str | None,
    ) -> None:
        self.n_trials, self.parallel, self.pruning, self.seed = n_trials, parallel, pruning, seed
        self.params, self.merit, self.merit_title, self.storage = params, merit, merit_title, storage

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what ``sweep`` needs."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the trials that are left, and say which is the best."""
        from inferno_cli.files import write_whole
        from inferno_cli.report.search import conclude
        from inferno_cli.runs import search
        from inferno_cli.runs.asked import MULTIRUN
        from inferno_cli.runs.mlflow.sweep import SweepCallback
        from inferno_cli.shell import quoted

        assert self.config is not None
        assert self.launcher is not None
        search.require_valid(self.n_trials, self.parallel, self.pruning, self.seed)
        optuna = search.require_optuna()
        space, fixed = search.space([f"{key!s}={value}" for key, value in self.params.items()] + arguments)
        folder = Path(self.config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        settings = OmegaConf.to_container(self.config)
        assert isinstance(settings, dict)
        settings.pop("hydra")
        returns: list[JobReturn] = []
        with search.worker(folder) as worker:
            with search.one_at_a_time(folder):
                study = search.open_study(folder, space, settings, self.storage)
                write_whole(folder / MULTIRUN, OmegaConf.to_yaml(self.config))
            while trials := self._asked(study, space, folder, worker):
                # The folder may be named after what is searched: every trial goes into that of the search.
                place = f"hydra.sweep.dir={quoted(str(folder))}"
                jobs = [[*fixed, *(f"{key}={x}" for key, x in trial.params.items()), place] for trial in trials]
                ended = self.launcher.launch(jobs, initial_job_idx=trials[0].number)  # they were asked for in one go
                for trial, job in zip(trials, ended, strict=True):
                    search.tell(study, trial, *search.outcome(job, folder / str(trial.number)))
                returns += ended
            if search.is_shared(study, worker):
                SweepCallback.folder = None  # the last worker ends what all of them have in common
            conclude(folder, search.trials(study), optuna.__version__, self.merit, self.merit_title)
        for job in returns:
            _ = job.return_value  # raises the error of a trial that failed
        return returns

    def _asked(self, study: Any, space: Any, folder: Path, worker: str) -> list[Any]:
        """Ask for the next points, as many as are tried together; none where all trials have been asked for."""
        from inferno_cli.runs import search

        with search.one_at_a_time(folder):
            search.settle(study, folder)
            number = min(self.n_trials - search.asked(study), self.parallel)
            return [search.ask(study, space, self.seed, folder, worker) for _ in range(number)]
