"""Stacks of samples: what is drawn together and in which colour, the sum with its uncertainty, and the ratio below."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.drawing.presentation import PLAIN, Presentation
from inferno_cli.drawing.style import ACCENT, SIGNAL, as_written, called, text_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure

FloatArray = NDArray[np.float64]

SIGNAL_COLOURS = (SIGNAL, "#832db6", "#e76300")
BACKGROUND_COLOURS = (ACCENT, "#ffa90e", "#94a4a2", "#92dadd", "#b9ac70", "#a96b59", "#717581")
"""Of the largest backgrounds; the rest is drawn as one."""
REST_COLOUR = "#d8d8d8"
OTHER = "other"
MOST_TICKS = 16
"""On an axis of integers."""
SEEN = 0.25
"""Height of the signal relative to the stack from which on it is seen as it is."""
FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
ROW, EDGE = 0.17, 0.2
"""Height of a line of a legend, and what is left free around it, in inches."""


@dataclass(frozen=True)
class Layers:
    """What a stack is made of, the same in every channel of a record.

    Attributes:
        of: The layer of each sample: its own, that of its group, or the one of all small samples.
        colours: Colour of each layer, from the bottom of the stack to its top: backgrounds by rising yield, signals.
        titles: What legends call the layers.
        signal: Layers that the POI scales.
    """

    of: Mapping[str, str]
    colours: Mapping[str, str]
    titles: Mapping[str, str]
    signal: frozenset[str]

    @classmethod
    def choose(cls, yields: Mapping[str, float], signal: Set[str], presentation: Presentation = PLAIN) -> Layers:
        """Choose what is drawn by itself, and its colour: groups and all that has a colour of its own, signals, the
        largest backgrounds.

        Args:
            yields: Events of every sample in all channels; colours are given in this order.
            signal: Samples that the POI scales.
            presentation: What the configuration says.
        """
        total: dict[str, float] = {}
        of: dict[str, str] = {}
        for name, events in yields.items():
            of[name] = presentation.group_of.get(name, name)
            total[of[name]] = total.get(of[name], 0.0) + events
        signals = [name for name in total if name in {of[sample] for sample in signal & yields.keys()}]
        given = {name: colour for name, colour in presentation.colours.items() if name in total}
        backgrounds = sorted((name for name in total if name not in signals), key=lambda name: -total[name])
        # Without a known signal the largest gets what is left: nothing is red.
        largest = [name for name in backgrounds if name not in given][: len(BACKGROUND_COLOURS)]
        colours = dict(given)
        for chosen, palette in ((signals, SIGNAL_COLOURS), (largest, BACKGROUND_COLOURS)):
            new = [name for name in total if name in chosen and name not in given]
            colours |= dict(zip(new, itertools.cycle(_free(palette, given.values())), strict=False))
        rest = OTHER
        while rest in colours:  # a sample may be called "other"
            rest = f"({rest})"
        small = [name for name in backgrounds if name not in colours]
        if small:
            colours[rest] = REST_COLOUR
            total[rest] = sum(total[name] for name in small)
            of = {sample: rest if name in small else name for sample, name in of.items()}
        order = sorted(colours, key=lambda name: (name in signals, total[name]))
        titles = {name: called(name, presentation) for name in order}
        return cls(of, {name: colours[name] for name in order}, titles, frozenset(signals))

    def stack(self, rows: Mapping[str, FloatArray], parents: Mapping[str, str] | None = None) -> dict[str, FloatArray]:
        """Add samples up to layers, from the bottom of the stack to its top; one without events is absent.

        Args:
            rows: Yields by sample of one channel, shape (B,) each.
            parents: Samples that are added to another one, as a free shape is.
        """
        total: dict[str, FloatArray] = {}
        for name, values in rows.items():
            layer = self.of[(parents or {}).get(name, name)]
            total[layer] = total.get(layer, np.zeros(len(values))) + values
        return {name: total[name] for name in self.colours if name in total and total[name].any()}

    def colour_of(self, sample: str) -> str:
        """Return the colour of the layer of a sample."""
        return self.colours[self.of[sample]]


def _free(palette: Sequence[str], taken: Iterable[str]) -> Sequence[str]:
    """Return the colours that are not taken; all of them where none is left."""
    from matplotlib.colors import to_hex

    used = {to_hex(colour) for colour in taken}
    return [colour for colour in palette if to_hex(colour) not in used] or palette


def bin_edges(n_bins: int) -> FloatArray:
    """Return the edges of bins that are drawn against their number."""
    return np.arange(n_bins + 1, dtype=np.float64) - 0.5


def draw_stack(
    axes: Axes, layers: Layers, stack: Mapping[str, FloatArray], error: FloatArray, edges: FloatArray
) -> FloatArray:
    """Draw the stack and the uncertainty of its sum, and return the sum."""
    total = draw_layers(axes, layers, stack, edges)
    axes.stairs(total, edges, color="black", linewidth=0.8)
    draw_band(axes, total, error, edges, "uncertainty")
    return total


def draw_layers(axes: Axes, layers: Layers, stack: Mapping[str, FloatArray], edges: FloatArray) -> FloatArray:
    """Draw samples on each other, and return their sum.

    Each is one polygon down to 0, the top of the stack first and the others over it: two polygons that only touched
    would leave a white hairline between them in PDF and SVG.
    """
    sums = [np.zeros(len(edges) - 1)]
    for values in stack.values():
        sums.append(sums[-1] + values)
    for name, height in zip(reversed(list(stack)), reversed(sums), strict=False):
        axes.stairs(height, edges, fill=True, color=layers.colours[name], lw=0, label=layers.titles[name])
    return sums[-1]


def signal_factor(stack: Mapping[str, FloatArray], signal: Set[str]) -> int:
    """Return by what the signal is multiplied (1, 2, 5, 10, ...) to be seen beside the stack: to at most half of it."""
    top = max((float(values.max()) for name, values in stack.items() if name in signal), default=0.0)
    height = float(sum(stack.values(), np.zeros(1)).max())
    if not 0 < top < SEEN * height:
        return 1
    return max(factor for factor in FACTORS if factor == 1 or factor * top <= height / 2)


def draw_signal(
    axes: Axes, layers: Layers, stack: Mapping[str, FloatArray], edges: FloatArray, factor: int
) -> FloatArray:
    """Draw every signal as a line over the stack, times ``factor``, which the legend states; return the highest."""
    from matplotlib.patheffects import withStroke

    highest = np.zeros(len(edges) - 1)
    for name in reversed(list(stack)):
        if name not in layers.signal:
            continue
        values = stack[name]
        # As it is, it is the upper edge of what the legend has already.
        label = None if factor == 1 else rf"{layers.titles[name]} $\times$ {factor}"
        # The white rim tells the line from a layer of the same colour.
        rim = [withStroke(linewidth=3.2, foreground="white")]
        style: dict[str, Any] = {"color": layers.colours[name], "linewidth": 1.6, "path_effects": rim}
        axes.stairs(factor * values, edges, baseline=None, label=label, **style)
        highest = np.maximum(highest, factor * values)
    return highest


def draw_band(axes: Axes, centre: FloatArray, error: FloatArray, edges: FloatArray, label: str | None = None) -> None:
    """Draw an uncertainty as hatching."""
    hatching: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.25", "hatch": "/////", "lw": 0}
    axes.stairs(centre + error, edges, baseline=centre - error, fill=True, label=label, **hatching)


def draw_with_ratio(
    figure: Figure | SubFigure,
    layers: Layers,
    stack: Mapping[str, FloatArray],
    error: FloatArray,
    edges: FloatArray,
    data: FloatArray | None,
    *,
    shared_factor: int | None = None,
    **marker: Any,
) -> tuple[Axes, Axes]:
    """Draw data of one channel against the stack, and their ratio below; without data the uncertainty alone.

    Layers, the error of their sum and data have shape (B,), edges (B + 1,); ``marker`` as ``Axes.errorbar`` takes it.
    Bins where data is NaN have none. A ratio beyond the axis is an arrow at its end. ``shared_factor``: see
    ``finish_stack``.
    """
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    total = draw_stack(upper, layers, stack, error, edges)
    top, relative = float((total + error).max()), relative_to(error, total)
    deviations = [relative]
    draw_band(lower, np.ones(len(total)), np.nan_to_num(relative), edges)
    centres = (edges[1:] + edges[:-1]) / 2
    ratio = np.full(len(total), np.nan)
    if data is not None:
        deviation = np.sqrt(data)
        marker = {"fmt": "o", "color": "black", **marker}
        upper.errorbar(centres, data, yerr=deviation, **marker)
        ratio, ratio_error = relative_to(data, total), relative_to(deviation, total)
        lower.errorbar(centres, ratio, yerr=ratio_error, **marker)
        deviations.append(np.abs(ratio - 1) + ratio_error)
        top = max(top, float(np.nanmax(data + deviation)))
    finish_stack(upper, layers, stack, total, edges, top, shared_factor)
    finish_ratio(lower, deviations)
    mark_clipped(lower, centres, ratio, "black")
    lower.set_ylabel("MC stat." if data is None else "data / pred.")
    figure.align_ylabels([upper, lower])
    return upper, lower


def finish_stack(
    axes: Axes,
    layers: Layers,
    stack: Mapping[str, FloatArray],
    total: FloatArray,
    edges: FloatArray,
    top: float,
    shared_factor: int | None = None,
    height: float = 2.6,
) -> None:
    """Draw the signal over all, and scale the axis up to ``top``, with room for the legend.

    Where the bins differ by more than two orders it is logarithmic, and the signal not multiplied. Panels with one
    legend beside them have one factor of the signal, ``shared_factor``, and no legend of their own. ``height`` is about
    that of the axis, in inches.
    """
    low = float(total[total > 0].min(initial=top))
    is_wide = top > 100 * low
    factor = shared_factor
    if factor is None:
        factor = 1 if is_wide else signal_factor(stack, layers.signal)
    line = draw_signal(axes, layers, stack, edges, factor)
    top = max(top, float(line.max())) or 1.0
    free = 0.08 if shared_factor is not None else _draw_legend(axes, height)
    if is_wide:
        floor = low / 3 if shared_factor is not None else low / 20
        axes.set_yscale("log")
        axes.set_ylim(floor, top * (top / floor) ** (free / (1 - free)))
    else:
        axes.set_ylim(min(0.0, float(total.min())), top / (1 - free))
    widths = np.diff(edges)
    axes.set_ylabel("events" if np.allclose(widths, widths[0]) else "events / bin")


def _draw_legend(axes: Axes, height: float) -> float:
    """Draw the legend at the top; return the share of the height of the axis that it takes.

    Layers were drawn first, the top of the stack before the others; matplotlib lists them so, and the data last.
    """
    _, labels = axes.get_legend_handles_labels()
    figure: Any = axes.figure
    columns = legend_columns(labels, 0.85 * figure.get_figwidth(), most=3)
    axes.legend(loc="upper center", ncols=columns)
    return min((ROW * math.ceil(len(labels) / columns) + EDGE) / height, 0.6)


def legend_below(figure: Figure, panels: Sequence[Axes], order: Sequence[str]) -> None:
    """Draw one legend for panels, below them: the layers by ``order`` (its last first), then all else as it comes."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    labels = [label for label in reversed(order) if label in found]
    labels += [label for label in found if label not in order]
    columns = legend_columns(labels, 0.95 * figure.get_figwidth(), most=5)
    figure.legend([found[label] for label in labels], labels, loc="outside lower center", ncols=columns)


