"""The plots of a run, drawn on ``Figure`` objects without pyplot: nothing stays open, no style leaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import OutputError
from inferno_cli.fit.result import FitResult
from inferno_cli.report.results import Results, TrainingRecord
from inferno_cli.report.table import by_correlation, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from inferno_cli.histograms import Templates

FloatArray = NDArray[np.float64]

# M. Petroff's colours (arXiv:2107.02270), chosen to be told apart with any colour vision; the signal is red.
SIGNAL, ACCENT, MUTED = "#bd1f01", "#3f90da", "#717581"
SAMPLE_COLOURS = (SIGNAL, ACCENT, "#ffa90e", "#94a4a2", "#92dadd", "#b9ac70", "#a96b59", "#832db6")
OTHER = "other"
OTHER_COLOUR = "#d8d8d8"
LINE_COLOURS = ("#1b1b1b", "#0072b2", "#e69f00", "#009e73", "#cc79a7")
STYLE = {
    "axes.axisbelow": True,
    "axes.labelsize": 11,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.dpi": 150,
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "xtick.direction": "in",
    "xtick.top": True,
    "ytick.direction": "in",
    "ytick.right": True,
}
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
    colours = _sample_colours(templates, workspace, fit.poi)
    if results.training is not None and results.training.loss:
        yield "training", _training(results, results.training)
    if templates is not None:
        yield "templates", _templates(results, templates, colours)
    if workspace is not None:
        model, predictions = _predictions(workspace, fit)
        for prediction in predictions:
            channel = re.sub(r"[^\w.-]+", "_", prediction.channel)
            stem = prediction.when.replace("-", "")
            stem = stem if len(predictions) == 2 else f"{stem}_{channel}"
            yield stem, _data_mc(results, prediction, colours)
        if pulls := _pull_values(results, model):
            yield "pulls", _pulls(results, pulls)
    names = _correlated(results)
    if len(names) > 1:
        yield "correlation", _correlation(results, names)
    if results.nll_scan is not None:
        yield "scan", _scan(results)


def _short(name: str) -> str:
    """Return a name that fits beside a plot: a foreign workspace can have very long ones."""
    return name if len(name) <= 26 else f"{name[:14]}…{name[-11:]}"


def _figure(results: Results, *, width: float = 6.4, height: float = 4.8) -> Figure:
    """Return a figure that says in its upper left corner what it shows, and that the events are simulated."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines = [(results.label, SIGNAL, "bold"), (title(results), MUTED, "normal")]
    lines = [line for line in lines if line[0]]
    space = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - (0.09 + 0.18 * len(lines)) / height))
    figure = Figure(figsize=(width, height), layout=space)
    for number, (text, colour, weight) in enumerate(lines):
        y = 1 - (0.07 + 0.18 * number) / height
        figure.text(0.08 / width, y, text, va="top", size=9, color=colour, weight=weight)
    return figure


# ------------------------------------------------------------------------------------------ stacks of samples
def _sample_colours(
    templates: Templates | None, workspace: Mapping[str, Any] | None, poi: str
) -> dict[str, str]:
    """Return one colour per sample, signal first; beyond the palette the small ones share "other"."""
    yields: dict[str, float] = {}
    signal: set[str] = set()
    if workspace is not None:
        for sample in (sample for channel in workspace["channels"] for sample in channel["samples"]):
            name = sample["name"]
            yields[name] = yields.get(name, 0.0) + sum(sample["data"])
            if poi in (modifier["name"] for modifier in sample["modifiers"]):
                signal.add(name)
    elif templates is not None:
        yields = dict(zip(templates.samples, templates.nominal.sum(axis=1), strict=True))
        signal = set(templates.signal)
    names = [name for name in yields if _parent(name, yields) == name]
    largest = sorted(names, key=lambda name: (name not in signal, -yields[name]))[: len(SAMPLE_COLOURS)]
    kept = sorted((name for name in names if name in largest), key=lambda name: name not in signal)
    # Without a known signal nothing is red.
    palette = SAMPLE_COLOURS if signal else SAMPLE_COLOURS[1:] + SAMPLE_COLOURS[:1]
    return dict(zip(kept, palette, strict=False))


def _parent(name: str, known: Mapping[str, Any]) -> str:
    """Return the sample that a row of the workspace belongs to.

    A free shape is an extra sample "background@r": (up - down) / 2 scaled by a NormFactor, maybe negative.
    """
    parent = name.partition("@")[0]
    return parent if parent in known else name


def merged(rows: Mapping[str, FloatArray], colours: Mapping[str, str]) -> dict[str, FloatArray]:
    """Add "background@r" to "background", and samples without a colour to "other".

    Args:
        rows: Yields by sample of the workspace, shape (B,) each.
        colours: Samples that are drawn by themselves, signal first.

    Returns:
        Yields from the bottom of the stack to its top: backgrounds by rising yield, then the signal.
    """
    total: dict[str, FloatArray] = {}
    for name, values in rows.items():
        parent = _parent(name, rows)
        shown = parent if parent in colours else OTHER
        total[shown] = total.get(shown, np.zeros(len(values))) + values
    signal = next(iter(colours), None)
    return dict(sorted(total.items(), key=lambda item: (item[0] == signal, item[1].sum())))


