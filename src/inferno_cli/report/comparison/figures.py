"""Figures of a comparison: widths against what was swept, likelihood scans, training curves and templates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import POI
from inferno_cli.report.comparison.comparison import Comparison, Row
from inferno_cli.report.comparison.points import Point, place
from inferno_cli.report.comparison.tables import NAMES, number, value_text
from inferno_cli.report.style import MUTED, SIGNAL, labelled_figure, plain
from inferno_cli.runs.points import MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# M. Petroff's ten colours, arXiv:2107.02270.
COLOURS = ("#3f90da", "#bd1f01", "#717581", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#92dadd", "#ffa90e")
FIXED = {"bce": COLOURS[0], "inferno": COLOURS[1], "optimal": COLOURS[2]}
MAX_CURVES, MAX_PANELS = 12, 12
"""In one panel, and in one figure; beyond that the first are drawn, and it is said."""
WIDTHS = {
    "width": r"width of the MINOS interval of $\mu$",
    "sigma_s": r"$\sigma(s)$",
    "relative_error_s": r"$\sigma(s) / s$",
}
YIELD, BOUND = "dataset.yields.signal", "Cramer-Rao bound"


def figures(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of everything that the runs have."""
    for quantity in WIDTHS:
        # Of one signal yield, sigma(s) / s says what sigma(s) does.
        known = quantity != "relative_error_s" or YIELD in comparison.keys
        if known and any(quantity in row.values for row in comparison.rows if not row.source):
            yield from _widths(comparison, quantity)
    points = [point for point in comparison.points if point.jobs]
    for name, draw in (("scans", _scans), ("training", _training), ("templates", _templates)):
        if (figure := draw(comparison, points)) is not None:
            yield name, figure


def _name(comparison: Comparison, point: Point) -> str:
    model = NAMES.get(str(point.at.get(MODEL)), str(point.at.get(MODEL) or ""))
    return ", ".join(part for part in (model, _place_name(comparison, point)) if part)


def _place_name(comparison: Comparison, point: Point) -> str:
    texts = (f"{comparison.names[key]} {value_text(point.at[key])}" for key in comparison.keys if key != MODEL)
    return plain(", ".join(texts))


def _figure(comparison: Comparison, *, width: float = 6.4, height: float = 4.8, said: str = "") -> Figure:
    return labelled_figure(comparison.label, comparison.title + said, width=width, height=height)


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
    figure = _figure(comparison)
    axes = figure.subplots()
    bounded = any("bound_s" in row.values for rows in lines for row in rows if not row.source)
    for rows in lines:
        if rows[0].model == BOUND and bounded:  # drawn below, from the runs
            continue
        rows = sorted(rows, key=lambda row: float(row.at[key]))
        x = [float(row.at[key]) for row in rows]
        colour = _colour(rows[0].model)
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
    _legend_below(figure)
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
        figure = _figure(comparison, width=1.1 * len(columns) + 2.6, height=0.6 * len(lines) + 2.0)
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
    figure = _figure(comparison, height=max(3.6, 1.6 + 0.55 * len(places)))
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
            color=_colour(row.model),
            capsize=2,
            label=name,
            fmt=marker,
            markerfacecolor=face,
        )
    axes.set_yticks(range(len(places)), [titles.get(here, "") for here in places])
    axes.invert_yaxis()
    axes.set_xlabel(WIDTHS[quantity])
    _legend_below(figure)
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


def _scans(comparison: Comparison, points: Sequence[Point]) -> Figure | None:
    scanned = [point for point in points if (x := comparison.representative(point)) and x.nll_scan is not None]
    if not scanned:
        return None

    def draw(axes: Axes, point: Point, **style: Any) -> None:
        results = comparison.representative(point)
        assert results is not None
        assert results.nll_scan is not None
        scan, best = results.nll_scan, results.parameters[POI].bestfit
        values, rise = np.asarray(scan.values), np.clip(scan.delta_twice_nll, 0, None)
        dense = np.linspace(values.min(), values.max(), 201)
        root = np.interp(dense, values, np.sign(values - best) * np.sqrt(rise))
        axes.plot(dense, root**2, **style)

    figure = _overlaid(comparison, scanned, draw, r"$\mu$", r"$2\,\Delta$ NLL")
    for axes in (item for item in figure.axes if item.axison):
        axes.axhline(1, color=MUTED, linewidth=0.9, linestyle=":")
        axes.set_ylim(0, 6)
    return figure


