"""The figures of an interpolation: pulls, a map of the grid, flow beside simulation, losses, yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.presentation import PLAIN, Presentation
from inferno_cli.drawing.style import ACCENT, MUTED, SIGNAL, Canvas, short
from inferno_cli.interpolation.pulls import Comparison
from inferno_cli.interpolation.record import JUDGED, InterpolationRecord, PointRecord
from inferno_cli.report.interpolation.tables import TITLES, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"training": MUTED, "held_out": SIGNAL, "left_out_inside": ACCENT, "left_out_edge": "#e76300"}
REACH = 5.0
"""Of the axis of pulls; what is beyond is in the outer bins."""


def figures(
    record: InterpolationRecord,
    pulls: Sequence[Mapping[str, NDArray[np.float64]]],
    comparisons: Sequence[Comparison],
    axes: Sequence[str],
    shown: Presentation = PLAIN,
) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure.

    Args:
        record: The record.
        pulls: Pulls of every point of it, by definition.
        comparisons: The bins of every point.
        axes: Names of the features that these are of.
        shown: What the configuration says about plots.
    """
    canvas = Canvas(record.label, title(record), shown)
    yield "pulls", _pulls(canvas, record, pulls)
    if len(record.parameters) == 2:
        yield "grid", _grid(canvas, record)
    if record.points:
        number = _worst(record)
        canvas_of = replace(canvas, title=f"{canvas.title}, {_name(record.points[number])}")
        if len(axes) == 2:
            yield "comparison", _plane(canvas_of, comparisons[number], axes)
        else:
            yield "comparison", _line(canvas_of, comparisons[number], axes[0])
    yield "losses", _losses(canvas, record)
    if record.yields is not None:
        yield "yields", _yields(canvas, record)
    if any(target.limit for target in record.targets):
        yield "limits", _limits(canvas, record)


def _worst(record: InterpolationRecord) -> int:
    """Return the number of the point with the widest pulls, of those that trained nothing where there are some."""
    unseen = [i for i, point in enumerate(record.points) if point.group != "training"] or range(len(record.points))
    return max(unseen, key=lambda i: record.points[i].pulls[JUDGED].width if record.points[i].pulls else -1.0)


def _pulls(canvas: Canvas, record: InterpolationRecord, pulls: Sequence[Mapping[str, NDArray[np.float64]]]) -> Figure:
    kinds = ("ensemble", "statistical", JUDGED)
    figure = canvas.figure(width=10.0, height=4.0)
    edges = np.linspace(-REACH, REACH, 31)
    centres = (edges[1:] + edges[:-1]) / 2
    normal = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    names = {"ensemble": "spread of the flows", "statistical": r"$\sqrt{N}$", JUDGED: "the larger of both"}
    for axes, kind in zip(figure.subplots(1, 3, sharey=True), kinds, strict=True):
        for group, found in record.groups.items():
            own = [item[kind] for item, point in zip(pulls, record.points, strict=True) if point.group == group]
            if kind not in found.pulls:
                continue
            spread = found.pulls[kind]
            label = f"{TITLES[group]}: {spread.mean:.2f}, {spread.width:.2f}"
            values = np.concatenate(own).clip(-REACH, REACH)
            axes.hist(values, edges, density=True, histtype="step", color=COLOURS[group], linewidth=1.4, label=label)
        axes.plot(centres, normal, color="black", linewidth=0.8, linestyle=":")
        axes.set_xlabel(f"(flow - simulation) / {names[kind]}")
        axes.legend(title="mean, width", loc="upper left", fontsize=7, title_fontsize=7)
        axes.set_ylim(0, 0.75)
    return figure


def _grid(canvas: Canvas, record: InterpolationRecord) -> Figure:
    figure = canvas.figure(height=5.2)
    axes = figure.subplots()
    drawn = [point for point in record.points if point.pulls]
    # What trained nothing is drawn last, over the same point of the training.
    drawn.sort(key=lambda point: point.group != "training")
    x, y = (np.array([point.at[name] for point in drawn]) for name in record.parameters)
    width = np.array([point.pulls[JUDGED].width for point in drawn])
    edge = ["black" if point.group != "training" else "none" for point in drawn]
    marks = axes.scatter(x, y, c=width, s=140, cmap="viridis", vmin=0.5, vmax=max(2.0, width.max()), edgecolors=edge)
    figure.colorbar(marks, label="width of the pulls with the larger error")
    for target in record.targets:
        axes.plot(*(target.at[name] for name in record.parameters), marker="*", color=SIGNAL, markersize=12)
    axes.set_xlabel(short(record.parameters[0]))
    axes.set_ylabel(short(record.parameters[1]))
    axes.set_title("outlined: trained nothing" + ("; star: new templates" if record.targets else ""))
    axes.margins(0.12)
    return figure


