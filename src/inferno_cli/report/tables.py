"""A table, and how it is written: on the terminal, in Markdown, in HTML and as CSV."""

from __future__ import annotations

import csv
import html
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import rich.table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
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
    gap: int = 2
    """Letters between two columns on the terminal."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table for a terminal; long cells are folded where it is too narrow, never cut."""
        texts = [[printable(text) for text in cells] for cells in (self.headings, *(row.texts for row in self.rows))]
        for cells in texts:  # a row may end before the last column
            cells += [""] * (len(self.headings) - len(cells))
        widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
        styles = ["dim", *(STYLES.get(row.kind, "") for row in self.rows)]
        if sum(widths) + self.gap * (len(widths) - 1) > options.max_width:
            yield self._folded(texts, styles)
            return
        for cells, style in zip(texts, styles, strict=True):
            padded = [self._justified(i, cells[i], widths[i]) for i in range(len(cells))]
            # Not a Text, which would be measured and wrapped: most of the time of a list of a thousand runs.
            yield Segment((" " * self.gap).join(padded).rstrip(), console.get_style(style))
            yield Segment.line()

    def _justified(self, column: int, text: str, width: int) -> str:
        blank = " " * (width - cell_len(text))
        return text + blank if column < self.places else blank + text

    def _folded(self, texts: Sequence[Sequence[str]], styles: Sequence[str]) -> rich.table.Table:
        # Text, not str: rich would read "[...]" in a name as markup.
        table = rich.table.Table(box=None, pad_edge=False, padding=(0, self.gap, 0, 0), header_style=styles[0])
        for i, heading in enumerate(texts[0]):
            table.add_column(Text(heading), justify="left" if i < self.places else "right", overflow="fold")
        for cells, style in zip(texts[1:], styles[1:], strict=True):
            table.add_row(*map(Text, cells), style=style)
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


def decimals(error: float) -> int:
    """Return the decimals that show three significant digits of ``error``, four when it begins with 1."""
    if not (error > 0 and math.isfinite(error)):
        return 3
    return max(0, 2 - math.floor(math.log10(error / 2)))


def terminal(width_of_a_log: int = WIDTH_OF_A_LOG) -> Console:
    """Return stdout. A log has no width of its own; on a terminal that is too narrow, cells are folded."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width_of_a_log)


def show_title(console: Console, title: str, label: str) -> None:
    """Print what a table is about, and the label of the data below."""
    console.print(Text(title, style="bold"))
    if label:
        console.print(Text(f"*** {label} ***", style="bold yellow"))
