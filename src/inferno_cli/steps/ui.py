"""open MLflow's pages on the store of the runs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

from inferno_cli.config.steps import UiConfig
from inferno_cli.errors import Stopped, TrackingError

log = logging.getLogger(__name__)
SCHEMA = UiConfig

_SECONDS_TO_STOP = 10
_OWN = ("127.0.0.1", "localhost", "::1")
"""Addresses that nobody else reaches."""


def run(config: UiConfig, composed: Any) -> None:  # noqa: ARG001
    """Serve MLflow's pages until Ctrl-C; of a tracking server, say its address."""
    from inferno_cli.runs.mlflow.store import absolute_uri, check, shown, sqlite_file

    if config.tracking.backend == "none":
        raise TrackingError("tracking is 'none': there is no store to show. Use tracking=mlflow.")
    uri = absolute_uri(config.tracking)
    if uri.startswith(("http://", "https://")):
        check(config.tracking)
        log.info("MLflow runs at %s", shown(uri))
        return
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise TrackingError(
            f"there is no MLflow store {file}. Train first (inferno train), or name another with "
            "output_dir=... or tracking.uri=..."
        )
    _check_port(config.host, config.port)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", config.host, "--port", str(config.port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    if file is not None:
        command += ["--artifacts-destination", (file.parent / "mlartifacts").as_uri()]
    log.info("MLflow on %s", shown(uri))
    log.info("http://%s:%d will answer in 5 to 20 s; Ctrl-C ends it", config.host, config.port)
    if config.host not in _OWN:
        log.warning(
            "host=%s: whoever reaches this machine can read and delete the runs; nobody is asked for a password",
            config.host,
        )
    _serve(command)


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            # As the server does: a port whose last connection has just closed is free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise TrackingError(
            f"port {port} of {host} cannot be used: {error.strerror}. Choose another: port=..."
        ) from error


def _serve(command: list[str]) -> None:
    """Run the server until it ends or the user presses Ctrl-C."""
    # The job execution of MLflow is for agents and language models; it triples the time to start.
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    # Its own session, to reach the workers of the server as well when it is stopped.
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        code = process.wait()
    except BaseException as end:
        if isinstance(end, Stopped):
            end.note = "the server has ended"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise
    if code:
        raise TrackingError(f"MLflow's server ended with status {code}; its messages are above")
