"""fit any pyhf workspace with MINUIT: errors, impacts, scans, significance, limit.

It needs no events and no network: torch is not imported.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.steps import FitConfig
from inferno_cli.errors import FileError, OutputError
from inferno_cli.files import read_json, sha256, user_path
from inferno_cli.steps._logged import Asked, Called, do_part, resolved
from inferno_cli.steps._results import MeasuredRun

if TYPE_CHECKING:
    from inferno_cli.runs.record import Results
    from inferno_cli.shard import Shard

log = logging.getLogger(__name__)
SCHEMA = FitConfig
TAKEN_BY = "`inferno compare` and `inferno log` take it"
"""What takes its runs."""
RUN = MeasuredRun()


def run(config: FitConfig, composed: Any) -> None:
    """Fit a workspace and report."""
    from inferno_cli.code import code_version
    from inferno_cli.likelihood.readers.pyhf import read_workspace
    from inferno_cli.runs import points
    from inferno_cli.runs.folder import OTHER
    from inferno_cli.runs.sweeps import HydraJob

    job, version = HydraJob.current(), code_version()
    path = user_path(config.workspace)
    spec = read_workspace(path, patch=config.patch, patchset=config.patchset)
    require_known(config, spec)
    checksum = sha256(path)
    point = points.point_of_fit(resolved(composed), spec)
    if path.absolute().parent.samefile(job.folder):
        raise OutputError(f"the workspace {path} is in {job.folder} itself. {OTHER}")
    # The workspace is elsewhere, and to fit it takes seconds: nothing is lost with another fit of the same.
    is_spare = _fitted(job.folder / RUN.file) == checksum
    called = Called(f"fit {path.stem}", {"code_version": version})
    asked = Asked(composed, config.tracking, config.overwrite, job, point, called)
    if config.shard is not None:
        do_part(config.shard, asked, partial(_throw, config, job.folder, path, spec))
        return
    RUN.once(partial(_fit, config, job.folder, path, spec, checksum, version), asked, is_spare=is_spare)


def _fit(config: FitConfig, folder: Path, path: Path, spec: dict[str, Any], checksum: str, version: str) -> Results:
    from inferno_cli.fit.analysis import fit_workspace
    from inferno_cli.report.presentation import presentation
    from inferno_cli.report.run.figures import draw
    from inferno_cli.report.run.summary import write_tables
    from inferno_cli.runs.folder import PARTIAL
    from inferno_cli.runs.record import Results

    log.info(f"fit: {path}")
    if label := _label(path):
        log.info(f"fit: {label}")
    start = time.perf_counter()
    fit = fit_workspace(spec, config.fit, measurement=config.measurement, where=str(path), partial=folder / PARTIAL)
    results = Results.of(
        fit,
        dataset=path.stem,
        label=label,
        dataset_checksum=checksum,
        code_version=version,
        workspace=str(path.absolute()),
        timing={"fit": round(time.perf_counter() - start, 3)},
    )
    if config.report.plots:
        log.info("report: plots")
        draw(results, folder=folder / "plots", formats=config.report.formats, shown=presentation(config.report))
    write_tables(results, folder)
    return results


def _throw(config: FitConfig, folder: Path, path: Path, spec: dict[str, Any], shard: Shard) -> str:
    """Throw the toys of a shard; return what was done."""
    from inferno_cli.fit.analysis import fit_workspace
    from inferno_cli.runs.folder import PARTIAL

    where, kept = str(path), folder / PARTIAL
    fit_workspace(spec, config.fit, measurement=config.measurement, where=where, partial=kept, shard=shard)
    return f"its part of {config.fit.toys} toys of each kind"


def require_known(config: FitConfig, spec: dict[str, Any]) -> None:
    """Raise ConfigError for samples in ``report`` that the workspace has not."""
    from inferno_cli.fit.quantities.yields import signal_of

    pois = {item["name"]: item["config"]["poi"] for item in spec["measurements"]}
    poi = pois.get(config.measurement, next(iter(pois.values()), ""))
    scaling = (poi, *(config.fit.pois or ()))
    samples: dict[str, None] = {}
    signal: dict[str, None] = {}
    for channel in spec["channels"]:
        samples |= dict.fromkeys(sample["name"] for sample in channel["samples"])
        signal |= dict.fromkeys(signal_of(channel["samples"], scaling))
    config.report.check(tuple(samples), tuple(signal))


def _fitted(results: Path) -> str | None:
    """Return the checksum of the workspace that a record is the fit of; None where it is not that of a fit."""
    try:
        record = read_json(results)
    except FileError:
        return None
    is_fit = isinstance(record, dict) and record.get("training") is None
    return str(record.get("dataset_checksum")) if is_fit else None


def _label(workspace: Path) -> str:
    """Return what must be said of the data, which a workspace cannot say, from the record of the run that wrote it."""
    from inferno_cli.interpolation.record import INTERPOLATION_FILE, SCHEMA
    from inferno_cli.runs.folder import RESULTS_FILE

    folder = workspace.parent
    for path in (folder / RESULTS_FILE, folder.parent / INTERPOLATION_FILE):
        try:
            record = read_json(path)
        except FileError:  # whatever else has that name
            continue
        is_own = isinstance(record, dict) and Path(str(record.get("workspace"))).name == workspace.name
        if is_own or (isinstance(record, dict) and record.get("schema") == SCHEMA):
            return str(record.get("label", ""))
    return ""
