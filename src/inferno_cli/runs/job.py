"""Where a run came from: the version of the code, and the folder and name that Hydra gave it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from inferno_cli import __version__
from inferno_cli.files import read_yaml
from inferno_cli.runs.folder import HYDRA, OVERRIDES_FILE
from inferno_cli.runs.sweeps import MULTIRUN


def code_version() -> str:
    """Version of the package, with the commit when it runs from a checkout (``+dirty`` with changes)."""
    source = Path(__file__).resolve().parents[3]
    if not (source / ".git").exists():
        return __version__
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+dirty", "--abbrev=12", "--exclude=*"],
            cwd=source,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{commit}"


@dataclass(frozen=True)
class HydraJob:
    """One job of Hydra's.

    Attributes:
        folder: Its output folder.
        name: What tells it from the other jobs of its sweep: the overrides that not all of them have.
        sweep: Folder of the multirun that it belongs to, or None.
    """

    folder: Path
    name: str
    sweep: Path | None

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
    """Return the overrides of a job that not all jobs of its sweep have.

    Args:
        sweep: Folder of the sweep.
        task: Overrides of the job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parse = OverridesParser.create().parse_override
    given = [parse(text) for text in read_yaml(sweep / MULTIRUN)["hydra"]["overrides"]["task"]]
    # By key: Hydra writes a value in its own way (False, no blanks).
    shared = {override.key_or_group for override in given if not override.is_sweep_override()}
    own = [text for text in task if parse(text).key_or_group not in shared] or task
    return ",".join(text.lstrip("+") for text in own)
