"""The description of a dataset written down: ``data.json``, control plots, and one page."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.drawing.presentation import PLAIN, Presentation
from inferno_cli.drawing.stack import Layers, draw_with_ratio, finish_integers
from inferno_cli.drawing.style import Canvas, as_written, save_figures, short
from inferno_cli.errors import OutputError
from inferno_cli.events.description import Description, Histogram
from inferno_cli.files import write_whole
from inferno_cli.report.dataset.tables import as_json, tables, title, where
from inferno_cli.report.page import as_figures, as_list, as_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA_PAGE, DATA_FILE = "data.html", "data.json"
BEYOND = {
    (False, False): "",
    (True, False): " (first bin: all below)",
    (False, True): " (last bin: all above)",
    (True, True): " (first and last bin: all beyond)",
}
"""What is said of events outside of the axis, by whether they are below and above."""


def write_data(
    description: Description, folder: Path, *, plots: bool, formats: Sequence[str], shown: Presentation = PLAIN
) -> tuple[Path, ...]:
    """Write the plots, the page, and ``data.json`` last; return the files, the page first.

    Raises:
        OutputError: If one cannot be written.
    """
    page, record = folder / DATA_PAGE, folder / DATA_FILE
    try:
        figures = _control_plots(description, shown) if plots else ()
        pictures = save_figures(figures, folder / "plots", formats)
        texts = {page: as_html(description, pictures.png), record: as_json(description)}
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_whole(path, text)
    except OSError as error:
        raise OutputError(
            f"the description cannot be written to {folder}: {error}. Choose output_dir=FOLDER"
        ) from error
    return (page, record, *pictures.files)


def _control_plots(description: Description, shown: Presentation) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each feature."""
    yields = {item.name: item.expected for item in description.samples}
    signal = {item.name for item in description.samples if item.is_signal}
    layers = Layers.choose(yields, signal, shown)
    canvas = Canvas(description.label, title(description), shown)
    for histogram in description.histograms:
        yield f"control_{histogram.feature}", _control(canvas, histogram, layers)


def _control(canvas: Canvas, histogram: Histogram, layers: Layers) -> Figure:
    """Draw one feature, data against the stacked prediction with the statistical error of the simulation."""
    figure = canvas.figure(height=5.8)
    edges, stack = histogram.edges, layers.stack(histogram.samples)
    marker: dict[str, Any] = {"markersize": 4.0, "linewidth": 1.0, "xerr": np.diff(edges) / 2, "label": "data"}
    upper, lower = draw_with_ratio(figure, layers, stack, histogram.error, edges, histogram.observed, **marker)
    for number in np.flatnonzero(() if histogram.is_masked is None else histogram.is_masked):
        for axes in (upper, lower):
            axes.axvspan(edges[number], edges[number + 1], color="0.92", linewidth=0, zorder=0)
    grey = "" if histogram.is_masked is None else "; grey: observed events masked"
    absent = histogram.absent / (histogram.absent + sum(float(values.sum()) for values in histogram.samples.values()))
    without = f"; without a value, not drawn: {absent:.1%}" if absent > 0 else ""
    upper.set_title(f"uncertainty: simulated events{grey}{without}")
    lower.set_xlim(edges[0], edges[-1])
    finish_integers(lower.xaxis, edges)
    name = as_written(histogram.label) if histogram.label else short(histogram.feature)
    lower.set_xlabel(name + BEYOND[histogram.is_beyond])
    return figure


def as_html(description: Description, pictures: Mapping[str, bytes]) -> str:
    """Return the page, with the pictures (PNG by name) in it."""
    nothing = "<p>Nothing is odd: what is looked for is said below.</p>"
    parts = ["<h2>Findings</h2>", as_list(description.findings) if description.findings else nothing]
    for table in tables(description):
        if table.rows:
            parts.append(f"<h2>{html.escape(table.title)}</h2><p>{html.escape(table.note)}</p>")
            parts.append(table.html(description.label))
    if pictures:
        heading = html.escape(f"Control plots{where(description)}")
        parts += [f"<h2>{heading}</h2>", *as_figures(pictures)]
    said = (
        "Looked for and refused: event ids that repeat in a tree (data included), shifted trees with other events than "
        "the nominal, source events in more than one split, yields that are not positive, weights that are not finite. "
        "Looked for, and a finding: negative weights, missing values, rows that are equal in every feature. "
        f"Seed {description.seed}, downsample factor {description.downsample_factor:g}, "
        f"checksum {description.checksum}."
    )
    return as_page(title(description), description.label, [*parts, f"<h2>Validation</h2><p>{html.escape(said)}</p>"])
