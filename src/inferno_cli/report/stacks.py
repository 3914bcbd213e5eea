"""Stacks of samples: the templates with their variations, and data against the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.fit.result import Yields
from inferno_cli.report.canvas import ACCENT, MUTED, SIGNAL, new_figure, short
from inferno_cli.report.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from inferno_cli.histograms import Templates

FloatArray = NDArray[np.float64]

SAMPLE_COLOURS = (SIGNAL, ACCENT, "#ffa90e", "#94a4a2", "#92dadd", "#b9ac70", "#a96b59", "#832db6")
OTHER = "other"
OTHER_COLOUR = "#d8d8d8"
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


def colours_of(yields: Mapping[str, float], signal: Set[str]) -> dict[str, str]:
    """Return one colour per sample, signal first, the largest backgrounds next in the order of ``yields``."""
    largest = sorted(yields, key=lambda name: (name not in signal, -yields[name]))[: len(SAMPLE_COLOURS)]
    kept = sorted((name for name in yields if name in largest), key=lambda name: name not in signal)
    # Without a known signal nothing is red.
    palette = SAMPLE_COLOURS if signal else SAMPLE_COLOURS[1:] + SAMPLE_COLOURS[:1]
    return dict(zip(kept, palette, strict=False))


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


def other_than(colours: Mapping[str, str]) -> str:
    """Return what the samples without a colour are called together; one of the others may be called "other"."""
    name = OTHER
    while name in colours:
        name = f"({name})"
    return name


def merged(
    rows: Mapping[str, FloatArray], colours: Mapping[str, str], parents: Mapping[str, str] | None = None
) -> dict[str, FloatArray]:
    """Add "background@r" to "background", and samples without a colour to "other".

    Args:
        rows: Yields by sample of the workspace, shape (B,) each.
        colours: Samples that are drawn by themselves, signal first.
        parents: Samples that are added to another one (``free_shapes``).

    Returns:
        Yields from the bottom of the stack to its top: backgrounds by rising yield, then the signal.
    """
    total: dict[str, FloatArray] = {}
    for name, values in rows.items():
        parent = (parents or {}).get(name, name)
        shown = parent if parent in colours else other_than(colours)
        total[shown] = total.get(shown, np.zeros(len(values))) + values
    signal = next(iter(colours), None)
    return dict(sorted(total.items(), key=lambda item: (item[0] == signal, item[1].sum())))


def _bin_edges(n_bins: int) -> FloatArray:
    return np.arange(n_bins + 1, dtype=np.float64) - 0.5


def draw_stack(
    axes: Axes,
    stack: Mapping[str, FloatArray],
    error: FloatArray,
    colours: Mapping[str, str],
    edges: FloatArray | None = None,
) -> FloatArray:
    """Draw the stack and the uncertainty of its sum, and return the sum; without ``edges`` against the bin."""
    if edges is None:
        edges = _bin_edges(len(error))
    total = np.zeros(len(error))
    for name, values in stack.items():
        colour, label = colours.get(name, OTHER_COLOUR), short(name)
        axes.stairs(total + values, edges, baseline=total, fill=True, color=colour, lw=0, label=label)
        total = total + values
    axes.stairs(total, edges, color="black", linewidth=0.8)
    draw_band(axes, total, error, "uncertainty", edges)
    return total


def draw_band(
    axes: Axes, centre: FloatArray, error: FloatArray, label: str | None = None, edges: FloatArray | None = None
) -> None:
    """Draw an uncertainty as hatching."""
    if edges is None:
        edges = _bin_edges(len(error))
    hatching: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.25", "hatch": "/////", "lw": 0}
    axes.stairs(centre + error, edges, baseline=centre - error, fill=True, label=label, **hatching)


def finish_stack(axes: Axes, stack: Mapping[str, FloatArray], top: float) -> None:
    """Scale the axis with room for the legend; logarithmic where the bins differ by more than two orders."""
    total = np.sum(list(stack.values()), axis=0)
    low = float(total[total > 0].min(initial=top))
    if top > 100 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 20, top * (20 * top / low) ** 0.5)
    else:
        axes.set_ylim(min(0.0, float(total.min())), 1.45 * top)
    axes.set_ylabel("events")
    handles, labels = axes.get_legend_handles_labels()
    # Top of the stack first; the uncertainty and the data, which came last, stay last.
    order = [*reversed(range(len(stack))), *range(len(stack), len(labels))]
    axes.legend([handles[i] for i in order], [labels[i] for i in order], loc="upper center", ncols=3)


def _finish_bins(axes: Axes, n_bins: int, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.5, n_bins - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True))
    axes.set_xlabel(label)


def relative_to(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the ratio, NaN (not drawn) where the denominator is not positive."""
    ratio = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def finish_ratio(axes: Axes, deviations: Sequence[FloatArray]) -> None:
    """Scale a ratio axis around 1 so that all deviations are seen, up to 100%."""
    largest = max((float(np.nanmax(np.abs(part), initial=0.0)) for part in deviations), default=0.0)
    reach = min(max(1.2 * largest, 0.02), 1.0)
    axes.set_ylim(1 - reach, 1 + reach)
    axes.axhline(1, color="black", linewidth=0.8)


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
    edges = _bin_edges(templates.n_bins)
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
