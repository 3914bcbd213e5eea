"""The trials of a search: ``search.csv``, ``best.yaml``, and a table on the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from inferno_cli.files import write_whole
from inferno_cli.report.tables import WIDTH_OF_A_WIDE_ONE, Line, Table, terminal
from inferno_cli.runs.search import Trial

SHOWN = 10
"""Trials on the terminal, the best first; search.csv has all."""
WORDS = {"complete": "finished", "pruned": "pruned", "fail": "failed", "running": "running"}


def _ranked(tried: Sequence[Trial]) -> tuple[list[Trial], list[str]]:
    """Return the trials that count, the best first, and the keys that were searched."""
    rows = sorted(
        (x for x in tried if x.state != "stopped"), key=lambda x: (x.state != "complete", x.value or math.inf)
    )
    return rows, list(dict.fromkeys(key for trial in tried for key in trial.params))


def write_trials(tried: Sequence[Trial], folder: Path, merit: str) -> list[Path]:
    """Write all trials, and the best one where there is one, by a figure of ``merit``; return the files."""
    rows, keys = _ranked(tried)
    files = [folder / "search.csv"]
    headings = ["trial", "state", merit, *keys, "error"]
    lines = [Line([x.number, x.state, x.value, *(x.params.get(key) for key in keys), x.error]) for x in rows]
    write_whole(files[0], Table(headings, lines).csv())
    if rows and rows[0].state == "complete":
        best = {"trial": rows[0].number, merit: rows[0].value, "overrides": rows[0].overrides}
        files.append(folder / "best.yaml")
        write_whole(files[-1], yaml.safe_dump(best, sort_keys=False))
    return files


def show_trials(tried: Sequence[Trial], version: str, title: str) -> None:
    """Print the best trials, found with this version of Optuna; ``title`` is what the figure of merit is."""
    rows, keys = _ranked(tried)
    states = [row.state for row in rows]
    said = ", ".join(f"{states.count(state)} {word}" for state, word in WORDS.items() if state in states)
    console = terminal(WIDTH_OF_A_WIDE_ONE)
    console.print(f"search: {said}; {title} (Optuna {version})")
    headings = ("trial", "merit", *(key.rpartition(".")[2] for key in keys), "")
    lines = []
    for row in rows[:SHOWN]:
        value = "" if row.value is None else f"{row.value:.4f}"
        texts = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in (row.params.get(key) for key in keys)]
        lines.append(Line([row.number, value, *texts, "" if row.state == "complete" else WORDS[row.state]]))
    console.print(Table(headings, lines, places=len(headings)))
    if rows and rows[0].state == "complete":
        console.print(f"best: trial {rows[0].number}: {' '.join(rows[0].overrides)}", soft_wrap=True)


def conclude(folder: Path, tried: Sequence[Trial], version: str, merit: str, title: str) -> None:
    """Write the trials, log them to the parent run, and say which is the best.

    ``merit`` is what the figure of merit is called in files, ``title`` on the terminal.
    """
    from inferno_cli.runs.mlflow.afterwards import log_files
    from inferno_cli.runs.mlflow.sweep import PARENT_FILE

    files = write_trials(tried, folder, merit)
    show_trials(tried, version, title)
    log_files(folder / PARENT_FILE, files, "search")
    sys.stdout.write(f"results: {files[0]}\n")
