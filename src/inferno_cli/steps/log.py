"""log a finished run in MLflow: one whose tracking failed, or that was not to be logged."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.schema import Tracking
from inferno_cli.config.steps import LogConfig
from inferno_cli.errors import ConfigError, FileError, RunError
from inferno_cli.files import read_json, read_yaml, user_path

if TYPE_CHECKING:
    from inferno_cli.steps._logged import Logs

log = logging.getLogger(__name__)
SCHEMA = LogConfig


def run(config: LogConfig, composed: Any) -> None:  # noqa: ARG001
    """Log what the step that made the run would have logged; once."""
    from inferno_cli.runs.folder import CONFIG_FILE
    from inferno_cli.runs.mlflow.afterwards import logged_as
    from inferno_cli.runs.mlflow.run import Run, log_configuration, tracked
    from inferno_cli.runs.mlflow.store import absolute_uri, check, connect, shown
    from inferno_cli.runs.mlflow.sweep import PARENT_FILE
    from inferno_cli.runs.sweeps import HydraJob
    from inferno_cli.steps._logged import log_finished

    finished = _finished(config.run)
    folder = finished.folder
    try:
        params = {str(key): value for key, value in read_yaml(folder / CONFIG_FILE).items()}
    except FileError as error:
        raise RunError(f"{error}. Copy the folder of the run again") from error
    chosen = _tracking(config, params, folder)
    check(chosen)
    uri = absolute_uri(chosen)
    before = logged_as(folder, uri, chosen.experiment)
    if before is not None and before[1] == "FINISHED":
        log.info(f"tracking: the run in {folder} is logged already, as {before[0]} in {shown(uri)}")
        if chosen.register_as is not None:
            log_finished(Run(connect(uri), before[0]), folder, chosen, finished.logs)
        return
    job = HydraJob.of(folder)
    with tracked(
        chosen,
        name=finished.name if job.sweep is None else job.name,
        params=params,
        tags=finished.tags,
        sweep_folder=job.sweep if job.sweep is not None and (job.sweep / PARENT_FILE).is_file() else None,
        resume=None if before is None else before[0],
    ) as logged:
        assert logged is not None
        log_configuration(logged, folder)
        log_finished(logged, folder, chosen, finished.logs)
    sys.stdout.write(f"logged: {logged.run_id} in {shown(uri)}\n")


@dataclass(frozen=True)
class _Finished:
    """A finished run of any step: its folder, and how it is logged."""

    folder: Path
    name: str
    tags: Mapping[str, str]
    logs: Logs


def _finished(place: str) -> _Finished:
    """Find a finished run; RunError where there is none, or a file of it has changed since."""
    from inferno_cli.choices import choices
    from inferno_cli.runs.folder import OTHER_RECORDS, Status, verify
    from inferno_cli.runs.run_folder import open_record
    from inferno_cli.steps._logged import log_fit

    for step, file in OTHER_RECORDS.items():
        folder = user_path(place)
        if (folder / file).is_file():
            status = Status.read(folder)
            if status is None or status.state != "finished":
                raise RunError(
                    f"the last run in {folder} did not finish. Fix run=FOLDER, or run `inferno {step}` again"
                )
            verify(folder)
            module, record = choices("inferno_cli.steps")[step].load(), read_json(folder / file)
            tags = {"seed": str(record["seed"]), "code_version": str(record["code_version"])}
            return _Finished(folder, module.called(record["dataset"]), tags, module.log_finished)
    folder, results = open_record(place, "run")
    tags, name = {"code_version": results.code_version}, f"fit {results.dataset}"
    if results.model is not None:
        tags, name = tags | {"seed": str(results.seed), "model": results.model}, f"{results.dataset} {results.model}"
    return _Finished(folder, name, tags, log_fit)


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
