"""Runs of steps that measure no signal strength, each with what it found in a few words."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferno_cli.errors import OutputError
from inferno_cli.files import together
from inferno_cli.report.listing import number_text
from inferno_cli.report.page import as_page
from inferno_cli.report.tables import Line, Table, show_title, terminal
from inferno_cli.runs.listed import ListedRun

MOST = 5
"""Runs of a step that a remark names."""


@dataclass(frozen=True)
class Found:
    """A run, and what it found, or why it did not finish."""

    run: ListedRun
    said: str


def table(found: Sequence[Found]) -> Table:
    """Return a row for each run."""
    lines = []
    for item in found:
        run = item.run
        kind = "" if run.state == "finished" else "incomplete"
        lines.append(Line([str(run.folder), run.step, run.dataset, run.state, item.said], kind))
    return Table(["folder", "step", "dataset", "state", "result"], lines, places=5, title="Runs")


def remarks(found: Sequence[Found]) -> Iterator[str]:
    """Yield what is said of runs beside a comparison that they are no part of, in one line for each step."""
    by_step: dict[str, list[str]] = {}
    for item in found:
        said = item.said if item.run.state == "finished" else f"{item.run.state}: {item.said}"
        by_step.setdefault(item.run.step, []).append(f"{item.run.folder} ({said})")
    for step, texts in by_step.items():
        more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
        yield f"not in the table: {number_text(len(texts))} of `inferno {step}`: {'; '.join(texts[:MOST])}{more}"


def write(found: Sequence[Found], folder: Path) -> tuple[Path, ...]:
    """Write the table as CSV, Markdown and a page; return the files, the page last.

    Raises:
        OutputError: If one cannot be written.
    """
    made, name, label = table(found), title(found), labels(found)
    texts = {
        "compare.csv": made.csv(),
        "compare.md": "\n".join([f"**{name}**", "", label, "", *made.markdown()]) + "\n",
        "compare.html": as_page(name, label, [f"<p>{html.escape(name)}</p>", made.html(label)]),
    }
    try:
        with together(folder) as scratch:
            for file, text in texts.items():
                (scratch / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the comparison cannot be written to {folder}: {error}. Choose output=FOLDER") from error
    return tuple(folder / file for file in texts)


def show(found: Sequence[Found]) -> None:
    """Print the table."""
    console = terminal(220)
    show_title(console, title(found), labels(found))
    console.print(table(found))


def title(found: Sequence[Found]) -> str:
    """Return what is listed."""
    steps = ", ".join(dict.fromkeys(item.run.step for item in found))
    return f"runs of {steps}: {len(found)}"


def labels(found: Sequence[Found]) -> str:
    """Return what must be said of the data."""
    return "; ".join(dict.fromkeys(item.run.label for item in found if item.run.label))
