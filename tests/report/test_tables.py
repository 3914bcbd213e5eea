"""Tables on the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from inferno_cli.report.tables import Line, Table

TABLE = Table(
    ("run", "model", "sigma"),
    [Line(("a", "INFERNO", 0.25), "poi"), Line(("β [bold]x[/]\n", "信号", -10.5)), Line(("... and 3 more",))],
    places=2,
    gap=3,
)


def drawn(width: int, table: Table = TABLE) -> list[str]:
    """The lines on a terminal so wide."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_columns_are_aligned_and_what_looks_like_markup_is_shown() -> None:
    assert drawn(100) == [
        "run              model     sigma",
        "a                INFERNO    0.25",
        "β [bold]x[/]\\n   信号      -10.5",
        "... and 3 more",
    ]


@pytest.mark.parametrize("width", [33, 20])
def test_nothing_is_lost_where_the_terminal_is_too_narrow(width: int) -> None:
    lines = drawn(width)

    assert max(map(len, lines)) <= width
    signs = sorted("".join(lines).replace(" ", ""))
    assert signs == sorted("".join(drawn(100)).replace(" ", ""))


def test_a_table_without_rows_has_its_headings() -> None:
    assert drawn(40, Table(("a", "b"), [])) == ["a  b"]
