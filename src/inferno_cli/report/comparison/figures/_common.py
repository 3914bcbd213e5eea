"""What the figures of a comparison share: the names and colours of points, curves over each other, one legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from inferno_cli.drawing.style import Canvas, as_written, plain
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.points import Point
from inferno_cli.report.comparison.tables import value_text
from inferno_cli.runs.points import MODEL
from inferno_cli.section import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# M. Petroff's ten colours, arXiv:2107.02270.
COLOURS = ("#3f90da", "#bd1f01", "#717581", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#92dadd", "#ffa90e")
FIXED = {"bce": COLOURS[0], "inferno": COLOURS[1], "optimal": COLOURS[2]}
LINES = ("-", "--", ":", "-.")
"""Where there are more curves than colours."""
MAX_CURVES, MAX_PANELS = 12, 12
"""In one panel, and in one figure; beyond that the first are drawn, and it is said."""


def point_name(comparison: Comparison, point: Point) -> str:
    """Return what a point is called in a legend: its model and its place."""
    return ", ".join(filter(None, (model_label(comparison, point.model), place_name(comparison, point))))


def model_label(comparison: Comparison, model: str) -> str:
    """Return what figures call a model: its title, of a record that may be anybody's."""
    title = comparison.model_titles.get(model, model)
    try:
        return as_written(drawable(title))
    except ValueError:
        return plain(title)


def place_name(comparison: Comparison, point: Point) -> str:
    """Return the swept values of a point, without the model."""
    texts = (f"{comparison.names[key]} {value_text(point.at[key])}" for key in comparison.keys if key != MODEL)
    return plain(", ".join(texts))


def new_figure(comparison: Comparison, width: float, height: float, drawn: int, total: int) -> Figure:
    """Return a figure that says what is compared, and where not all of ``total`` points are drawn."""
    first = f"; the first {drawn} points" if drawn < total else ""
    canvas = Canvas(comparison.label, comparison.title + first, comparison.shown)
    return canvas.figure(width=width, height=height)


def overlaid(comparison: Comparison, points: Sequence[Point], draw: Callable[..., None], x: str, y: str) -> Figure:
    """Draw a curve for each point: the models over each other at every place of the sweep; one model in one panel."""
    has_models = len({point.model for point in points}) > 1
    places: dict[str, list[Point]] = {}
    for point in points:
        places.setdefault(point.place if has_models else "", []).append(point)
    shown = [found[:MAX_CURVES] for found in list(places.values())[:MAX_PANELS]]
    drawn = sum(map(len, shown))
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (6.4, 4.6 + 0.1 * drawn) if len(shown) == 1 else (3.2 * columns, 2.6 * rows + 1)
    figure = new_figure(comparison, *size, drawn, len(points))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, found in zip(grid, shown, strict=False):
        for i, point in enumerate(found):
            if has_models:
                draw(axes, point, **line_of(comparison, point.model), label=model_label(comparison, point.model))
                axes.set_title(place_name(comparison, point), fontsize=8)
            else:
                style = LINES[i // len(COLOURS) % len(LINES)]
                draw(axes, point, color=COLOURS[i % len(COLOURS)], linestyle=style, label=point_name(comparison, point))
        axes.set_xlabel(x)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(y)
    legend_below(figure)
    return figure


def legend_below(figure: Figure) -> None:
    """Draw one legend for all panels, below them."""
    unique = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            unique[label] = handle
    if not unique:  # fits alone have no models
        return
    # A letter is about 0.08 inches wide, and the line before it 0.5.
    columns = int(figure.get_figwidth() / (0.08 * max(map(len, unique)) + 0.5))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=min(max(columns, 1), 4))


def line_of(comparison: Comparison, model: str) -> dict[str, Any]:
    """Return the colour and the style of the line of a model: in all figures of a comparison the same, and its own."""
    free = [colour for colour in COLOURS if colour not in FIXED.values()]
    if model in FIXED:
        return {"color": FIXED[model], "linestyle": "-"}
    number = [name for name in comparison.models if name not in FIXED].index(model)
    return {"color": free[number % len(free)], "linestyle": LINES[number // len(free) % len(LINES)]}


def is_number(value: object) -> bool:
    """Whether a swept value has a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)
