"""A search with Optuna: its space, its storage, pruning of a trial, and what is said at the end."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from inferno_cli.config.load import flatten
from inferno_cli.errors import ConfigError, OutputError
from inferno_cli.files import locked
from inferno_cli.runs.folder import RESULTS_FILE, STATUS_FILE, Status
from inferno_cli.runs.points import identity
from inferno_cli.runs.record import Results

if TYPE_CHECKING:
    import optuna
    from hydra.core.utils import JobReturn
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

JOURNAL, STUDY = "optuna.journal", "search"
SQLITE = "optuna.db"
"""Storage of the searches of earlier versions."""
WORKER = "worker"
"""Attribute of a trial: the worker that has asked for it, which holds the lock of that name while it lives."""
DRAW = "draw"
"""Attribute of a trial: the number of its draw, which gives the seed of Optuna's sampler."""
STARTUP = 5
"""Trials that are drawn at random, and that are finished before one is compared with their median."""


@dataclass(frozen=True)
class Trial:
    """One point that was tried."""

    number: int
    """Its folder in that of the search."""
    state: str
    """complete, pruned, fail, running, or stopped: killed before its end, and asked for again."""
    value: float | None
    """The figure of merit on the validation split; of a pruned trial at its last epoch."""
    params: Mapping[str, Any]
    error: str = ""

    @property
    def overrides(self) -> list[str]:
        """The point as it is given on the command line."""
        return [f"{key}={value}" for key, value in self.params.items()]


def objective(results: Results) -> float | None:
    """Return what a search minimises: the figure of merit on the validation split, or None.

    Where one of several members was chosen, it is their median. The runs of earlier versions have the hard one alone.
    """
    of_members = [item.figure_of_merit for item in results.members if item.figure_of_merit is not None]
    if of_members and not results.is_averaged:  # the best of several is luck to a point that is searched
        return statistics.median(of_members)
    if results.figure_of_merit is not None:
        return results.figure_of_merit
    found = results.poi_variance
    if found is None:
        return None
    variance = found.validation_hard if found.validation_honest is None else found.validation_honest
    return None if variance is None else math.sqrt(variance)


class Pruned(Exception):
    """No error: the trial ends early, as it is worse than the others at this epoch."""


def require_optuna() -> Any:
    """Import Optuna, and keep it silent; raise ConfigError if it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("+sweep=optuna needs Optuna: pip install 'inferno-cli[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def require_valid(n_trials: Any, parallel: Any, pruning: Any, seed: Any) -> None:
    """Raise ConfigError if a setting of the search, as Hydra hands it over, has the wrong type or is out of range."""
    for key, value, least in (("n_trials", n_trials, 1), ("parallel", parallel, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"hydra.sweeper.{key} is {value!r}; expected a whole number of at least {least}")
    if not isinstance(pruning, bool):
        raise ConfigError(f"hydra.sweeper.pruning is {pruning!r}; expected true or false")


def space(texts: Sequence[str]) -> tuple[dict[str, BaseDistribution], list[str]]:
    """Divide overrides into what is searched and what is fixed; of two for one key the last counts."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found = {item.get_key_element(): item for item in OverridesParser.create().parse_overrides(list(texts))}
    searched = {key: _distribution(item) for key, item in found.items() if item.is_sweep_override()}
    if not searched:
        raise ConfigError("nothing is searched: every key of hydra.sweeper.params has one value. Leave one free")
    return searched, [str(item.input_line) for item in found.values() if not item.is_sweep_override()]


def _distribution(item: Any) -> BaseDistribution:
    from hydra.core.override_parser.types import Transformer
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = item.value()
    if item.is_interval_sweep():
        log = "log" in sweep.tags
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):
            return IntDistribution(sweep.start, sweep.end, log=log)
        return FloatDistribution(sweep.start, sweep.end, log=log)
    if item.is_range_sweep() and all(isinstance(x, int) for x in (sweep.start, sweep.stop, sweep.step)):
        values = range(sweep.start, sweep.stop, sweep.step)
        return IntDistribution(min(values), max(values), step=abs(sweep.step))
    return CategoricalDistribution([str(x) for x in item.sweep_iterator(transformer=Transformer.encode)])


