"""MLflow: where runs are logged. MLflow itself is imported when a run starts, not with this package."""

from inferno_cli.tracking.afterwards import log_to_run
from inferno_cli.tracking.runs import Run, run
from inferno_cli.tracking.store import absolute_uri, check, shown, sqlite_file
from inferno_cli.tracking.stored import StoredRun, download, stored_runs
from inferno_cli.tracking.sweep import SweepCallback, log_to_parent

__all__ = [
    "Run",
    "StoredRun",
    "SweepCallback",
    "absolute_uri",
    "check",
    "download",
    "log_to_parent",
    "log_to_run",
    "run",
    "shown",
    "sqlite_file",
    "stored_runs",
]
