"""The plots of what a network learnt: importance, composition, responses, and its bins over features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.stack import OTHER_COLOUR, SAMPLE_COLOURS, other_than
from inferno_cli.drawing.style import ACCENT, SIGNAL, labelled_figure, plain, save_figures, short
from inferno_cli.histograms.feature_map import FeatureMap
from inferno_cli.histograms.yield_changes import TOTAL
from inferno_cli.report.network.tables import title
from inferno_cli.runs.explain import Slice
from inferno_cli.runs.explanation import Explanation, ResponseRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import BoundaryNorm, Colormap
    from matplotlib.figure import Figure

Array = NDArray[Any]
MAX_ROWS = 30
"""Parameters in the figure of all responses, those that move a bin most."""


def draw_explanation(
    explanation: Explanation,
    maps: Sequence[FeatureMap],
    slices: Sequence[Slice],
    *,
    signal: Sequence[str],
    folder: Path,
    formats: Sequence[str],
) -> tuple[Path, ...]:
    """Draw everything, every figure with the dataset's label.

    Args:
        explanation: The record.
        maps: Bins of the events over pairs of features.
        slices: Bins over parallel planes, drawn beside each other.
        signal: Names of the signal samples.
        folder: Where the files go; made if it is missing.
        formats: Of "png", "pdf" and "svg".

    Returns:
        The files: importance, composition, responses, response_PARAMETER (those that change a shape), bins_X_Y.

    Raises:
        OutputError: If a file cannot be written.
    """
    return save_figures(_figures(explanation, maps, slices, signal), folder, formats).files


def _figures(
    explanation: Explanation, maps: Sequence[FeatureMap], slices: Sequence[Slice], signal: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    yield "importance", _importance(explanation)
    yield "composition", _composition(explanation, signal)
    if explanation.responses:
        yield "responses", _responses(explanation)
    for parameter in dict.fromkeys(item.parameter for item in explanation.responses):
        rows = [item for item in explanation.responses if item.parameter == parameter]
        if any(len({round(x, 6) for x in item.up if x is not None}) > 1 for item in rows if item.sample != TOTAL):
            yield f"response_{parameter}", _response(explanation, rows)
    if slices:
        yield f"bins_{'_'.join(slices[0].features)}", _slices(explanation, slices)
    for item in maps:
        yield f"bins_{'_'.join(item.features)}", _map(explanation, item)


def _figure(explanation: Explanation, *, width: float = 6.4, height: float = 4.8) -> Figure:
    return labelled_figure(explanation.label, title(explanation), width=width, height=height)


def _importance(explanation: Explanation) -> Figure:
    items = explanation.importance
    figure = _figure(explanation, height=1.6 + 0.34 * len(items))
    axes = figure.subplots()
    scale = 100 / explanation.sigma_mu
    reach = max((item.high for item in items if item.high is not None), default=0.0)
    for row, item in enumerate(items):
        if item.change is None:
            axes.text(0.0, row, " singular: no fit without it", va="center", size=9, color=SIGNAL)
            continue
        assert item.low is not None
        high = max(reach, item.change) if item.high is None else item.high
        axes.barh(row, scale * item.change, height=0.66, color=ACCENT)
        axes.plot([scale * item.low, scale * high], [row, row], color="black", linewidth=1.2)
        if item.high is None:
            axes.text(scale * high, row, " some singular", va="center", size=9, color=SIGNAL)
    axes.set_yticks(range(len(items)), [short(item.feature) for item in items])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(
        rf"change of $\sigma(\mu)$ = {explanation.sigma_mu:.4g} (%); median and range of {explanation.repeats} shuffles"
    )
    axes.set_title("importance: one feature shuffled among all events")
    return figure


def _composition(explanation: Explanation, signal: Sequence[str]) -> Figure:
    names = list(explanation.bins[0].samples)
    values = {name: np.array([entry.samples[name][0] for entry in explanation.bins]) for name in names}
    order = sorted(names, key=lambda name: (name not in signal, -values[name].sum()))
    colours = dict(zip(order, SAMPLE_COLOURS, strict=False))
    total = np.array([entry.total[0] for entry in explanation.bins])
    error = np.array([entry.total[1] for entry in explanation.bins])
    figure = _figure(explanation, height=5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.2))
    edges, bins = np.arange(len(total) + 1) - 0.5, np.arange(len(total))
    upper.errorbar(bins, total, error, fmt="o", color="black", markersize=4)
    upper.set_yscale("log")
    upper.set_ylabel("events")
    upper.set_title("events of each fitted bin, and what they are")
    base = np.zeros(len(total))
    stacked: dict[str, Array] = {}
    for name in reversed(order):
        shown = name if name in colours else other_than(colours)
        stacked[shown] = stacked.get(shown, 0.0) + 100 * values[name] / total
    for name, share in stacked.items():
        colour, label = colours.get(name, OTHER_COLOUR), short(name)
        lower.stairs(base + share, edges, baseline=base, fill=True, color=colour, label=label)
        base = base + share
    lower.set_ylim(0, 100)
    lower.set_ylabel("share (%)")
    handles, labels = lower.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4)
    _bins(lower, len(total))
    return figure


def _bins(axes: Axes, n_bins: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, n_bins - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True))
    axes.set_xlabel("bin, as fitted")


def _column(values: Sequence[float | None]) -> Array:
    """None, nothing in the bin, becomes NaN, which is not drawn."""
    return np.array(values, dtype=float)


def _responses(explanation: Explanation) -> Figure:
    """Draw half the difference of up and down of all samples together, one row for each parameter."""
    rows = [item for item in explanation.responses if item.sample == TOTAL]
    rows = sorted(rows, key=lambda item: -float(np.nanmax(np.abs(_column(item.up)), initial=0)))[:MAX_ROWS]
    matrix = np.stack([(_column(item.up) - _column(item.down)) / 2 for item in rows])
    figure = _figure(explanation, width=2.6 + 0.62 * matrix.shape[1], height=1.9 + 0.34 * len(rows))
    axes = figure.subplots()
    reach = float(np.nanmax(np.abs(matrix), initial=1e-6))
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    labels = [short(x.parameter) if x.step == 1 else f"{short(x.parameter)} ±{x.step:.2g}" for x in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.tick_params(length=0)
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        colour = "white" if abs(value) > 0.6 * reach else "black"
        axes.text(column, row, f"{value:z.1f}", ha="center", va="center", size=8, color=colour)
    _bins(axes, matrix.shape[1])
    axes.set_title("change of the yield, (up - down) / 2 in %")
    figure.colorbar(image, ax=axes)
    return figure


def _response(explanation: Explanation, rows: Sequence[ResponseRecord]) -> Figure:
    """Draw up and down of one parameter, all samples together and each one."""
    figure = _figure(explanation, height=1.2 + 1.35 * len(rows))
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    n_bins = len(rows[0].up)
    bins, edges = np.arange(n_bins), np.arange(n_bins + 1) - 0.5
    for axes, item in zip(panels, rows, strict=True):
        for values, errors, shift, colour, label in (
            (item.up, item.up_error, -0.08, SIGNAL, "up"),
            (item.down, item.down_error, 0.08, ACCENT, "down"),
        ):
            axes.stairs(_column(values), edges, baseline=None, color=colour, linewidth=1.4, label=label)
            axes.errorbar(bins + shift, _column(values), _column(errors), fmt="none", color=colour, linewidth=1.2)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(short(item.sample), size=9, weight="bold", pad=3)
        axes.set_ylabel("%")
    panels[0].set_title(
        f"{short(rows[0].parameter)}: change of the yield at one standard deviation; {rows[0].sample}",
        size=9,
        weight="bold",
        pad=3,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    _bins(panels[-1], n_bins)
    return figure


def _colours(n_bins: int) -> tuple[Colormap, BoundaryNorm]:
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm

    return colormaps["viridis"].resampled(n_bins), BoundaryNorm(np.arange(n_bins + 1) - 0.5, n_bins)


def _slices(explanation: Explanation, slices: Sequence[Slice]) -> Figure:
    n_bins = len(explanation.bins)
    colours, norm = _colours(n_bins)
    known = slices[0].signal_share is not None
    said = title(explanation) + ("; white lines: share of signal, from the exact densities" if known else "")
    figure = labelled_figure(explanation.label, said, width=2.75 * len(slices) + 1.1, height=3.6)
    panels = figure.subplots(1, len(slices), sharey=True, squeeze=False)[0]
    for axes, item in zip(panels, slices, strict=True):
        image = axes.pcolormesh(item.x, item.y, item.bin.T, cmap=colours, norm=norm, rasterized=True)
        if item.signal_share is not None:
            levels = SHARES
            lines = axes.contour(item.x, item.y, 100 * item.signal_share.T, levels, colors="white", linewidths=0.9)
            axes.clabel(lines, fmt="%g%%", fontsize=7)
        axes.set_title(plain(item.title), size=9)
        axes.set_xlabel(short(item.features[0]))
    panels[0].set_ylabel(short(item.features[1]))
    _bar(figure, image, panels, n_bins, "bin, as fitted")
    return figure


SHARES = (1, 3, 10, 20)
"""Percent of signal at the lines, where the densities are known."""


def _map(explanation: Explanation, item: FeatureMap) -> Figure:
    n_bins = len(explanation.bins)
    colours, norm = _colours(n_bins)
    figure = _figure(explanation, width=8.4, height=3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    image = left.pcolormesh(item.x_edges, item.y_edges, item.common.T, cmap=colours, norm=norm, rasterized=True)
    left.set_title("most common bin", size=9)
    _bar(figure, image, [left], n_bins, "bin, as fitted")
    image = right.pcolormesh(
        item.x_edges, item.y_edges, item.mean.T, cmap="viridis", vmin=0, vmax=n_bins - 1, rasterized=True
    )
    right.set_title("mean bin number", size=9)
    figure.colorbar(image, ax=right, label="mean bin")
    for axes in (left, right):
        axes.set_facecolor("#f2f2f2")
        axes.set_xlabel(short(item.features[0]))
    left.set_ylabel(short(item.features[1]))
    return figure


def _bar(figure: Figure, image: Any, axes: Sequence[Axes], n_bins: int, label: str) -> None:
    step = 1 + n_bins // 16
    figure.colorbar(image, ax=list(axes), label=label, ticks=range(0, n_bins, step))
