"""The folder of a run that several shards work in at the same time, before the run itself collects what they leave.

A shard leaves what an interrupted run leaves, in ``partial``, and the run goes on from there: a training or a toy of a
shard that is missing is done by the run. Nothing of a shard looks like a result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.errors import OutputError, Stopped
from inferno_cli.files import locked
from inferno_cli.runs.folder import LOCK, OTHER, PARTIAL, begin_shard
from inferno_cli.shard import Shard

if TYPE_CHECKING:
    from omegaconf import DictConfig

LOCKS = "shard-*-of-*.lock"
_PATIENCE = 60.0
"""Seconds for which a shard waits for others that begin."""


@contextmanager
def sharing(folder: Path, composed: DictConfig, point: str, shard: Shard) -> Iterator[bool]:
    """Work in the folder of a run as one of its shards.

    Yields:
        Whether there is something to do: not where the run itself has finished.

    Raises:
        OutputError: If the run itself, this shard, or one of another division is at work there, or what is there is
            of another configuration.
    """
    busy = OutputError(f"another run is writing to {folder}. Wait for it. {OTHER}")
    twice = OutputError(f"shard {shard} is at work in {folder} already. Wait for it. {OTHER}")
    with ExitStack() as held:
        with locked(folder / LOCK, busy, patience=_PATIENCE):
            has_work = begin_shard(folder, composed, point)
            for number, total in _at_work(folder):
                if total != shard.total:
                    raise OutputError(
                        f"shard {number}/{total} is at work in {folder}. Wait for it, or divide by {total}"
                    )
            if has_work:
                (folder / PARTIAL).mkdir(exist_ok=True)
                # Kept when the folder is let go: the run, and other shards, see that this one is at work.
                held.enter_context(locked(folder / PARTIAL / f"shard-{shard.number}-of-{shard.total}.lock", twice))
        yield has_work


def require_no_shard(folder: Path) -> None:
    """Raise OutputError where a shard works in a folder that a run owns."""
    for number, total in _at_work(folder):
        raise OutputError(
            f"shard {number}/{total} is at work in {folder}. Wait for it: the run collects what it leaves"
        )


def _at_work(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield the shards that hold their lock."""
    from filelock import FileLock, Timeout

    for path in sorted((folder / PARTIAL).glob(LOCKS)):
        try:
            FileLock(path).acquire(timeout=0).lock.release()
        except Timeout:
            number, total = re.findall(r"\d+", path.name)
            yield int(number), int(total)


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Say of a shard that is stopped what becomes of its work."""
    try:
        yield
    except Stopped as stop:
        stop.note = stop.note or f"what the shard has finished is kept in {folder / PARTIAL}"
        raise