@contextmanager
def worker(folder: Path) -> Iterator[str]:
    """Give a name to one of the processes that share a search: the others see by its lock whether it lives."""
    place = folder / "workers"
    place.mkdir(parents=True, exist_ok=True)
    name = token_hex(4)
    with locked(place / name, OutputError(f"{place / name} is held by another process")):
        yield name
    (place / name).unlink(missing_ok=True)


def _is_alive(folder: Path, name: str) -> bool:
    path = folder / "workers" / name
    if not name or not path.exists():
        return False
    try:
        with locked(path, OutputError("alive")):
            return False
    except OutputError:
        return True


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait for the other workers of a search, which ask for points one after the other: none is asked for twice."""
    from filelock import FileLock

    with FileLock(folder / f"{JOURNAL}.ask"):
        yield


def _load(folder: Path, storage: str | None = None) -> Study:
    from optuna import create_study
    from optuna.pruners import NopPruner
    from optuna.samplers import RandomSampler
    from optuna.storages import JournalStorage

    from inferno_cli.runs.journal import journal

    if storage is None and (folder / SQLITE).exists() and not (folder / JOURNAL).exists():
        raise ConfigError(
            f"{folder} holds a search of an earlier version. Go on with "
            f"hydra.sweeper.storage=sqlite:///{folder / SQLITE}, or name another folder: hydra.sweep.dir=FOLDER"
        )
    name = STUDY if storage is None or storage.endswith(SQLITE) else f"{STUDY} {folder.absolute()}"
    try:
        place = JournalStorage(journal(folder / JOURNAL)) if storage is None else storage
        return create_study(
            study_name=name, storage=place, sampler=RandomSampler(seed=0), pruner=NopPruner(), load_if_exists=True
        )
    except json.JSONDecodeError as error:  # of an earlier version, or changed by another program
        raise OutputError(
            f"{folder / JOURNAL} is damaged, a line of it is no JSON ({error}). Remove that line, or name another "
            "folder: hydra.sweep.dir=FOLDER"
        ) from error


def open_study(
    folder: Path, searched: Mapping[str, BaseDistribution], settings: Any, storage: str | None = None
) -> Study:
    """Open the study of the folder of a search, or begin it; tell it what became of trials whose worker was killed.

    ConfigError says that it is of another configuration, ``settings``, or another space, the distribution of each key.
    ``storage`` is a URL of Optuna's; None: a journal in the folder, which processes on several machines can share.
    """
    flat = {key: value for key, value in flatten(settings) if key not in searched}
    about = {"space": {key: str(value) for key, value in searched.items()}, "fixed": identity(flat)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    study = _load(folder, storage)
    if study.user_attrs.setdefault("of", digest) != digest:
        raise ConfigError(
            f"{folder} holds a search of another configuration or over other ranges. Repeat its command to go on with "
            "it, or name another folder: hydra.sweep.dir=FOLDER"
        )
    study.set_user_attr("of", digest)
    settle(study, folder)
    return study


def settle(study: Study, folder: Path) -> None:
    """Tell how the trials ended whose worker was killed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if not _is_alive(folder, str(trial.user_attrs.get(WORKER, ""))):
            _settle(study, trial, folder / str(trial.number))


def _settle(study: Study, trial: FrozenTrial, folder: Path) -> None:
    """Tell how a trial ended whose batch was killed, by what its own job left: it may have ended before."""
    from optuna.trial import Trial, TrialState

    said = Status.read(folder) or Status("running")
    handle = Trial(study, trial._trial_id)
    results = _recorded(folder / said.of) if said.state in ("finished", "reused") else None
    if results is not None:
        tell(study, handle, objective(results))
    elif said.state == "pruned":
        tell(study, handle, None)
    elif said.state == "failed":
        tell(study, handle, None, said.error or said.state)
    else:
        study.tell(handle, state=TrialState.FAIL)


