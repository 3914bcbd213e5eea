"""What a multirun was asked for: a file of Hydra's in its folder, which goes again when the multirun is refused."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf.errors import OmegaConfBaseException

from inferno_cli.files import write_whole
from inferno_cli.runs.folder import STATUS_FILE

if TYPE_CHECKING:
    from omegaconf import DictConfig

MULTIRUN = "multirun.yaml"
"""In the folder of a multirun: what Hydra's sweepers were asked for."""


@dataclass(frozen=True)
class Before:
    """What the folder of a multirun was before Hydra wrote there what was asked for."""

    folder: Path
    asked: bytes | None
    """Content of the file that says what an earlier multirun was asked for; None where there is none."""
    missing: tuple[Path, ...]
    """The folder and those above it that were not there, the deepest first."""

    @classmethod
    def of(cls, folder: Path) -> Before:
        """Look at a folder."""
        asked = (folder / MULTIRUN).read_bytes() if (folder / MULTIRUN).is_file() else None
        return cls(folder, asked, tuple(path for path in (folder, *folder.parents) if not path.exists()))

    def restore(self) -> None:
        """Put it back, unless a job of the multirun has begun."""
        asked = self.folder / MULTIRUN
        if asked.is_file():
            since = asked.stat().st_mtime
            if any(path.stat().st_mtime >= since for path in self.folder.glob(f"*/{STATUS_FILE}")):
                return
            if self.asked is None:
                asked.unlink()
            else:
                write_whole(asked, self.asked)
        for path in self.missing:
            if path.exists():
                path.rmdir()


class AskedCallback(Callback):
    """Keeps what the folder of a multirun was, for one that is refused; does nothing in a single run."""

    before: ClassVar[Before | None] = None
    """Of the multirun that this process has begun."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the folder."""
        with suppress(OmegaConfBaseException):  # said where the jobs need it
            AskedCallback.before = Before.of(Path(config.hydra.sweep.dir).absolute())

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002
        """Forget it."""
        AskedCallback.before = None
