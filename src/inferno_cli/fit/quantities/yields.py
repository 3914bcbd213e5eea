"""Expected events before and after the fit, and data against them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic.dataclasses import dataclass

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.result import STRICT, FitResult, Quantity
from inferno_cli.names import markdown, morph_name

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import NDArray

    from inferno_cli.drawing.presentation import Presentation
    from inferno_cli.drawing.stack import Layers
    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.minimum import Minimum
    from inferno_cli.fit.problem import Problem

When = Literal["pre-fit", "post-fit"]
ROUNDING = 1e-9
"""A variance that is no further than this below 0, relative to that without correlations, is 0."""
MAX_PANELS = 12
"""Channels in one figure; each has a figure of its own as well."""
IN_SUMMARY = 3
"""Channels with their expected events in the summary; the file has all, by sample."""


@dataclass(frozen=True, config=STRICT)
class Yields:
    """Expected events of one channel before or after the fit.

    Attributes:
        samples: Events by sample and bin.
        errors: Standard deviation of ``samples``.
        total_error: Of the sum of the samples, by bin.
        sums: Events by sample in the whole channel, and their standard deviation.
        total: Events of all samples in the whole channel, and their standard deviation.
        data: Events by bin that were fitted, Asimov or observed.
        signal: Samples that a POI acts on.
        parts: Samples that are a free shape of another one, and which that is.
    """

    channel: str
    when: When
    samples: dict[str, tuple[float, ...]]
    errors: dict[str, tuple[float, ...]]
    total_error: tuple[float, ...]
    sums: dict[str, tuple[float, float]]
    total: tuple[float, float]
    data: tuple[float, ...]
    signal: tuple[str, ...] = ()
    parts: dict[str, str] | None = None


class YieldsQuantity(Quantity):
    """Expected events of every channel, before and after the fit."""

    kind: Literal["yields"]
    yields: bool
    """Expected events before and after the fit; the plots of data against prediction need them."""

    record: ClassVar[Any] = tuple[Yields, ...]
    absent: ClassVar[Any] = ()
    title: ClassVar[str] = "yields"
    file: ClassVar[str] = "yields.md"
    order: ClassVar[int] = 60

    def compute(self, fitted: Fitted) -> tuple[Yields, ...]:
        return yields(fitted.problem, fitted.best, fitted.pois[1:])

    @classmethod
    def rows(cls, name: str, value: tuple[Yields, ...], fit: FitResult) -> Iterator[tuple[str, str]]:
        by_channel = channels(value)
        if len(by_channel) > IN_SUMMARY:
            return
        for channel, (before, after) in by_channel.items():
            totals = " -> ".join(f"{events:z.1f} ±{error:.1f}" for events, error in (before.total, after.total))
            heading = "events" if len(by_channel) == 1 else f"events, {channel}"
            yield heading, f"{totals}, data {sum(before.data):.1f}; by sample in {cls.file}"

    @classmethod
    def figures(
        cls, name: str, value: tuple[Yields, ...], fit: FitResult, canvas: Canvas
    ) -> Iterator[tuple[str, Figure]]:
        layers = _layers(value, canvas)
        by_when: dict[str, list[Yields]] = {}
        for entry in value:
            by_when.setdefault(entry.when, []).append(entry)
        for when, entries in by_when.items():
            stem = when.replace("-", "")
            if len(entries) > 1:
                yield stem, _draw_grid(entries[:MAX_PANELS], len(entries), fit, canvas, layers)
            for entry in entries:
                yield stem if len(entries) == 1 else f"{stem}_{entry.channel}", _draw(entry, fit, canvas, layers)

    @classmethod
    def tables(cls, value: tuple[Yields, ...], fit: FitResult) -> list[str]:
        """Return the table of every channel, all samples and their total before and after the fit."""
        lines = []
        data = "Asimov data" if fit.data == "asimov" else "observed data"
        for channel, (before, after) in channels(value).items():
            lines += [f"## {markdown(channel)}", "", "| sample | pre-fit | error | post-fit | error |"]
            lines.append("|---|--:|--:|--:|--:|")
            for name in before.sums:
                lines.append(_line(name, before.sums[name], after.sums[name]))
            lines.append(_line("total", before.total, after.total))
            lines += [f"| {data} | {sum(before.data):.2f} | | | |", ""]
        return lines


def yields(problem: Problem, best: Minimum, others: Sequence[str] = ()) -> tuple[Yields, ...]:
    """Return the expected events of every channel with their errors, before and then after the fit.

    Args:
        problem: What is fitted.
        best: The fit. A parameter at its limit is held there: its error has no meaning.
        others: Parameters of interest beside that of the measurement.

    Raises:
        FitFailedError: If an error is not finite.
    """
    import numpy as np

    from inferno_cli.fit.problem import constraint_widths, nominal

    before = _Point(nominal(problem), constraint_widths(problem), np.eye(len(best.values)))
    after, pois = _Point(best.values, best.errors, best.correlation), problem.pois(others)
    return (*_of_channels(problem, before, "pre-fit", pois), *_of_channels(problem, after, "post-fit", pois))


def channels(value: Sequence[Yields]) -> dict[str, tuple[Yields, Yields]]:
    """Return each channel before and after the fit, by name."""
    found: dict[str, list[Yields]] = {}
    for entry in value:
        found.setdefault(entry.channel, []).append(entry)
    return {name: (before, after) for name, (before, after) in found.items()}


def _line(name: str, before: tuple[float, float], after: tuple[float, float]) -> str:
    cells = [f"{number:z.2f}" for number in (*before, *after)]
    return "| " + " | ".join((markdown(name), *cells)) + " |"


class _Point(NamedTuple):
    """Parameters with their errors, shape (n,) each, and correlations, shape (n, n)."""

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    correlation: NDArray[np.float64]


def _of_channels(problem: Problem, point: _Point, when: When, pois: Sequence[str]) -> Iterator[Yields]:
    """Yield the expected events of every channel at a point.

    An error is that of cabinetry: v M v with the correlations M and the changes v, half of the difference between the
    events with one parameter one sigma up and down.
    """
    import numpy as np

    model, rates = problem.model, problem.rates
    by_name = {channel["name"]: channel["samples"] for channel in model.spec["channels"]}
    varied = np.flatnonzero(point.errors)
    changes: list[list[NDArray[np.float64]]] = [[] for _ in model.config.channels]
    for index in varied.tolist():
        step = np.zeros_like(point.values)
        step[index] = point.errors[index]
        sides = zip(rates.samples(point.values + step), rates.samples(point.values - step), strict=True)
        for channel, (up, down) in zip(changes, sides, strict=True):
            channel.append((up - down) / 2)
    correlation = point.correlation[np.ix_(varied, varied)]
    for index, channel in enumerate(model.config.channels):
        rows = rates.samples(point.values)[index]
        names = [sample["name"] for sample in by_name[channel]]
        half = np.reshape(changes[index], (len(varied), *rows.shape))
        half = np.concatenate([half, half.sum(axis=1, keepdims=True)], axis=1)
        where = f"{when}, channel {channel!r} of {problem.where}"
        errors = _errors(half, correlation, names, where)
        sums = _errors(half.sum(axis=2), correlation, names, where)
        totals = zip(rows.sum(axis=1).tolist(), sums.tolist(), strict=False)
        yield Yields(
            channel=channel,
            when=when,
            samples={name: tuple(row) for name, row in zip(names, rows.tolist(), strict=True)},
            errors={name: tuple(row) for name, row in zip(names, errors[:-1].tolist(), strict=True)},
            total_error=tuple(errors[-1].tolist()),
            sums=dict(zip(names, totals, strict=True)),
            total=(float(rows.sum()), float(sums[-1])),
            data=tuple(problem.data[model.config.channel_slices[channel]]),
            signal=signal_of(by_name[channel], pois),
            parts=free_shapes(by_name[channel]),
        )


def signal_of(samples: Sequence[Mapping[str, Any]], pois: Sequence[str]) -> tuple[str, ...]:
    """Return the samples of a channel of a workspace that a POI acts on."""
    found = []
    for sample in samples:
        if any(modifier["name"] in pois for modifier in sample["modifiers"]):
            found.append(sample["name"])
    return tuple(found)


def free_shapes(samples: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the samples of a channel of a workspace that are the free shape of another one, and which that is.

    Such a sample holds (up - down) / 2, maybe negative, and is scaled by the NormFactor that it is named after. A
    sample of such a name without that NormFactor is a sample.
    """
    found = {}
    for sample, other in itertools.product(samples, repeat=2):
        for modifier in sample["modifiers"]:
            is_factor = modifier["type"] == "normfactor"
            if is_factor and sample["name"] == morph_name(other["name"], modifier["name"]):
                found[sample["name"]] = other["name"]
    return found