def _recorded(folder: Path) -> Results | None:
    """Return what a run found; None if that was moved away or is of another version: then it is tried again."""
    try:
        return Results.load(folder / RESULTS_FILE)
    except (OSError, ValueError):
        return None


def ask(
    study: Study, searched: dict[str, BaseDistribution], seed: int, folder: Path, worker: str = ""
) -> optuna.trial.Trial:
    """Ask for a point; it does not depend on trials that were killed."""
    import numpy as np
    from optuna.samplers import TPESampler

    # The first draw that no trial has which counts: side by side, the second may have ended where the first was killed.
    taken = {item.user_attrs.get(DRAW) for item in study.get_trials(deepcopy=False) if not _is_stopped(item)}
    draw = next(number for number in itertools.count() if number not in taken)
    sampler_seed = int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])
    study.sampler = TPESampler(n_startup_trials=STARTUP, seed=sampler_seed)
    trial = study.ask(searched)
    trial.set_user_attr(WORKER, worker)
    trial.set_user_attr(DRAW, draw)
    if (folder / str(trial.number) / STATUS_FILE).exists():  # what another search left is not how this trial ended
        Status("running").write(folder / str(trial.number))
    return trial


def outcome(job: JobReturn, folder: Path) -> tuple[float | None, str]:
    """Return what a job found, or why it failed; a result in its folder counts also where it could not be logged."""
    from hydra.core.utils import JobStatus

    if job.status != JobStatus.FAILED:
        return (None if job.return_value is None else float(job.return_value)), ""
    said = Status.read(folder)
    results = _recorded(folder) if said is not None and said.state == "finished" else None
    if results is not None:
        return objective(results), ""
    error = job._return_value
    return None, f"{type(error).__name__}: {error}"


def tell(study: Study, trial: optuna.trial.Trial, value: float | None, error: str = "") -> None:
    """Tell how a trial ended: what it found, None where it was pruned, or why it failed."""
    from optuna.trial import TrialState

    if error:
        trial.set_user_attr("error", error)
        study.tell(trial, state=TrialState.FAIL)
    elif value is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)


def _is_stopped(item: FrozenTrial) -> bool:
    """Whether a trial was killed: it failed without an error."""
    return item.state.name == "FAIL" and "error" not in item.user_attrs


def trials(study: Study) -> list[Trial]:
    """Return what was tried."""
    return [
        Trial(
            item.number,
            "stopped" if _is_stopped(item) else item.state.name.lower(),
            item.value if item.value is not None and math.isfinite(item.value) else None,
            item.params,
            str(item.user_attrs.get("error", "")),
        )
        for item in study.get_trials(deepcopy=False)
    ]


def is_shared(study: Study, worker: str) -> bool:
    """Whether other workers have trials that have not ended."""
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return any(trial.user_attrs.get(WORKER) != worker for trial in running)


def asked(study: Study) -> int:
    """Return how many trials count: all but those that were killed."""
    return sum(not _is_stopped(item) for item in study.get_trials(deepcopy=False))


def watcher(max_epochs: int) -> Callable[[int, float], None] | None:
    """Return what is called with every epoch and its figure of merit, and raises Pruned; None outside of a search.

    Only the second half of the epochs is looked at: a network that warms up says nothing before.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    job = HydraConfig.get() if HydraConfig.initialized() else None
    if job is None or job.mode != RunMode.MULTIRUN or not job.sweeper.get("pruning"):
        return None
    optuna = require_optuna()
    from optuna.pruners import MedianPruner

    study = _load(Path(job.sweep.dir), job.sweeper.get("storage"))
    study.pruner = MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=max_epochs // 2)
    trial = optuna.trial.Trial(study, study.get_trials(deepcopy=False)[job.job.num]._trial_id)

    def watch(epoch: int, value: float) -> None:
        if not math.isfinite(value):
            return
        trial.report(value, epoch)
        if trial.should_prune():
            raise Pruned(f"after epoch {epoch + 1} its figure of merit is worse than the median of the other trials")

    return watch
