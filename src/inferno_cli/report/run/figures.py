"""The plots of a run, drawn on ``Figure`` objects without pyplot: nothing stays open, no style leaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.presentation import PLAIN, ChannelAxis, Presentation
from inferno_cli.drawing.pulls import draw_pulls
from inferno_cli.drawing.stack import (
    Layers,
    channel_edges,
    draw_band,
    draw_stack,
    finish_channel,
    finish_ratio,
    finish_stack,
    mark_clipped,
    relative_to,
)
from inferno_cli.drawing.style import ACCENT, MUTED, SIGNAL, Canvas, axis_name, save_figures, short
from inferno_cli.report.run.summary import by_correlation, title
from inferno_cli.runs.record import Results, TrainingRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
    results: Results,
    *,
    folder: Path,
    formats: Sequence[str],
    templates: Mapping[str, Templates] | None = None,
    shown: Presentation = PLAIN,
) -> tuple[Path, ...]:
    """Draw training, templates, pulls, correlation, and the quantities of the fit, what of them the run has.

    Args:
        results: The record of the run.
        folder: Where the files go; made if it is missing.
        formats: Of "png", "pdf" and "svg".
        templates: As fitted, by channel; or None for the fit of a workspace by itself.
        shown: What the configuration says about plots.

    Raises:
        OutputError: If a file cannot be written.
    """
    channels = templates or {}
    axes = {name: ChannelAxis(item.edges, item.axis) for name, item in channels.items() if item.edges}
    return save_figures(_figures(results, channels, replace(shown, axes=axes)), folder, formats).files


def _figures(results: Results, templates: Mapping[str, Templates], shown: Presentation) -> Iterator[tuple[str, Figure]]:
    canvas = Canvas(results.label, title(results), shown)
    if results.trained_in is None and results.training is not None and results.training.loss:
        for fold, training in enumerate(results.folds or (results.training,)):
            yield f"training_fold{fold}" if results.folds else "training", _training(canvas, training)
    layers = _layers(templates.values(), shown)
    for channel, item in templates.items():
        yield "templates" if len(templates) == 1 else f"templates_{channel}", _templates(canvas, channel, item, layers)
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
    curves: list[tuple[str, tuple[float | None, ...], str, str]] = [
        ("soft bins", training.sigma_mu_soft, ACCENT, ".--"),
        ("hard bins (selects the epoch)", training.sigma_mu_hard, SIGNAL, ".-"),
    ]
    if (merits := training.other_merits) is not None:
        curves[1] = ("hard bins", training.sigma_mu_hard, SIGNAL, ".-")
        curves.append(("figure of merit (selects the epoch)", merits, MUTED, ".-"))
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
    figure.align_ylabels([upper, lower])
    return figure


def _layers(channels: Iterable[Templates], shown: Presentation) -> Layers:
    """Choose what is drawn, by the events in all channels."""
    yields: dict[str, float] = {}
    signal: set[str] = set()
    for templates in channels:
        signal.update(templates.signal)
        for name, values in zip(templates.samples, templates.nominal, strict=True):
            yields[name] = yields.get(name, 0.0) + float(values.sum())
    return Layers.choose(yields, signal, shown)


def _templates(canvas: Canvas, channel: str, templates: Templates, layers: Layers) -> Figure:
    """Draw the stacked templates of one channel, and the variations of signal and largest backgrounds as ratios."""
    nominal = dict(zip(templates.samples, templates.nominal, strict=True))
    varied: dict[str, dict[str, list[FloatArray]]] = {}
    for (systematic, sample), pair in templates.varied.items():
        varied.setdefault(sample, {})[systematic] = [relative_to(side, nominal[sample]) for side in pair]
    shown = sorted(varied, key=lambda name: (name not in templates.signal, -nominal[name].sum()))[:MAX_PANELS]
    sizes = _sizes([varied[sample] for sample in shown])
    lines = dict(zip(sorted(sizes, key=lambda name: -sizes[name]), LINE_COLOURS, strict=False))

    figure = canvas.figure(height=4.2 + 1.15 * len(shown))
    ratios = (3, *[1.15] * len(shown))
    upper, *panels = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    edges, error = (
        channel_edges(canvas.presentation, channel, templates.n_bins),
        np.sqrt(templates.variance.sum(axis=0)),
    )
    stack = layers.stack(nominal)
    total = draw_stack(upper, layers, stack, error, edges)
    upper.set_title(f"{short(channel)}: templates as fitted; uncertainty: simulated events")
    finish_stack(upper, layers, stack, total, edges, float((total + error).max()), height=2.0)
    deviation = dict(zip(templates.samples, np.sqrt(templates.variance), strict=True))
    for panel, sample in zip(panels, shown, strict=True):
        relative = relative_to(deviation[sample], nominal[sample])
        _variations(panel, varied[sample], relative, edges, lines)
        heading = canvas.sample(sample)
        panel.set_title(heading, size=9, color=layers.colour_of(sample), weight="bold", pad=3)
    if lines:
        _legend_of_variations(figure, lines, len(sizes))
    finish_channel(figure.axes[-1], canvas.presentation, channel, templates.n_bins, "bin, as fitted")
    return figure


def _variations(
    axes: Axes,
    varied: Mapping[str, Sequence[FloatArray]],
    relative: FloatArray,
    edges: FloatArray,
    lines: Mapping[str, str],
) -> None:
    """Draw one sample's templates up and down over its nominal one, beside its relative statistical error."""
    deviations = [relative]
    draw_band(axes, np.ones(len(relative)), np.nan_to_num(relative), edges)
    for systematic, colour in lines.items():
        for side, dashes in zip(varied.get(systematic, ()), ("-", "--"), strict=False):
            axes.stairs(side, edges, baseline=None, color=colour, ls=dashes, lw=1.4)
            deviations.append(side - 1)
    finish_ratio(axes, deviations)
    for systematic, colour in lines.items():
        for side in varied.get(systematic, ()):
            mark_clipped(axes, (edges[1:] + edges[:-1]) / 2, side, colour)
    axes.set_ylabel("varied / nom.", size=9)


def _legend_of_variations(figure: Figure, lines: Mapping[str, str], n_systematics: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, label=short(name)) for name, colour in lines.items()]
    handles += [Line2D([], [], color=MUTED, ls="-", label="up"), Line2D([], [], color=MUTED, ls="--", label="down")]
    heading = f"the largest {len(lines)} of {n_systematics} systematics" if len(lines) < n_systematics else None
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title=heading)


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
    labels = [axis_name(name, results.poi) for name in names]
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
