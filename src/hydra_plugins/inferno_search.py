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

    The trials are in a sqlite file in the folder of the sweep, so that the same command goes on. Every trial has a
    seed of its own: a search that was stopped and goes on asks for the points of one that was not, as long as it asks
    for one at a time.
    """

    def __init__(
        self, n_trials: int, parallel: int, pruning: bool, seed: int, params: DictConfig, merit: str, merit_title: str
    ) -> None:
        self.n_trials, self.parallel, self.pruning, self.seed = n_trials, parallel, pruning, seed
        self.params, self.merit, self.merit_title = params, merit, merit_title

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what ``sweep`` needs."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the trials that are left, and say which is the best."""
        from inferno_cli.report.search import conclude
        from inferno_cli.runs import search
        from inferno_cli.shell import quoted

        assert self.config is not None
        assert self.launcher is not None
        search.require_valid(self.n_trials, self.parallel, self.pruning, self.seed)
        optuna = search.require_optuna()
        space, fixed = search.space([f"{key!s}={value}" for key, value in self.params.items()] + arguments)
        folder = Path(self.config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with search.alone(folder):
            settings = OmegaConf.to_container(self.config)
            assert isinstance(settings, dict)
            settings.pop("hydra")
            study = search.open_study(folder, space, settings)
            OmegaConf.save(self.config, folder / "multirun.yaml")
            returns: list[JobReturn] = []
            while (left := self.n_trials - search.asked(study)) > 0:
                trials = [search.ask(study, space, self.seed, folder) for _ in range(min(left, self.parallel))]
                # The folder may be named after what is searched: every trial goes into that of the search.
                place = f"hydra.sweep.dir={quoted(str(folder))}"
                jobs = [[*fixed, *(f"{key}={x}" for key, x in trial.params.items()), place] for trial in trials]
                ended = self.launcher.launch(jobs, initial_job_idx=trials[0].number)
                for trial, job in zip(trials, ended, strict=True):
                    search.tell(study, trial, *search.outcome(job, folder / str(trial.number)))
                returns += ended
            conclude(folder, search.trials(study), optuna.__version__, self.merit, self.merit_title)
        for job in returns:
            _ = job.return_value  # raises the error of a trial that failed
        return returns
