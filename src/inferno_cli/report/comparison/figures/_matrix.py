"""A sweep of two keys as a matrix: the median at each place, as a colour and, where there is room, as a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.drawing.style import plain
from inferno_cli.report.comparison.comparison import Comparison, Row
from inferno_cli.report.comparison.figures._common import is_number, model_label, new_figure
from inferno_cli.report.comparison.tables import number, value_text
from inferno_cli.runs.points import as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST_LINES, MOST_COLUMNS, MOST_TICKS = 24, 12, 40
"""With a number in each cell, and of ticks of an axis."""


def draw(comparison: Comparison, quantity: str, label: str, keys: Sequence[str], rows: Sequence[Row]) -> Figure:
    """Draw a quantity of the rows of one model; published numbers are below the measured ones.

    Args:
        comparison: What the rows are of.
        quantity: Name of the column.
        label: What the scale of the colours is called.
        keys: The swept keys: across, and down.
        rows: Of runs, and published ones; without a run at its value of a key a published one has no place.
    """
    across, down = keys
    lines, columns = _values(rows, down), _values(rows, across)
    medians = np.full((len(lines), len(columns)), np.nan)
    texts: dict[tuple[int, int], list[str]] = {}
    form = next(item.form for item in comparison.main if item.name == quantity)
    for row in rows:
        y, x = as_text(row.at.get(down)), as_text(row.at.get(across))
        if y in lines and x in columns:
            cell, entry = (list(lines).index(y), list(columns).index(x)), row.values[quantity]
            texts.setdefault(cell, []).append(number(entry, form, spread=False))
            if not row.source:
                medians[cell] = entry.median
    has_texts = len(lines) <= MOST_LINES and len(columns) <= MOST_COLUMNS
    wide, high = (1.1, 0.6) if has_texts else (min(0.35, 14 / len(columns)), min(0.25, 14 / len(lines)))
    size = max(wide * len(columns), 3) + 2.6, max(high * len(lines), 1) + 2.0
    figure = new_figure(comparison, *size, len(rows), len(rows))
    axes = figure.subplots()
    figure.colorbar(axes.imshow(medians, cmap="Blues", aspect="auto"), ax=axes, label=label)
    below = ""
    if has_texts:
        _write(axes, medians, texts)
        below = ", below: published" if any(row.source for row in rows) else ""
    axes.set_title(f"{model_label(comparison, rows[0].model)}{below}", fontsize=9)
    _name(axes.xaxis, list(columns.values()), comparison.names[across])
    _name(axes.yaxis, list(lines.values()), comparison.names[down])
    for tick in axes.get_xticklabels():
        tick.set(rotation=20 if has_texts else 90, ha="right", rotation_mode="anchor")
    return figure


def _values(rows: Sequence[Row], key: str) -> dict[str, str]:
    """Return what the runs have of a key, as a text that can be compared and as it is read; numbers by size."""
    found: dict[str, Any] = {as_text(row.at.get(key)): row.at.get(key) for row in rows if not row.source}
    order = list(found)
    if all(map(is_number, found.values())):
        order.sort(key=lambda text: float(found[text]))
    return {text: plain(value_text(found[text])) for text in order}


def _write(axes: Axes, medians: NDArray[np.float64], texts: Mapping[tuple[int, int], Sequence[str]]) -> None:
    """Write numbers into the cells, white where these are dark."""
    low, high = np.nanmin(medians), np.nanmax(medians)
    for (line, column), found in texts.items():
        colour = "white" if medians[line, column] > low + 0.6 * (high - low) else "black"
        axes.text(column, line, "\n".join(found), ha="center", va="center", size=8, color=colour)


def _name(axis: Axis, values: Sequence[str], key: str) -> None:
    ticks = range(0, len(values), math.ceil(len(values) / MOST_TICKS))
    axis.set_ticks(ticks, [values[i] for i in ticks])
    axis.set_label_text(plain(key))
