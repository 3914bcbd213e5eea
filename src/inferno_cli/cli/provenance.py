"""Where a run came from: the version of the code, and the folder and name that Hydra gave it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from inferno_cli import __version__


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
class Job:
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
    def current(cls) -> Job:
        """Return the job that Hydra is running."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN:
            return cls(Path(hydra.runtime.output_dir), str(hydra.job.config_name), None)
        sweep = Path(hydra.sweep.dir).absolute()
        parse = OverridesParser.create().parse_override
        given = [parse(text) for text in OmegaConf.load(sweep / "multirun.yaml").hydra.overrides.task]
        # By key: Hydra writes a value in its own way (False, no blanks).
        shared = {override.key_or_group for override in given if not override.is_sweep_override()}
        task = list(hydra.overrides.task)
        own = [text for text in task if parse(text).key_or_group not in shared] or task
        return cls(Path(hydra.runtime.output_dir), ",".join(text.lstrip("+") for text in own), sweep)