def _errors(
    changes: NDArray[np.float64], correlation: NDArray[np.float64], samples: Sequence[str], where: str
) -> NDArray[np.float64]:
    """Return the errors of yields, those of the total last.

    Args:
        changes: Of every parameter, shape (n, samples + 1, ...).
        correlation: Of the parameters, shape (n, n).
        samples: Their names.
        where: Says in an error what the yields are.
    """
    import numpy as np

    variance = np.sum(changes * np.tensordot(correlation, changes, 1), axis=0)
    # Where parameters compensate each other the variance is a sum of terms that cancel, and rounding leaves -1e-17.
    rounding = ROUNDING * np.sum(changes**2, axis=0)
    with np.errstate(invalid="ignore"):
        errors = np.sqrt(np.where((variance < 0) & (variance >= -rounding), 0.0, variance))
    if not np.isfinite(errors).all():
        row = int(np.argwhere(~np.isfinite(errors))[0][0])
        what = f"sample {samples[row]!r}" if row < len(samples) else "all samples"
        raise FitFailedError(
            f"the errors of the expected events of {what}, {where}, are {errors[row].tolist()}, expected finite "
            "numbers. Check its templates one sigma up and down, or leave the yields out with fit.yields=false"
        )
    return np.asarray(errors)


def _layers(value: Sequence[Yields], canvas: Canvas) -> Layers:
    """Choose what is drawn in all channels, by the events before the fit."""
    from inferno_cli.drawing.stack import Layers

    sizes: dict[str, float] = {}
    signal: set[str] = set()
    for entry in value:
        signal.update(entry.signal)
        for sample, (events, _) in entry.sums.items():
            if entry.when == "pre-fit" and sample not in (entry.parts or {}):
                sizes[sample] = sizes.get(sample, 0.0) + events
    return Layers.choose(sizes, signal, canvas.presentation)


