"""The description of a dataset written down: ``data.json``, control plots, and one page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from inferno_cli.drawing.style import save_figures
from inferno_cli.errors import OutputError
from inferno_cli.events.description import Description
from inferno_cli.files import write_whole
from inferno_cli.report.dataset.figures import control_plots
from inferno_cli.report.dataset.tables import as_json, tables, title
from inferno_cli.report.page import as_figures, as_list, as_page

DATA_PAGE, DATA_FILE = "data.html", "data.json"


def write_data(description: Description, folder: Path, *, plots: bool, formats: Sequence[str]) -> tuple[Path, ...]:
    """Write the plots, the page, and ``data.json`` last.

    Returns:
        The files, the page first.

    Raises:
        OutputError: If one cannot be written.
    """
    page, record = folder / DATA_PAGE, folder / DATA_FILE
    try:
        pictures = save_figures(control_plots(description) if plots else (), folder / "plots", formats)
        texts = {page: as_html(description, pictures.png), record: as_json(description)}
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_whole(path, text)
    except OSError as error:
        raise OutputError(
            f"the description cannot be written to {folder}: {error}. Choose output_dir=FOLDER"
        ) from error
    return (page, record, *pictures.files)


def as_html(description: Description, pictures: Mapping[str, bytes]) -> str:
    """Return the page, with the pictures (PNG by name) in it."""
    parts = ["<h2>Findings</h2>"]
    parts.append(
        as_list(description.findings)
        if description.findings
        else "<p>Nothing is odd: what is looked for is said below.</p>"
    )
    for table in tables(description):
        if table.rows:
            parts += [
                f"<h2>{html.escape(table.title)}</h2><p>{html.escape(table.note)}</p>",
                table.html(description.label),
            ]
    if pictures:
        parts += ["<h2>Control plots</h2>", *as_figures(pictures)]
    said = (
        "Looked for and refused: event ids that repeat in a tree (data included), shifted trees with other events than "
        "the nominal, source events in more than one split, yields that are not positive, weights that are not finite. "
        "Looked for, and a finding: negative weights, missing values, rows that are equal in every feature. "
        f"Seed {description.seed}, downsample factor {description.downsample_factor:g}, "
        f"checksum {description.checksum}."
    )
    return as_page(title(description), description.label, [*parts, f"<h2>Validation</h2><p>{html.escape(said)}</p>"])
