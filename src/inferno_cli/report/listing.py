"""A list of runs: a table on the terminal, or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from inferno_cli.config.titles import model_title
from inferno_cli.names import printable
from inferno_cli.report.tables import Line, Table, decimals, show_title, terminal
from inferno_cli.runs.listed import ListedRun

SCHEMA = "inferno_cli/list/1"
MAX_ERRORS = 5
ONE_LINE = 200
"""Letters of an error."""
WIDEST = 1000
"""Letters of a line where stdout is no terminal: one run, one line."""
AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
SIZES = ((2**30, "GB"), (2**20, "MB"), (2**10, "kB"))


def show_runs(runs: Sequence[ListedRun], title: str) -> None:
    """Print a table of runs to stdout, and why some did not finish."""
    console = terminal(WIDEST)
    labels = dict.fromkeys(f"{run.dataset}: {run.label}" for run in runs if run.label)
    show_title(console, title, "; ".join(labels))
    if not runs:
        return
    now = time.time()
    headings = ("age", "state", "dataset", "model", "seed", "folder", "mu", "HESSE", "MINOS", "size")
    console.print(Table(headings, [_line(run, now) for run in runs], places=6))
    for text in _errors(runs):
        console.print(printable(text), markup=False)


def as_json(runs: Sequence[ListedRun]) -> str:
    """Return everything that is known of runs as JSON."""
    return json.dumps({"schema": SCHEMA, "runs": list(_records(runs))}, indent=1) + "\n"


def _records(runs: Sequence[ListedRun]) -> Iterator[dict[str, object]]:
    now = time.time()
    for run in runs:
        mu = run.headline
        yield {
            "folder": str(run.folder),
            "state": run.state,
            "ended": datetime.fromtimestamp(run.ended).astimezone().isoformat(timespec="seconds"),
            "age_seconds": round(run.age(now), 1),
            "bytes": run.size,
            "dataset": run.dataset,
            "label": run.label,
            "model": run.model,
            "seed": run.seed,
            "data": run.data,
            "mu": None if mu is None else mu.bestfit,
            "mu_has_hidden_offset": mu is not None and mu.has_offset,
            "hesse": None if mu is None else mu.hesse,
            "minos": None if mu is None else mu.minos,
            "error": run.error,
            "refers_to": {how: str(folder) for how, folder in run.takes.items()},
        }


def number_text(runs: int) -> str:
    """Return how many runs there are."""
    return "1 run" if runs == 1 else f"{runs} runs"


def age_text(seconds: float) -> str:
    """Return an age in its largest unit."""
    for unit, name in AGES:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def size_text(number: int) -> str:
    """Return a size in its largest unit."""
    for unit, name in SIZES:
        if number >= unit:
            return f"{number / unit:.{1 if number < 10 * unit else 0}f} {name}"
    return f"{number} B"


def place(folder: Path) -> str:
    """Return a folder as it is named from the current one."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _line(run: ListedRun, now: float) -> Line:
    mu, hesse, minos = "", "", ""
    if (found := run.headline) is not None:
        digits = decimals(found.hesse or 0.0)
        mu = f"{found.bestfit:z.{digits}f}" + (" + hidden offset" if found.has_offset else "")
        hesse = "at its limit" if found.hesse is None else f"{found.hesse:.{digits}f}"
        minos = "" if found.minos is None else " ".join(f"{side:+z.{digits}f}" for side in found.minos)
    dataset = run.dataset + (" (observed)" if run.data == "observed" else "")
    model = model_title(run.model)
    seed = "" if run.seed is None else run.seed
    cells = (age_text(run.age(now)), run.state, dataset, model, seed, place(run.folder))
    return Line((*cells, mu, hesse, minos, size_text(run.size)))


def _errors(runs: Sequence[ListedRun]) -> Iterator[str]:
    ended = [run for run in runs if run.error and run.state != "pruned"]
    for run in ended[:MAX_ERRORS]:
        text = run.error if len(run.error) <= ONE_LINE else f"{run.error[:ONE_LINE]}..."
        yield f"{run.state}: {place(run.folder)}: {text}"
    if len(ended) > MAX_ERRORS:
        yield f"and {len(ended) - MAX_ERRORS} more that did not finish; format=json says why"
