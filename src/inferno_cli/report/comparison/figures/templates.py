"""Templates: signal and background in the fitted bins, of the repeat with the median width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from inferno_cli.drawing.stack import bin_edges, finish_bins
from inferno_cli.drawing.style import SIGNAL, short
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.figures._common import MAX_PANELS, legend_below, new_figure, point_name
from inferno_cli.report.comparison.points import Point
from inferno_cli.runs.record import BinRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITION = 4
MOST_PANELS, MOST_COLUMNS = 24, 3
"""Of all models together; of panels that are no table of models and places."""


def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield one figure with the templates of every point; nothing for fits alone."""
    found = []
    for point in comparison.points:
        results = comparison.representative(point)
        if results is not None and results.bins:
            found.append((point, results.bins))
    if found:
        yield "templates", _templates(comparison, found)


def _templates(comparison: Comparison, found: Sequence[tuple[Point, Sequence[BinRecord]]]) -> Figure:
    """Draw a panel for each point: of several models a row for each place of the sweep and a column for each model."""
    models = list(dict.fromkeys(point.model for point, _ in found))[:MOST_PANELS]
    places = list(dict.fromkeys(point.place for point, _ in found))[: min(MAX_PANELS, MOST_PANELS // len(models))]
    shown = [(point, bins) for point, bins in found if point.place in places and point.model in models]
    is_table = len(models) > 1 and len(places) > 1
    columns = len(models) if is_table else min(MOST_COLUMNS, len(shown))
    rows = len(places) if is_table else -(-len(shown) // columns)
    figure = new_figure(comparison, 3.2 * columns + 1.2, 2.3 * rows + 1, len(shown), len(found))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.ravel():
        axes.set_axis_off()
    for i, (point, bins) in enumerate(shown):
        spot = divmod(i, columns)
        if is_table:
            spot = places.index(point.place), models.index(point.model)
        axes, edges = grid[spot], bin_edges(len(bins))
        axes.set_axis_on()
        axes.stairs([x.background for x in bins], edges, fill=True, color="#d3d3d3", label="background")
        axes.stairs([x.signal for x in bins], edges, color=SIGNAL, label="signal")
        axes.set_title(point_name(comparison, point), fontsize=8)
        finish_bins(axes, len(bins), "bin")
        _name_channels(axes, [item.channel for item in bins])
        if not spot[1]:
            axes.set_ylabel("expected events")
    grid[0, 0].set_yscale("log")  # of all of them
    if any(len({item.channel for item in bins}) > 1 for _, bins in shown):
        low, high = grid[0, 0].get_ylim()
        grid[0, 0].set_ylim(low, 3 * high)  # room for the names, in all panels
    legend_below(figure)
    return figure


def _name_channels(axes: Axes, channels: Sequence[str]) -> None:
    """Draw a line where the next channel begins, and write their names at the top."""
    starts = [number for number, name in enumerate(channels) if number == 0 or channels[number - 1] != name]
    if len(starts) == 1:
        return
    for start in starts:
        if start:
            axes.axvline(start - 0.5, color="black", linewidth=0.8, linestyle=":")
        place = axes.get_xaxis_transform()
        axes.text(start - 0.4, 0.98, short(channels[start]), fontsize=6, va="top", transform=place)