def _name(point: PointRecord) -> str:
    at = ", ".join(f"{name} = {value:g}" for name, value in point.at.items())
    return f"{at} ({TITLES[point.group]})"


def _plane(canvas: Canvas, bins: Comparison, names: Sequence[str]) -> Figure:
    figure = canvas.figure(width=11.0, height=4.2)
    shape = tuple(len(edges) - 1 for edges in bins.edges)
    flow = bins.flows.mean(axis=0)
    error = np.sqrt(np.maximum(bins.variance, bins.flows.var(axis=0, ddof=1)))
    pull = np.divide(flow - bins.simulated, error, out=np.zeros_like(flow), where=error > 0)
    top = max(bins.simulated.max(), flow.max())
    parts = [("simulation", bins.simulated), ("flow", flow), ("pull with the larger error", pull)]
    for axes, (text, values) in zip(figure.subplots(1, 3, sharey=True), parts, strict=True):
        style = {"cmap": "RdBu_r", "vmin": -4, "vmax": 4} if values is pull else {"vmin": 0, "vmax": top}
        drawn = axes.pcolormesh(*bins.edges, values.reshape(shape).T, **style)
        figure.colorbar(drawn)
        axes.set_title(text)
        axes.set_xlabel(short(names[0]))
    figure.axes[0].set_ylabel(short(names[1]))
    return figure


def _line(canvas: Canvas, bins: Comparison, name: str) -> Figure:
    figure = canvas.figure()
    axes = figure.subplots()
    edges = bins.edges[0]
    centres = (edges[1:] + edges[:-1]) / 2
    flow, spread = bins.flows.mean(axis=0), bins.flows.std(axis=0, ddof=1)
    axes.stairs(flow, edges, color=ACCENT, label="flow")
    axes.bar(centres, 2 * spread, np.diff(edges), flow - spread, color=ACCENT, alpha=0.3, label="its members")
    error = np.sqrt(bins.variance)
    axes.errorbar(centres, bins.simulated, error, fmt="o", color="black", markersize=4, label="simulation")
    axes.set_xlabel(short(name))
    axes.set_ylabel("events")
    axes.legend()
    return figure


def _losses(canvas: Canvas, record: InterpolationRecord) -> Figure:
    figure = canvas.figure()
    axes = figure.subplots()
    for flow in record.flows:
        is_fold = bool(flow.left_out)
        look = 1 + np.arange(len(flow.losses))
        axes.plot(look, flow.losses, color=MUTED if is_fold else ACCENT, linewidth=0.6 if is_fold else 1.4)
    axes.set_xlabel("look at the validation events")
    axes.set_ylabel("negative log-likelihood")
    return figure


def _limits(canvas: Canvas, record: InterpolationRecord) -> Figure:
    """Draw the expected limits on mu against the parameters, in their order."""
    figure = canvas.figure(height=5.2)
    axes = figure.subplots()
    targets = sorted(record.targets, key=lambda target: tuple(target.at.values()))
    for row, target in enumerate(targets):
        if target.limit is None:
            continue
        low_2, low, median, high, high_2 = target.limit
        axes.plot([row, row], [low_2, high_2], color="#f9d65c", linewidth=9, solid_capstyle="butt")
        axes.plot([row, row], [low, high], color="#6cc24a", linewidth=9, solid_capstyle="butt")
        axes.plot([row - 0.25, row + 0.25], [median, median], color="black", linewidth=1.4)
        if target.simulated_limit is not None:
            axes.plot(row, target.simulated_limit, "o", color=SIGNAL, markersize=5)
    names = [", ".join(f"{value:g}" for value in target.at.values()) for target in targets]
    axes.set_xticks(range(len(targets)), names, rotation=60)
    axes.set_yscale("log")
    axes.set_xlabel(", ".join(short(name) for name in record.parameters))
    axes.set_ylabel(r"expected limit on $\mu$")
    axes.set_title("line: median; bands: 1 and 2 sigma; point: simulated signal")
    return figure


def _yields(canvas: Canvas, record: InterpolationRecord) -> Figure:
    assert record.yields is not None
    figure = canvas.figure()
    axes = figure.subplots()
    points = record.yields.points
    expected, predicted, relative = np.array([(x.expected, x.predicted, x.relative_error) for x in points]).T
    axes.errorbar(expected, predicted / expected, relative * predicted / expected, fmt="o", color=ACCENT, markersize=4)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xlabel("yield of a point (events)")
    axes.set_ylabel("predicted by the others / yield")
    return figure
