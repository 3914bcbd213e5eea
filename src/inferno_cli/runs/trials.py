"""The trials of a search: ``search.csv`` and ``best.yaml``."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Trial:
    """One point that was tried.

    Attributes:
        number: Its folder in that of the search.
        state: complete, pruned, fail, running, or stopped: killed before its end, and asked for again.
        value: The hard sigma(mu) on the validation split; of a pruned trial at its last epoch.
        params: What was searched, by key.
        error: Why it failed.
    """

    number: int
    state: str
    value: float | None
    params: Mapping[str, Any]
    error: str = ""


def overrides(params: Mapping[str, Any]) -> list[str]:
    """Return the overrides of a point."""
    return [f"{key}={value}" for key, value in params.items()]


def ranked(tried: Sequence[Trial]) -> tuple[list[Trial], list[str]]:
    """Return the trials that count, the best first, and the keys that were searched."""
    rows = sorted(
        (x for x in tried if x.state != "stopped"), key=lambda x: (x.state != "complete", x.value or math.inf)
    )
    return rows, list(dict.fromkeys(key for trial in tried for key in trial.params))


def write_trials(tried: Sequence[Trial], folder: Path) -> list[Path]:
    """Write all trials, and the best one where there is one; return the files."""
    rows, keys = ranked(tried)
    files = [folder / "search.csv"]
    with files[0].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trial", "state", "sigma_mu_hard", *keys, "error"])
        for row in rows:
            writer.writerow([row.number, row.state, row.value, *(row.params.get(key) for key in keys), row.error])
    if rows and rows[0].state == "complete":
        best = {"trial": rows[0].number, "sigma_mu_hard": rows[0].value, "overrides": overrides(rows[0].params)}
        files.append(folder / "best.yaml")
        files[-1].write_text(yaml.safe_dump(best, sort_keys=False), encoding="utf-8")
    return files
