"""Optuna's journal of a search, which goes on behind a line that a writer has cut: by a kill, or by a full disk."""

from __future__ import annotations

import os
from pathlib import Path

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock


class MendingLock(JournalFileSymlinkLock):
    """The lock of those who write, which removes half a line from the end of the journal.

    Optuna's readers skip it, but a writer would go on in the same line, which nobody could read then. Who writes holds
    the lock, and writes whole lines: one without an end is of a writer that is no more.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def acquire(self) -> bool:
        """Wait for the lock, and leave whole lines."""
        is_held = super().acquire()
        try:
            _cut(self.path)
        except BaseException:
            self.release()
            raise
        return is_held


def _cut(path: Path) -> None:
    """Shorten a file to the end of its last whole line."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def journal(path: Path) -> JournalFileBackend:
    """Return the journal in a file, which is made where it is not there."""
    return JournalFileBackend(str(path), lock_obj=MendingLock(path))
