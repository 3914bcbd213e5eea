"""What `inferno anomaly` found as figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.anomaly.record import AnomalyRecord
from inferno_cli.drawing.presentation import Presentation
from inferno_cli.drawing.style import ACCENT, MUTED, SIGNAL, Canvas, plain
from inferno_cli.report.anomaly.tables import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (ACCENT, SIGNAL, "#94a4a2", "#a96b59")
"""Of the scores, in their order."""


def figures(record: AnomalyRecord, shown: Presentation) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of the score, of the ROC curves and of the training."""
    canvas = Canvas(record.label, title(record), shown)
    yield "score", _score(canvas, record)
    yield "roc", _roc(canvas, record)
    yield "training", _training(canvas, record)


def _score(canvas: Canvas, record: AnomalyRecord) -> Figure:
    """Draw the score of all backgrounds together, of each of them, and of each signal, every one with area 1."""
    figure = canvas.figure()
    axes, edges = figure.subplots(), np.array(record.edges)
    backgrounds = [item for item in record.samples if not item.is_signal]
    total = np.sum([item.histogram for item in backgrounds], axis=0)
    axes.stairs(_density(total, edges), edges, fill=True, color=ACCENT, alpha=0.35, label="all backgrounds")
    for number, item in enumerate(record.samples):
        density, name = _density(np.array(item.histogram), edges), canvas.sample(item.name)
        if item.is_signal:
            axes.stairs(density, edges, color=SIGNAL, linewidth=2, label=name)
        elif len(backgrounds) > 1:
            axes.stairs(density, edges, color=MUTED, linestyle=("-", "--", ":", "-.")[number % 4], label=name)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yscale("log")
    axes.set_xlabel("anomaly score")
    axes.set_ylabel("density")
    axes.legend()
    return figure


def _density(contents: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return a histogram with area 1."""
    return np.asarray(contents / contents.sum() / np.diff(edges))


def _roc(canvas: Canvas, record: AnomalyRecord) -> Figure:
    """Draw which share of the signal passes against that of the background, with the errors at the working points."""
    figure = canvas.figure()
    axes = figure.subplots()
    for number, item in enumerate(record.scores):
        colour = COLOURS[number % len(COLOURS)]
        label = f"{plain(item.title)}: AUC {item.auc[0]:.3f} $\\pm$ {item.auc[1]:.3f}"
        axes.plot(item.background[1:], item.signal[1:], color=colour, label=label)
        at = [point.rate for point in item.points]
        values, errors = np.array([point.efficiency for point in item.points]).T
        axes.errorbar(at, values, errors, fmt="o", markersize=4, color=colour)
    rates = np.geomspace(1e-4, 1.0, 100)
    axes.plot(rates, rates, color=MUTED, linestyle=":", label="by chance")
    name_roc_axes(axes)
    return figure


def name_roc_axes(axes: Axes) -> None:
    """Give a drawing of ROC curves its logarithmic axes and its legend."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 1.5)
    axes.set_xlabel("share of the background that passes")
    axes.set_ylabel("share of the signal that passes")
    axes.legend()


def _training(canvas: Canvas, record: AnomalyRecord) -> Figure:
    """Draw the losses of all epochs."""
    figure = canvas.figure()
    axes = figure.subplots()
    numbers = np.arange(1, len(record.epochs) + 1)
    for key, label, colour in (("loss", "training", MUTED), ("validation/loss", "validation", ACCENT)):
        losses = np.array([epoch[key] for epoch in record.epochs], dtype=np.float64)  # None is NaN
        axes.plot(numbers, losses, color=colour, label=label)
    axes.axvline(record.best_epoch + 1, color=SIGNAL, linestyle=":", label="selected")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss per event")
    axes.legend()
    return figure
