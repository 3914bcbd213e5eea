"""How far a long part of the fit is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

log = logging.getLogger(__name__)

Tick = Callable[[], None]
"""Called before every minimisation."""

EVERY = 5.0
"""Seconds between two lines: what takes less says nothing."""


@contextmanager
def progress(mode: Literal["auto", "bar", "lines", "none"], what: str, total: int | None) -> Iterator[Tick]:
    """Show how many of ``total`` fits have begun.

    Args:
        mode: "auto" is "bar" on a terminal and "lines" in a log.
        what: The part of the fit.
        total: Number of fits, or None where nobody knows.
    """
    if mode == "bar" or (mode == "auto" and sys.stderr.isatty()):
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress

        with Progress(console=Console(stderr=True, force_terminal=True), transient=True) as bar:
            task = bar.add_task(escape(what), total=total)
            yield lambda: bar.advance(task)
        return
    done, said = 0, time.monotonic()

    def tick() -> None:
        nonlocal done, said
        done += 1
        if mode != "none" and time.monotonic() - said > EVERY:
            said = time.monotonic()
            log.info("fit: %s, %d%s fits", what, done, "" if total is None else f" of {total}")

    yield tick
