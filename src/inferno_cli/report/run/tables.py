"""The tables of a run, as files."""

from __future__ import annotations

from pathlib import Path

from inferno_cli.errors import OutputError
from inferno_cli.names import markdown
from inferno_cli.runs.record import Results


def write_tables(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write the tables that the quantities of the fit have, as Markdown.

    Raises:
        OutputError: If one cannot be written.
    """
    lines: dict[str, list[str]] = {}
    for _, quantity, value in results.outcomes():
        if quantity.file:
            lines.setdefault(quantity.file, []).extend(quantity.tables(value, results))
    label = [f"**{markdown(results.label)}**", ""] if results.label else []
    for name, text in lines.items():
        path = folder / name
        try:
            path.write_text("\n".join([*label, *text]), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"the table {path} cannot be written: {error}") from error
    return tuple(folder / name for name in lines)
