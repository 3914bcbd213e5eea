"""The result of a comparison in a few lines of Markdown: the description of a sweep's run in MLflow."""

from __future__ import annotations

from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.page import PAGE
from inferno_cli.report.comparison.tables import cells, foremost, headings
from inferno_cli.report.page import markdown

MAX_ROWS = 40
"""Of the table of a comparison: MLflow cuts long descriptions. The page has all."""


def comparison_headline(comparison: Comparison) -> str:
    """Return the foremost columns of the table of a comparison."""
    columns = foremost(comparison)
    titles, rows = headings(comparison, columns), [texts for _, texts in cells(comparison, columns)]
    shown = (list(map(markdown, titles)), ["---"] * len(titles), *(list(map(markdown, row)) for row in rows))
    lines = ["| " + " | ".join(row) + " |" for row in shown]
    parts = [markdown(comparison.title), "\n".join(lines[: MAX_ROWS + 2])]
    if len(rows) > MAX_ROWS:
        parts.append(f"... and {len(rows) - MAX_ROWS} more")
    if comparison.label:
        parts.insert(1, f"**{markdown(comparison.label)}**")
    if comparison.missing:
        parts.append(f"**{len(comparison.missing)} runs did not finish**")
    return "\n\n".join([*parts, f"Figures and every column: artifact `compare/{PAGE}`"])
