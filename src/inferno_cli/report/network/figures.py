"""The plots of what a network learnt: importance, composition, responses, and its bins over features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.presentation import PLAIN, Presentation
from inferno_cli.drawing.stack import Layers, bin_edges, draw_layers, finish_bins, finish_integers, legend_below
from inferno_cli.drawing.style import ACCENT, SIGNAL, Canvas, as_written, plain, short
from inferno_cli.histograms.feature_map import FeatureMap
from inferno_cli.histograms.yield_changes import TOTAL
from inferno_cli.report.network.tables import title
from inferno_cli.runs.explanation import Explanation, ResponseRecord, Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
MAX_ROWS = 30
"""Parameters in the figure of all responses, those that move a bin most."""
SHARES = (1, 3, 10, 20)
"""Percent of signal at the lines, where the densities are known."""


def figures(
    explanation: Explanation,
    maps: Sequence[FeatureMap],
    slices: Sequence[Slice],
    signal: Sequence[str],
    labels: Mapping[str, str] | None = None,
    shown: Presentation = PLAIN,
) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure of everything: importance, composition, responses, response_PARAMETER, bins_X_Y.

    Args:
        explanation: The record.
        maps: Bins of the events over pairs of features.
        slices: Bins over parallel planes, drawn beside each other.
        signal: Names of the signal samples.
        labels: What features are called, where that is not their name.
        shown: What the configuration says about plots.
    """
    labels = labels or {}
    canvas, n_bins = Canvas(explanation.label, title(explanation), shown), len(explanation.bins)
    yield "importance", _importance(canvas, explanation, labels)
    several, layers = len(explanation.channels) > 1, _layers(explanation, signal, shown)
    for channel in explanation.channels:
        of_one = explanation.of_channel(channel)
        own = replace(canvas, title=title(of_one, channel if several else ""))
        for name, figure in _of_channel(own, of_one, layers):
            yield f"{name}_{channel}" if several else name, figure
    if slices:
        yield f"bins_{'_'.join(slices[0].features)}", _slices(canvas, slices, n_bins, labels)
    for item in maps:
        name = "_".join((*item.features, *((item.channel,) if item.channel else ())))
        yield f"bins_{name}", _map(canvas, item, labels)


def _layers(explanation: Explanation, signal: Sequence[str], shown: Presentation) -> Layers:
    """Choose what is drawn, by the events in all channels: one colour for a sample in all of them."""
    yields: dict[str, float] = {}
    for entry in explanation.bins:
        for name, (events, _) in entry.samples.items():
            yields[name] = yields.get(name, 0.0) + events
    return Layers.choose(yields, set(signal), shown)


