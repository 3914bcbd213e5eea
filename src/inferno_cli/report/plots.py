"""The plots of a run, drawn on ``Figure`` objects without pyplot: nothing stays open, no style leaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.errors import OutputError
from inferno_cli.fit.result import FitResult
from inferno_cli.report.canvas import ACCENT, MUTED, SIGNAL, STYLE, new_figure, short
from inferno_cli.report.results import Results, TrainingRecord
from inferno_cli.report.stacks import draw_data_mc, draw_templates, predictions, sample_colours
from inferno_cli.report.table import by_correlation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.histograms import Templates

MAX_PARAMETERS = 30
"""Parameters in the correlation matrix and the pulls, the ones most correlated with mu."""
ANNOTATED = 12
"""Largest correlation matrix that is drawn with its numbers and with the gammas of the staterror."""


def draw(
    results: Results,
    *,
    folder: Path,
    formats: Sequence[str],
    templates: Templates | None,
    workspace: Mapping[str, Any] | None,
    fit: FitResult,
) -> tuple[Path, ...]:
    """Draw everything that the run has, every figure with the dataset's label.

    Args:
        results: The record of the run.
        folder: Where the files go; made if it is missing.
        formats: Of "png", "pdf" and "svg".
        templates: As fitted, or None for the fit of a workspace by itself.
        workspace: The pyhf workspace that was fitted (its first measurement with the fit's POI), or None.
        fit: The fit of that workspace.

    Returns:
        The files: training, templates, prefit and postfit (with the channel's name where there are several),
        correlation, scan and pulls; those that the run cannot have are missing.

    Raises:
        OutputError: If a file cannot be written.
    """
    import matplotlib.style

    written = []
    with matplotlib.style.context(["default", STYLE]):
        for stem, figure in _figures(results, templates, workspace, fit):
            for suffix in formats:
                path = folder / f"{stem}.{suffix}"
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    figure.savefig(path)
                except OSError as error:
                    raise OutputError(f"the plot {path} cannot be written: {error}") from error
                written.append(path)
    return tuple(written)


def _figures(
    results: Results, templates: Templates | None, workspace: Mapping[str, Any] | None, fit: FitResult
) -> Iterator[tuple[str, Figure]]:
    colours = sample_colours(templates, workspace, fit.poi)
    if results.training is not None and results.training.loss:
        yield "training", _training(results, results.training)
    if templates is not None:
        yield "templates", draw_templates(results, templates, colours)
    if workspace is not None:
        model, found = predictions(workspace, fit)
        for prediction in found:
            channel = re.sub(r"[^\w.-]+", "_", prediction.channel)
            stem = prediction.when.replace("-", "")
            stem = stem if len(found) == 2 else f"{stem}_{channel}"
            yield stem, draw_data_mc(results, prediction, colours)
        if pulls := _pull_values(results, model):
            yield "pulls", _pulls(results, pulls)
    names = _correlated(results)
    if len(names) > 1:
        yield "correlation", _correlation(results, names)
    if results.nll_scan is not None:
        yield "scan", _scan(results)


def _training(results: Results, training: TrainingRecord) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(results, height=5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.3))
    epochs = np.arange(1, len(training.loss) + 1)
    best = training.best_epoch + 1
    upper.plot(epochs, training.loss, ".-", color=MUTED)
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


def _correlated(results: Results) -> list[str]:
    """Return the fitted parameters, without the gammas of the staterror where there are many."""
    names = [name for name in results.correlation if results.parameters[name].hesse > 0]
    if len(names) > ANNOTATED:
        names = [name for name in names if not name.startswith("staterror")]
    return sorted(by_correlation(results, names, MAX_PARAMETERS), key=lambda name: name != "mu")


def _correlation(results: Results, names: Sequence[str]) -> Figure:
    matrix = np.array([[results.correlation[a][b] for b in names] for a in names])
    labels = [short(name) for name in names]
    side = min(3.2 + 0.4 * len(names), 10.0)
    figure = new_figure(results, width=side + 1.2, height=side)
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


def _scan(results: Results) -> Figure:
    scan, poi = results.nll_scan, results.parameters["mu"]
    assert scan is not None
    figure = new_figure(results)
    axes = figure.subplots()
    values, rise = np.asarray(scan.values), np.clip(scan.delta_twice_nll, 0, None)
    dense = np.union1d(values, np.linspace(values.min(), values.max(), 201))
    top = max(float(rise.max()), 1.2)
    if poi.minos is not None:
        low, high = poi.bestfit + poi.minos[0], poi.bestfit + poi.minos[1]
        axes.axvspan(low, high, color=ACCENT, alpha=0.2, linewidth=0, label=f"MINOS: {low:.3f} to {high:.3f}")
    if poi.hesse > 0:
        axes.plot(dense, ((dense - poi.bestfit) / poi.hesse) ** 2, "--", color=MUTED, label="HESSE parabola")
    # The signed root is nearly a straight line: interpolated there, the curve has no corners.
    root = np.interp(dense, values, np.sign(values - poi.bestfit) * np.sqrt(rise))
    axes.plot(dense, root**2, color="black", linewidth=1.2)
    axes.plot(values, rise, "o", color="black", markersize=3.5, label="profile likelihood")
    axes.vlines(poi.bestfit, 0, top, color=MUTED, linewidth=0.8)
    edge = axes.get_yaxis_transform()
    for sigma in (1, 2):
        if sigma**2 < 1.05 * top:
            axes.axhline(sigma**2, color=SIGNAL, linewidth=0.9, linestyle=":")
            text = rf"{sigma}$\,\sigma$"
            axes.text(0.99, sigma**2, text, transform=edge, ha="right", va="bottom", color=SIGNAL)
    axes.margins(x=0.02)
    axes.set_ylim(0, 1.35 * top)
    axes.set_xlabel(r"$\mu$" if results.poi == "mu" else results.poi)
    axes.set_ylabel(r"$2\,\Delta$ NLL")
    axes.legend(loc="upper center")
    return figure


def _pull_values(results: Results, model: Any) -> dict[str, tuple[float, float]]:
    """Return best fit and error in units of the constraint; free parameters and the gammas have no pull."""
    pulls = {}
    for name, kind in model.config.modifiers:
        estimate = results.parameters.get(name)
        if kind in ("normsys", "histosys", "lumi") and estimate is not None and estimate.hesse > 0:
            constraint = model.config.param_set(name)
            centre, width = constraint.auxdata[0], constraint.width()[0]
            pulls[name] = ((estimate.bestfit - centre) / width, estimate.hesse / width)
    return {name: pulls[name] for name in by_correlation(results, list(pulls), MAX_PARAMETERS)}


def _pulls(results: Results, pulls: Mapping[str, tuple[float, float]]) -> Figure:
    figure = new_figure(results, height=1.9 + 0.28 * len(pulls))
    axes = figure.subplots()
    rows = np.arange(len(pulls))[::-1]
    centres, errors = np.array(list(pulls.values())).T
    for reach, shade in ((2, "#eeeeee"), (1, "#d8e6f3")):
        axes.axvspan(-reach, reach, color=shade, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.errorbar(centres, rows, xerr=errors, fmt="o", color="black", markersize=4.5, capsize=2)
    axes.set_yticks(rows, [short(name) for name in pulls])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(pulls) - 0.3)
    limit = max(2.5, 1.15 * float((np.abs(centres) + errors).max()))
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("pull, in units of the constraint")
    return figure
