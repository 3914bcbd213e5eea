"""A multirun as a workflow: files with which Snakemake and HTCondor run its points, each a command of its own.

A point is called by its number, ``inferno STEP --point FOLDER/NUMBER``; what it is stands in ``multirun.yaml``. The
files beside this one are copied, with the settings in the place of ``@NAME@``.
"""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from inferno_cli.errors import ConfigError, OutputError
from inferno_cli.files import write_whole
from inferno_cli.runs.asked import MULTIRUN
from inferno_cli.runs.folder import STATUS_FILE
from inferno_cli.runs.sweeps import POINTS, is_list, jobs_of, planned
from inferno_cli.section import Positive, Section

TEMPLATES = Path(__file__).parent
PROFILE = Path("profiles", "default", "config.yaml")
"""Where Snakemake looks for what it is not told on the command line."""
MB = 1024


class Settings(Section):
    """What a point gets, and what starts it."""

    cpus_per_task: Annotated[int, Field(ge=1)]
    """Threads."""
    mem_gb: Positive
    """Memory."""
    timeout_min: Annotated[int, Field(ge=1)]
    """Wall time after which the batch system ends it, in minutes."""
    setup: tuple[str, ...]
    """Lines of bash before it, on its node."""
    command: str | None
    """What starts inferno there; null: this Python, or ``inferno`` where there is a container."""
    container: str | None
    """Image in which it runs; null: none."""

    @property
    def start(self) -> str:
        """Words of bash that start inferno."""
        if self.command is not None:
            return self.command
        return "inferno" if self.container is not None else f"{shlex.quote(sys.executable)} -m inferno_cli"


@dataclass(frozen=True)
class Point:
    """One job."""

    number: int
    """Its folder in that of the sweep."""
    overrides: tuple[str, ...]
    fingerprint: str
    """Digest of what it measures and of the code: Snakemake runs a point again that has another."""

    @property
    def shown(self) -> str:
        """Its overrides as they are typed in a shell."""
        return shlex.join(self.overrides)


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return the settings of the launcher; ConfigError says what is wrong with them."""
    from omegaconf import OmegaConf

    from inferno_cli.config.load import resolve

    try:
        return resolve(Settings, OmegaConf.create({str(key): value for key, value in values.items()}))
    except ConfigError as error:
        raise ConfigError("\n".join(f"hydra.launcher.{line}" for line in str(error).splitlines())) from error


def require_workflow(config: Any) -> None:
    """Raise ConfigError where a multirun is a search, OutputError where its folder holds something else.

    Args:
        config: The configuration of the multirun, with Hydra's own.
    """
    folder = Path(config.hydra.sweep.dir)
    if not is_list(config.hydra.sweeper):
        raise ConfigError(
            "a search is no workflow: its next point depends on those before. Start its command several times instead, "
            "as jobs with one storage: they share the trials (docs/batch.md)"
        )
    if any(text.startswith("hydra.sweep.subdir=") for text in config.hydra.overrides.hydra):
        raise ConfigError(
            "hydra.sweep.subdir: the points of a workflow are in folders with their numbers. Leave it out"
        )
    now = jobs_of(config)
    if any(text.lstrip("+").startswith("shard=") for job in now for text in job):
        raise ConfigError(
            "a workflow runs whole points: what collects its shards would not run. Leave --shard out, and give it to "
            "single points: inferno STEP --point FOLDER/NUMBER --shard 2/4"
        )
    has_points = any(path.parent.name.isdecimal() for path in folder.glob(f"*/{STATUS_FILE}"))
    is_begun = (folder / POINTS).is_file() or (has_points and (folder / MULTIRUN).is_file())
    before = planned(folder) if is_begun else []  # what a full disk has cut is no hindrance before there are points
    if is_begun and [_measured(job) for job in before] != [_measured(job) for job in now]:
        raise OutputError(
            f"{folder.absolute()} holds a sweep of {len(before)} other points (multirun.yaml). Choose another folder: "
            "--workflow FOLDER"
        )
    if (folder / "Snakefile").exists() and not (folder / POINTS).is_file():
        raise OutputError(f"{folder.absolute()} holds a Snakefile that is none of ours. Choose another folder")


def _measured(overrides: Sequence[str]) -> list[str]:
    """Leave out what says only where a run goes and how it is shown."""
    from inferno_cli.runs.points import is_output

    return [text for text in overrides if not is_output(text.lstrip("+~").partition("=")[0].replace("/", "."))]


def point(number: int, overrides: Sequence[str], composed: Any, schema: type[Section]) -> Point:
    """Return one job, whose configuration is checked as if it were to begin; ConfigError if it cannot be run.

    Args:
        number: Its number in the sweep.
        overrides: Its overrides.
        composed: Its configuration, with Hydra's own.
        schema: That of its step.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf, open_dict

    from inferno_cli.config.load import resolve
    from inferno_cli.config.paths import make_absolute
    from inferno_cli.runs.points import point_of_training

    with open_dict(composed):
        composed.hydra.job.num = number
        composed.hydra.job.id = str(number)
        HydraConfig.instance().set_config(composed)
        hydra = composed.pop("hydra")
    try:
        make_absolute(composed, hydra)
        resolve(schema, composed)
    except ConfigError as error:
        raise ConfigError(f"point {number} ({' '.join(overrides)}): {error}") from error
    params: Any = OmegaConf.to_container(composed, resolve=True)
    return Point(number, tuple(overrides), point_of_training(params, None))


