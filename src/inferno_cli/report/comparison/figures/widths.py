"""Widths of the intervals against what was swept, beside published numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.drawing.style import plain
from inferno_cli.report.comparison.comparison import Comparison, Row
from inferno_cli.report.comparison.figures._common import colour_of, legend_below, new_figure
from inferno_cli.report.comparison.points import place
from inferno_cli.report.comparison.tables import NAMES, number, value_text
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
YIELD, BOUND = "dataset.yields.signal", "Cramer-Rao bound"


def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of every width that the runs have."""
    for quantity in WIDTHS:
        # Of one signal yield, sigma(s) / s says what sigma(s) does.
        known = quantity != "relative_error_s" or YIELD in comparison.keys
        if known and any(quantity in row.values for row in comparison.rows if not row.source):
            yield from _widths(comparison, quantity)


def _widths(comparison: Comparison, quantity: str) -> Iterator[tuple[str, Figure]]:
    """Draw against every swept number of which there is one scan, two names as a matrix, and else by name."""
    others = [key for key in comparison.keys if key != MODEL]
    numeric = [key for key in others if all(_is_number(row.at.get(key)) for row in comparison.rows if not row.source)]
    drawn = False
    for key in numeric:
        lines: dict[tuple[str, str], list[Row]] = {}
        for row in comparison.rows:
            if quantity in row.values and _is_number(row.at.get(key)):
                rest = place({k: v for k, v in row.at.items() if k not in (key, MODEL)})
                lines.setdefault((rest, f"{row.model}/{row.label}/{bool(row.source)}"), []).append(row)
        # Where several numbers are swept, each may be scanned with the others at one place.
        scans = dict.fromkeys(rest for (rest, _), rows in lines.items() if len(rows) > (1 if len(others) == 1 else 2))
        if len(scans) == 1:
            drawn = True
            chosen = [rows for (rest, _), rows in lines.items() if rest in scans]
            yield f"{quantity}_{comparison.names[key]}", _against(comparison, quantity, key, chosen)
    if not drawn and len(others) == 2 and not numeric:
        drawn = True
        yield from _matrices(comparison, quantity, others)
    if not drawn:
        yield quantity, _by_name(comparison, quantity)


