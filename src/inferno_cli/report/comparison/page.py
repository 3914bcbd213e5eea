"""The comparison written down: tables, figures, and one page."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from inferno_cli.choices import choices
from inferno_cli.drawing.style import save_figures
from inferno_cli.errors import FileError, OutputError
from inferno_cli.files import read_json, together
from inferno_cli.names import markdown
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.tables import as_csv, as_json, as_markdown, foremost, remarks, table
from inferno_cli.report.page import as_figures, as_list, as_page
from inferno_cli.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, RECORD = "compare.html", "compare.json"
FIGURES = "inferno_cli.report.comparison.figures"
MAX_ROWS = 40
"""Of the table in a description: MLflow cuts long descriptions. The page has all."""


def write_comparison(
    comparison: Comparison, folder: Path, *, plots: bool = True, formats: Sequence[str] = ("png",)
) -> tuple[Path, ...]:
    """Write compare.csv, compare.md, compare.json, the figures, and compare.html; return the files, the page last.

    Raises:
        OutputError: If one cannot be written.
    """
    try:
        before = _figures_of(folder / RECORD)
        with together(folder) as scratch:
            pictures = save_figures(figures(comparison) if plots else (), scratch, formats)
            names = [path.name for path in pictures.files]
            added = list(added_tables(comparison))
            texts = {"compare.csv": as_csv(comparison)}
            texts |= {f"{name}.csv": digits.csv() for name, _, digits in added}
            tables = [read for _, read, _ in added]
            texts |= {"compare.md": as_markdown(comparison, tables), RECORD: as_json(comparison, names)}
            texts |= {PAGE: as_html(comparison, pictures.png, tables)}
            for name, text in texts.items():
                (scratch / name).write_text(text, encoding="utf-8")
        for name in before - set(names):  # of a comparison of other runs, beside which they would look like this one's
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"the comparison cannot be written to {folder}: {error}. Choose output=FOLDER") from error
    return tuple(folder / name for name in (*[name for name in texts if name != PAGE], *names, PAGE))


def figures(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of everything that the runs have, ours and those of installed packages."""
    for module in _modules():
        yield from module.draw(comparison)


def added_tables(comparison: Comparison) -> Iterator[tuple[str, Table, Table]]:
    """Yield the tables that belong to figures: name, the table to be read, and the same with all digits."""
    for module in _modules():
        if hasattr(module, "tables"):
            yield from module.tables(comparison)


def _modules() -> list[ModuleType]:
    modules = [choice.load() for choice in choices(FIGURES).values()]
    return sorted(modules, key=lambda module: getattr(module, "POSITION", len(modules)))


def _figures_of(record: Path) -> set[str]:
    """Return the names of the figures of an earlier comparison in the same folder."""
    try:
        return {Path(name).name for name in read_json(record)["figures"]}
    except (FileError, KeyError, TypeError):  # none, or somebody else's
        return set()


def as_html(comparison: Comparison, pictures: Mapping[str, bytes], added: Sequence[Table] = ()) -> str:
    """Return the page, with the pictures (PNG by name) and further tables in it."""
    parts = [table(comparison, comparison.main).html(comparison.label)]
    if lines := remarks(comparison):
        parts.append(as_list(lines))
    if comparison.metrics:
        parts += ["<h2>Metrics of the templates</h2>", table(comparison, comparison.metrics).html(comparison.label)]
    if comparison.others:
        others = table(comparison, comparison.others).html(comparison.label)
        parts += ["<h2>Nuisance parameters: HESSE errors and correlations</h2>", others]
    for item in added:
        parts += [
            f"<h2>{html.escape(item.title)}</h2>",
            item.html(comparison.label),
            f"<p>{html.escape(item.note)}</p>",
        ]
    parts += ["<h2>Figures</h2>", *as_figures(pictures), "<h2>Runs</h2><ul>"]
    for point in comparison.points:
        for job in point.jobs:
            assert job.results is not None
            said = f"seed {job.results.seed}, {job.results.code_version}"
            parts.append(f"<li><code>{html.escape(job.where)}</code> {html.escape(said)}</li>")
    return as_page(comparison.title, comparison.label, [*parts, "</ul>"])


def headline(comparison: Comparison) -> str:
    """Return the foremost columns as Markdown: the description of a sweep's run in MLflow, which shows a few lines."""
    shown = table(comparison, foremost(comparison))
    parts = [markdown(comparison.title), "\n".join(shown.markdown()[: MAX_ROWS + 2])]
    if len(shown.rows) > MAX_ROWS:
        parts.append(f"... and {len(shown.rows) - MAX_ROWS} more")
    if comparison.label:
        parts.insert(1, f"**{markdown(comparison.label)}**")
    if comparison.missing:
        parts.append(f"**{len(comparison.missing)} runs did not finish**")
    return "\n\n".join([*parts, f"Figures and every column: artifact `compare/{PAGE}`"])
