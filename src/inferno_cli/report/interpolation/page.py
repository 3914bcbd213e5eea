"""The page of an interpolation."""

from __future__ import annotations

import html
from collections.abc import Mapping

from inferno_cli.interpolation.record import InterpolationRecord
from inferno_cli.report.interpolation.tables import tables, title
from inferno_cli.report.page import as_figures, as_list, as_page

PAGE = "interpolation.html"


def as_html(record: InterpolationRecord, pictures: Mapping[str, bytes]) -> str:
    """Return the page, with the pictures (PNG by name) in it."""
    parts: list[str] = []
    if record.notes:
        parts += ["<h2>Notes</h2>", as_list(record.notes, warned="the flows fail")]
    for table in tables(record):
        parts.append(f"<h2>{html.escape(table.title)}</h2><p>{html.escape(table.note)}</p>{table.html(record.label)}")
    if pictures:
        parts += ["<h2>Figures</h2>", *as_figures(pictures)]
    parts.append(f"<p>Seed {record.seed}, checksum of the events {record.dataset_checksum}.</p>")
    return as_page(title(record), record.label, parts)


def as_markdown(record: InterpolationRecord) -> str:
    """Return the first table and the notes in Markdown, the description of the run in MLflow."""
    lines = [*tables(record)[0].markdown(), ""]
    for note in record.notes:
        lines.append(f"- {note}")
    return "\n".join(lines)
