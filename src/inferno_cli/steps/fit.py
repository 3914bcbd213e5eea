"""fit any pyhf workspace with MINUIT: errors, impacts, scans, significance, limit.

It needs no events and no network: torch is not imported.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inferno_cli.code import code_digest
from inferno_cli.config import FitConfig, Step
from inferno_cli.errors import FileError, OutputError
from inferno_cli.files import read_json, sha256, user_path

log = logging.getLogger(__name__)


def schema() -> type[Step]:
    """Return the class of this step's configuration."""
    return FitConfig


def run(config: FitConfig, composed: Any) -> None:
    """Fit a workspace and report.

    Args:
        config: The validated configuration.
        composed: The same as Hydra composed it, for the record.
    """
    from omegaconf import OmegaConf

    from inferno_cli.fit import fit_workspace, read_workspace
    from inferno_cli.report.run.figures import draw
    from inferno_cli.report.run.headline import headline
    from inferno_cli.report.run.summary import closing_line, show
    from inferno_cli.report.run.yields import write_yields
    from inferno_cli.runs import folder, status
    from inferno_cli.runs.finished import CONFIG_FILE
    from inferno_cli.runs.job import Job, code_version
    from inferno_cli.runs.mlflow.results import log_results, result_stays
    from inferno_cli.runs.mlflow.run import tracked
    from inferno_cli.runs.mlflow.store import check
    from inferno_cli.runs.record import RESULTS_FILE, Results

    job, version = Job.current(), code_version()
    path = user_path(config.workspace)
    spec = read_workspace(path, patch=config.patch, patchset=config.patchset)
    params = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(params, dict)
    checksum = sha256(path)
    point = _point(params, spec)
    results_path = job.folder / RESULTS_FILE
    if path.absolute().parent.samefile(job.folder):
        raise OutputError(f"the workspace {path} is in {job.folder} itself. {folder.OTHER}")
    if config.overwrite:  # before anything is removed
        check(config.tracking)
    # The workspace is elsewhere, and to fit it takes seconds: nothing is lost with another fit of the same.
    is_spare = _fitted(results_path) == checksum
    if not folder.begin(job.folder, composed, point, overwrite=config.overwrite, is_spare=is_spare):
        status.verify(job.folder)
        log.info("this workspace was fitted here before, with the same settings; overwrite=true fits it again")
        show(Results.load(results_path))
        sys.stdout.write(closing_line(results_path) + "\n")
        return
    config_path = job.folder / CONFIG_FILE
    config_path.write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
    check(config.tracking)
    results: Results | None = None
    try:
        with (
            result_stays(job.folder),
            tracked(
                config.tracking,
                name=f"fit {path.stem}" if job.sweep is None else job.name,
                params={str(key): value for key, value in params.items()},
                tags={"code_version": version},
                sweep_folder=job.sweep,
            ) as logged,
        ):
            logged.remember(job.folder)
            log.info(f"fit: {path}")
            if label := _label(path):
                log.info(f"fit: {label}")
            start = time.perf_counter()
            fit = fit_workspace(spec, config.fit, measurement=config.measurement, where=str(path))
            results = Results.of_fit(
                fit,
                spec,
                dataset=path.stem,
                label=label,
                checksum=checksum,
                code_version=version,
                workspace=str(path.absolute()),
                seconds=round(time.perf_counter() - start, 3),
            )
            plots: tuple[Path, ...] = ()
            if config.report.plots:
                log.info("report: plots")
                plots = draw(
                    results,
                    folder=job.folder / "plots",
                    formats=config.report.formats,
                    templates=None,
                    workspace=spec,
                    fit=fit,
                )
            tables = write_yields(results, job.folder)
            results.save(results_path)
            status.finish(job.folder, point)  # whatever becomes of the tracking
            overrides = job.folder / folder.HYDRA / folder.OVERRIDES_FILE
            files = [results_path, config_path, overrides, path, *tables]
            log_results(logged, results, headline(results), {"": files, "plots": plots})
    finally:
        if results is not None and folder.holds_finished(job.folder):
            show(results)
            sys.stdout.write(closing_line(results_path) + "\n")


def _point(params: Mapping[Any, Any], spec: Mapping[str, Any]) -> str:
    """Return the digest of what decides the files of a fit: not where they go, nor where the workspace is."""
    decides = {key: value for key, value in params.items() if key not in ("workspace", "output_dir", "overwrite")}
    text = json.dumps([decides, spec, code_digest()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _fitted(results: Path) -> str | None:
    """Return the checksum of the workspace that a record is the fit of; None where it is not that of a fit."""
    try:
        record = read_json(results)
    except FileError:
        return None
    is_fit = isinstance(record, dict) and record.get("training") is None
    return str(record.get("dataset_checksum")) if is_fit else None


def _label(workspace: Path) -> str:
    """Return what must be said of the data, from the record of the run that wrote a workspace; empty without one.

    A workspace cannot say it: its schema is closed.
    """
    from inferno_cli.runs.record import RESULTS_FILE

    try:
        record = read_json(workspace.parent / RESULTS_FILE)
    except FileError:  # whatever else has that name
        return ""
    if not isinstance(record, dict) or Path(str(record.get("workspace"))).name != workspace.name:
        return ""
    return str(record.get("label", ""))
