"""The flags of a sweep whose points run elsewhere: ``--workflow FOLDER`` writes them down, ``--point`` runs one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from inferno_cli.cli.flags import taken
from inferno_cli.errors import ConfigError, RunError
from inferno_cli.shell import quoted

WORKFLOW, POINT = "--workflow", "--point"
OWN = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.sweep.dir", "hydra.mode")
"""What a point has otherwise than its sweep."""


def with_workflow(flags: list[str], overrides: list[str], multirun: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return flags and overrides in which ``--workflow FOLDER`` is what Hydra knows: a launcher, and the folder.

    Raises:
        ConfigError: If the folder is missing, or there is no sweep (none of the flags ``multirun``).
    """
    if WORKFLOW not in flags:
        return flags, overrides
    left, folder = taken(flags, WORKFLOW, "a folder: --workflow FOLDER")
    if not multirun & set(flags):
        raise ConfigError("--workflow is for the points of a sweep or study; add -m: inferno train -m ... --workflow F")
    return left, [*overrides, "hydra/launcher=workflow", f"hydra.sweep.dir={quoted(folder)}"]


def with_point(flags: list[str], overrides: list[str], step: str) -> tuple[list[str], list[str]]:
    """Return flags and overrides of the sweep that one of its points, ``--point FOLDER/NUMBER``, belongs to.

    The process goes to the folder in which the sweep was asked for: paths are relative to that.

    Raises:
        ConfigError: If there are other overrides.
        RunError: If there is no such point, it is of another step, or that folder is not there.
    """
    from inferno_cli.runs.asked import MULTIRUN
    from inferno_cli.runs.sweeps import planned, read_of_run

    left, text = taken(flags, POINT, "a folder: --point FOLDER/NUMBER")
    if overrides:
        raise ConfigError(
            f"{overrides[0]}: a point has the settings of its sweep. Repeat the command of the sweep with it"
        )
    place = Path(text).absolute()
    folder, total = place.parent, len(planned(place.parent))
    if not place.name.isdecimal() or int(place.name) >= total:
        held = f"{folder} has points 0 to {total - 1}" if total else f"{folder} has no {MULTIRUN} with a list of points"
        raise RunError(f"--point {text}: {held}; expected FOLDER/NUMBER")
    hydra: Any = read_of_run(folder / MULTIRUN)["hydra"]
    if hydra["job"]["config_name"] != step:
        raise RunError(f"--point {text} is one of `inferno {hydra['job']['config_name']}`, not of `inferno {step}`")
    try:
        os.chdir(hydra["runtime"]["cwd"])
    except OSError as error:
        raise RunError(
            f"{folder}: its sweep was asked for in {hydra['runtime']['cwd']}, which cannot be entered here "
            f"({error.strerror}). Mount it there, or repeat the command of the sweep where it is now"
        ) from error
    own = [f"hydra.sweep.dir={quoted(str(folder))}", "hydra/launcher=basic", "hydra/sweeper=point"]
    kept = [text for text in hydra["overrides"]["hydra"] if not _is_own(text)]
    config_dirs = [
        source["path"] for source in hydra["runtime"]["config_sources"] if source["provider"] == "command-line"
    ]
    for path in config_dirs:
        left += ["--config-dir", path]
    return ["-m", *left], [*hydra["overrides"]["task"], *kept, *own, f"hydra.sweeper.number={int(place.name)}"]


def _is_own(text: str) -> bool:
    key = text.lstrip("+~").partition("=")[0]
    return any(key == own or key.startswith(f"{own}.") for own in OWN)