def _training(comparison: Comparison, points: Sequence[Point]) -> Figure | None:
    trained = [point for point in points if _curves(point) is not None]
    if not trained:
        return None

    def draw(axes: Axes, point: Point, **style: Any) -> None:
        curves = _curves(point)
        assert curves is not None
        epochs, table = curves
        axes.plot(epochs, np.nanmedian(table, axis=0), **style)
        low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)

    return _overlaid(comparison, trained, draw, "epoch", r"$\sigma(\mu)$, hard bins")


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


def _overlaid(comparison: Comparison, points: Sequence[Point], draw: Callable[..., None], x: str, y: str) -> Figure:
    """Draw a curve for each point: the models over each other at every place of the sweep; one model in one panel."""
    models = list(dict.fromkeys(str(point.at.get(MODEL)) for point in points))
    places: dict[str, list[Point]] = {}
    for point in points:
        places.setdefault(point.place if len(models) > 1 else "", []).append(point)
    shown = dict(list(places.items())[:MAX_PANELS])
    drawn = sum(len(found[:MAX_CURVES]) for found in shown.values())
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (
        {"width": 6.4, "height": 4.6 + 0.1 * drawn}
        if len(shown) == 1
        else {"width": 3.2 * columns, "height": 2.6 * rows + 1}
    )
    figure = _figure(comparison, said=_first(drawn, len(points)), **size)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, found in zip(grid, shown.values(), strict=False):
        for i, point in enumerate(found[:MAX_CURVES]):
            if len(models) > 1:
                model = str(point.at.get(MODEL))
                draw(axes, point, color=_colour(model), label=NAMES.get(model, model))
                axes.set_title(_place_name(comparison, point), fontsize=8)
            else:
                style = "-" if i < len(COLOURS) else "--"
                draw(axes, point, color=COLOURS[i % len(COLOURS)], ls=style, label=_name(comparison, point))
        axes.set_xlabel(x)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(y)
    _legend_below(figure)
    return figure


def _templates(comparison: Comparison, points: Sequence[Point]) -> Figure | None:
    found = [(point, bins) for point in points if (x := comparison.representative(point)) and (bins := x.bins)]
    if not found:
        return None
    models = list(dict.fromkeys(str(point.at.get(MODEL)) for point, _ in found))
    places = list(dict.fromkeys(point.place for point, _ in found))
    columns = len(models) if len(models) > 1 else min(3, len(places))
    # Several models: a row for each place of the sweep.
    order = sorted(found, key=lambda item: places.index(item[0].place)) if len(models) > 1 else found
    shown = [item for item in order if places.index(item[0].place) < MAX_PANELS]
    rows = min(MAX_PANELS, len(places)) if len(models) > 1 else -(-len(shown) // columns)
    size = {"width": 3.2 * columns + 1.2, "height": 2.3 * rows + 1}
    figure = _figure(comparison, said=_first(len(shown), len(found)), **size)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.ravel():
        axes.set_axis_off()
    for i, (point, bins) in enumerate(shown):
        spot = (
            (places.index(point.place), models.index(str(point.at.get(MODEL))))
            if len(models) > 1
            else divmod(i, columns)
        )
        axes = grid[spot]
        axes.set_axis_on()
        edges = np.arange(len(bins) + 1)
        axes.stairs([x.background for x in bins], edges, fill=True, color="#d3d3d3", label="background")
        axes.stairs([x.signal for x in bins], edges, color=SIGNAL, label="signal")
        axes.set_yscale("log")
        axes.set_title(_name(comparison, point), fontsize=8)
        axes.set_xlabel("bin")
        if not spot[1]:
            axes.set_ylabel("expected events")
    _legend_below(figure)
    return figure


def _first(drawn: int, total: int) -> str:
    return f"; the first {drawn} points" if drawn < total else ""


def _legend_below(figure: Figure) -> None:
    """Draw one legend for all panels, below them."""
    entries = [axes.get_legend_handles_labels() for axes in figure.axes]
    unique = {label: handle for handles, labels in entries for handle, label in zip(handles, labels, strict=True)}
    if not unique:  # fits alone have no models
        return
    # A letter is about 0.08 inches wide, and the line before it 0.5.
    columns = int(figure.get_figwidth() / (0.08 * max(map(len, unique)) + 0.5))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=min(max(columns, 1), 4))


def _colour(model: str) -> str:
    return FIXED.get(model) or COLOURS[4 + sum(model.encode()) % 6]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
