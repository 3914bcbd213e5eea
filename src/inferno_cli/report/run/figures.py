"""The plots of a run, drawn on ``Figure`` objects without pyplot: nothing stays open, no style leaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.pulls import draw_pulls
from inferno_cli.drawing.stack import (
    bin_edges,
    colours_of,
    draw_band,
    draw_stack,
    finish_bins,
    finish_ratio,
    finish_stack,
    merged,
    relative_to,
)
from inferno_cli.drawing.style import ACCENT, MUTED, SIGNAL, Canvas, save_figures, short
from inferno_cli.report.run.summary import by_correlation, title
from inferno_cli.runs.record import Results, TrainingRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.histograms.templates import Templates

FloatArray = NDArray[np.float64]
LINE_COLOURS = ("#1b1b1b", "#0072b2", "#e69f00", "#009e73", "#cc79a7")
MAX_PANELS = 3
"""Samples whose variations are drawn, signal first, then the largest."""
MAX_PARAMETERS = 30
"""Parameters in the correlation matrix and the pulls, the ones most correlated with mu."""
ANNOTATED = 12
"""Largest correlation matrix that is drawn with its numbers and with the gammas of the staterror."""


def draw(
    results: Results, *, folder: Path, formats: Sequence[str], templates: Templates | None = None
) -> tuple[Path, ...]:
    """Draw training, templates, pulls, correlation, and the quantities of the fit, what of them the run has.

    Args:
        results: The record of the run.
        folder: Where the files go; made if it is missing.
        formats: Of "png", "pdf" and "svg".
        templates: As fitted, or None for the fit of a workspace by itself.

    Raises:
        OutputError: If a file cannot be written.
    """
    return save_figures(_figures(results, templates), folder, formats).files


def _figures(results: Results, templates: Templates | None) -> Iterator[tuple[str, Figure]]:
    canvas = Canvas(results.label, title(results))
    if results.trained_in is None and results.training is not None and results.training.loss:
        yield "training", _training(canvas, results.training)
    if templates is not None:
        yield "templates", _templates(canvas, templates)
    pulled = [name for name in results.scalars if results.parameters[name].pull is not None]
    if pulled:
        names = by_correlation(results, pulled, MAX_PARAMETERS)
        figure = canvas.figure(height=1.9 + 0.28 * len(names))
        draw_pulls(figure.subplots(), {name: results.parameters[name] for name in names})
        yield "pulls", figure
    names = _correlated(results)
    if len(names) > 1:
        yield "correlation", _correlation(canvas, results, names)
    for name, quantity, value in results.outcomes():
        yield from quantity.figures(name, value, results, canvas)


def _training(canvas: Canvas, training: TrainingRecord) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = canvas.figure(height=5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.3))
    epochs = np.arange(1, len(training.loss) + 1)
    best = training.best_epoch + 1
    upper.plot(epochs, np.array(training.loss, dtype=float), ".-", color=MUTED)
    upper.set_ylabel("training loss")
    curves: Sequence[tuple[str, tuple[float | None, ...], str, str]] = (
        ("soft bins", training.sigma_mu_soft, ACCENT, ".--"),
        ("hard bins (selects the epoch)", training.sigma_mu_hard, SIGNAL, ".-"),
    )
    for label, values, colour, line in curves:
        # None, a singular information matrix, becomes a gap.
        lower.plot(epochs, np.array(values, dtype=float), line, color=colour, label=label)
    for axes in (upper, lower):
        axes.axvline(best, color="black", linewidth=0.9, linestyle=":", label=f"selected: epoch {best}")
        drawn = np.concatenate([line.get_ydata() for line in axes.get_lines()[:-1]])
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn) and drawn.min() > 0 and drawn.max() > 10 * drawn.min():
            axes.set_yscale("log")
    lower.set_ylabel(r"$\sigma(\mu)$ on validation")
    lower.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none")
    lower.set_xlabel("epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _templates(canvas: Canvas, templates: Templates) -> Figure:
    """Draw the stacked templates, and the variations of the signal and the largest backgrounds as ratios."""
    from matplotlib.lines import Line2D

    nominal = dict(zip(templates.samples, templates.nominal, strict=True))
    deviation = dict(zip(templates.samples, np.sqrt(templates.variance), strict=True))
    colours = colours_of({name: float(values.sum()) for name, values in nominal.items()}, set(templates.signal))
    varied: dict[str, dict[str, list[FloatArray]]] = {}
    for (systematic, sample), pair in templates.varied.items():
        varied.setdefault(sample, {})[systematic] = [relative_to(side, nominal[sample]) for side in pair]
    shown = sorted(varied, key=lambda name: (name not in templates.signal, -nominal[name].sum()))[:MAX_PANELS]
    sizes = _sizes([varied[sample] for sample in shown])
    lines = dict(zip(sorted(sizes, key=lambda name: -sizes[name]), LINE_COLOURS, strict=False))

    figure = canvas.figure(height=4.2 + 1.15 * len(shown))
    ratios = (3, *[1.15] * len(shown))
    upper, *panels = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    edges, error = bin_edges(templates.n_bins), np.sqrt(templates.variance.sum(axis=0))
    stack = merged(nominal, colours)
    total = draw_stack(upper, stack, error, colours, edges)
    upper.set_title("templates as fitted; uncertainty: simulated events")
    finish_stack(upper, stack, float((total + error).max()))
    for panel, sample in zip(panels, shown, strict=True):
        relative = relative_to(deviation[sample], nominal[sample])
        deviations = [relative]
        draw_band(panel, np.ones(templates.n_bins), np.nan_to_num(relative), edges)
        for systematic, colour in lines.items():
            for side, dashes in zip(varied[sample].get(systematic, ()), ("-", "--"), strict=False):
                panel.stairs(side, edges, baseline=None, color=colour, ls=dashes, lw=1.4)
                deviations.append(side - 1)
        finish_ratio(panel, deviations)
        panel.set_title(short(sample), size=9, color=colours.get(sample, "black"), weight="bold", pad=3)
        panel.set_ylabel("varied / nom.", size=9)
    if lines:
        handles = [Line2D([], [], color=colour, label=short(name)) for name, colour in lines.items()]
        handles += [Line2D([], [], color=MUTED, ls="-", label="up"), Line2D([], [], color=MUTED, ls="--", label="down")]
        heading = f"the largest {len(lines)} of {len(sizes)} systematics" if len(lines) < len(sizes) else None
        figure.legend(handles=handles, loc="outside lower center", ncols=4, title=heading)
    finish_bins(figure.axes[-1], templates.n_bins)
    return figure


def _sizes(ratios: Sequence[Mapping[str, Sequence[FloatArray]]]) -> dict[str, float]:
    """Return the largest relative change that each systematic makes in any of some samples."""
    sizes: dict[str, float] = {}
    for varied in ratios:
        for systematic, sides in varied.items():
            change = float(np.nanmax(np.abs(np.array(sides) - 1), initial=0.0))
            sizes[systematic] = max(sizes.get(systematic, 0.0), change)
    return sizes


def _correlated(results: Results) -> list[str]:
    """Return the fitted parameters, without the entries of vectors (the gammas) where there are many."""
    names = [name for name in results.correlation if results.parameters[name].hesse > 0]
    if len(names) > ANNOTATED:
        names = [name for name in names if name in results.scalars]
    return sorted(by_correlation(results, names, MAX_PARAMETERS), key=lambda name: name != "mu")


def _correlation(canvas: Canvas, results: Results, names: Sequence[str]) -> Figure:
    matrix = np.array([[results.correlation[a][b] for b in names] for a in names])
    labels = [short(name) for name in names]
    side = min(3.2 + 0.4 * len(names), 10.0)
    figure = canvas.figure(width=side + 1.2, height=side)
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels)
    axes.tick_params(length=0)
    if len(names) <= ANNOTATED:
        for row, column in np.ndindex(matrix.shape):
            value = matrix[row, column]
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:z.2f}", ha="center", va="center", size=9, color=colour)
    chosen = f", the {len(names)} largest with mu" if len(names) == MAX_PARAMETERS else ""
    axes.set_title(f"correlation (HESSE){chosen}")
    figure.colorbar(image, ax=axes, shrink=0.85)
    return figure
