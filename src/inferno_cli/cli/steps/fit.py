"""fit any pyhf workspace with MINUIT: errors, impacts, scans, significance, limit.

It needs no events and no network: torch is not imported.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from inferno_cli.config import FitConfig, Step

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

    from inferno_cli import report, tracking
    from inferno_cli.cli.provenance import Job, code_version
    from inferno_cli.cli.status import Status
    from inferno_cli.fit import fit_workspace, read_workspace

    job, version = Job.current(), code_version()
    path = Path(config.workspace).expanduser()
    spec = read_workspace(path, patch=config.patch, patchset=config.patchset)
    tracking.check(config.tracking)
    params = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(params, dict)
    with tracking.run(
        config.tracking,
        name=f"fit {path.stem}" if job.sweep is None else job.name,
        params={str(key): value for key, value in params.items()},
        tags={"code_version": version},
        sweep_folder=job.sweep,
    ) as logged:
        log.info(f"fit: {path}")
        if label := _label(path):
            log.info(f"fit: {label}")
        start = time.perf_counter()
        fit = fit_workspace(spec, config.fit, measurement=config.measurement, where=str(path))
        results = report.Results.of_fit(
            fit,
            spec,
            dataset=path.stem,
            label=label,
            checksum=hashlib.sha256(path.read_bytes()).hexdigest(),
            code_version=version,
            workspace=str(path.absolute()),
            seconds=round(time.perf_counter() - start, 3),
        )
        plots: tuple[Path, ...] = ()
        if config.report.plots:
            log.info("report: plots")
            plots = report.draw(
                results,
                folder=job.folder / "plots",
                formats=config.report.formats,
                templates=None,
                workspace=spec,
                fit=fit,
            )
        tables = report.write_yields(results, job.folder)
        results_path = job.folder / report.RESULTS_FILE
        results.save(results_path)
        logged.tags({"dataset_checksum": results.dataset_checksum, "label": label or "none"})
        logged.metrics(results.metrics())
        logged.describe(report.headline(results))
        logged.artifacts([results_path, path, *tables])
        logged.artifacts(plots, "plots")
    Status("finished").write(job.folder)
    report.show(results)
    sys.stdout.write(report.closing_line(results_path) + "\n")


def _label(workspace: Path) -> str:
    """Return what must be said of the data, from the record of the run that wrote a workspace; empty without one.

    A workspace cannot say it: its schema is closed.
    """
    from inferno_cli.report import RESULTS_FILE

    try:
        record = json.loads((workspace.parent / RESULTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # whatever else has that name
        return ""
    if not isinstance(record, dict) or Path(str(record.get("workspace"))).name != workspace.name:
        return ""
    return str(record.get("label", ""))
