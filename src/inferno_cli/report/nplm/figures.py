"""Figures of a test: the distribution of t, the tuning of the clip, and the reference reweighted to the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.drawing.presentation import Presentation
from inferno_cli.drawing.style import ACCENT, MUTED, SIGNAL, Canvas, plain, short
from inferno_cli.nplm.tuning import QUANTILES
from inferno_cli.report.nplm.tables import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.nplm.analysis import Result, Shown
    from inferno_cli.nplm.record import Ensemble, Record

BINS = 20
"""Of a distribution of toys."""
FEATURE_BINS = 30
WIDEST = 0.999
"""Quantile of the reference at which the axis of a feature ends, unless the data go on."""


def figures(result: Result, features: Sequence[str], shown: Presentation) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of everything that is drawn."""
    record = result.record
    canvas = Canvas(record.label, title(record), shown)
    for item in (record.null, *record.validation):
        yield f"t_{item.name}", _distribution(canvas, record, item)
    if record.trials:
        yield "clip", _clip(canvas, record)
    if result.shown is not None:
        for column, name in enumerate(features):
            yield f"reweighted_{name}", _reweighted(canvas, result.shown, column, name, name in record.features)


def _distribution(canvas: Canvas, record: Record, item: Ensemble) -> Figure:
    """Draw t and tau of toys against chi2, and the t of the data."""
    from scipy.stats import chi2

    figure = canvas.figure()
    axes = figure.subplots()
    of_chi2 = chi2(record.degrees)
    every = np.concatenate([item.t, item.tau, [of_chi2.ppf(0.999)]])
    edges = np.linspace(0, min(every.max(), 3 * of_chi2.ppf(0.999)) * 1.02, BINS + 1).tolist()
    x = np.linspace(edges[0], edges[-1], 300)[1:]
    width = edges[1] - edges[0]
    axes.plot(x, of_chi2.pdf(x) * len(item.t) * width, color=MUTED, label=rf"$\chi^2$, {record.degrees:.3g} d.o.f.")
    axes.hist(item.tau, edges, histtype="step", color=SIGNAL, linestyle=":", label=rf"$\tau$, KS p = {item.ks_tau:.2g}")
    axes.hist(item.t, edges, histtype="step", color=ACCENT, linewidth=1.5, label=f"t, KS p = {item.ks:.2g}")
    if item is record.null:
        for tail in (record.injected, record.tested):
            if tail is not None and tail.t < edges[-1]:
                axes.axvline(tail.t, color="black", linestyle="--", label=plain(tail.name))
    axes.set_title(plain(f"{len(item.t)} toys: {item.name}"))
    axes.set_xlabel("test statistic")
    axes.set_ylabel("toys")
    axes.legend()
    return figure


def _clip(canvas: Canvas, record: Record) -> Figure:
    """Draw the quantiles of t against the clip."""
    from scipy.stats import chi2

    figure = canvas.figure()
    axes = figure.subplots()
    trials = sorted(record.trials, key=lambda trial: trial.clip)
    clips = [trial.clip for trial in trials]
    for number, quantile in enumerate(QUANTILES):
        values = [trial.quantiles[number] for trial in trials]
        axes.plot(clips, values, "o-", color=ACCENT, markersize=3, label="toys" if number == 0 else None)
        expected = float(chi2(record.degrees).ppf(quantile))
        axes.axhline(expected, color=MUTED, linestyle="--", label=r"$\chi^2$" if number == 0 else None)
        axes.annotate(f"{quantile:.0%}", (1.01, expected), xycoords=("axes fraction", "data"), size=8, va="center")
    if record.clip is not None:
        axes.axvline(record.clip, color=SIGNAL, linewidth=1, label=f"clip {record.clip:g}")
    axes.set_xscale("log")
    axes.set_xlabel("clip")
    axes.set_ylabel("quantiles of t")
    axes.legend()
    return figure


def _reweighted(canvas: Canvas, shown: Shown, column: int, name: str, is_seen: bool) -> Figure:
    """Draw the data against the reference: as it is, with fitted nuisance parameters, and times exp(f)."""
    figure = canvas.figure(height=5.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    data, reference = shown.data[:, column], shown.reference[:, column]
    low = min(float(np.quantile(reference, 1 - WIDEST)), float(np.quantile(data, 1 - WIDEST)))
    high = max(float(np.quantile(reference, WIDEST)), float(np.quantile(data, WIDEST)))
    edges = np.linspace(low, high, FEATURE_BINS + 1)
    centres, counts = (edges[1:] + edges[:-1]) / 2, np.histogram(data, edges)[0]
    looks = (("reference", MUTED, ":"), ("with nuisance parameters", MUTED, "-"), ("times exp(f)", SIGNAL, "-"))
    filled = [np.histogram(reference, edges, weights=weights)[0] for weights in shown.weights]
    for values, (label, colour, line) in zip(filled, looks, strict=True):
        upper.stairs(values, edges, color=colour, linestyle=line, label=label)
    upper.errorbar(centres, counts, np.sqrt(counts), fmt="o", color="black", markersize=3, label="data")
    base = np.where(filled[1] > 0, filled[1], np.nan)
    lower.errorbar(centres, counts / base, np.sqrt(counts) / base, fmt="o", color="black", markersize=3)
    lower.stairs(filled[2] / base, edges, color=SIGNAL)
    lower.axhline(1, color=MUTED)
    lower.set_ylim(0, 3)
    upper.set_yscale("log")
    upper.set_ylim(bottom=0.3)
    upper.set_ylabel("events")
    lower.set_ylabel("ratio")
    lower.set_xlabel(short(name))
    upper.set_title(plain(shown.name + ("" if is_seen else "; the test does not see this feature")))
    upper.legend()
    return figure
