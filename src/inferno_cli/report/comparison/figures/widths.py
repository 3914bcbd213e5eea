"""Widths of the intervals against what was swept, beside published numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.drawing.style import plain
from inferno_cli.report.comparison.comparison import Comparison, Row
from inferno_cli.report.comparison.figures import _matrix
from inferno_cli.report.comparison.figures._common import (
    MAX_CURVES,
    is_number,
    legend_below,
    line_of,
    model_label,
    new_figure,
)
from inferno_cli.report.comparison.points import place
from inferno_cli.report.comparison.tables import value_text
from inferno_cli.runs.points import MODEL, as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITION = 1
WIDTHS = {
    "width": r"width of the MINOS interval of $\mu$",
    "sigma_s": r"$\sigma(s)$",
    "relative_error_s": r"$\sigma(s) / s$",
}
MOST_NAMES, MOST_DRAWN = 12, 40
"""Points by name: of a sweep of two keys, where more are a matrix; of any other, where the first are drawn."""
YIELD, BOUND = "dataset.yields.signal", "Cramer-Rao bound"


def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of every width that the runs have."""
    for quantity in WIDTHS:
        # Of one signal yield, sigma(s) / s says what sigma(s) does.
        known = quantity != "relative_error_s" or YIELD in comparison.keys
        if known and any(quantity in row.values for row in comparison.rows if not row.source):
            yield from _widths(comparison, quantity)


def _widths(comparison: Comparison, quantity: str) -> Iterator[tuple[str, Figure]]:
    """Draw against every swept number of which there is one scan; two names, or a grid, as a matrix; else by name."""
    others = [key for key in comparison.keys if key != MODEL]
    numeric = [key for key in others if all(is_number(point.at.get(key)) for point in comparison.points)]
    scans = {key: _scan(comparison, quantity, key, 2 if len(others) == 1 else 3) for key in numeric}
    for key, lines in scans.items():
        if lines:
            yield f"{quantity}_{comparison.names[key]}", _against(comparison, quantity, key, lines)
    if any(scans.values()):
        return
    if len(others) == 2 and (not numeric or _is_grid(comparison, others)):
        yield from _matrices(comparison, quantity, others)
    else:
        yield quantity, _by_name(comparison, quantity)


def _scan(comparison: Comparison, quantity: str, key: str, fewest: int) -> list[list[Row]]:
    """Return the lines against a swept number, each sorted; none unless one place of the others has enough rows."""
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if quantity in row.values and is_number(row.at.get(key)):
            rest = place({k: v for k, v in row.at.items() if k != key})
            lines.setdefault((rest, f"{row.model}/{row.label}/{bool(row.source)}"), []).append(row)
    scanned = {rest for (rest, _), rows in lines.items() if len(rows) >= fewest}
    if len(scanned) != 1:
        return []
    return [sorted(rows, key=lambda row: float(row.at[key])) for (rest, _), rows in lines.items() if rest in scanned]


def _against(comparison: Comparison, quantity: str, key: str, found: Sequence[Sequence[Row]]) -> Figure:
    lines = found[:MAX_CURVES]
    figure = new_figure(comparison, 6.4, 4.8, sum(map(len, lines)), sum(map(len, found)))
    axes = figure.subplots()
    bounds: dict[float, float] = {}
    is_measured = False
    for row in itertools.chain.from_iterable(lines):
        if "bound_s" in row.values:
            bounds[float(row.at[key])] = row.values["bound_s"].median
            is_measured |= not row.source
    for rows in lines:
        if rows[0].model != BOUND or not is_measured:  # else it is drawn from the runs
            _line(comparison, axes, [float(row.at[key]) for row in rows], rows, quantity)
    if quantity == "sigma_s" and bounds:
        x = sorted(bounds)
        style: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": ":", "label": "Cramér-Rao bound"}
        if len(set(bounds.values())) == 1:
            axes.axhline(bounds[x[0]], **style)
        else:
            axes.plot(x, [bounds[value] for value in x], **style)
    axes.set_xlabel(plain(key))
    axes.set_ylabel(WIDTHS[quantity])
    held = {k: v for k, v in lines[0][0].at.items() if k != key}
    axes.set_title(", ".join(_names(comparison, held)), fontsize=9)
    legend_below(figure)
    return figure


def _line(comparison: Comparison, axes: Axes, x: Sequence[float], rows: Sequence[Row], quantity: str) -> None:
    """Draw the medians with their ranges: of runs as a band, of published numbers as errors."""
    numbers = [row.values[quantity] for row in rows]
    y, low, high = np.transpose([(entry.median, entry.low, entry.high) for entry in numbers])
    line, name = line_of(comparison, rows[0].model), model_label(comparison, rows[0].model)
    if rows[0].source:
        style: dict[str, Any] = {"fmt": "s--", "mfc": "white", "lw": 0.8, "label": f"{name}, {rows[0].label}"}
        axes.errorbar(x, y, (y - low, high - y), color=line["color"], **style)
    else:
        axes.plot(x, y, marker="o", label=name, **line)
        axes.fill_between(x, low, high, color=line["color"], alpha=0.2, linewidth=0)


def _names(comparison: Comparison, at: Mapping[str, Any]) -> list[str]:
    return [plain(f"{comparison.names[key]} {value_text(value)}") for key, value in at.items() if key != MODEL]


def _matrices(comparison: Comparison, quantity: str, keys: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """Draw the points of two keys as a matrix for each model; published numbers below the measured ones."""
    by_model: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if quantity in row.values:
            by_model.setdefault(row.model, []).append(row)
    for model, rows in by_model.items():
        if not all(row.source for row in rows):
            yield f"{quantity}_{model}", _matrix.draw(comparison, quantity, WIDTHS[quantity], keys, rows)


def _is_grid(comparison: Comparison, keys: Sequence[str]) -> bool:
    """Whether the points are many, and at least at half of the places of the values of some keys."""
    places = {point.place for point in comparison.points}
    sizes = [len({as_text(point.at.get(key)) for point in comparison.points}) for key in keys]
    return len(places) > MOST_NAMES and 2 * len(places) >= math.prod(sizes)


def _by_name(comparison: Comparison, quantity: str) -> Figure:
    known = [row for row in comparison.rows if quantity in row.values]
    titles = {row.place: "\n".join(_names(comparison, row.at)) for row in known}
    places = list(titles)[:MOST_DRAWN]
    kinds = list(dict.fromkeys((row.model, row.label) for row in known))[:MAX_CURVES]
    rows = [row for row in known if row.place in places and (row.model, row.label) in kinds]
    figure = new_figure(comparison, 6.4, max(3.6, 1.6 + 0.55 * len(places)), len(rows), len(known))
    axes = figure.subplots()
    for row in rows:
        entry = row.values[quantity]
        offset = (kinds.index((row.model, row.label)) - (len(kinds) - 1) / 2) * 0.7 / len(kinds)
        style: dict[str, Any] = {"fmt": "o", "label": model_label(comparison, row.model)}
        if row.source:
            style = {"fmt": "s", "markerfacecolor": "white", "label": f"{style['label']}, {row.label}"}
        errors = [[entry.median - entry.low], [entry.high - entry.median]]
        y = places.index(row.place) + offset
        axes.errorbar(entry.median, y, xerr=errors, color=line_of(comparison, row.model)["color"], capsize=2, **style)
    axes.set_yticks(range(len(places)), [titles[there] for there in places])
    axes.invert_yaxis()
    axes.set_xlabel(WIDTHS[quantity])
    legend_below(figure)
    return figure
