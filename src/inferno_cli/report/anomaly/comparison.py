"""Several anomaly scores beside each other: a table, their ROC curves, and one page."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from inferno_cli.anomaly.comparison import Point, Spread
from inferno_cli.anomaly.record import SCORE
from inferno_cli.drawing.style import Canvas, plain, save_figures
from inferno_cli.errors import OutputError
from inferno_cli.files import together
from inferno_cli.names import markdown
from inferno_cli.report.anomaly.figures import COLOURS, name_roc_axes
from inferno_cli.report.page import as_figures, as_list, as_page
from inferno_cli.report.tables import Line, Table, show_title, terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE = (
    "Several networks: median (smallest, largest); one: the number and its statistical error to both sides. -ELBO is "
    "of the backgrounds of the validation split, per event; the rest is of the template split."
)


def table(points: Sequence[Point], *, is_exact: bool = False) -> Table:
    """Return the table of all points; exactly, for CSV, with a column for each number."""
    keys = list(points[0].place)
    rates = [point.rate for point in points[0].records[0].scores[0].points]
    names = ["-ELBO", "AUC"]
    for rate in rates:
        names += [f"signal at {100 * rate:g}%", f"Z_A at {100 * rate:g}%"]
    headings = [*_shortened(keys), "score", "runs"]
    for name in names:
        headings += [name, f"{name} low", f"{name} high"] if is_exact else [name]
    lines = []
    shown: list[list[float]] = []
    for point in points:
        for name in point.names:
            spreads = numbers(point, name)
            medians = [spread.median for spread in spreads if spread is not None]
            if name != SCORE and medians in shown:  # the same classifier, on the same events
                continue
            shown.append(medians)
            place = [_text(point.place[key]) if name == SCORE else "" for key in keys]
            cells: list[object] = [*place, name, len(point.scores(name))]
            for heading, spread in zip(names, spreads, strict=True):
                digits = 3 if heading == "AUC" or heading.startswith("signal") else 2
                cells += _exact(spread) if is_exact else [_said(spread, digits)]
            lines.append(Line(cells, kind="" if name == SCORE else "published"))
    return Table(headings, lines, places=len(keys) + 1, title="Scores", note=NOTE)


def numbers(point: Point, name: str) -> list[Spread | None]:
    """Return -ELBO, AUC, and efficiency and significance at every rate, of one score of a point."""
    items = point.scores(name)
    found: list[Spread | None] = [point.negative_elbo if name == SCORE else None]
    found.append(Spread.of([item.auc for item in items]))
    for number in range(len(items[0].points)):
        found.append(Spread.of([item.points[number].efficiency for item in items]))
        found.append(Spread.of([item.points[number].z_asimov for item in items]))
    return found


def _shortened(keys: Sequence[str]) -> list[str]:
    """Return keys without their section, where that tells them apart."""
    inside = [key.partition(".")[2] or key for key in keys]
    return inside if len(set(inside)) == len(inside) else list(keys)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _said(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return ""
    median, low, high = (f"{value:.{digits}f}" for value in (spread.median, spread.low, spread.high))
    return f"{median} ({low}, {high})"


def _exact(spread: Spread | None) -> list[object]:
    return [None] * 3 if spread is None else [spread.median, spread.low, spread.high]


def title(points: Sequence[Point]) -> str:
    """Return what is compared."""
    n_runs = sum(len(point.records) for point in points)
    return f"anomaly scores on {points[0].records[0].dataset}: {n_runs} runs"


def label(points: Sequence[Point]) -> str:
    """Return what must be said of the data."""
    return points[0].records[0].label


def show(points: Sequence[Point], notes: Sequence[str] = ()) -> None:
    """Print the table, and what has to be said of other runs."""
    console = terminal(220)
    show_title(console, title(points), label(points))
    console.print(table(points))
    console.print(NOTE, style="dim")
    for note in notes:
        console.print(Text(note), soft_wrap=True)


def description(points: Sequence[Point], notes: Sequence[str] = ()) -> str:
    """Return the table in Markdown, and what has to be said of other runs."""
    lines = [f"**{title(points)}**", "", label(points), "", *table(points).markdown(), "", NOTE]
    return "\n".join([*lines, *(f"\n- {markdown(note)}" for note in notes)])


def write(
    points: Sequence[Point], folder: Path, notes: Sequence[str] = (), *, plots: bool, formats: Sequence[str]
) -> tuple[Path, ...]:
    """Write the table as CSV and Markdown, the figure, and the page; return the files, the page last.

    Raises:
        OutputError: If one cannot be written.
    """
    try:
        with together(folder) as scratch:
            pictures = save_figures(_figures(points) if plots else (), scratch, formats)
            parts = [f"<p>{html.escape(NOTE)}</p>", table(points).html(label(points)), *as_figures(pictures.png)]
            parts += [as_list(notes)] if notes else []
            texts = {
                "compare.csv": table(points, is_exact=True).csv(),
                "compare.md": description(points, notes) + "\n",
                "compare.html": as_page(title(points), label(points), parts),
            }
            for name, text in texts.items():
                (scratch / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the comparison cannot be written to {folder}: {error}. Choose output=FOLDER") from error
    names = [path.name for path in pictures.files]
    return tuple(folder / name for name in ("compare.csv", "compare.md", *names, "compare.html"))


def _figures(points: Sequence[Point]) -> Iterator[tuple[str, Figure]]:
    """Yield the ROC curve of every point: of its run with the median AUC, and as a band those of all its runs."""
    figure = Canvas(label(points), title(points)).figure()
    axes = figure.subplots()
    names = _shortened(list(points[0].place))
    for number, point in enumerate(points):
        items = sorted(point.scores(SCORE), key=lambda item: item.auc[0])
        middle, colour = items[len(items) // 2], COLOURS[number % len(COLOURS)]
        said = ", ".join(f"{name} {_text(value)}" for name, value in zip(names, point.place.values(), strict=True))
        style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        axes.plot(middle.background[1:], middle.signal[1:], style, color=colour, label=plain(said or "VAE"))
        curves = np.array([item.signal[1:] for item in items])
        axes.fill_between(middle.background[1:], curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2)
    name_roc_axes(axes)
    yield "roc", figure