def _of_channel(canvas: Canvas, explanation: Explanation, layers: Layers) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of one channel."""
    yield "composition", _composition(canvas, explanation, layers)
    if explanation.responses:
        yield "responses", _responses(canvas, explanation)
    by_parameter: dict[str, list[ResponseRecord]] = {}
    for response in explanation.responses:
        by_parameter.setdefault(response.parameter, []).append(response)
    for parameter, rows in by_parameter.items():
        if any(_changes_shape(row) for row in rows):
            yield f"response_{parameter}", _response(canvas, rows)


def _changes_shape(response: ResponseRecord) -> bool:
    up = _column(response.up)
    return response.sample != TOTAL and len(set(up[~np.isnan(up)].round(6))) > 1


def _importance(canvas: Canvas, explanation: Explanation, labels: Mapping[str, str]) -> Figure:
    items = explanation.importance
    figure = canvas.figure(height=1.6 + 0.34 * len(items))
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
    axes.set_yticks(range(len(items)), [_axis(item.feature, labels) for item in items])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(
        rf"change of $\sigma(\mu)$ = {explanation.sigma_mu:.4g} (%); median and range of {explanation.repeats} shuffles"
    )
    axes.set_title("importance: one feature shuffled among all events")
    return figure


def _composition(canvas: Canvas, explanation: Explanation, layers: Layers) -> Figure:
    total, error = np.array([entry.total for entry in explanation.bins]).T
    values = {}
    for name in explanation.bins[0].samples:
        values[name] = np.array([entry.samples[name][0] for entry in explanation.bins])
    shares = {name: 100 * events / total for name, events in layers.stack(values).items()}
    figure = canvas.figure(height=5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.2))
    upper.errorbar(np.arange(len(total)), total, error, fmt="o", color="black", markersize=4)
    upper.set_yscale("log")
    upper.set_ylabel("events")
    upper.set_title("events of each fitted bin, and what they are")
    draw_layers(lower, layers, shares, bin_edges(len(total)))
    lower.set_ylim(0, 100)
    lower.set_ylabel("share (%)")
    legend_below(figure, [lower], list(layers.titles.values()))
    finish_bins(lower, len(total))
    return figure


def _axis(feature: str, labels: Mapping[str, str]) -> str:
    """Return what an axis calls a feature: its title, as it is written, or its name."""
    return as_written(labels[feature]) if feature in labels else short(feature)


def _column(values: Sequence[float | None]) -> Array:
    """None, nothing in the bin, becomes NaN, which is not drawn."""
    return np.array(values, dtype=float)


def _responses(canvas: Canvas, explanation: Explanation) -> Figure:
    """Draw half the difference of up and down of all samples together, one row for each parameter."""
    rows = [item for item in explanation.responses if item.sample == TOTAL]
    rows = sorted(rows, key=lambda item: -float(np.nanmax(np.abs(_column(item.up)), initial=0)))[:MAX_ROWS]
    matrix = np.stack([(_column(item.up) - _column(item.down)) / 2 for item in rows])
    figure = canvas.figure(width=2.6 + 0.62 * matrix.shape[1], height=1.9 + 0.34 * len(rows))
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
    finish_bins(axes, matrix.shape[1])
    axes.set_title("change of the yield, (up - down) / 2 in %")
    figure.colorbar(image, ax=axes)
    return figure


def _response(canvas: Canvas, rows: Sequence[ResponseRecord]) -> Figure:
    """Draw up and down of one parameter, all samples together and each one."""
    figure = canvas.figure(height=1.2 + 1.35 * len(rows))
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    n_bins = len(rows[0].up)
    bins, edges = np.arange(n_bins), bin_edges(n_bins)
    for axes, item in zip(panels, rows, strict=True):
        for values, errors, shift, colour, label in (
            (item.up, item.up_error, -0.08, SIGNAL, "up"),
            (item.down, item.down_error, 0.08, ACCENT, "down"),
        ):
            axes.stairs(_column(values), edges, baseline=None, color=colour, linewidth=1.4, label=label)
            axes.errorbar(bins + shift, _column(values), _column(errors), fmt="none", color=colour, linewidth=1.2)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(canvas.sample(item.sample), size=9, weight="bold", pad=3)
        axes.set_ylabel("%")
    panels[0].set_title(
        f"{short(rows[0].parameter)}: change of the yield at one standard deviation; {rows[0].sample}",
        size=9,
        weight="bold",
        pad=3,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    finish_bins(panels[-1], n_bins)
    return figure


def _bins(axes: Axes, x: Array, y: Array, bins: Array, n_bins: int) -> Any:
    """Draw bin numbers over a plane, one colour each."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm

    norm = BoundaryNorm(bin_edges(n_bins), n_bins)
    return axes.pcolormesh(x, y, bins.T, cmap=colormaps["viridis"].resampled(n_bins), norm=norm, rasterized=True)


def _bar(figure: Figure, image: Any, axes: Sequence[Axes], n_bins: int) -> None:
    ticks = range(0, n_bins, 1 + n_bins // 16)
    figure.colorbar(image, ax=list(axes), label="bin, as fitted", ticks=ticks)


def _slices(canvas: Canvas, slices: Sequence[Slice], n_bins: int, labels: Mapping[str, str]) -> Figure:
    if slices[0].signal_share is not None:
        canvas = replace(canvas, title=f"{canvas.title}; white lines: share of signal, from the exact densities")
    figure = canvas.figure(width=max(2.75 * len(slices) + 1.1, 6.6), height=3.6)  # the title has to fit
    panels = figure.subplots(1, len(slices), sharey=True, squeeze=False)[0]
    for axes, item in zip(panels, slices, strict=True):
        image = _bins(axes, item.x, item.y, item.bin, n_bins)
        if item.signal_share is not None:
            share = 100 * item.signal_share.T
            lines = axes.contour(item.x, item.y, share, SHARES, colors="white", linewidths=0.9)
            axes.clabel(lines, fmt="%g%%", fontsize=7)
        axes.set_title(plain(item.title), size=9)
        axes.set_xlabel(_axis(item.features[0], labels))
    panels[0].set_ylabel(_axis(item.features[1], labels))
    _bar(figure, image, panels, n_bins)
    return figure


def _map(canvas: Canvas, item: FeatureMap, labels: Mapping[str, str]) -> Figure:
    n_bins = item.n_bins
    figure = canvas.figure(width=8.4, height=3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    image = _bins(left, item.x_edges, item.y_edges, item.common, n_bins)
    left.set_title("most common bin", size=9)
    _bar(figure, image, [left], n_bins)
    image = right.pcolormesh(
        item.x_edges, item.y_edges, item.mean.T, cmap="viridis", vmin=0, vmax=n_bins - 1, rasterized=True
    )
    right.set_title("mean bin number", size=9)
    figure.colorbar(image, ax=right, label="mean bin")
    for axes in (left, right):
        axes.set_facecolor("#f2f2f2")
        finish_integers(axes.xaxis, item.x_edges)
        finish_integers(axes.yaxis, item.y_edges)
        axes.set_xlabel(_axis(item.features[0], labels))
    left.set_ylabel(_axis(item.features[1], labels))
    return figure
