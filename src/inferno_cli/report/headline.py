"""The result of a run, and of a comparison, in a few lines of Markdown: the description of a run in MLflow."""

from __future__ import annotations

from inferno_cli.config import POI
from inferno_cli.report.comparison import Comparison
from inferno_cli.report.comparison_page import PAGE
from inferno_cli.report.comparison_tables import cells, foremost, headings
from inferno_cli.report.page import markdown
from inferno_cli.report.results import Results
from inferno_cli.report.table import decimals, significance_text, title

MAX_ROWS = 40
"""Of the table of a comparison: MLflow cuts long descriptions. The page has all."""


def headline(results: Results) -> str:
    """Return mu with its errors, and what it was measured with."""
    mu = results.parameters[POI]
    digits = decimals(mu.hesse)
    errors = []
    if mu.minos is not None:
        errors.append(f"{mu.minos[0]:+.{digits}f} / {mu.minos[1]:+.{digits}f} (MINOS)")
    if mu.error is not None:
        errors.append(f"±{mu.error:.{digits}f} (HESSE)")
    if results.stat_only is not None and results.stat_only.mu.error is not None:
        errors.append(f"±{results.stat_only.mu.error:.{digits}f} (statistical alone)")
    # MLflow folds a description after some three lines; what must be said with every number comes before.
    what = markdown(title(results)) + (f". **{markdown(results.label)}**" if results.label else "")
    lines = [f"**mu = {mu.bestfit:z.{digits}f}**, {', '.join(errors)}", what]
    if results.significance is not None:
        lines.append(f"significance: {significance_text(results.significance, results.data)}")
    if results.sigma_s is not None:
        bound = "" if results.cramer_rao_bound_s is None else f", Cramér-Rao bound {results.cramer_rao_bound_s:.4g}"
        lines.append(f"sigma(s) = {results.sigma_s:.4g}{bound}")
    return "\n\n".join(lines)


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
