"""Stacks of samples: the templates with their variations, and data against the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.fit.result import Yields
from inferno_cli.report.run.canvas import new_figure
from inferno_cli.report.stack import (
    bin_edges,
    colours_of,
    draw_band,
    draw_stack,
    finish_ratio,
    finish_stack,
    merged,
    relative_to,
)
from inferno_cli.report.style import MUTED, short
from inferno_cli.runs.record import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from inferno_cli.histograms import Templates

FloatArray = NDArray[np.float64]

LINE_COLOURS = ("#1b1b1b", "#0072b2", "#e69f00", "#009e73", "#cc79a7")


def sample_colours(templates: Templates | None, workspace: Mapping[str, Any] | None, poi: str) -> dict[str, str]:
    """Return one colour per sample, signal first; beyond the palette the small ones share "other"."""
    yields: dict[str, float] = {}
    signal: set[str] = set()
    shapes = free_shapes(workspace)
    if workspace is not None:
        for sample in (sample for channel in workspace["channels"] for sample in channel["samples"]):
            name = sample["name"]
            yields[name] = yields.get(name, 0.0) + sum(sample["data"])
            if poi in (modifier["name"] for modifier in sample["modifiers"]):
                signal.add(name)
    elif templates is not None:
        yields = dict(zip(templates.samples, templates.nominal.sum(axis=1), strict=True))
        signal = set(templates.signal)
    return colours_of({name: total for name, total in yields.items() if name not in shapes}, signal)


def free_shapes(workspace: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the samples of a workspace that are the free shape of another one, and which that is.

    Such a sample, "background@r", holds (up - down) / 2, maybe negative, and is scaled by a NormFactor r. A sample
    with an "@" in its name and no such NormFactor is a sample.
    """
    found = {}
    for channel in () if workspace is None else workspace["channels"]:
        names = {sample["name"] for sample in channel["samples"]}
        for sample in channel["samples"]:
            for factor in (item["name"] for item in sample["modifiers"] if item["type"] == "normfactor"):
                parent = sample["name"].removesuffix(f"@{factor}")
                if parent != sample["name"] and parent in names:
                    found[sample["name"]] = parent
    return found


def _finish_bins(axes: Axes, n_bins: int, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, n_bins - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True))
    axes.set_xlabel(label)


def draw_data_mc(results: Results, channel: Yields, colours: Mapping[str, str], parents: Mapping[str, str]) -> Figure:
    """Draw data against the stacked prediction of one channel, and their ratio; ``parents``: see ``merged``."""
    figure = new_figure(results, height=5.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    stack = merged({name: np.asarray(values) for name, values in channel.samples.items()}, colours, parents)
    band, data = np.asarray(channel.total_error), np.asarray(channel.data)
    total, bins = draw_stack(upper, stack, band, colours), np.arange(len(data))
    asimov = results.data == "asimov"
    face, label = ("white", "Asimov data") if asimov else ("black", "observed data")
    marker = {"fmt": "o", "color": "black", "markersize": 4.5, "markerfacecolor": face}
    upper.errorbar(bins, data, yerr=np.sqrt(data), label=label, **marker)
    upper.set_title(f"{channel.when}, {short(channel.channel)}")
    finish_stack(upper, stack, float(max((data + np.sqrt(data)).max(), (total + band).max())))
    ratio, error, relative = (relative_to(part, total) for part in (data, np.sqrt(data), band))
    draw_band(lower, np.ones(len(total)), np.nan_to_num(relative))
    finish_ratio(lower, (np.abs(ratio - 1) + error, relative))
    lower.errorbar(bins, ratio, yerr=error, **marker)
    lower.set_ylabel("data / pred.")
    _finish_bins(lower, len(total), "bin")
    return figure


def draw_templates(results: Results, templates: Templates, colours: Mapping[str, str]) -> Figure:
    """Draw the stacked templates, and the variations of the signal and the largest backgrounds as ratios."""
    from matplotlib.lines import Line2D

    nominal = dict(zip(templates.samples, templates.nominal, strict=True))
    relative = {
        name: relative_to(np.sqrt(variance), nominal[name])
        for name, variance in zip(templates.samples, templates.variance, strict=True)
    }
    varied: dict[str, dict[str, list[FloatArray]]] = {}
    for (systematic, sample), pair in templates.varied.items():
        varied.setdefault(sample, {})[systematic] = [relative_to(side, nominal[sample]) for side in pair]
    panels = sorted(varied, key=lambda name: (name not in templates.signal, -nominal[name].sum()))[:3]
    size: dict[str, float] = {}
    for sample in panels:
        for systematic, sides in varied[sample].items():
            change = max(float(np.nanmax(np.abs(side - 1), initial=0.0)) for side in sides)
            size[systematic] = max(size.get(systematic, 0.0), change)
    lines = dict(zip(sorted(size, key=lambda name: -size[name]), LINE_COLOURS, strict=False))

    figure = new_figure(results, height=4.2 + 1.15 * len(panels))
    ratios = (3, *[1.15] * len(panels))
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    error = np.sqrt(templates.variance.sum(axis=0))
    stack = merged(nominal, colours)
    total = draw_stack(axes[0], stack, error, colours)
    axes[0].set_title("templates as fitted; uncertainty: simulated events")
    finish_stack(axes[0], stack, float((total + error).max()))
    edges = bin_edges(templates.n_bins)
    for panel, sample in zip(axes[1:], panels, strict=True):
        deviations = [relative[sample]]
        draw_band(panel, np.ones(templates.n_bins), np.nan_to_num(relative[sample]))
        for systematic in (name for name in lines if name in varied[sample]):
            for side, dashes in zip(varied[sample][systematic], ("-", "--"), strict=True):
                panel.stairs(side, edges, baseline=None, color=lines[systematic], ls=dashes, lw=1.4)
                deviations.append(side - 1)
        finish_ratio(panel, deviations)
        panel.set_title(short(sample), size=9, color=colours.get(sample, "black"), weight="bold", pad=3)
        panel.set_ylabel("varied / nom.", size=9)
    if lines:
        handles = [Line2D([], [], color=colour, label=short(name)) for name, colour in lines.items()]
        directions = (("up", "-"), ("down", "--"))
        handles += [Line2D([], [], color=MUTED, ls=dashes, label=name) for name, dashes in directions]
        heading = f"the largest {len(lines)} of {len(size)} systematics" if len(lines) < len(size) else None
        figure.legend(handles=handles, loc="outside lower center", ncols=4, title=heading)
    _finish_bins(axes[-1], templates.n_bins, "bin, as fitted")
    return figure
