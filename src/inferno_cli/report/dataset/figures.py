"""Control plots: every feature, data against the stacked prediction with the statistical error of the simulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.drawing.stack import colours_of, draw_band, draw_stack, finish_ratio, finish_stack, merged, relative_to
from inferno_cli.drawing.style import labelled_figure, short
from inferno_cli.events.description import Description, Histogram
from inferno_cli.report.dataset.tables import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def control_plots(description: Description) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each feature."""
    yields = {item.name: item.expected for item in description.samples}
    colours = colours_of(yields, {item.name for item in description.samples if item.is_signal})
    for histogram in description.histograms:
        yield f"control_{histogram.feature}", _control(description, histogram, colours)


def _control(description: Description, histogram: Histogram, colours: Mapping[str, str]) -> Figure:
    """Draw one feature; without data the lower panel shows the error of the simulation alone."""
    figure = labelled_figure(description.label, title(description), width=6.4, height=5.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges, band = histogram.edges, histogram.error
    stack = merged(histogram.samples, colours)
    total = draw_stack(upper, stack, band, colours, edges)
    top, relative = float((total + band).max()), relative_to(band, total)
    deviations = [relative]
    draw_band(lower, np.ones(len(total)), np.nan_to_num(relative), edges=edges)
    if (data := histogram.observed) is not None:
        centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        error = np.sqrt(data)
        marker = {"fmt": "o", "color": "black", "markersize": 4.0, "linewidth": 1.0}
        upper.errorbar(centres, data, yerr=error, xerr=half, label="data", **marker)
        ratio, ratio_error = relative_to(data, total), relative_to(error, total)
        lower.errorbar(centres, ratio, yerr=ratio_error, xerr=half, **marker)
        deviations.append(np.abs(ratio - 1) + ratio_error)
        top = max(top, float((data + error).max()))
    upper.set_title("uncertainty: simulated events")
    finish_stack(upper, stack, top)
    finish_ratio(lower, deviations)
    lower.set_xlim(edges[0], edges[-1])
    lower.set_ylabel("MC stat." if data is None else "data / pred.")
    lower.set_xlabel(f"{short(histogram.feature)} (first and last bin: all beyond)")
    return figure
