"""log a finished run in MLflow: one whose tracking failed, or that was not to be logged."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from inferno_cli.config.schema import Tracking
from inferno_cli.config.steps import LogConfig
from inferno_cli.errors import ConfigError, RunError, first_line
from inferno_cli.files import read_yaml
from inferno_cli.steps._logged import run_steps

log = logging.getLogger(__name__)
SCHEMA = LogConfig


def run(config: LogConfig, composed: Any) -> None:  # noqa: ARG001
    """Log what the step of the run would have logged; once."""
    from inferno_cli.runs.folder import CONFIG_FILE
    from inferno_cli.runs.mlflow.afterwards import logged_as
    from inferno_cli.runs.mlflow.run import Run, log_configuration, tracked
    from inferno_cli.runs.mlflow.store import absolute_uri, check, connect, shown
    from inferno_cli.runs.mlflow.sweep import PARENT_FILE
    from inferno_cli.runs.run_folder import finished_run
    from inferno_cli.runs.sweeps import HydraJob

    steps = run_steps()
    folder, file = finished_run(config.run, "run", ("train", *(name for name in steps if name != "train")))
    step = next(step for step in steps.values() if step.file == file)
    try:
        record = step.load(folder)
        params = {str(key): value for key, value in read_yaml(folder / CONFIG_FILE).items()}
    except ValueError as error:  # of a file, of JSON, or of pydantic
        raise RunError(f"{folder}: {first_line(error)}. Copy the folder of the run again") from error
    chosen = _tracking(config, params, folder)
    check(chosen)
    uri = absolute_uri(chosen)
    before = logged_as(folder, uri, chosen.experiment)
    if before is not None and before[1] == "FINISHED":
        log.info(f"tracking: the run in {folder} is logged already, as {before[0]} in {shown(uri)}")
        if chosen.register_as is not None:
            step.log_finished(Run(connect(uri), before[0]), folder, record, chosen)
        return
    job, called = HydraJob.of(folder), step.called(record)
    with tracked(
        chosen,
        name=called.name if job.sweep is None else job.name,
        params=params,
        tags=called.tags,
        sweep_folder=job.sweep if job.sweep is not None and (job.sweep / PARENT_FILE).is_file() else None,
        folder=folder,
        resume=None if before is None else before[0],
    ) as logged:
        assert logged is not None
        log_configuration(logged, folder)
        step.log_finished(logged, folder, record, chosen)
    sys.stdout.write(f"logged: {logged.run_id} in {shown(uri)}\n")


def _tracking(config: LogConfig, params: dict[str, Any], folder: Path) -> Tracking:
    """Return where the run is logged: where it was to be, unless the command says otherwise."""
    own = params.get("tracking")
    settings = dict(own) if isinstance(own, dict) else {}
    settings |= {key: value for key, value in config.tracking.model_dump().items() if value is not None}
    if settings.get("uri") is None:
        raise ConfigError(f"the run in {folder} was not to be logged. Name a store: tracking.uri=sqlite:///FILE")
    settings |= {"backend": "mlflow", "experiment": settings.get("experiment") or "inferno", "system_metrics": False}
    try:
        return Tracking.model_validate(settings)
    except ValueError as error:
        lines = " ".join(str(error).split())
        raise RunError(f"the tracking section of the configuration of {folder} is not valid: {lines}") from error