def _draw_stack(
    axes: Axes, stack: Mapping[str, FloatArray], error: FloatArray, colours: Mapping[str, str]
) -> FloatArray:
    """Draw the stack and the uncertainty of its sum, and return the sum."""
    edges = np.arange(len(error) + 1) - 0.5
    total = np.zeros(len(error))
    for name, values in stack.items():
        filling = {
            "fill": True,
            "color": colours.get(name, OTHER_COLOUR),
            "linewidth": 0,
            "label": _short(name),
        }
        axes.stairs(total + values, edges, baseline=total, **filling)
        total = total + values
    axes.stairs(total, edges, color="black", linewidth=0.8)
    _band(axes, total, error, "uncertainty")
    return total


def _band(axes: Axes, centre: FloatArray, error: FloatArray, label: str | None = None) -> None:
    edges = np.arange(len(error) + 1) - 0.5
    hatching = {"fill": True, "facecolor": "none", "edgecolor": "0.25", "hatch": "/////", "linewidth": 0}
    axes.stairs(centre + error, edges, baseline=centre - error, label=label, **hatching)


def _finish_stack(axes: Axes, stack: Mapping[str, FloatArray], top: float) -> None:
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


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the ratio, NaN (not drawn) where the denominator is not positive."""
    ratio = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _finish_ratio(axes: Axes, deviations: Sequence[FloatArray]) -> None:
    """Scale a ratio axis around 1 so that all deviations are seen, up to 100%."""
    largest = max((float(np.nanmax(np.abs(part), initial=0.0)) for part in deviations), default=0.0)
    reach = min(max(1.2 * largest, 0.02), 1.0)
    axes.set_ylim(1 - reach, 1 + reach)
    axes.axhline(1, color="black", linewidth=0.8)


class _Prediction(NamedTuple):
    """One channel before or after the fit: yields by sample, error of their sum, data; shape (B,) each."""

    channel: str
    when: str
    rows: dict[str, FloatArray]
    error: FloatArray
    data: FloatArray


def _predictions(workspace: Mapping[str, Any], fit: FitResult) -> tuple[Any, list[_Prediction]]:
    """Return the pyhf model, and what it predicts before and after the fit in every channel."""
    from cabinetry import model_utils
    from cabinetry.fit import FitResults

    # cabinetry takes the first measurement: make that the one that was fitted.
    measurements = sorted(workspace["measurements"], key=lambda item: item["config"]["poi"] != fit.poi)
    spec = {**workspace, "measurements": measurements}
    model, data = model_utils.model_and_data(spec, asimov=fit.data == "asimov", include_auxdata=False)
    names = model.config.par_names
    order = [fit.labels.index(name) for name in names]
    after = FitResults(
        bestfit=np.array([fit.parameters[name].bestfit for name in names]),
        uncertainty=np.array([fit.parameters[name].hesse for name in names]),
        labels=names,
        corr_mat=np.asarray(fit.correlation)[np.ix_(order, order)],
        best_twice_nll=fit.twice_nll,
    )
    predictions = []
    for when, result in (("pre-fit", None), ("post-fit", after)):
        # Rounding can make the variance of a sample that no parameter changes -1e-20.
        with np.errstate(invalid="ignore"):
            found = model_utils.prediction(model, fit_results=result)
        for index, channel in enumerate(model.config.channels):
            rows = zip(model.config.samples, found.model_yields[index], strict=True)
            predictions.append(
                _Prediction(
                    channel=channel,
                    when=when,
                    rows={sample: np.asarray(values) for sample, values in rows},
                    error=np.nan_to_num(found.total_stdev_model_bins[index][-1]),
                    data=np.asarray(data)[model.config.channel_slices[channel]],
                )
            )
    return model, predictions


def _data_mc(results: Results, prediction: _Prediction, colours: Mapping[str, str]) -> Figure:
    figure = _figure(results, height=5.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    stack = merged(prediction.rows, colours)
    total = _draw_stack(upper, stack, prediction.error, colours)
    data, bins = prediction.data, np.arange(len(total))
    asimov = results.data == "asimov"
    face, label = ("white", "Asimov data") if asimov else ("black", "observed data")
    marker = {"fmt": "o", "color": "black", "markersize": 4.5, "markerfacecolor": face}
    upper.errorbar(bins, data, yerr=np.sqrt(data), label=label, **marker)
    upper.set_title(f"{prediction.when}, {prediction.channel}")
    _finish_stack(upper, stack, float(max((data + np.sqrt(data)).max(), (total + prediction.error).max())))
    ratio, error, band = (_ratio(part, total) for part in (data, np.sqrt(data), prediction.error))
    _band(lower, np.ones(len(total)), np.nan_to_num(band))
    _finish_ratio(lower, (np.abs(ratio - 1) + error, band))
    lower.errorbar(bins, ratio, yerr=error, **marker)
    lower.set_ylabel("data / pred.")
    _finish_bins(lower, len(total), "bin")
    return figure


def _templates(results: Results, templates: Templates, colours: Mapping[str, str]) -> Figure:
    from matplotlib.lines import Line2D

    nominal = dict(zip(templates.samples, templates.nominal, strict=True))
    relative = {
        name: _ratio(np.sqrt(variance), nominal[name])
        for name, variance in zip(templates.samples, templates.variance, strict=True)
    }
    varied: dict[str, dict[str, list[FloatArray]]] = {}
    for (systematic, sample), pair in templates.varied.items():
        varied.setdefault(sample, {})[systematic] = [_ratio(side, nominal[sample]) for side in pair]
    panels = sorted(varied, key=lambda name: (name not in templates.signal, -nominal[name].sum()))[:3]
    size: dict[str, float] = {}
    for sample in panels:
        for systematic, sides in varied[sample].items():
            change = max(float(np.nanmax(np.abs(side - 1), initial=0.0)) for side in sides)
            size[systematic] = max(size.get(systematic, 0.0), change)
    lines = dict(zip(sorted(size, key=lambda name: -size[name]), LINE_COLOURS, strict=False))

    figure = _figure(results, height=4.2 + 1.15 * len(panels))
    ratios = (3, *[1.15] * len(panels))
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    error = np.sqrt(templates.variance.sum(axis=0))
    stack = merged(nominal, colours)
    total = _draw_stack(axes[0], stack, error, colours)
    axes[0].set_title("templates as fitted; uncertainty: simulated events")
    _finish_stack(axes[0], stack, float((total + error).max()))
    edges = np.arange(templates.n_bins + 1) - 0.5
    for panel, sample in zip(axes[1:], panels, strict=True):
        deviations = [relative[sample]]
        _band(panel, np.ones(templates.n_bins), np.nan_to_num(relative[sample]))
        for systematic in (name for name in lines if name in varied[sample]):
            for side, dashes in zip(varied[sample][systematic], ("-", "--"), strict=True):
                panel.stairs(side, edges, baseline=None, color=lines[systematic], ls=dashes, lw=1.4)
                deviations.append(side - 1)
        _finish_ratio(panel, deviations)
        panel.set_title(sample, size=9, color=colours.get(sample, "black"), weight="bold", pad=3)
        panel.set_ylabel("varied / nom.", size=9)
    if lines:
        handles = [Line2D([], [], color=colour, label=_short(name)) for name, colour in lines.items()]
        handles += [
            Line2D([], [], color=MUTED, label="up"),
            Line2D([], [], color=MUTED, ls="--", label="down"),
        ]
        heading = f"the largest {len(lines)} of {len(size)} systematics" if len(lines) < len(size) else None
        figure.legend(handles=handles, loc="outside lower center", ncols=4, title=heading)
    _finish_bins(axes[-1], templates.n_bins, "bin, as fitted")
    return figure


# ------------------------------------------------------------------------------------ training and likelihood
def _training(results: Results, training: TrainingRecord) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = _figure(results, height=5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.3))
    epochs = np.arange(1, len(training.loss) + 1)
    best = training.best_epoch + 1
    loss = np.asarray(training.loss)
    upper.plot(epochs, loss, ".-", color=MUTED)
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
    lower.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")
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
    labels = [_short(name) for name in names]
    side = min(3.2 + 0.4 * len(names), 10.0)
    figure = _figure(results, width=side + 1.2, height=side)
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
    figure = _figure(results)
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
            axes.text(
                0.99, sigma**2, rf"{sigma}$\,\sigma$", transform=edge, ha="right", va="bottom", color=SIGNAL
            )
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
        # The POI, which the record renames to mu, is a NormFactor and is not looked up here.
        if kind in ("normsys", "histosys", "lumi") and results.parameters[name].hesse > 0:
            constraint = model.config.param_set(name)
            centre, width = constraint.auxdata[0], constraint.width()[0]
            estimate = results.parameters[name]
            pulls[name] = ((estimate.bestfit - centre) / width, estimate.hesse / width)
    return {name: pulls[name] for name in by_correlation(results, list(pulls), MAX_PARAMETERS)}


def _pulls(results: Results, pulls: Mapping[str, tuple[float, float]]) -> Figure:
    figure = _figure(results, height=1.9 + 0.28 * len(pulls))
    axes = figure.subplots()
    rows = np.arange(len(pulls))[::-1]
    centres, errors = np.array(list(pulls.values())).T
    for reach, shade in ((2, "#eeeeee"), (1, "#d8e6f3")):
        axes.axvspan(-reach, reach, color=shade, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.errorbar(centres, rows, xerr=errors, fmt="o", color="black", markersize=4.5, capsize=2)
    axes.set_yticks(rows, [_short(name) for name in pulls])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(pulls) - 0.3)
    limit = max(2.5, 1.15 * float((np.abs(centres) + errors).max()))
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("pull, in units of the constraint")
    return figure
