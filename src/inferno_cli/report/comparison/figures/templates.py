"""Templates: signal and background in the fitted bins, of the repeat with the median width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.drawing.style import SIGNAL
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.figures._common import MAX_PANELS, first_drawn, legend_below, new_figure, point_name
from inferno_cli.runs.points import MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POSITION = 4


def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield one figure with the templates of every point; nothing for fits alone."""
    found = []
    for point in comparison.points:
        results = comparison.representative(point)
        if results is not None and results.bins:
            found.append((point, results.bins))
    if not found:
        return
    models = list(dict.fromkeys(str(point.at.get(MODEL)) for point, _ in found))
    places = list(dict.fromkeys(point.place for point, _ in found))
    columns = len(models) if len(models) > 1 else min(3, len(places))
    # Several models: a row for each place of the sweep.
    order = sorted(found, key=lambda item: places.index(item[0].place)) if len(models) > 1 else found
    shown = [item for item in order if places.index(item[0].place) < MAX_PANELS]
    rows = min(MAX_PANELS, len(places)) if len(models) > 1 else -(-len(shown) // columns)
    size = {"width": 3.2 * columns + 1.2, "height": 2.3 * rows + 1}
    figure = new_figure(comparison, said=first_drawn(len(shown), len(found)), **size)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.ravel():
        axes.set_axis_off()
    for i, (point, bins) in enumerate(shown):
        spot = (
            (places.index(point.place), models.index(str(point.at.get(MODEL))))
            if len(models) > 1
            else divmod(i, columns)
        )
        axes = grid[spot]
        axes.set_axis_on()
        edges = np.arange(len(bins) + 1)
        axes.stairs([x.background for x in bins], edges, fill=True, color="#d3d3d3", label="background")
        axes.stairs([x.signal for x in bins], edges, color=SIGNAL, label="signal")
        axes.set_yscale("log")
        axes.set_title(point_name(comparison, point), fontsize=8)
        axes.set_xlabel("bin")
        if not spot[1]:
            axes.set_ylabel("expected events")
    legend_below(figure)
    yield "templates", figure
