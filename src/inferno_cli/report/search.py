"""The trials of a search on the terminal, and what is said at its end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from inferno_cli.report.terminal import WIDTH_OF_A_WIDE_ONE, new_table, terminal
from inferno_cli.runs.trials import Trial, overrides, ranked, write_trials

SHOWN = 10
"""Trials on the terminal, the best first; search.csv has all."""
WORDS = {"complete": "finished", "pruned": "pruned", "fail": "failed", "running": "running"}


def show_trials(tried: Sequence[Trial], version: str) -> None:
    """Print the best trials, found with this version of Optuna."""
    rows, keys = ranked(tried)
    states = [row.state for row in rows]
    said = ", ".join(f"{states.count(state)} {word}" for state, word in WORDS.items() if state in states)
    console = terminal(WIDTH_OF_A_WIDE_ONE)
    console.print(f"search: {said}; sigma(mu) on the validation split, hard bins (Optuna {version})")
    headings = ("trial", "sigma(mu)", *(key.rpartition(".")[2] for key in keys), "")
    table = new_table(headings, places=len(headings))
    for row in rows[:SHOWN]:
        value = "" if row.value is None else f"{row.value:.4f}"
        texts = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in (row.params.get(key) for key in keys)]
        table.add_row(str(row.number), value, *texts, "" if row.state == "complete" else WORDS[row.state])
    console.print(table)
    if rows and rows[0].state == "complete":
        console.print(f"best: trial {rows[0].number}: {' '.join(overrides(rows[0].params))}", soft_wrap=True)


def conclude(folder: Path, tried: Sequence[Trial], version: str) -> None:
    """Write the trials, log them to the parent run, and say which is the best."""
    from inferno_cli.runs.mlflow.sweep import log_to_parent

    files = write_trials(tried, folder)
    show_trials(tried, version)
    log_to_parent(folder, files, "search")
    sys.stdout.write(f"results: {files[0]}\n")
