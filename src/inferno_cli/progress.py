"""How far a long part of a step is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

log = logging.getLogger(__name__)

Mode = Literal["auto", "bar", "lines", "none"]
"""``auto`` is a bar on a terminal and lines in a log."""
EVERY = 5.0
"""Seconds between two lines: what takes less says nothing."""


class Advance(Protocol):
    """Says that work was done."""

    def __call__(self, steps: float = 1, said: str = "", *, is_line: bool | None = None) -> None:
        """Go on.

        Args:
            steps: How many were done.
            said: What is told, of a bar until something else is; in a log by default how many of all steps are done.
            is_line: Whether it is worth a line in a log; None: if the last one is long ago.
        """


@contextmanager
def progress(mode: Mode, what: str, total: int | None = None) -> Iterator[Advance]:
    """Show how much of some work is done; its ``total`` steps are None where nobody knows."""
    if mode == "bar" or (mode == "auto" and sys.stderr.isatty()):
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress

        with Progress(console=Console(stderr=True, force_terminal=True), transient=True) as bar:
            task = bar.add_task(escape(what), total=total)

            def move(steps: float = 1, said: str = "", *, is_line: bool | None = None) -> None:  # noqa: ARG001
                bar.update(task, advance=steps, description=escape(said) if said else None)

            yield move
        return
    done: float = 0
    told = time.monotonic()

    def tell(steps: float = 1, said: str = "", *, is_line: bool | None = None) -> None:
        nonlocal done, told
        done += steps
        is_due = time.monotonic() - told > EVERY if is_line is None else is_line
        if mode != "none" and is_due:
            told = time.monotonic()
            log.info(said or f"{what}, {done}{'' if total is None else f' of {total}'}")

    yield tell


class Stopwatch:
    """Wall seconds of each part, said aloud when the part begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str, message: str) -> Iterator[None]:
        """Time one part."""
        log.info(message)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
