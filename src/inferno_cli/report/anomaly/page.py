"""What `inferno anomaly` found written down: figures and one page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from inferno_cli.anomaly.record import AnomalyRecord
from inferno_cli.drawing.presentation import PLAIN, Presentation
from inferno_cli.drawing.style import save_figures
from inferno_cli.errors import OutputError
from inferno_cli.files import write_whole
from inferno_cli.report.anomaly.figures import figures
from inferno_cli.report.anomaly.tables import of_samples, of_scores, title, trained_on
from inferno_cli.report.page import as_figures, as_page

PAGE = "anomaly.html"


def write(
    record: AnomalyRecord, folder: Path, *, plots: bool, formats: Sequence[str], shown: Presentation = PLAIN
) -> tuple[Path, ...]:
    """Write the figures and the page; return the files, the page first.

    Raises:
        OutputError: If one cannot be written.
    """
    pictures = save_figures(figures(record, shown) if plots else (), folder / "plots", formats)
    parts = [f"<p>{html.escape(trained_on(record))}.</p>"]
    for table in (of_scores(record), of_samples(record)):
        parts.append(f"<h2>{html.escape(table.title)}</h2><p>{html.escape(table.note)}</p>")
        parts.append(table.html(record.label))
    if pictures.png:
        parts += ["<h2>Figures</h2>", *as_figures(pictures.png)]
    try:
        write_whole(folder / PAGE, as_page(title(record), record.label, parts))
    except OSError as error:
        raise OutputError(f"{folder / PAGE} cannot be written: {error}. Choose output_dir=FOLDER") from error
    return (folder / PAGE, *pictures.files)
