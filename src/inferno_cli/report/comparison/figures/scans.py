"""Scans of the likelihood, of the repeat with the median width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.drawing.style import MUTED
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.figures._common import overlaid
from inferno_cli.report.comparison.points import Point
from inferno_cli.section import POI

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITION = 2


def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield one figure with the scan of mu of every point; nothing where no run has one."""
    scanned = []
    for point in comparison.points:
        results = comparison.representative(point)
        if results is not None and POI in results["scans"]:
            scanned.append(point)
    if not scanned:
        return

    def curve(axes: Axes, point: Point, **style: Any) -> None:
        results = comparison.representative(point)
        assert results is not None
        scan, best = results["scans"][POI], results.mu.bestfit
        values, rise = np.asarray(scan.values), np.clip(scan.delta_twice_nll, 0, None)
        dense = np.linspace(values.min(), values.max(), 201)
        root = np.interp(dense, values, np.sign(values - best) * np.sqrt(rise))
        axes.plot(dense, root**2, **style)

    is_hidden = any(result.blinded for result in comparison.results)
    name = r"$\mu$ + hidden offset" if is_hidden else r"$\mu$"
    figure = overlaid(comparison, scanned, curve, name, r"$2\,\Delta$ NLL")
    for axes in (item for item in figure.axes if item.axison):
        axes.axhline(1, color=MUTED, linewidth=0.9, linestyle=":")
        axes.set_ylim(0, 6)
    yield "scans", figure
