"""Stacks of samples: their colours, the sum with its uncertainty, and the ratio below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.style import ACCENT, SIGNAL, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

SAMPLE_COLOURS = (SIGNAL, ACCENT, "#ffa90e", "#94a4a2", "#92dadd", "#b9ac70", "#a96b59", "#832db6")
OTHER = "other"
OTHER_COLOUR = "#d8d8d8"


def colours_of(yields: Mapping[str, float], signal: Set[str]) -> dict[str, str]:
    """Return one colour per sample, signal first, the largest backgrounds next in the order of ``yields``."""
    largest = sorted(yields, key=lambda name: (name not in signal, -yields[name]))[: len(SAMPLE_COLOURS)]
    kept = sorted((name for name in yields if name in largest), key=lambda name: name not in signal)
    # Without a known signal nothing is red.
    palette = SAMPLE_COLOURS if signal else SAMPLE_COLOURS[1:] + SAMPLE_COLOURS[:1]
    return dict(zip(kept, palette, strict=False))


def other_than(colours: Mapping[str, str]) -> str:
    """Return what the samples without a colour are called together; one of the others may be called "other"."""
    name = OTHER
    while name in colours:
        name = f"({name})"
    return name


def merged(
    rows: Mapping[str, FloatArray], colours: Mapping[str, str], parents: Mapping[str, str] | None = None
) -> dict[str, FloatArray]:
    """Add "background@r" to "background", and samples without a colour to "other".

    Args:
        rows: Yields by sample of the workspace, shape (B,) each.
        colours: Samples that are drawn by themselves, signal first.
        parents: Samples that are added to another one (``free_shapes``).

    Returns:
        Yields from the bottom of the stack to its top: backgrounds by rising yield, then the signal.
    """
    total: dict[str, FloatArray] = {}
    for name, values in rows.items():
        parent = (parents or {}).get(name, name)
        shown = parent if parent in colours else other_than(colours)
        total[shown] = total.get(shown, np.zeros(len(values))) + values
    signal = next(iter(colours), None)
    return dict(sorted(total.items(), key=lambda item: (item[0] == signal, item[1].sum())))


def bin_edges(n_bins: int) -> FloatArray:
    """Return the edges of bins that are drawn against their number."""
    return np.arange(n_bins + 1, dtype=np.float64) - 0.5


def draw_stack(
    axes: Axes,
    stack: Mapping[str, FloatArray],
    error: FloatArray,
    colours: Mapping[str, str],
    edges: FloatArray | None = None,
) -> FloatArray:
    """Draw the stack and the uncertainty of its sum, and return the sum; without ``edges`` against the bin."""
    if edges is None:
        edges = bin_edges(len(error))
    total = np.zeros(len(error))
    for name, values in stack.items():
        colour, label = colours.get(name, OTHER_COLOUR), short(name)
        axes.stairs(total + values, edges, baseline=total, fill=True, color=colour, lw=0, label=label)
        total = total + values
    axes.stairs(total, edges, color="black", linewidth=0.8)
    draw_band(axes, total, error, "uncertainty", edges)
    return total


def draw_band(
    axes: Axes, centre: FloatArray, error: FloatArray, label: str | None = None, edges: FloatArray | None = None
) -> None:
    """Draw an uncertainty as hatching."""
    if edges is None:
        edges = bin_edges(len(error))
    hatching: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.25", "hatch": "/////", "lw": 0}
    axes.stairs(centre + error, edges, baseline=centre - error, fill=True, label=label, **hatching)


def finish_stack(axes: Axes, stack: Mapping[str, FloatArray], top: float) -> None:
    """Scale the axis with room for the legend; logarithmic where the bins differ by more than two orders."""
    total = np.sum(list(stack.values()), axis=0)
    low = float(total[total > 0].min(initial=top))
    if top > 100 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 20, top * (20 * top / low) ** 0.5)
    else:
        axes.set_ylim(min(0.0, float(total.min())), 1.45 * top)
    axes.set_ylabel("events")
    handles, labels = axes.get_legend_handles_labels()
    # Top of the stack first; the uncertainty and the data, which came last, stay last.
    order = [*reversed(range(len(stack))), *range(len(stack), len(labels))]
    axes.legend([handles[i] for i in order], [labels[i] for i in order], loc="upper center", ncols=3)


def relative_to(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the ratio, NaN (not drawn) where the denominator is not positive."""
    ratio = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def finish_ratio(axes: Axes, deviations: Sequence[FloatArray]) -> None:
    """Scale a ratio axis around 1 so that all deviations are seen, up to 100%."""
    largest = max((float(np.nanmax(np.abs(part), initial=0.0)) for part in deviations), default=0.0)
    reach = min(max(1.2 * largest, 0.02), 1.0)
    axes.set_ylim(1 - reach, 1 + reach)
    axes.axhline(1, color="black", linewidth=0.8)


def finish_bins(axes: Axes, n_bins: int, label: str) -> None:
    """Set the axis of bins that are drawn against their number."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, n_bins - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True))
    axes.set_xlabel(label)
