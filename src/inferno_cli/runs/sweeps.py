"""Jobs of Hydra's: where one runs; and a multirun, the jobs that it is going to have, and how far it is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inferno_cli.errors import ComparisonError, FileError, OutputError, first_line
from inferno_cli.files import read_configuration, read_yaml
from inferno_cli.runs.asked import MULTIRUN
from inferno_cli.runs.folder import HYDRA, OVERRIDES_FILE, STATUS_FILE, Status, owned
from inferno_cli.shell import argument

POINTS = "points.csv"
"""In the folder of a multirun that is a workflow: its points."""


@dataclass(frozen=True)
class HydraJob:
    """One job of Hydra's."""

    folder: Path
    """Its output folder."""
    name: str
    """What tells it from the other jobs of its sweep: the overrides that not all of them have."""
    sweep: Path | None
    """Folder of the multirun that it belongs to, or None."""

    @classmethod
    def current(cls) -> HydraJob:
        """Return the job that Hydra is running."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        if hydra.mode != RunMode.MULTIRUN:
            return cls(folder, str(hydra.job.config_name), None)
        sweep = Path(hydra.sweep.dir).absolute()
        return cls(folder, _own(sweep, list(hydra.overrides.task)), sweep)

    @classmethod
    def of(cls, folder: Path) -> HydraJob:
        """Return the job that ran in a folder."""
        sweep, overrides = folder.absolute().parent, folder / HYDRA / OVERRIDES_FILE
        if not (sweep / MULTIRUN).is_file() or not overrides.is_file():
            return cls(folder, folder.absolute().name, None)
        return cls(folder, _own(sweep, [str(text) for text in read_yaml(overrides, list)]), sweep)


def _own(sweep: Path, task: list[str]) -> str:
    """Return the overrides of a job that not all jobs of its sweep have."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parse = OverridesParser.create().parse_override
    given = [parse(text) for text in read_yaml(sweep / MULTIRUN)["hydra"]["overrides"]["task"]]
    # By key: Hydra writes a value in its own way (False, no blanks).
    shared = {override.key_or_group for override in given if not override.is_sweep_override()}
    own = [text for text in task if parse(text).key_or_group not in shared] or task
    return ",".join(text.lstrip("+") for text in own)


def planned(sweep: Path) -> list[tuple[str, ...]]:
    """Return the overrides of every job of a multirun by Hydra's basic sweeper; nothing of another sweeper."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not (sweep / MULTIRUN).is_file():
        return []
    try:
        config = OmegaConf.create(read_of_run(sweep / MULTIRUN))
        return jobs_of(config) if is_list(config.hydra.sweeper) else []
    except (HydraException, OmegaConfBaseException, AttributeError, TypeError) as error:  # somebody's own file
        raise ComparisonError(f"{sweep / MULTIRUN} is no sweep of Hydra's: {first_line(error)}") from error


def is_list(sweeper: Mapping[str, Any]) -> bool:
    """Whether the jobs of a sweeper are known before the first of them: of Hydra's basic one, not of a search."""
    return str(sweeper.get("_target_", "")).endswith("BasicSweeper")


def jobs_of(config: Any) -> list[tuple[str, ...]]:
    """Return the overrides of every job, where the configuration of a multirun has Hydra's basic sweeper."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.plugins import Plugins
    from omegaconf import OmegaConf

    params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create(), resolve=True)
    assert isinstance(params, dict)
    texts = [f"{key!s}={value!s}" for key, value in params.items()] + list(config.hydra.overrides.task)
    Plugins.instance()  # which registers the kinds of sources
    search_path = ConfigSearchPathImpl()
    for source in OmegaConf.select(config, "hydra.runtime.config_sources") or ():  # where glob(...) looks
        if source.schema != "structured":
            search_path.append(source.provider, f"{source.schema}://{source.path}")
    parser = OverridesParser.create(config_loader=ConfigLoaderImpl(search_path))
    batches = BasicSweeper.split_arguments(parser.parse_overrides(texts), None)
    return [tuple(job) for job in itertools.chain.from_iterable(batches)]


def read_of_run(path: Path, top: type[Any] = dict) -> Any:
    """Read YAML from the folder of a run, or of a sweep; ComparisonError if it cannot be read. Not to be changed."""
    try:
        return read_configuration(path) if top is dict else read_yaml(path, top)
    except FileError as error:
        raise ComparisonError(f"{error}. Copy the folder of the run again, or leave it out: runs=...") from error


def progress(sweep: Path, whole: Path | None = None) -> str:
    """Return how far a multirun is, and for how long it will go on as before; at its end how to compare its runs.

    A search that is started again goes on behind its last trial; any other sweep comes by all its points once more.

    ``whole`` is the folder to compare, where the multirun is in it and takes part in more.
    """
    points = planned(sweep)
    total = len(points)
    if not points and (sweep / MULTIRUN).is_file():
        total = int(read_of_run(sweep / MULTIRUN)["hydra"]["sweeper"].get("n_trials") or 0)
    begun = (sweep / MULTIRUN).stat().st_mtime if total else 0.0  # every start writes it anew
    new, before = _ended(sweep, begun)
    states = new if points else new + before
    done, failed = len(states), states.count("failed")
    said = f"sweep: {done} of {total or '?'} points done" + (f", {failed} of them failed" if failed else "")
    if total and done >= total:
        if whole is None or not sweep.resolve().is_relative_to(whole.resolve()):
            whole = sweep
        return f"{said}; next: inferno compare {argument('runs', whole)}"
    worked = len(new) - new.count("reused")
    if worked and total and not (sweep / POINTS).is_file():  # nobody knows when a batch system takes the next one
        seconds = (time.time() - begun) / worked * (total - done)
        said += f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"
    return said


def is_whole(sweep: Path) -> bool:
    """Whether every job of a multirun with a list of jobs has finished, or was finished before."""
    points = planned(sweep)
    states = []
    for number in range(len(points)):
        status = Status.read(sweep / str(number))
        states.append("" if status is None else status.state)
    return bool(points) and set(states) <= {"finished", "reused"}


def _ended(sweep: Path, begun: float) -> tuple[list[str], list[str]]:
    """Return the states of the jobs that have ended since a time, and before."""
    new: list[str] = []
    before: list[str] = []
    for path in sweep.glob(f"*/{STATUS_FILE}"):
        status = Status.read(path.parent)
        if status is not None and status.state not in ("running", "stopped", "shards"):
            (new if path.stat().st_mtime >= begun else before).append(status.state)
    return new, before


def end(sweep: Path, why: str) -> None:
    """Leave no job of a multirun "running" that was killed with its process, nor the parent run."""
    from inferno_cli.runs.mlflow.afterwards import RUN_FILE
    from inferno_cli.runs.mlflow.afterwards import end as end_run
    from inferno_cli.runs.mlflow.sweep import end_parent

    alive = False
    for folder in (path.parent for path in sweep.glob(f"*/{STATUS_FILE}")):
        status = Status.read(folder)
        if status is None or status.state != "running":
            continue
        try:
            with owned(folder):
                replace(status, state="stopped", error=why).write(folder)
                end_run(folder / RUN_FILE, "KILLED")
        except OutputError:  # a job of a batch system goes on
            alive = True
    if not alive:
        end_parent(sweep, "KILLED")
