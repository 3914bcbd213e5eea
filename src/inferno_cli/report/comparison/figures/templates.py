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
    """Draw a panel for each point: of several models a row for each place of the sweep, a column for each model."""
    models = list(dict.fromkeys(point.model for point, _ in found))
    places = list(dict.fromkeys(point.place for point, _ in found))[:MAX_PANELS]
    shown = [(point, bins) for point, bins in found if point.place in places]
    columns = len(models) if len(models) > 1 else min(3, len(places))
    rows = -(-len(places) * len(models) // columns)
    figure = new_figure(comparison, 3.2 * columns + 1.2, 2.3 * rows + 1, len(shown), len(found))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.ravel():
        axes.set_axis_off()
    for i, (point, bins) in enumerate(shown):
        spot = divmod(i, columns)
        if len(models) > 1:
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