def legend_columns(labels: Sequence[str], width: float, most: int) -> int:
    """Return how many columns of a legend ``width`` inches hold; beside a text are its patch and a space."""
    longest = max((text_length(label, {"size": 9}) for label in labels), default=0.0)
    return min(max(int(width / (longest + 0.55)), 1), most)


def relative_to(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the ratio, NaN (not drawn) where the denominator is not positive."""
    ratio = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def finish_ratio(axes: Axes, deviations: Sequence[FloatArray]) -> None:
    """Scale a ratio axis around 1 so that all deviations are seen, up to 100%."""
    largest = float(np.nanmax(np.abs(deviations), initial=0.0))
    reach = min(max(1.2 * largest, 0.02), 1.0)
    axes.set_ylim(1 - reach, 1 + reach)
    axes.axhline(1, color="black", linewidth=0.8)


def mark_clipped(axes: Axes, x: FloatArray, values: FloatArray, colour: str) -> None:
    """Draw an arrow at the end of the axis for every value beyond it: a point that is not seen looks like none."""
    low, high = axes.get_ylim()
    for end, marker, is_beyond in ((low, "v", values < low), (high, "^", values > high)):
        if is_beyond.any():
            place = np.full(int(is_beyond.sum()), end)
            axes.plot(x[is_beyond], place, marker, color=colour, markersize=6, clip_on=False, zorder=5)


def finish_integers(axis: Axis, edges: FloatArray) -> None:
    """Put the ticks of an axis on integers where the bins are centred on them."""
    if np.all(edges % 1 == 0.5):
        low, high = math.ceil(edges[0]), math.floor(edges[-1])
        axis.set_ticks(range(low, high + 1, math.ceil((high - low + 1) / MOST_TICKS)))


def channel_edges(presentation: Presentation, channel: str, n_bins: int) -> FloatArray:
    """Return the edges between which the bins of a channel are drawn: its own, or those of bin numbers."""
    axis = presentation.axes.get(channel)
    return bin_edges(n_bins) if axis is None else np.array(axis.edges)


def finish_channel(axes: Axes, presentation: Presentation, channel: str, n_bins: int, label: str) -> None:
    """Set the axis of a channel; ``label`` is for bins that are drawn against their number."""
    axis = presentation.axes.get(channel)
    if axis is None:
        finish_bins(axes, n_bins, label)
        return
    axes.set_xlim(axis.edges[0], axis.edges[-1])
    finish_integers(axes.xaxis, np.array(axis.edges))
    axes.set_xlabel(as_written(axis.label))


def finish_bins(axes: Axes, n_bins: int, label: str = "bin, as fitted") -> None:
    """Set the axis of bins that are drawn against their number."""
    axes.set_xlim(-0.5, n_bins - 0.5)
    finish_integers(axes.xaxis, bin_edges(n_bins))
    axes.set_xlabel(label)
