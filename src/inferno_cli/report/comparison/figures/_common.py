"""What the figures of a comparison share: the names and colours of points, curves over each other, one legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from inferno_cli.drawing.style import labelled_figure, plain
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.points import Point
from inferno_cli.report.comparison.tables import NAMES, value_text
from inferno_cli.runs.points import MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# M. Petroff's ten colours, arXiv:2107.02270.
COLOURS = ("#3f90da", "#bd1f01", "#717581", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#92dadd", "#ffa90e")
FIXED = {"bce": COLOURS[0], "inferno": COLOURS[1], "optimal": COLOURS[2]}
MAX_CURVES, MAX_PANELS = 12, 12
"""In one panel, and in one figure; beyond that the first are drawn, and it is said."""


def point_name(comparison: Comparison, point: Point) -> str:
    """Return what a point is called in a legend: its model and its place."""
    model = NAMES.get(str(point.at.get(MODEL)), str(point.at.get(MODEL) or ""))
    return ", ".join(part for part in (model, place_name(comparison, point)) if part)


def place_name(comparison: Comparison, point: Point) -> str:
    """Return the swept values of a point, without the model."""
    texts = (f"{comparison.names[key]} {value_text(point.at[key])}" for key in comparison.keys if key != MODEL)
    return plain(", ".join(texts))


def new_figure(comparison: Comparison, *, width: float = 6.4, height: float = 4.8, said: str = "") -> Figure:
    """Return a figure that says what is compared."""
    return labelled_figure(comparison.label, comparison.title + said, width=width, height=height)


def overlaid(comparison: Comparison, points: Sequence[Point], draw: Callable[..., None], x: str, y: str) -> Figure:
    """Draw a curve for each point: the models over each other at every place of the sweep; one model in one panel."""
    models = list(dict.fromkeys(str(point.at.get(MODEL)) for point in points))
    places: dict[str, list[Point]] = {}
    for point in points:
        places.setdefault(point.place if len(models) > 1 else "", []).append(point)
    shown = dict(list(places.items())[:MAX_PANELS])
    drawn = sum(len(found[:MAX_CURVES]) for found in shown.values())
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (
        {"width": 6.4, "height": 4.6 + 0.1 * drawn}
        if len(shown) == 1
        else {"width": 3.2 * columns, "height": 2.6 * rows + 1}
    )
    figure = new_figure(comparison, said=first_drawn(drawn, len(points)), **size)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, found in zip(grid, shown.values(), strict=False):
        for i, point in enumerate(found[:MAX_CURVES]):
            if len(models) > 1:
                model = str(point.at.get(MODEL))
                draw(axes, point, color=colour_of(model), label=NAMES.get(model, model))
                axes.set_title(place_name(comparison, point), fontsize=8)
            else:
                style = "-" if i < len(COLOURS) else "--"
                draw(axes, point, color=COLOURS[i % len(COLOURS)], ls=style, label=point_name(comparison, point))
        axes.set_xlabel(x)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(y)
    legend_below(figure)
    return figure


def first_drawn(drawn: int, total: int) -> str:
    """Return what is said where not all points are drawn."""
    return f"; the first {drawn} points" if drawn < total else ""


def legend_below(figure: Figure) -> None:
    """Draw one legend for all panels, below them."""
    entries = [axes.get_legend_handles_labels() for axes in figure.axes]
    unique = {label: handle for handles, labels in entries for handle, label in zip(handles, labels, strict=True)}
    if not unique:  # fits alone have no models
        return
    # A letter is about 0.08 inches wide, and the line before it 0.5.
    columns = int(figure.get_figwidth() / (0.08 * max(map(len, unique)) + 0.5))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=min(max(columns, 1), 4))


def colour_of(model: str) -> str:
    """Return the colour of a model, the same in every figure."""
    return FIXED.get(model) or COLOURS[4 + sum(model.encode()) % 6]
