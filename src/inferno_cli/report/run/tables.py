"""The tables of a run, as files."""

from __future__ import annotations

from pathlib import Path

from inferno_cli.errors import OutputError
from inferno_cli.runs.record import Results


def write_tables(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write the tables that the quantities of the fit have, as Markdown.

    Raises:
        OutputError: If one cannot be written.
    """
    paths = []
    for _, quantity, value in results.outcomes():
        for name, text in quantity.files(value, results, results.label).items():
            path = folder / name
            try:
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                raise OutputError(f"the table {path} cannot be written: {error}") from error
            paths.append(path)
    return tuple(paths)
