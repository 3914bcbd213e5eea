"""Ctrl-C and the signals of batch systems: one exception ends whatever is running, with the exit code of the signal."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from inferno_cli.errors import Stopped

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
PATIENCE = 2.0
"""Seconds after which a second signal ends the program at once; before, it is the same one by another way."""
MOMENT, MOST_PUT_OFF = 0.01, 300
"""Seconds for which a signal is put off, and how often: nobody waits longer than 3 s for the end of imports."""


class Listener:
    """Raises Stopped at the first signal, in the main thread, between two statements of whatever runs there."""

    def __init__(self) -> None:
        self.heard: float | None = None
        self.is_held = False
        self.waiting: int | None = None
        self.put_off = 0
        self.otherwise: Callable[[Any], object] = sys.unraisablehook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.heard is None and _swallows(frame) and self.put_off < MOST_PUT_OFF:
            self.put_off += 1
            _send_again(number)
            return
        if self.heard is None:
            self.heard = time.monotonic()
            _pass_on(number)
            if not self.is_held:
                raise Stopped(number)
            self.waiting = number
        if time.monotonic() - self.heard > PATIENCE:  # what is tidied up hangs, and somebody insists
            os._exit(128 + number)

    def lost(self, unraisable: Any) -> None:
        """Raise once more what came up where Python cannot raise: in a destructor, say."""
        if isinstance(unraisable.exc_value, Stopped):
            self.heard = None
            _send_again(unraisable.exc_value.number)
        else:
            self.otherwise(unraisable)


def _swallows(frame: FrameType | None) -> bool:
    """Whether what is raised at a frame is lost, or turned into another exception.

    What libraries do while they are imported does that, and so does Python around ``Listener.lost``: on a busy machine
    the signal that it sends is back before it has returned.
    """
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>" or frame.f_code is Listener.lost.__code__:
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    """Send a signal to this process in a moment.

    A threading.Timer waits until its thread has begun: on a busy machine the signal would be back within that.
    """

    def send() -> None:
        time.sleep(MOMENT)
        os.kill(os.getpid(), number)

    _thread.start_new_thread(send, ())


def listen() -> None:
    """Turn signals into Stopped for the rest of a process that is a worker of another."""
    listener = Listener()
    for number in NUMBERS:
        signal.signal(number, listener)
    sys.unraisablehook = listener.lost


@contextmanager
def blocked() -> Iterator[None]:
    """Let signals wait, in the processes that are started within as well, which ``unblock`` them when they listen."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """Take the signals that have waited."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


@contextmanager
def listening() -> Iterator[None]:
    """Turn signals into Stopped; afterwards everything is as before.

    A signal that is ignored stays so (nohup), and so does a listener that is there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = Listener()
    replaced = {}
    for number in NUMBERS:
        handler = signal.getsignal(number)
        if handler is not signal.SIG_IGN and not isinstance(handler, Listener):
            replaced[number] = signal.SIG_DFL if handler is None else handler
            signal.signal(number, listener)
    if replaced:
        sys.unraisablehook = listener.lost
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        if replaced:
            sys.unraisablehook = listener.otherwise
            atexit.unregister(_deaf)
            atexit.register(_deaf)


@contextmanager
def held() -> Iterator[None]:
    """Raise a signal that comes within at the end: what is begun within is known there, and can be ended."""
    listener = next((handler for number in NUMBERS if isinstance(handler := signal.getsignal(number), Listener)), None)
    if listener is None or listener.is_held or threading.current_thread() is not threading.main_thread():
        yield
        return
    listener.is_held = True
    try:
        yield
    finally:
        listener.is_held = False
        if listener.waiting is not None:
            number, listener.waiting = listener.waiting, None
            raise Stopped(number)


def _deaf() -> None:
    """While Python shuts down, which takes a second with torch: the work is done, and its exit code is decided."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def _pass_on(number: int) -> None:
    """Tell the processes of a launcher: those of joblib and submitit do not end with this one by themselves."""
    import psutil

    sent = signal.SIGTERM if number not in (signal.SIGINT, signal.SIGTERM) else number
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.send_signal(sent)
