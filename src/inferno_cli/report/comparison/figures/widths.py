"""Widths of the intervals against what was swept, beside published numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.drawing.style import plain
from inferno_cli.report.comparison.comparison import Comparison, Row
from inferno_cli.report.comparison.figures._common import MAX_CURVES, legend_below, line_of, new_figure
from inferno_cli.report.comparison.points import place
from inferno_cli.report.comparison.tables import number, value_text
from inferno_cli.runs.points import MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITION = 1
WIDTHS = {
    "width": r"width of the MINOS interval of $\mu$",
    "sigma_s": r"$\sigma(s)$",
    "relative_error_s": r"$\sigma(s) / s$",
}
MOST_NAMES, MOST_DRAWN, MOST_TEXTS, MOST_TICKS = 12, 40, 150, 40
"""Of points by name, beyond the first of which a sweep of two keys is a matrix, and of names drawn at all; of the
cells of a matrix with their number in them; of ticks of one of its axes."""
YIELD, BOUND = "dataset.yields.signal", "Cramer-Rao bound"


def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of every width that the runs have."""
    for quantity in WIDTHS:
        # Of one signal yield, sigma(s) / s says what sigma(s) does.
        known = quantity != "relative_error_s" or YIELD in comparison.keys
        if known and any(quantity in row.values for row in comparison.rows if not row.source):
            yield from _widths(comparison, quantity)


def _widths(comparison: Comparison, quantity: str) -> Iterator[tuple[str, Figure]]:
    """Draw against every swept number of which there is one scan; two names, or many points, as a matrix; by name."""
    others = [key for key in comparison.keys if key != MODEL]
    numeric = [key for key in others if all(_is_number(point.at.get(key)) for point in comparison.points)]
    scans = {key: _scan(comparison, quantity, key, 2 if len(others) == 1 else 3) for key in numeric}
    for key, lines in scans.items():
        if lines:
            yield f"{quantity}_{comparison.names[key]}", _against(comparison, quantity, key, lines)
    if any(scans.values()):
        return
    places = {point.place for point in comparison.points}
    if len(others) == 2 and (not numeric or len(places) > MOST_NAMES):
        yield from _matrices(comparison, quantity, others)
    else:
        yield quantity, _by_name(comparison, quantity)


def _scan(comparison: Comparison, quantity: str, key: str, fewest: int) -> list[list[Row]]:
    """Return the lines against a swept number, each sorted; none unless one place of the others has enough rows."""
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if quantity in row.values and _is_number(row.at.get(key)):
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
    line, name = line_of(comparison, rows[0].model), comparison.model_titles.get(rows[0].model, rows[0].model)
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
            yield f"{quantity}_{model}", _matrix(comparison, quantity, keys, rows)


def _matrix(comparison: Comparison, quantity: str, keys: Sequence[str], rows: Sequence[Row]) -> Figure:
    across, down = keys
    form = next(item.form for item in comparison.main if item.name == quantity)
    medians: dict[tuple[str, str], float] = {}
    texts: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        cell, entry = (value_text(row.at.get(down)), value_text(row.at.get(across))), row.values[quantity]
        texts.setdefault(cell, []).append(number(entry, form, spread=False))
        if not row.source:
            medians[cell] = entry.median
    lines, columns = _in_order(rows, down), _in_order(rows, across)
    has_texts = len(lines) * len(columns) <= MOST_TEXTS
    size = (1.1, 0.6) if has_texts else (min(0.35, 14 / len(columns)), min(0.25, 14 / len(lines)))
    width, height = size[0] * len(columns) + 2.6, size[1] * len(lines) + 2.0
    figure = new_figure(comparison, width, height, len(rows), len(rows))
    axes = figure.subplots()
    values = np.full((len(lines), len(columns)), np.nan)
    dark = min(medians.values()) + 0.6 * (max(medians.values()) - min(medians.values()))
    for (y, x), median in medians.items():
        line, column = lines.index(y), columns.index(x)
        values[line, column] = median
        if has_texts:
            text, colour = "\n".join(texts[y, x]), "white" if median > dark else "black"
            axes.text(column, line, text, ha="center", va="center", size=8, color=colour)
    image = axes.imshow(values, cmap="Blues", aspect="auto")
    shown = range(0, len(columns), math.ceil(len(columns) / MOST_TICKS))
    names = [plain(columns[i]) for i in shown]
    axes.set_xticks(shown, names, rotation=20 if has_texts else 90, ha="right", rotation_mode="anchor")
    shown = range(0, len(lines), math.ceil(len(lines) / MOST_TICKS))
    axes.set_yticks(shown, [plain(lines[i]) for i in shown])
    axes.set_xlabel(plain(comparison.names[across]))
    axes.set_ylabel(plain(comparison.names[down]))
    below = ", below: published" if has_texts and any(row.source for row in rows) else ""
    axes.set_title(f"{comparison.model_titles.get(rows[0].model, rows[0].model)}{below}", fontsize=9)
    figure.colorbar(image, ax=axes, label=WIDTHS[quantity])
    return figure


def _in_order(rows: Sequence[Row], key: str) -> list[str]:
    """Return the values that runs have of a key as texts: numbers by size, names as they come."""
    values = {value_text(row.at.get(key)): row.at.get(key) for row in rows if not row.source}
    if all(map(_is_number, values.values())):
        return sorted(values, key=lambda text: float(values[text]))  # type: ignore[arg-type]
    return list(values)


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
        style: dict[str, Any] = {"fmt": "o", "label": comparison.model_titles.get(row.model, row.model)}
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
