"""Training curves: the median over the repeats, and their range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.figures._common import overlaid
from inferno_cli.report.comparison.points import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITION = 3


def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield one figure with the hard sigma(mu) of every epoch; nothing where no run trained a network."""
    trained = [point for point in comparison.points if _curves(point) is not None]
    if not trained:
        return

    def curve(axes: Axes, point: Point, **style: Any) -> None:
        curves = _curves(point)
        assert curves is not None
        epochs, table = curves
        axes.plot(epochs, np.nanmedian(table, axis=0), **style)
        low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)

    from matplotlib.ticker import MaxNLocator

    figure = overlaid(comparison, trained, curve, "epoch", r"$\sigma(\mu)$, hard bins")
    for axes in figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    yield "training", figure


def _curves(point: Point) -> tuple[NDArray[np.intp], NDArray[np.float64]] | None:
    """Return the epochs, and the hard sigma(mu) of every repeat in them, shape (n_repeats, n_epochs)."""
    curves = [
        np.array(result.training.sigma_mu_hard, dtype=float)
        for result in point.results
        if result.trained_in is None and result.training is not None and len(result.training.sigma_mu_hard) > 1
    ]
    if not curves:
        return None
    # Repeats that stopped early are shorter: NaN, as a singular information matrix.
    table = np.full((len(curves), max(map(len, curves))), np.nan)
    for i, curve in enumerate(curves):
        table[i, : len(curve)] = curve
    known = np.isfinite(table).any(axis=0)
    return (np.flatnonzero(known) + 1, table[:, known]) if known.any() else None
