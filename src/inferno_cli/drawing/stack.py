"""Stacks of samples: their colours, the sum with its uncertainty, and the ratio below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.style import ACCENT, SIGNAL, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

SAMPLE_COLOURS = (SIGNAL, ACCENT, "#ffa90e", "#94a4a2", "#92dadd", "#b9ac70", "#a96b59", "#832db6")
OTHER = "other"


def colours_of(yields: Mapping[str, float], signal: Set[str]) -> dict[str, str]:
    """Return one colour per sample, signal first, the largest backgrounds next in the order of ``yields``."""
    largest = sorted(yields, key=lambda name: (name not in signal, -yields[name]))[: len(SAMPLE_COLOURS)]
    order = list(yields)
    kept = sorted(largest, key=lambda name: (name not in signal, order.index(name)))
    # Without a known signal nothing is red.
    palette = SAMPLE_COLOURS if signal else SAMPLE_COLOURS[1:] + SAMPLE_COLOURS[:1]
    return dict(zip(kept, palette, strict=False))


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
    other = OTHER
    while other in colours:  # a sample may be called "other"
        other = f"({other})"
    total: dict[str, FloatArray] = {}
    for name, values in rows.items():
        parent = (parents or {}).get(name, name)
        shown = parent if parent in colours else other
        total[shown] = total.get(shown, np.zeros(len(values))) + values
    signal = next(iter(colours), None)
    return dict(sorted(total.items(), key=lambda item: (item[0] == signal, item[1].sum())))


def bin_edges(n_bins: int) -> FloatArray:
    """Return the edges of bins that are drawn against their number."""
    return np.arange(n_bins + 1, dtype=np.float64) - 0.5


def draw_stack(
    axes: Axes, stack: Mapping[str, FloatArray], error: FloatArray, colours: Mapping[str, str], edges: FloatArray
) -> FloatArray:
    """Draw the stack and the uncertainty of its sum, and return the sum."""
    total = draw_layers(axes, stack, colours, edges)
    axes.stairs(total, edges, color="black", linewidth=0.8)
    draw_band(axes, total, error, edges, "uncertainty")
    return total


def draw_layers(
    axes: Axes, stack: Mapping[str, FloatArray], colours: Mapping[str, str], edges: FloatArray
) -> FloatArray:
    """Draw samples on each other, and return their sum."""
    total = np.zeros(len(edges) - 1)
    for name, values in stack.items():
        colour = colours.get(name, "#d8d8d8")
        axes.stairs(total + values, edges, baseline=total, fill=True, color=colour, lw=0, label=short(name))
        total = total + values
    return total


def draw_band(axes: Axes, centre: FloatArray, error: FloatArray, edges: FloatArray, label: str | None = None) -> None:
    """Draw an uncertainty as hatching."""
    hatching: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.25", "hatch": "/////", "lw": 0}
    axes.stairs(centre + error, edges, baseline=centre - error, fill=True, label=label, **hatching)


def draw_with_ratio(
    figure: Figure,
    stack: Mapping[str, FloatArray],
    error: FloatArray,
    colours: Mapping[str, str],
    edges: FloatArray,
    data: FloatArray | None,
    **marker: Any,
) -> tuple[Axes, Axes]:
    """Draw data against the stack, and their ratio below; without data the uncertainty alone.

    Layers, the error of their sum and data have shape (B,), edges (B + 1,); ``marker`` as ``Axes.errorbar`` takes it.
    Bins where data is NaN have none.
    """
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    total = draw_stack(upper, stack, error, colours, edges)
    top, relative = float((total + error).max()), relative_to(error, total)
    deviations = [relative]
    draw_band(lower, np.ones(len(total)), np.nan_to_num(relative), edges)
    if data is not None:
        centres, deviation = (edges[1:] + edges[:-1]) / 2, np.sqrt(data)
        marker = {"fmt": "o", "color": "black", **marker}
        upper.errorbar(centres, data, yerr=deviation, **marker)
        ratio, ratio_error = relative_to(data, total), relative_to(deviation, total)
        lower.errorbar(centres, ratio, yerr=ratio_error, **marker)
        deviations.append(np.abs(ratio - 1) + ratio_error)
        top = max(top, float(np.nanmax(data + deviation)))
    finish_stack(upper, stack, top)
    finish_ratio(lower, deviations)
    lower.set_ylabel("MC stat." if data is None else "data / pred.")
    return upper, lower


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
    largest = float(np.nanmax(np.abs(deviations), initial=0.0))
    reach = min(max(1.2 * largest, 0.02), 1.0)
    axes.set_ylim(1 - reach, 1 + reach)
    axes.axhline(1, color="black", linewidth=0.8)


def finish_bins(axes: Axes, n_bins: int, label: str = "bin, as fitted") -> None:
    """Set the axis of bins that are drawn against their number."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, n_bins - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True))
    axes.set_xlabel(label)
