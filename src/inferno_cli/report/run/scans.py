"""Profile likelihoods, and CLs against the signal strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferno_cli.config import POI
from inferno_cli.fit.result import Limit, Scan, Scan2D
from inferno_cli.report.run.canvas import new_figure
from inferno_cli.report.style import ACCENT, MUTED, SIGNAL, short
from inferno_cli.runs.record import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTOURS = {2.30: "68%", 5.99: "95%"}
"""Twice the NLL above its minimum on contours of two parameters, and their coverage (chi-squared, two degrees)."""


def _label(results: Results, name: str) -> str:
    """Return what an axis of the parameter says."""
    if name != POI:
        return short(name)
    return r"$\mu$" if results.poi == POI else short(results.poi)


def draw_scan(results: Results, name: str, scan: Scan) -> Figure:
    """Draw the profile likelihood in one parameter, with its HESSE parabola and MINOS interval."""
    estimate = results.parameters[name]
    figure = new_figure(results)
    axes = figure.subplots()
    values, rise = np.asarray(scan.values), np.clip(scan.delta_twice_nll, 0, None)
    dense = np.union1d(values, np.linspace(values.min(), values.max(), 201))
    top = max(float(rise.max()), 1.2)
    if estimate.minos is not None:
        low, high = estimate.bestfit + estimate.minos[0], estimate.bestfit + estimate.minos[1]
        axes.axvspan(low, high, color=ACCENT, alpha=0.2, linewidth=0, label=f"MINOS: {low:.3f} to {high:.3f}")
    if estimate.hesse > 0 and estimate.at_limit is None:
        axes.plot(dense, ((dense - estimate.bestfit) / estimate.hesse) ** 2, "--", color=MUTED, label="HESSE parabola")
    # The signed root is nearly a straight line: interpolated there, the curve has no corners.
    root = np.interp(dense, values, np.sign(values - estimate.bestfit) * np.sqrt(rise))
    axes.plot(dense, root**2, color="black", linewidth=1.2)
    axes.plot(values, rise, "o", color="black", markersize=3.5, label="profile likelihood")
    axes.vlines(estimate.bestfit, 0, top, color=MUTED, linewidth=0.8)
    edge = axes.get_yaxis_transform()
    for sigma in (1, 2):
        if sigma**2 < 1.05 * top:
            axes.axhline(sigma**2, color=SIGNAL, linewidth=0.9, linestyle=":")
            text = rf"{sigma}$\,\sigma$"
            axes.text(0.99, sigma**2, text, transform=edge, ha="right", va="bottom", color=SIGNAL)
    axes.margins(x=0.02)
    axes.set_ylim(0, 1.35 * top)
    axes.set_xlabel(_label(results, name))
    axes.set_ylabel(r"$2\,\Delta$ NLL")
    axes.legend(loc="upper center")
    return figure


def draw_scan_2d(results: Results, scan: Scan2D) -> Figure:
    """Draw the contours of the profile likelihood in two parameters."""
    from matplotlib.lines import Line2D
    from scipy.interpolate import RectBivariateSpline

    figure = new_figure(results)
    axes = figure.subplots()
    rise = np.clip(scan.delta_twice_nll, 0, None)
    x, y = (np.linspace(values[0], values[-1], 201) for values in (scan.x_values, scan.y_values))
    degree = min(3, len(scan.x_values) - 1)
    smooth = RectBivariateSpline(scan.y_values, scan.x_values, rise, kx=degree, ky=degree)(y, x)
    image = axes.pcolormesh(x, y, smooth, cmap="Blues_r", vmin=0, vmax=12, shading="nearest", rasterized=True)
    lines = dict(zip(CONTOURS, ("-", "--"), strict=True))
    drawn = [level for level in lines if level < rise.max()]
    if drawn:
        axes.contour(x, y, smooth, drawn, colors=SIGNAL, linestyles=[lines[level] for level in drawn])
    handles = [Line2D([], [], color=SIGNAL, ls=lines[level], label=f"{CONTOURS[level]} CL") for level in drawn]
    best = [results.parameters[name].bestfit for name in (scan.x, scan.y)]
    handles += axes.plot(*best, "+", color="black", markersize=10, label="best fit")
    axes.legend(handles=handles, loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")
    axes.set_xlabel(_label(results, scan.x))
    axes.set_ylabel(_label(results, scan.y))
    figure.colorbar(image, ax=axes, label=r"$2\,\Delta$ NLL", extend="max" if rise.max() > 12 else "neither")
    return figure


def draw_limit(results: Results, limit: Limit) -> Figure:
    """Draw CLs against the signal strength, expected and, of observed data, observed."""
    figure = new_figure(results)
    axes = figure.subplots()
    values = np.asarray(limit.poi_values)
    observed = np.array(limit.observed_cls, dtype=float)
    expected = np.array(limit.expected_cls, dtype=float).T
    for low, high, colour, label in ((0, 4, "#ffdf7f", r"$\pm 2\,\sigma$"), (1, 3, "#85d18b", r"$\pm 1\,\sigma$")):
        axes.fill_between(values, expected[low], expected[high], color=colour, linewidth=0, label=label)
    bands = list(limit.expected if limit.a_priori is None else limit.a_priori)
    axes.plot(values, expected[2], "--", color="black", label=f"expected: {bands[2]:.3g}")
    if limit.a_priori is None:
        axes.plot(values, observed, ".-", color="black", label=f"observed: {limit.observed:.3g}")
        bands.append(limit.observed)
    level = 1 - limit.confidence_level
    axes.axhline(level, color=SIGNAL, linewidth=0.9, linestyle=":", label=f"{100 * limit.confidence_level:.4g}% CL")
    axes.set_xlim(0, min(1.3 * max(bands), float(values.max())))
    axes.set_ylim(0, 1.05)
    axes.set_xlabel(_label(results, POI))
    axes.set_ylabel("CLs")
    axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")
    return figure
