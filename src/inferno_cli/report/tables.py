"""A table, and how it is written: on the terminal, in Markdown, in HTML and as CSV."""

from __future__ import annotations

import csv
import html
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import rich.table
from rich.console import Console
from rich.text import Text

from inferno_cli.names import markdown, printable

WIDTH_OF_A_LOG, WIDTH_OF_A_WIDE_ONE = 140, 220
STYLES = {"published": "dim", "poi": "bold"}
"""How a row of a kind looks on the terminal; in a page the kind is a class of its style sheet."""


@dataclass(frozen=True)
class Line:
    """One row of a table: its texts, or numbers for CSV."""

    cells: Sequence[object]
    kind: str = ""
    """ "published", "incomplete", "poi", or nothing."""
    note: str = ""
    """What a page says when the mouse is on it."""

    @property
    def texts(self) -> list[str]:
        """The cells as they are shown."""
        return ["" if cell is None else str(cell) for cell in self.cells]


@dataclass(frozen=True)
class Table:
    """Rows under headings."""

    headings: Sequence[str]
    rows: Sequence[Line]
    places: int = 1
    """The first columns, which say what a row is; the others are numbers."""
    title: str = ""
    """What the table holds, where several stand below each other."""
    note: str = ""
    """How to read it."""

    def on_terminal(self, gap: int = 2) -> rich.table.Table:
        """Return the table for a terminal, its columns ``gap`` letters apart; long cells are folded, never cut."""
        # Text, not str: rich would read "[...]" in a name as markup.
        table = rich.table.Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
        for i, heading in enumerate(self.headings):
            table.add_column(Text(printable(heading)), justify="left" if i < self.places else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(printable(text)) for text in row.texts), style=STYLES.get(row.kind, ""))
        return table

    def markdown(self) -> list[str]:
        """Return the lines of the table in Markdown."""
        rule = "|" + "---|" * self.places + "--:|" * (len(self.headings) - self.places)
        texts = [self.headings, *(row.texts for row in self.rows)]
        head, *body = (f"| {' | '.join(map(markdown, cells))} |" for cells in texts)
        return [head, rule, *body]

    def html(self, label: str) -> str:
        """Return the table in HTML, which scrolls by itself where it is too wide; ``label`` must not be overlooked."""

        def cells(tag: str, texts: Sequence[str]) -> str:
            kinds = ['class="place"' if i < self.places else "" for i in range(len(texts))]
            return "".join(f"<{tag} {kind}>{html.escape(x)}</{tag}>" for kind, x in zip(kinds, texts, strict=True))

        body = "".join(
            f'<tr class="{row.kind}" title="{html.escape(row.note)}">{cells("td", row.texts)}</tr>' for row in self.rows
        )
        caption = f"<caption>{html.escape(label)}</caption>" if label else ""
        head = f"<thead><tr>{cells('th', self.headings)}</tr></thead>"
        return f'<div class="scroll"><table>{caption}{head}<tbody>{body}</tbody></table></div>'

    def csv(self) -> str:
        """Return the table as CSV, numbers with all their digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows(row.cells for row in self.rows)
        return text.getvalue()


def terminal(width_of_a_log: int = WIDTH_OF_A_LOG) -> Console:
    """Return stdout. A log has no width of its own; on a terminal that is too narrow, cells are folded."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width_of_a_log)


def show_title(console: Console, title: str, label: str) -> None:
    """Print what a table is about, and the label of the data below."""
    console.print(Text(title, style="bold"))
    if label:
        console.print(Text(f"*** {label} ***", style="bold yellow"))
