"""MLflow: where runs are logged. MLflow itself is imported when a run starts, not with this package."""

from inferno_cli.tracking.afterwards import end_run, log_to_run, logged_as
from inferno_cli.tracking.runs import Run, run
from inferno_cli.tracking.store import absolute_uri, check, shown, sqlite_file
from inferno_cli.tracking.stored import StoredRun, download, stored_runs
from inferno_cli.tracking.sweep import SweepCallback, has_parent, log_to_parent

__all__ = [
    "Run",
    "StoredRun",
    "SweepCallback",
    "absolute_uri",
    "check",
    "download",
    "end_run",
    "has_parent",
    "log_to_parent",
    "log_to_run",
    "logged_as",
    "run",
    "shown",
    "sqlite_file",
    "stored_runs",
]