def _against(comparison: Comparison, quantity: str, key: str, lines: Sequence[Sequence[Row]]) -> Figure:
    figure = new_figure(comparison)
    axes = figure.subplots()
    bounded = any("bound_s" in row.values for rows in lines for row in rows if not row.source)
    for rows in lines:
        if rows[0].model == BOUND and bounded:  # drawn below, from the runs
            continue
        rows = sorted(rows, key=lambda row: float(row.at[key]))
        x = [float(row.at[key]) for row in rows]
        colour = colour_of(rows[0].model)
        numbers = [row.values[quantity] for row in rows]
        y = [entry.median for entry in numbers]
        name = NAMES.get(rows[0].model, rows[0].model)
        low, high = [entry.low for entry in numbers], [entry.high for entry in numbers]
        if rows[0].source:
            errors = [[b - a for a, b in zip(low, y, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
            axes.errorbar(x, y, errors, fmt="s--", mfc="white", lw=0.8, color=colour, label=f"{name}, {rows[0].label}")
            continue
        axes.plot(x, y, "o-", color=colour, label=name)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    _bound(axes, quantity, {float(row.at[key]): row for rows in lines for row in rows if "bound_s" in row.values})
    axes.set_xlabel(plain(key))
    axes.set_ylabel(WIDTHS[quantity])
    held = {k: v for k, v in lines[0][0].at.items() if k not in (key, MODEL)}
    axes.set_title(plain(", ".join(f"{comparison.names[k]} {value_text(v)}" for k, v in held.items())), fontsize=9)
    legend_below(figure)
    return figure


def _matrices(comparison: Comparison, quantity: str, keys: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """Draw the points of two names as a matrix for each model; published numbers below the measured ones."""
    across, down = keys
    form = next(item.form for item in comparison.main if item.name == quantity)
    rows = [row for row in comparison.rows if quantity in row.values]
    for model in dict.fromkeys(row.model for row in rows if not row.source):
        cells: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            if row.model == model:
                cells.setdefault((value_text(row.at.get(down)), value_text(row.at.get(across))), []).append(row)
        measured = [cell for cell, found in cells.items() if not found[0].source]
        lines, columns = (list(dict.fromkeys(cell[i] for cell in measured)) for i in (0, 1))
        values = np.full((len(lines), len(columns)), np.nan)
        for y, x in measured:
            values[lines.index(y), columns.index(x)] = cells[y, x][0].values[quantity].median
        figure = new_figure(comparison, width=1.1 * len(columns) + 2.6, height=0.6 * len(lines) + 2.0)
        axes = figure.subplots()
        image = axes.imshow(values, cmap="Blues", aspect="auto")
        for y, x in measured:
            texts = [number(row.values[quantity], form, spread=False) for row in cells[y, x]]
            spot = (columns.index(x), lines.index(y))
            dark = (values[spot[::-1]] - np.nanmin(values)) > 0.6 * (np.nanmax(values) - np.nanmin(values))
            axes.text(*spot, "\n".join(texts), ha="center", va="center", size=8, color="white" if dark else "black")
        axes.set_xticks(range(len(columns)), list(map(plain, columns)), rotation=20, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(lines)), list(map(plain, lines)))
        axes.set_xlabel(plain(comparison.names[across]))
        axes.set_ylabel(plain(comparison.names[down]))
        below = ", below: published" if any(row.source for found in cells.values() for row in found) else ""
        axes.set_title(f"{NAMES.get(model, model)}{below}", fontsize=9)
        figure.colorbar(image, ax=axes, label=WIDTHS[quantity])
        yield f"{quantity}_{model}", figure


def _by_name(comparison: Comparison, quantity: str) -> Figure:
    places = list(dict.fromkeys(place(row.at) for row in comparison.rows if quantity in row.values))
    figure = new_figure(comparison, height=max(3.6, 1.6 + 0.55 * len(places)))
    axes = figure.subplots()
    kinds = list(dict.fromkeys((row.model, row.label) for row in comparison.rows if quantity in row.values))
    titles: dict[str, str] = {}
    for row in comparison.rows:
        if (entry := row.values.get(quantity)) is None:
            continue
        here = place(row.at)
        texts = [plain(f"{comparison.names[k]} {value_text(v)}") for k, v in row.at.items() if k != MODEL]
        titles[here] = "\n".join(texts)
        offset = (kinds.index((row.model, row.label)) - (len(kinds) - 1) / 2) * 0.7 / len(kinds)
        errors = [[entry.median - entry.low], [entry.high - entry.median]]
        name = NAMES.get(row.model, row.model) + (f", {row.label}" if row.source else "")
        marker, face = ("s", "white") if row.source else ("o", None)
        axes.errorbar(
            entry.median,
            places.index(here) + offset,
            xerr=errors,
            color=colour_of(row.model),
            capsize=2,
            label=name,
            fmt=marker,
            markerfacecolor=face,
        )
    axes.set_yticks(range(len(places)), [titles.get(here, "") for here in places])
    axes.invert_yaxis()
    axes.set_xlabel(WIDTHS[quantity])
    legend_below(figure)
    return figure


def _bound(axes: Axes, quantity: str, at: Mapping[float, Row]) -> None:
    """Draw the Cramer-Rao bound at each value: a level, or a curve where it depends on what is swept."""
    if quantity != "sigma_s" or not at:
        return
    x = sorted(at)
    y = [at[value].values["bound_s"].median for value in x]
    style: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": ":", "label": "Cramér-Rao bound"}
    if len(set(y)) == 1:
        axes.axhline(y[0], **style)
    else:
        axes.plot(x, y, **style)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
