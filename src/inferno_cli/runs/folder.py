"""The folder of a run: one run owns it while it works, and a finished run in it stays until somebody overwrites it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.errors import OutputError
from inferno_cli.fit.result import table_files
from inferno_cli.runs.status import FILE, KEPT, Status

if TYPE_CHECKING:
    from omegaconf import DictConfig

LOCK = ".lock"
HYDRA, OVERRIDES_FILE = ".hydra", "overrides.yaml"
MADE = ("plots", "export", "histograms", "cabinetry.yaml", "mlflow_run.json")
"""What a run makes besides the files that others read, and the tables of its quantities."""
OTHER = "Choose another folder (hydra.run.dir=FOLDER, in a sweep hydra.sweep.dir=FOLDER)"


@contextmanager
def owned(folder: Path, remedy: str = OTHER) -> Iterator[None]:
    """Own a folder; the operating system ends that also for a process that is killed.

    Args:
        folder: The folder.
        remedy: What to do where another program owns it.

    Raises:
        OutputError: If another run owns it, or it vanished.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(f"another run is writing to {folder}. Wait for it. {remedy}") from None
    try:
        yield
    except OSError as error:
        if (folder / LOCK).exists():
            raise
        why = "" if isinstance(error, OutputError) else f" ({error})"
        raise OutputError(
            f"the folder {folder} was deleted or moved while the run wrote to it{why}; what is there is not whole. Run "
            "again"
        ) from error
    finally:
        lock.release()


def holds_finished(folder: Path) -> bool:
    """Whether a run has finished in a folder; one of an earlier version left no status."""
    said = Status.read(folder)
    if said is None:
        return (folder / "results.json").exists() and (folder / "config.yaml").exists()
    return said.state == "finished"


def begin(folder: Path, composed: DictConfig, point: str, *, overwrite: bool, is_spare: bool = False) -> bool:
    """Begin a run in a folder that is owned.

    Args:
        folder: The folder.
        composed: The configuration, for the record.
        point: Digest of what is going to be run.
        overwrite: Whether a finished run may be replaced.
        is_spare: Whether one of another point may be, as nothing is lost with it.

    Returns:
        Whether there is something to run: not where this very point has finished.

    Raises:
        OutputError: If another point has finished there.
    """
    if holds_finished(folder) and not overwrite:
        said = Status.read(folder)
        if said is not None and said.point == point:
            (folder / FILE).touch()  # a sweep that comes by once more counts it
            return False
        if not is_spare:
            raise OutputError(
                f"{folder} holds a finished run, of another configuration or version of the code. {OTHER}, or set "
                "overwrite=true"
            )
    if Status.read(folder) is not None:
        _clear(folder)
    Status("running", point).write(folder)
    keep_configuration(folder, composed)
    return True


def _clear(folder: Path) -> None:
    """Remove what a run before has made: beside the new files it would look like theirs."""
    for name in (*KEPT, *MADE, *table_files()):
        path = folder / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}, of a run before, cannot be removed: {error}. {OTHER}") from error


def keep_configuration(folder: Path, composed: DictConfig) -> None:
    """Write what Hydra would: its own files would be there before anybody knows whether the folder may be used."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    hydra: Any = HydraConfig.instance().cfg
    task = hydra.hydra.overrides.task
    for name, values in {"config.yaml": composed, "hydra.yaml": hydra, OVERRIDES_FILE: task}.items():
        path = folder / HYDRA / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(OmegaConf.to_yaml(values), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}. {OTHER}") from error