def _stack(channel: Yields, layers: Layers) -> dict[str, NDArray[np.float64]]:
    import numpy as np

    return layers.stack({name: np.asarray(values) for name, values in channel.samples.items()}, channel.parts)


def _draw(channel: Yields, fit: FitResult, canvas: Canvas, layers: Layers) -> Figure:
    """Draw data against the stacked prediction of one channel, and their ratio."""
    figure = canvas.figure(height=5.8)
    _draw_panel(figure, channel, fit, canvas.presentation, layers)
    return figure


def _draw_panel(
    figure: Figure | SubFigure,
    channel: Yields,
    fit: FitResult,
    shown: Presentation,
    layers: Layers,
    shared_factor: int | None = None,
) -> tuple[Axes, Axes]:
    import numpy as np

    from inferno_cli.drawing.stack import channel_edges, draw_with_ratio, finish_channel
    from inferno_cli.drawing.style import short

    stack, band, data = _stack(channel, layers), np.asarray(channel.total_error), np.asarray(channel.data)
    face, label = ("white", "Asimov data") if fit.data == "asimov" else ("black", "observed data")
    marker = {"markersize": 4.5, "markerfacecolor": face, "label": label}
    edges = channel_edges(shown, channel.channel, len(data))
    upper, lower = draw_with_ratio(figure, layers, stack, band, edges, data, shared_factor=shared_factor, **marker)
    upper.set_title(f"{channel.when}, {short(channel.channel)}")
    finish_channel(lower, shown, channel.channel, len(data), "bin")
    return upper, lower


def _draw_grid(channels: Sequence[Yields], total: int, fit: FitResult, canvas: Canvas, layers: Layers) -> Figure:
    """Draw several channels beside each other, with one legend below them; say where they are not all."""
    from inferno_cli.drawing.stack import legend_below, signal_factor

    columns = min(len(channels), 2 if len(channels) <= 4 else 3 if len(channels) <= 9 else 4)
    rows = -(-len(channels) // columns)
    if len(channels) < total:
        canvas = replace(canvas, title=f"{canvas.title}; the first {len(channels)} of {total} channels")
    figure = canvas.figure(width=3.6 * columns + 0.4, height=3.5 * rows + 1.2)
    stacks = [_stack(channel, layers) for channel in channels]
    # One legend states one factor: that of the channel with the largest share of signal.
    with_signal = [stack for stack in stacks if layers.signal & stack.keys()]
    factor = min((signal_factor(stack, layers.signal) for stack in with_signal), default=1)
    panels = figure.subfigures(rows, columns, squeeze=False).ravel()
    uppers = []
    for number, (panel, channel) in enumerate(zip(panels, channels, strict=False)):
        upper, lower = _draw_panel(panel, channel, fit, canvas.presentation, layers, factor)
        if number % columns:
            upper.set_ylabel("")
            lower.set_ylabel("")
        uppers.append(upper)
    legend_below(figure, uppers, list(layers.titles.values()))
    return figure
