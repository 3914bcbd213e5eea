"""One row per parameter: pulls with constraints, and impacts on the POI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.report.run.canvas import new_figure
from inferno_cli.report.style import ACCENT, MUTED, SIGNAL, short
from inferno_cli.runs.record import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_RANKED = 20
"""Rows of the ranking, the largest impacts."""


def _draw(results: Results, axes: Axes, names: Sequence[str]) -> None:
    """Draw pulls and constraints, the first name on top; a parameter without a constraint has no point."""
    for reach, shade in ((2, "#eeeeee"), (1, "#d8e6f3")):
        axes.axvspan(-reach, reach, color=shade, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    limit = 2.5
    for row, name in enumerate(reversed(names)):
        entry = results.parameters[name]
        if entry.pull is not None and entry.constraint is not None:
            axes.errorbar(entry.pull, row, xerr=entry.constraint, fmt="o", color="black", markersize=4.5, capsize=2)
            limit = max(limit, 1.15 * (abs(entry.pull) + entry.constraint))
    axes.set_yticks(range(len(names)), [short(name) for name in reversed(names)])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("pull, in units of the constraint")


def draw_pulls(results: Results, names: Sequence[str]) -> Figure:
    """Draw the pulls and constraints of some parameters."""
    figure = new_figure(results, height=1.9 + 0.28 * len(names))
    _draw(results, figure.subplots(), names)
    return figure


def draw_ranking(results: Results) -> Figure:
    """Draw the largest impacts on the POI, beside the pulls of their parameters."""
    from matplotlib.patches import Patch

    ranked = results.ranking[:MAX_RANKED]
    figure = new_figure(results, width=8.4, height=2.3 + 0.3 * len(ranked))
    pulls, axes = figure.subplots(1, 2, sharey=True)
    _draw(results, pulls, [impact.parameter for impact in ranked])
    rows = np.arange(len(ranked))[::-1]
    handles = []
    sides = (("up", ACCENT), ("down", SIGNAL))
    for side, (direction, colour) in enumerate(sides):
        # None, a shift outside of the parameter's bounds, is not drawn.
        before = np.array([impact.prefit[side] for impact in ranked], dtype=float)
        after = np.array([impact.postfit[side] for impact in ranked], dtype=float)
        axes.barh(rows, before, height=0.8, facecolor="none", edgecolor=colour, linewidth=1)
        axes.barh(rows, after, height=0.8, color=colour, alpha=0.8, linewidth=0)
        handles += [
            Patch(facecolor="none", edgecolor=colour, label=f"pre-fit, {direction}"),
            Patch(facecolor=colour, alpha=0.8, label=f"post-fit, {direction}"),
        ]
    axes.axvline(0, color="black", linewidth=0.8)
    reach = 1.1 * max(abs(side or 0.0) for impact in ranked for side in (*impact.prefit, *impact.postfit))
    axes.set_xlim(-(reach or 1.0), reach or 1.0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(r"impact on $\mu$" if results.poi == "mu" else f"impact on {short(results.poi)}")
    total = len(results.ranking)
    title = f"the largest {len(ranked)} of {total}" if len(ranked) < total else None
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title=title)
    return figure
