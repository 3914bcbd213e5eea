"""The templates of a run: their stack, and their variations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.stack import (
    bin_edges,
    colours_of,
    draw_band,
    draw_stack,
    finish_bins,
    finish_ratio,
    finish_stack,
    merged,
    relative_to,
)
from inferno_cli.drawing.style import MUTED, Canvas, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.histograms.templates import Templates

FloatArray = NDArray[np.float64]

LINE_COLOURS = ("#1b1b1b", "#0072b2", "#e69f00", "#009e73", "#cc79a7")


def draw_templates(canvas: Canvas, templates: Templates) -> Figure:
    """Draw the stacked templates, and the variations of the signal and the largest backgrounds as ratios."""
    from matplotlib.lines import Line2D

    nominal = dict(zip(templates.samples, templates.nominal, strict=True))
    colours = colours_of({name: float(values.sum()) for name, values in nominal.items()}, set(templates.signal))
    relative = {
        name: relative_to(np.sqrt(variance), nominal[name])
        for name, variance in zip(templates.samples, templates.variance, strict=True)
    }
    varied: dict[str, dict[str, list[FloatArray]]] = {}
    for (systematic, sample), pair in templates.varied.items():
        varied.setdefault(sample, {})[systematic] = [relative_to(side, nominal[sample]) for side in pair]
    panels = sorted(varied, key=lambda name: (name not in templates.signal, -nominal[name].sum()))[:3]
    size: dict[str, float] = {}
    for sample in panels:
        for systematic, sides in varied[sample].items():
            change = max(float(np.nanmax(np.abs(side - 1), initial=0.0)) for side in sides)
            size[systematic] = max(size.get(systematic, 0.0), change)
    lines = dict(zip(sorted(size, key=lambda name: -size[name]), LINE_COLOURS, strict=False))

    figure = canvas.figure(height=4.2 + 1.15 * len(panels))
    ratios = (3, *[1.15] * len(panels))
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    error = np.sqrt(templates.variance.sum(axis=0))
    stack = merged(nominal, colours)
    total = draw_stack(axes[0], stack, error, colours)
    axes[0].set_title("templates as fitted; uncertainty: simulated events")
    finish_stack(axes[0], stack, float((total + error).max()))
    edges = bin_edges(templates.n_bins)
    for panel, sample in zip(axes[1:], panels, strict=True):
        deviations = [relative[sample]]
        draw_band(panel, np.ones(templates.n_bins), np.nan_to_num(relative[sample]))
        for systematic in (name for name in lines if name in varied[sample]):
            for side, dashes in zip(varied[sample][systematic], ("-", "--"), strict=True):
                panel.stairs(side, edges, baseline=None, color=lines[systematic], ls=dashes, lw=1.4)
                deviations.append(side - 1)
        finish_ratio(panel, deviations)
        panel.set_title(short(sample), size=9, color=colours.get(sample, "black"), weight="bold", pad=3)
        panel.set_ylabel("varied / nom.", size=9)
    if lines:
        handles = [Line2D([], [], color=colour, label=short(name)) for name, colour in lines.items()]
        directions = (("up", "-"), ("down", "--"))
        handles += [Line2D([], [], color=MUTED, ls=dashes, label=name) for name, dashes in directions]
        heading = f"the largest {len(lines)} of {len(size)} systematics" if len(lines) < len(size) else None
        figure.legend(handles=handles, loc="outside lower center", ncols=4, title=heading)
    finish_bins(axes[-1], templates.n_bins, "bin, as fitted")
    return figure
