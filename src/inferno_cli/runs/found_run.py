"""A run as it is found in a folder: finished or not, with its configuration and its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.config.load import flatten
from inferno_cli.errors import ComparisonError, FileError, RunError
from inferno_cli.runs.earlier import completed
from inferno_cli.runs.folder import (
    CONFIG_FILE,
    HYDRA,
    OVERRIDES_FILE,
    RECORD,
    RESULTS_FILE,
    Status,
    origin,
    read_verified,
    verify,
)
from inferno_cli.runs.points import EXPERIMENT, MODEL, as_text, matters
from inferno_cli.runs.sweeps import read_of_run

if TYPE_CHECKING:
    from inferno_cli.runs.record import Results


@dataclass(frozen=True)
class FoundRun:
    """One run, or what is left of one that did not finish."""

    where: str
    """Its folder."""
    settings: Mapping[str, Any]
    """Its configuration, flat, with dotted keys; empty when it is not known."""
    results: Results | None
    """What it found; None: it did not finish."""
    error: str = ""
    """Why not."""
    overrides: tuple[str, ...] = ()
    """What was overridden, in Hydra's words."""

    @cached_property
    def texts(self) -> dict[str, str]:
        """The settings that decide what is measured, with the seed, as texts that can be compared."""
        return {key: as_text(value) for key, value in self.settings.items() if matters(key)}

    @cached_property
    def identity(self) -> str:
        """The same as one string."""
        return "\n".join(f"{key}={self.texts[key]}" for key in sorted(self.texts))

    @property
    def study(self) -> str:
        """Name of the study that it belongs to, or ""."""
        return str(self.settings.get("study.name") or "")

    @classmethod
    def read(cls, folder: Path) -> FoundRun:
        """Return what is in a folder; ComparisonError if a file of a finished run is missing, changed or damaged."""
        return cls.of(folder, *settings_of(folder))

    @classmethod
    def of(cls, folder: Path, settings: Mapping[str, Any], overrides: tuple[str, ...]) -> FoundRun:
        """Return the same, of a run whose configuration has been read."""
        status = Status.read(folder)
        if status is not None and status.state == "reused":
            before = origin(folder)
            there = Status.read(before)
            if (before / RESULTS_FILE).is_file() and (there is None or there.state != "reused"):
                return replace(cls.read(before), overrides=overrides)
            return cls(str(folder), settings, None, f"was finished in {before}, which is not there", overrides)
        # Results beside another state are of a run in the same folder before.
        if not (folder / RESULTS_FILE).is_file() or (status is not None and status.state != "finished"):
            error = "no results.json: stopped, or still running"
            if status is not None and status.state == "finished":
                error = "finished, without a results.json: a run of another step, or one whose record was deleted"
            if status is not None and status.error:
                error = f"{status.state}: {' '.join(status.error.split())}"
            return cls(str(folder), settings, None, error, overrides)
        return cls(str(folder), settings, _results(folder, settings, status), overrides=overrides)


def settings_of(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the flat configuration of a run, with its experiment, and what was overridden."""
    settings: dict[str, Any] = {}
    overrides: tuple[str, ...] = ()
    if (folder / CONFIG_FILE).is_file():
        settings = dict(flatten(completed(read_of_run(folder / CONFIG_FILE))))
    elif (folder / HYDRA / "config.yaml").is_file():  # it failed before anything was run
        settings = dict(flatten(completed(_resolved(read_of_run(folder / HYDRA / "config.yaml")))))
    if (folder / HYDRA / OVERRIDES_FILE).is_file():
        overrides = tuple(map(str, read_of_run(folder / HYDRA / OVERRIDES_FILE, list)))
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        if key == EXPERIMENT:
            settings[EXPERIMENT] = value
    return settings, overrides


def _resolved(values: Any) -> Any:
    """Return a configuration without its interpolations; as it is where one of them is the mistake."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException:
        return values


def _results(folder: Path, settings: Mapping[str, Any], status: Status | None) -> Results:
    """Read the record of a finished run whose files are those that it wrote."""
    from inferno_cli.runs.record import SCHEMA, SCHEMAS, Results  # which `inferno list` does not need

    path, again = folder / RESULTS_FILE, "Run that point again, or leave it out: runs=..."
    if not settings:
        raise ComparisonError(f"{folder} has no {CONFIG_FILE}: what was run there is not known. Copy the whole folder")
    try:
        verify(folder, RECORD, status)
    except RunError as error:
        raise ComparisonError(f"{error}, or leave it out: runs=...") from error
    try:
        values = read_verified(folder, RESULTS_FILE, status)
    except FileError as error:
        raise ComparisonError(f"{error}. {again}") from error
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema not in SCHEMAS:
        raise ComparisonError(f"{path} has schema {schema!r}; this version of inferno_cli compares {SCHEMA!r}. {again}")
    try:
        results = Results.model_validate(values)
    except ValueError as error:
        lines = " ".join(str(error).splitlines()[1:3]).strip()
        raise ComparisonError(f"{path} is not a record of this version of inferno_cli ({lines}). {again}") from error
    if results.model is not None and not {MODEL, "workspace"} & settings.keys():
        raise ComparisonError(f"{folder / CONFIG_FILE} is not that of the run. Copy the folder of the run again")
    return results
