"""A multirun: one parent run, with its jobs nested under it.

The first job creates the parent and writes its id in the sweep folder, where the other jobs find it, also
those in other processes. It is not created when the multirun starts: Hydra turns an exception of a callback
into a warning, has not applied the overrides of the sweep by then, and checks only later whether they compose
(a misspelt sweep would leave a parent behind that runs for ever). A job that fails ends the parent as FAILED
itself, as Hydra does not call ``on_multirun_end`` then.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from filelock import FileLock
from hydra.core.utils import JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from inferno_cli.errors import FileError
from inferno_cli.files import read_yaml, write_whole
from inferno_cli.runs.asked import MULTIRUN
from inferno_cli.runs.mlflow.afterwards import end, link, read_run
from inferno_cli.runs.mlflow.store import LOCK_TIMEOUT, Store
from inferno_cli.runs.points import is_output
from inferno_cli.signals import held

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

PARENT_FILE = "mlflow_parent.json"
"""In the folder of a multirun: the store and the id of its parent run."""
_FAILED = "mlflow_failed"
_NAME_LENGTH = 250


class SweepCallback(Callback):
    """Ends the parent run of a multirun; does nothing in a single run."""

    folder: ClassVar[Path | None] = None
    """Of the multirun that this process has begun, for what has to be ended when it is stopped."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Keep the folder."""
        with suppress(OmegaConfBaseException):  # said where the jobs need it
            SweepCallback.folder = Path(config.hydra.sweep.dir).absolute()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """End the parent as FAILED after a job that failed, which may have had no run of its own yet."""
        failed = config.hydra.mode == RunMode.MULTIRUN and job_return.status == JobStatus.FAILED
        if failed and config.tracking.backend != "none":
            end_parent(Path(config.hydra.sweep.dir), "FAILED")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """End the parent as FINISHED and link it to its runs, unless a job has ended it or this was one point."""
        if SweepCallback.folder is not None:
            end_parent(Path(config.hydra.sweep.dir), "FINISHED")
            link(Path(config.hydra.sweep.dir) / PARENT_FILE)
        SweepCallback.folder = None


def parent_run(store: Store, experiment: str, folder: Path) -> str | None:
    """Return the id of the parent run of the multirun in ``folder``; the first job that asks creates it.

    A job of the same multirun with another store or experiment has none.
    """
    place = {"uri": store.uri, "experiment_id": experiment}
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{PARENT_FILE}.lock", timeout=LOCK_TIMEOUT):
        if not (folder / PARENT_FILE).exists():
            with held(), store.calls("start the parent run"):
                parent = store.client.create_run(experiment, run_name=_name(folder)).info.run_id
                write_whole(folder / PARENT_FILE, json.dumps({**place, "run_id": parent}))
                if (folder / _FAILED).exists():
                    store.client.set_terminated(parent, "FAILED")
        found = read_run(folder / PARENT_FILE)
    run_id = found.pop("run_id")
    return str(run_id) if found == place else None


def end_parent(folder: Path, status: str, *, again: bool = False) -> None:
    """End the parent run of the multirun in ``folder``, unless it has ended before, or also then, ``again``.

    A failure is kept in the folder for a parent that a later job may create.
    """
    if status != "FAILED" and not (folder / PARENT_FILE).exists():
        return
    with FileLock(folder / f"{PARENT_FILE}.lock", timeout=LOCK_TIMEOUT):
        if not (folder / PARENT_FILE).exists():
            (folder / _FAILED).touch()
            return
    end(folder / PARENT_FILE, status, again=again)


def _name(folder: Path) -> str:
    """Return the overrides of the sweep that say what it measures; Hydra's sweepers save them before the first job."""
    try:
        saved = read_yaml(folder / MULTIRUN)
        task = [str(text) for text in saved["hydra"]["overrides"]["task"]]
        keys = [text.lstrip("+").partition("=")[0].replace("/", ".") for text in task]
        said = [text for text, key in zip(task, keys, strict=True) if not is_output(key)]
        return " ".join(said)[:_NAME_LENGTH] or folder.name
    except (FileError, KeyError, TypeError):
        return folder.name
