"""What all tables on the terminal share."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inferno_cli.names import printable

WIDTH_OF_A_LOG, WIDTH_OF_A_WIDE_ONE = 140, 220


def terminal(width_of_a_log: int = WIDTH_OF_A_LOG) -> Console:
    """Return stdout. A log has no width of its own; on a terminal that is too narrow, cells are folded."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width_of_a_log)


def show_title(console: Console, title: str, label: str) -> None:
    """Print what a table is about, and the label of the data below."""
    console.print(Text(title, style="bold"))
    if label:
        console.print(Text(f"*** {label} ***", style="bold yellow"))


def new_table(headings: Iterable[str], places: int = 1) -> Table:
    """Return an empty table, whose first ``places`` columns hold names and the others numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i, heading in enumerate(headings):
        # Text, not str: rich would read "[...]" in a name as markup.
        table.add_column(Text(printable(heading)), justify="left" if i < places else "right", overflow="fold")
    return table
