"""One exception for every signal, whatever is running, and everything as before afterwards."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferno_cli import signals
from inferno_cli.errors import Stopped
from inferno_cli.signals import listening

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, heard: None) -> Iterator[None]:
    """The other processes of the tests are not told; and everything must be as before."""
    monkeypatch.setattr(signals, "_pass_on", lambda number: None)
    before = {number: signal.getsignal(number) for number in signals.NUMBERS}, sys.unraisablehook
    yield
    assert ({number: signal.getsignal(number) for number in signals.NUMBERS}, sys.unraisablehook) == before


def send(number: int) -> None:
    """Send a signal to this process, which handles it before the next statement."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", list(CODES))
def test_a_signal_is_an_exception_with_its_exit_code(number: signal.Signals) -> None:
    with pytest.raises(Stopped) as stopped, listening():
        send(number)

    assert (stopped.value.code, stopped.value.number, str(stopped.value)) == (CODES[number], number, number.name)
    assert not isinstance(stopped.value, Exception | KeyboardInterrupt)  # which libraries handle in their own way


def test_it_reaches_another_process_as_it_is() -> None:
    again = pickle.loads(pickle.dumps(Stopped(signal.SIGTERM, "a note")))
    assert (again.number, again.code, again.note) == (signal.SIGTERM, 143, "a note")


def test_the_same_signal_by_another_way_is_not_a_second_one() -> None:
    ended = []

    def work() -> None:
        with listening():
            try:
                send(signal.SIGINT)
            finally:
                send(signal.SIGINT)
                ended.append("tidied up")

    with pytest.raises(Stopped):
        work()
    assert ended == ["tidied up"]


def test_what_is_ignored_stays_ignored() -> None:
    """As nohup does, and a shell for what runs in its background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_listener_inside_another_changes_nothing() -> None:
    with listening():
        handler = signal.getsignal(signal.SIGTERM)
        with listening():
            assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGTERM) is handler


def test_other_threads_do_not_listen() -> None:
    found = []

    def work() -> None:
        with listening():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


class Noisy:
    """Is sent a signal where Python cannot raise."""

    def __del__(self) -> None:
        send(signal.SIGTERM)


@pytest.mark.parametrize("moment", [signals.MOMENT, 0.0])
def test_a_signal_in_a_destructor_is_not_lost(moment: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it where the signal that is sent again is back at once."""
    monkeypatch.setattr(signals, "MOMENT", moment)

    def work() -> None:
        with listening():
            Noisy()
            time.sleep(20)

    start = time.monotonic()
    with pytest.raises(Stopped) as stopped:
        work()
    assert stopped.value.number == signal.SIGTERM
    assert time.monotonic() - start < 5


def test_a_signal_waits_for_what_is_held() -> None:
    done = []

    def work() -> None:
        with listening():
            with signals.held():
                send(signal.SIGTERM)
                time.sleep(0.1)
                done.append("begun")
            done.append("never")

    with pytest.raises(Stopped) as stopped:
        work()
    assert (stopped.value.number, done) == (signal.SIGTERM, ["begun"])


def test_nothing_is_held_where_nobody_listens() -> None:
    with signals.held(), signals.held():
        assert not isinstance(signal.getsignal(signal.SIGTERM), signals.Listener)


CHILD = "import pathlib, signal, time; pathlib.Path('started').touch(); time.sleep(60)"
PARENT = f"""
import subprocess, sys
from inferno_cli.signals import listening
with listening():
    child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], start_new_session=True)
    try:
        child.wait()
    finally:
        print(child.wait(20))
"""


def test_processes_below_are_told(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "started").exists():
        assert parent.poll() is None
    parent.terminate()
    out, _ = parent.communicate(timeout=30)
    assert (parent.returncode, out.strip()) == (143, "-15")


def test_a_signal_waits_for_the_end_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library may catch whatever is raised while it is imported, and go on."""
    (tmp_path / "greedy.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(0.2)\n"
        "except BaseException:\n    caught = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    done = []

    def work() -> None:
        with listening():
            greedy = importlib.import_module("greedy")
            done.append(hasattr(greedy, "caught"))
            time.sleep(5)

    start = time.monotonic()
    with pytest.raises(Stopped) as stopped:
        work()
    assert (stopped.value.number, done) == (signal.SIGTERM, [False])
    assert time.monotonic() - start < 2
