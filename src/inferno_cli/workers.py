"""Work on several processors: processes that end as this one does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TypeVar

from inferno_cli import signals
from inferno_cli.errors import MemoryLimitError, Stopped

Task = TypeVar("Task")
Result = TypeVar("Result")

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables with the number of threads of linear algebra."""


def in_workers(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    *,
    begin: Callable[[], None] | None = None,
    remedy: str,
) -> Iterator[tuple[Task, Result]]:
    """Do work in processes of its own; yield each task with its result as it is finished.

    Args:
        work: A function of a module, or a partial one.
        tasks: What it takes, one after the other; all go to the processes.
        workers: Processes at a time.
        begin: Called once in every process before its first task.
        remedy: What to do where a process is killed, for the error.

    Raises:
        MemoryLimitError: If a process was killed.
    """
    # Not forked: the threads of libraries would not survive it.
    spawn = get_context("spawn")
    with (
        _single_threads(),
        ProcessPoolExecutor(min(workers, len(tasks)), spawn, initializer=_listen, initargs=(begin,)) as pool,
    ):
        with signals.blocked():  # also for the workers, until they listen
            waiting = {pool.submit(_in_worker, work, task): task for task in tasks}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise MemoryLimitError(
                f"a worker was killed, probably for its memory, in one of {len(tasks)} tasks. {remedy}"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _single_threads() -> Iterator[None]:
    """Give the processes that are started within one thread each: more threads than processors are far slower."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _listen(begin: Callable[[], None] | None) -> None:
    """In a worker: take the signals that end the program as the program does, and those that came before."""
    try:
        signals.listen()
        signals.unblock()
        # A program that is killed cannot end its workers, and they would wait for it for ever.
        threading.Thread(target=_end_with_parent, daemon=True).start()
        if begin is not None:
            begin()
    except Stopped as stop:
        os._exit(128 + stop.number)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _in_worker(work: Callable[[Task], Result], task: Task) -> Result:
    """Do a task; a worker that is stopped must not take the next one."""
    try:
        return work(task)
    except Stopped as stop:  # what was half written is removed
        os._exit(128 + stop.number)
