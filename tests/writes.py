"""What a program does to a folder, call by call: recorded, refused as by a full disk, or answered by a signal."""

from __future__ import annotations

import builtins
import io
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from errno import ENOSPC
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
CHANGING = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir")
"""Functions of ``os`` that change a folder, besides opening a file to write."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def is_ours(name: str) -> bool:
    """Whether a file says something of a run: not its log, nor the lock."""
    return not name.endswith((".log", ".lock"))


Content = Mapping[str, bytes | None]
"""Files of a folder by their path in it, and folders, which are None."""


def content_of(top: Path) -> dict[str, bytes | None]:
    """Read everything in a folder."""
    found: dict[str, bytes | None] = {}
    for path, folders, names in os.walk(top):
        below = Path(path)
        found |= {str((below / name).relative_to(top)): None for name in folders}
        found |= {str((below / name).relative_to(top)): (below / name).read_bytes() for name in filter(is_ours, names)}
    return found


def become(top: Path, content: Content) -> None:
    """Make a folder that of a content."""
    if top.exists():
        shutil.rmtree(top)
    top.mkdir(parents=True)
    for name, data in content.items():
        if data is None:
            (top / name).mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        if data is not None:
            (top / name).write_bytes(data)


@dataclass(frozen=True)
class Call:
    """One call that changes a folder."""

    what: str
    """ "open", or the name of a function of ``os``."""
    name: str
    """The path in the folder, without digits that are drawn; of "replace" the new one."""


@dataclass
class Disk:
    """A folder whose changes are watched while a program runs; ``answer`` is asked before each of them."""

    top: Path
    answer: Callable[[int, Call], None] = lambda number, call: None
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_watched = False

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Watch from now on."""
        self.is_watched = True
        opened, opened_low = io.open, os.open

        def open_file(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if set(mode) & set("wax+"):
                self._asked("open", file)
            return opened(file, mode, *rest, **named)

        def open_low(file: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & WRITES:
                self._asked("open", file, **named)
            return opened_low(file, flags, *rest, **named)

        patch.setattr(builtins, "open", open_file)
        patch.setattr(io, "open", open_file)
        patch.setattr(os, "open", open_low)
        for name in CHANGING:
            patch.setattr(os, name, self._asking(name, getattr(os, name)))

    def _asking(self, what: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._asked(what, arguments[1] if what in ("replace", "rename") else arguments[0], **named)
            return original(*arguments, **named)

        return call

    def _asked(self, what: str, file: Any, dir_fd: int | None = None, **_: Any) -> None:
        if not self.is_watched or isinstance(file, int):
            return
        text = os.fspath(file)
        path = Path(os.fsdecode(text)).absolute()
        if dir_fd is not None:  # of shutil.rmtree
            call = Call(what, path.name)
        elif path.is_relative_to(self.top):
            call = Call(what, _plain(str(path.relative_to(self.top))))
        else:
            return
        if not is_ours(call.name):
            return
        self.is_watched = False  # what answers may write, too
        try:
            self.calls.append(call)
            self.answer(len(self.calls) - 1, call)
        finally:
            self.is_watched = True


def _plain(name: str) -> str:
    """Return a name without the digits that make it nobody else's."""
    parts = name.split("/")
    shown = [".partial-" if part.startswith(".partial-") else part for part in parts]
    if shown[-1].endswith(".partial"):
        shown[-1] = shown[-1].removesuffix(".partial").rpartition(".")[0] + ".partial"
    return "/".join(shown)


@dataclass(frozen=True)
class Moment:
    """What a folder holds between two calls."""

    said: str
    content: Content


def record(top: Path, program: Callable[[], object]) -> tuple[list[Moment], list[Call]]:
    """Run a program; return what a folder held before each call that changed it, and at the end, each once; the calls.

    Beside it, what would be there had the last file that was written in place only half of its bytes: files that got
    their name by being renamed are whole.
    """
    moments: list[Moment] = []
    before: dict[str, bytes | None] = content_of(top) if top.exists() else {}
    last = "nothing"

    def take(call: Call) -> None:
        nonlocal before, last
        now = content_of(top) if top.exists() else {}
        if now == before and moments:
            last = f"{call.what} {call.name}"
            return
        whole = set(before.values())
        for name, data in now.items():
            if data and before.get(name) != data and data not in whole:
                moments.append(Moment(f"half of {name}", {**now, name: data[: len(data) // 2]}))
        moments.append(Moment(f"after {last}", now))
        before, last = now, f"{call.what} {call.name}"

    disk = Disk(top, lambda number, call: take(call))
    with pytest.MonkeyPatch.context() as patch:
        disk.watch(patch)
        program()
    take(Call("end", ""))
    return moments, disk.calls


def full_from(name: str, times: int, top: Path, program: Callable[[], T]) -> T:
    """Run a program whose disk is full from the time on at which a file is opened; renaming and removing go on."""
    seen = 0

    def asked(_: int, call: Call) -> None:
        nonlocal seen
        seen += call == Call("open", name)
        if seen >= times and call.what in ("open", "mkdir"):
            raise OSError(ENOSPC, os.strerror(ENOSPC), call.name)

    with pytest.MonkeyPatch.context() as patch:
        Disk(top, asked).watch(patch)
        return program()


def signalled_at(number: int, call: Call, times: int, top: Path, program: Callable[[], T]) -> T:
    """Run a program that gets a signal before a call is made for the n-th time."""
    seen = 0

    def asked(_: int, made: Call) -> None:
        nonlocal seen
        seen += made == call
        if seen == times and made == call:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        Disk(top, asked).watch(patch)
        return program()