def write(folder: Path, step: str, points: Sequence[Point], settings: Settings, *, is_compared: bool) -> None:
    """Write the workflow of some points; Snakemake's profile, which is the user's to change, only where there is none.

    Args:
        folder: That of the multirun.
        step: The step of its jobs.
        points: The jobs.
        settings: What each of them gets.
        is_compared: Whether their comparison is what is wanted at the end.
    """
    memory = round(settings.mem_gb * MB)
    values = {
        "step": step,
        "start": settings.start,
        "setup": "".join(f"{line}\n" for line in settings.setup),
        "last": len(points) - 1,
        "threads": settings.cpus_per_task,
        "memory_mb": memory,
        "minutes": settings.timeout_min,
        "seconds": 60 * settings.timeout_min,
        "container": settings.container or "",
        "container_line": f"container_image = {settings.container}"
        if settings.container
        else "# container_image = ...",
        "compared": is_compared,
    }
    # Killed in between, the same command goes on: a Snakefile without points is somebody else's, so that it comes last.
    names = {"profile.yaml": str(PROFILE), "run.sh": "run.sh", "point.sub": "point.sub", "Snakefile": "Snakefile"}
    write_whole(folder / "points.dag", _dag(points, is_compared=is_compared))
    write_whole(folder / POINTS, _table(points))
    (folder / PROFILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    for template, name in names.items():
        if template == "profile.yaml" and (folder / name).exists():
            continue
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        write_whole(folder / name, text)
        if name == "run.sh":
            (folder / name).chmod(0o755)


def _table(points: Sequence[Point]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("number", "fingerprint", "overrides"))
    table.writerows((item.number, item.fingerprint, item.shown) for item in points)
    return text.getvalue()


def _dag(points: Sequence[Point], *, is_compared: bool) -> str:
    """Return the graph for DAGMan: every point, and their comparison behind them."""
    lines = ["# In this folder: condor_submit_dag points.dag. Given again, it runs the points that have not finished."]
    for item in points:
        lines += [
            f"# {item.shown}",
            f"JOB point{item.number} point.sub",
            f'VARS point{item.number} what="{item.number}"',
        ]
    if is_compared:
        parents = " ".join(f"point{item.number}" for item in points)
        lines += ["JOB compare point.sub", 'VARS compare what="compare"', f"PARENT {parents} CHILD compare"]
    # Whatever its exit code is: a mistake in the configuration is told when this is written, and what else goes wrong
    # (a full disk, a file system that is lost) may be the node's.
    lines.append("RETRY ALL_NODES 1")
    return "\n".join(lines) + "\n"
