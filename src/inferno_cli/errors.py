"""The errors that a user can meet: each message says what, where, found against expected, and the remedy.

The command line prints the message without a traceback and exits with 2.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from typing import Any


class InfernoError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(InfernoError, ValueError):
    """The configuration has an unknown key, a wrong type, a value out of range or a contradiction."""


class DatasetError(InfernoError, ValueError):
    """The events cannot be used: values not finite, no events, or ids that do not match."""


class DatasetFileError(DatasetError, OSError):
    """A file of the dataset is missing, unreadable or truncated."""


class TreeNotFoundError(DatasetError, LookupError):
    """A tree is missing from the files of the dataset."""


class BranchNotFoundError(DatasetError, LookupError):
    """A branch is missing from a tree."""


class TemplateError(InfernoError, ValueError):
    """A template cannot enter a fit: its yield is not positive, or its bins cannot carry what is asked."""


class SingularInformationError(InfernoError, ArithmeticError):
    """The data cannot constrain all parameters: the information matrix has a flat direction."""


class WorkspaceError(InfernoError, ValueError):
    """A workspace is missing, is not valid against pyhf's schema, or has no such parameter."""


class UnknownModifierError(WorkspaceError):
    """A workspace has a modifier that the specification of a likelihood has no word for."""


class RunError(InfernoError, ValueError):
    """A folder is not that of a finished run, or files of the run are missing or damaged."""


class ComparisonError(InfernoError, ValueError):
    """Runs cannot be compared: other data, another version of the record, or nothing there."""


class ExportError(InfernoError, ArithmeticError):
    """The exported network does not give the numbers of the trained one."""


class FlowError(InfernoError, ArithmeticError):
    """The training of a flow diverged."""


class FitFailedError(InfernoError, RuntimeError):
    """MINUIT did not give a valid result."""


class NegativeRateError(FitFailedError):
    """A fit with parameters held ends where a bin expects a negative number of events: there is no likelihood."""


class DeeperMinimumError(FitFailedError):
    """The minimum of the fit is not the global one; ``values`` are parameters near the other, if known."""

    def __init__(self, message: str, values: Any = None) -> None:
        super().__init__(message)
        self.values = values


class TrackingError(InfernoError, ConnectionError):
    """The MLflow store cannot be reached or written."""


class OutputError(InfernoError, OSError):
    """The output folder cannot be written, is in use, or holds a finished run."""


class FileError(InfernoError, ValueError):
    """A text file is none: a pipe, a folder, too large, not UTF-8, or not the JSON or YAML that it should be."""


class MemoryLimitError(InfernoError, MemoryError):
    """The memory that the process may have is not enough."""


class Stopped(SystemExit):
    """A signal asks the program to end.

    Not an error that code may handle (Lightning ends its training in silence for a KeyboardInterrupt), and not a
    traceback where nobody handles it: Python itself exits with ``code``. ``note`` says what became of the work.
    """

    def __init__(self, number: int, note: str = "") -> None:
        super().__init__(128 + number)
        self.number, self.note = number, note

    def __reduce__(self) -> tuple[type[Stopped], tuple[int, str]]:
        return Stopped, (self.number, self.note)

    def __str__(self) -> str:
        return signal.Signals(self.number).name


def closest(name: str, candidates: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """Return ``"; closest: 'x'"`` for the candidate nearest to ``name``, or a list when none is near.

    ``listed`` are those of the candidates that the list has; None: all.
    """
    known = sorted(candidates)
    folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    if near:
        return f"; closest: {folded[near[0]]!r}"
    shown = known if listed is None else sorted(listed)
    return f"; known: {', '.join(shown)}" if shown else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or what it is called."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
