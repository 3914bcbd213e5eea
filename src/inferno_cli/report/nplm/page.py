"""A test written down: ``nplm.json``, figures, and one page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inferno_cli.drawing.presentation import Presentation
from inferno_cli.drawing.style import save_figures
from inferno_cli.errors import OutputError
from inferno_cli.files import write_whole
from inferno_cli.nplm.record import PAGE, Record
from inferno_cli.report.nplm.figures import figures
from inferno_cli.report.nplm.tables import about, tables, title
from inferno_cli.report.page import as_figures, as_list, as_page

if TYPE_CHECKING:
    from inferno_cli.config.schema import Report
    from inferno_cli.nplm.analysis import Result


def write_test(
    result: Result, features: Sequence[str], folder: Path, report: Report, shown: Presentation
) -> tuple[Path, ...]:
    """Write the figures and the page; return the files.

    Raises:
        OutputError: If one cannot be written.
    """
    record = result.record
    try:
        drawn = figures(result, features, shown) if report.plots else ()
        pictures = save_figures(drawn, folder / "plots", report.formats)
        write_whole(folder / PAGE, as_html(record, pictures.png))
    except OSError as error:
        raise OutputError(f"the test cannot be written to {folder}: {error}. Choose output_dir=FOLDER") from error
    return (folder / PAGE, *pictures.files)


def as_html(record: Record, pictures: Mapping[str, bytes]) -> str:
    """Return the page, with the pictures (PNG by name) in it."""
    parts = [f"<p>{html.escape(about(record))}</p>"]
    if record.notes:
        parts += ["<h2>Notes</h2>", as_list(record.notes)]
    for table in tables(record):
        if table.rows:
            parts.append(f"<h2>{html.escape(table.title)}</h2><p>{html.escape(table.note)}</p>")
            parts.append(table.html(record.label))
    if pictures:
        parts += ["<h2>Figures</h2>", *as_figures(pictures)]
    said = f"Seed {record.seed}, checksum {record.dataset_checksum}, code {record.code_version}."
    return as_page(title(record), record.label, [*parts, f"<p>{html.escape(said)}</p>"])
