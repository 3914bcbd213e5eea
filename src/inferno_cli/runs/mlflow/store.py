"""The MLflow store: its address, whether it can be reached, and the experiment in it."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import sqlite3
import ssl
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from inferno_cli.errors import TrackingError
from inferno_cli.signals import held

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from inferno_cli.config.schema import Tracking

_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"
# What every server has, and does the work of one: a page of its own may answer where nothing else does.
_QUESTION = "/api/2.0/mlflow/experiments/search?max_results=1"
# Seconds to connect, and again to answer. A host may have two addresses (IPv6 and IPv4): 9 s in all.
_TIMEOUT, _PATIENT = 3.0, 9.0
LOCK_TIMEOUT = 120.0
_LOCKED = 5.0
# Of MLflow's client, unless somebody has set others: with its own it tries for minutes.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_REMEDY = "Choose another store with tracking.uri=..., or log nothing with tracking=none."


@dataclass(frozen=True)
class Store:
    """An open store; everything that is asked of ``client`` is asked within ``calls``."""

    uri: str
    client: MlflowClient

    def calls(self, what: str) -> AbstractContextManager[None]:
        """Turn whatever MLflow raises within into a TrackingError: "cannot ``what``"."""
        return _calls(self.uri, what)


def check(tracking: Tracking) -> None:
    """Raise TrackingError, within seconds and before any work, where runs cannot be logged."""
    if tracking.backend == "none":
        if tracking.register_as is not None:
            raise TrackingError(
                "tracking.register_as: a model is registered in a store, and tracking=none has none. Leave one of them "
                "out; a finished run is registered by `inferno log`"
            )
        return
    uri = absolute_uri(tracking)
    file = sqlite_file(uri)
    if file is None:
        _reach(uri)
        return
    header = b""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
        if file.exists() and not file.is_file():  # to read a pipe takes for ever
            raise TrackingError(f"MLflow store {file} is no file. {_REMEDY}")
        if file.exists():
            with file.open("r+b") as existing:
                header = existing.read(len(_SQLITE_HEADER))
    except TrackingError:
        raise
    except OSError as error:
        found = f"{error.strerror}: {error.filename}"
        raise TrackingError(f"MLflow store {file} cannot be written: {found}. {_REMEDY}") from error
    # MLflow would try to open these for minutes.
    if header not in (b"", _SQLITE_HEADER):
        raise TrackingError(f"MLflow store {file} is no SQLite file. {_REMEDY}")
    if set("%?") & set(str(file)):
        raise TrackingError(f"MLflow store {file}: a sqlite URI cannot hold '%' or '?'. {_REMEDY}")
    if header:
        _require_unlocked(file)


def _require_unlocked(file: Path) -> None:
    """Raise TrackingError where another program keeps a transaction open: MLflow would try for 20 s, at every call."""
    from filelock import Timeout

    try:
        with (
            _creation(file),  # which takes longer than any other transaction of MLflow's
            closing(sqlite3.connect(file, timeout=_LOCKED, isolation_level=None)) as connection,
        ):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except (sqlite3.Error, Timeout) as error:
        raise TrackingError(f"MLflow store {file} cannot be written: {_said(error)}. {_REMEDY}") from error


def _said(error: Exception) -> str:
    """Return the first line of an error; that of a lock says who may hold it, and not what SQLAlchemy was doing."""
    if "database is locked" in str(error):
        return (
            "it is locked: another program (a stopped one, a backup, a database browser) holds a transaction open. "
            "End it, or wait"
        )
    return str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__


def connect(uri: str) -> Store:
    """Open the store at an absolute URI; a sqlite store is created when it is not there."""
    # MLflow would report its use to its makers, and its doings to the user.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    # What goes wrong is said by us; this logs tracebacks.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with _calls(uri, "open it"), _creation(sqlite_file(uri)):
        return Store(uri, MlflowClient(tracking_uri=uri))


def _creation(file: Path | None) -> AbstractContextManager[object]:
    """Hold a sqlite store: two processes that create the same one race in its migrations, and one of them dies."""
    from filelock import FileLock

    return nullcontext() if file is None else FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT)


def require_there(uri: str, remedy: str) -> None:
    """Raise TrackingError where the file of a sqlite store is not there: ``connect`` would create it."""
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise TrackingError(f"there is no MLflow store {file}. {remedy}".removesuffix(". "))


def experiment_id(store: Store, name: str) -> str:
    """Return the id of the experiment ``name``, which is created when it is not there."""
    from mlflow.exceptions import MlflowException

    file = sqlite_file(store.uri)
    # Left to itself, a sqlite store puts artifacts in the working directory of this moment.
    location = None if file is None else (file.parent / "mlartifacts").as_uri()
    with store.calls(f"open experiment {name!r}"):
        experiment = store.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(store.client.create_experiment(name, artifact_location=location))
            except MlflowException:
                experiment = store.client.get_experiment_by_name(name)
                if experiment is None:  # not just another process that was faster
                    raise
        return str(experiment.experiment_id)


def absolute_uri(tracking: Tracking) -> str:
    """Return the tracking URI, with the path of a sqlite file taken from the working directory."""
    uri = tracking.uri or ""
    file = sqlite_file(uri)
    return uri if file is None else f"{_SQLITE}{file}"


def sqlite_file(uri: str) -> Path | None:
    """Return the absolute path of a sqlite store; None for any other store."""
    return Path(uri.removeprefix(_SQLITE)).resolve() if uri.startswith(_SQLITE) else None


def shown(uri: str) -> str:
    """Return the URI without user and password."""
    scheme, mark, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


@contextmanager
def _calls(uri: str, what: str) -> Iterator[None]:
    _reach(uri)  # of a server that has died since; MLflow's client would retry for minutes
    # A signal in half a transaction would leave the file locked, also for saying that the run was stopped.
    waits = nullcontext() if sqlite_file(uri) is None else held()
    try:
        with waits:
            yield
    except TrackingError:
        raise
    except Exception as error:  # those of requests, sqlalchemy, alembic and the file system come through
        raise TrackingError(f"MLflow store {shown(uri)}: cannot {what}: {_said(error)}. {_REMEDY}") from error


def _reach(uri: str) -> None:
    """Raise TrackingError unless the server of a store answers, and a sqlite store can be written."""
    if (file := sqlite_file(uri)) is not None:
        if file.is_file():
            _require_unlocked(file)
        return
    parts = urlsplit(uri)
    try:
        if parts.scheme in ("http", "https"):
            _request(shown(uri).rstrip("/") + _QUESTION)
        elif parts.hostname and parts.port:
            socket.create_connection((parts.hostname, parts.port), timeout=_TIMEOUT).close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        found = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            found = f"HTTP {error.code} {found}"
        raise TrackingError(
            f"MLflow server {shown(uri)} does not answer: {found}. Start it, or c{_REMEDY[1:]}"
        ) from error


def _request(url: str) -> None:
    """Ask a server, and wait for the whole answer: a timeout of a socket ends with every byte that comes."""
    errors: list[Exception] = []

    def ask() -> None:
        # Nothing secret is sent, and which certificates to trust is for MLflow's own settings to say.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT, context=context) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code >= 500:  # below: a server without this page, or behind a login, is there nevertheless
                errors.append(error)
        except Exception as error:  # the caller's to sort
            errors.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENT)
    if asking.is_alive():
        raise TimeoutError(f"its answer is not whole after {_PATIENT:g} s")
    if errors:
        raise errors[0]
