"""Width, bias and coverage of the intervals over pseudo-experiments whose truth is known: tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferno_cli.drawing.style import MUTED, Canvas
from inferno_cli.fit.coverage import ONE_SIGMA
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.figures._common import COLOURS, legend_below, line_of, point_name
from inferno_cli.report.comparison.points import Point
from inferno_cli.report.comparison.tables import value_text
from inferno_cli.report.tables import Line, Table
from inferno_cli.runs.coverage import NOMINAL, PRIORS, CoverageRecord
from inferno_cli.runs.points import MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITION = 2
NOTE = (
    "HESSE is the mean error that the fits claim, spread the standard deviation of their best fits, bias the mean of "
    "best fit minus truth; common bias is how large the noise of the simulation lets it be in one run; off is the "
    "MINOS coverage minus 68.3% in units of its statistical error; score is that of the FAIR Universe challenge. "
    "Repeats are averaged, with the statistical error of all; [smallest, largest] is their range."
)

TITLES = {"pull_spread": "pull spread", "coverage_hesse": "coverage, HESSE", "coverage_minos": "coverage, MINOS"}


class Number(NamedTuple):
    """A number over the repeats: their mean, its statistical error, and their range."""

    value: float
    error: float
    low: float
    high: float

    @classmethod
    def over(cls, repeats: Sequence[tuple[float, float]]) -> Number:
        """Average repeats, each with its error; they have the same number of pseudo-experiments."""
        values, errors = np.array(repeats, dtype=float).T
        error = math.sqrt(float((errors**2).sum())) / len(values)
        return cls(float(values.mean()), error, float(values.min()), float(values.max()))

    def text(self) -> str:
        """Return the number with its error, and the range where there are repeats."""
        text = f"{self.value:z.3f} ± {self.error:.3f}"
        return text if self.low == self.high else f"{text} [{self.low:z.3f}, {self.high:z.3f}]"


@dataclass(frozen=True)
class Covered:
    """The pseudo-experiments of one truth in all repeats of a point."""

    point: Point
    repeats: tuple[CoverageRecord, ...]

    @property
    def mu(self) -> float | None:
        """True mu; None: all of them together."""
        return self.repeats[0].mu

    @property
    def nuisance(self) -> str:
        """True nuisance parameters."""
        return self.repeats[0].nuisance

    def number(self, name: str) -> Number:
        """Return a number that has an error."""
        return Number.over([getattr(item, name) for item in self.repeats])

    def mean(self, name: str) -> float:
        """Return a number without one."""
        return float(np.mean([getattr(item, name) for item in self.repeats]))

    @property
    def off(self) -> float:
        """Coverage of MINOS minus 68.3%, in units of the error that it has where it is right."""
        total = sum(item.experiments for item in self.repeats)
        right = math.sqrt(ONE_SIGMA * (1 - ONE_SIGMA) / total)
        return (self.number("coverage_minos").value - ONE_SIGMA) / right

    @property
    def relative_bias(self) -> Number:
        """Bias in units of the mean HESSE error."""
        return Number.over([(item.bias[0] / item.hesse, item.bias[1] / item.hesse) for item in self.repeats])


def covered(comparison: Comparison) -> list[Covered]:
    """Return what the runs found, the models of one truth beside each other."""
    found: dict[tuple[str, float | None], list[Covered]] = {}
    for point in comparison.points:
        of_truth: dict[tuple[str, float | None], list[CoverageRecord]] = {}
        for results in point.results:
            for item in () if results.coverage is None else results.coverage.truths:
                of_truth.setdefault((item.nuisance, item.mu), []).append(item)
        for truth, repeats in of_truth.items():
            found.setdefault(truth, []).append(Covered(point, tuple(repeats)))
    return [item for items in found.values() for item in items]


# ----------------------------------------------------------------------------------------------------- the tables
def tables(comparison: Comparison) -> Iterator[tuple[str, Table, Table]]:
    """Yield the name of the file, the table to be read, and the one with all digits."""
    rows = covered(comparison)
    if not rows:
        return
    places = [*comparison.names.values(), "true nuisance", "true mu"]
    numbers = ("spread", "bias", "pull_mean", "pull_spread", "coverage_hesse", "coverage_minos")
    shown = ("spread", "bias", "pull_spread", "coverage_hesse", "coverage_minos")
    headings = [*places, "repeats", "experiments", "HESSE", *(TITLES.get(name, name) for name in shown)]
    headings += ["off", "common bias", "score"]
    lines, digits = [], []
    for row in rows:
        at = [
            comparison.model_titles.get(row.point.model, "") if key == MODEL else value_text(row.point.at.get(key))
            for key in comparison.keys
        ]
        mu = "all" if row.mu is None else f"{row.mu:g}"
        total, failed = (sum(getattr(item, name) for item in row.repeats) for name in ("experiments", "failed"))
        experiments = f"{total}" if not failed else f"{total} ({failed} failed)"
        cells = [*at, row.nuisance, mu, f"{len(row.repeats)}", experiments, f"{row.mean('hesse'):.3f}"]
        cells += [row.number(name).text() for name in shown]
        lines.append(Line([*cells, f"{row.off:+.1f}", f"{row.mean('common_bias'):.3f}", f"{row.mean('score'):.2f}"]))
        exact: list[object] = [*at, row.nuisance, mu, len(row.repeats), total, failed, row.mean("hesse")]
        for name in numbers:
            exact += [row.number(name).value, row.number(name).error]
        digits.append(Line([*exact, row.off, row.mean("common_bias"), row.mean("score")]))
    names = [*places, "repeats", "experiments", "failed", "hesse"]
    for name in numbers:
        names += [name, f"{name}_error"]
    origins = {results.coverage.origin for results in comparison.results if results.coverage is not None}
    title = f"Coverage: pseudo-data {' or '.join(sorted(origins))}"
    read = Table(headings, lines, len(places), title, NOTE)
    yield "coverage", read, Table([*names, "off", "common_bias", "score"], digits, len(places))


# ---------------------------------------------------------------------------------------------------- the figures
def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield a figure against the true mu, and one with the true nuisance parameters at one standard deviation."""
    rows = covered(comparison)
    scanned = [row for row in rows if row.nuisance in (NOMINAL, PRIORS) and row.mu is not None]
    if len({row.mu for row in scanned}) > 1:
        yield "coverage", _against_mu(comparison, scanned)
    moved = [row for row in rows if row.mu == 1]
    if len({row.nuisance for row in moved}) > 1:
        yield "coverage_nuisance", _by_nuisance(comparison, moved)


def _style(comparison: Comparison, point: Point) -> dict[str, Any]:
    """Return colour and label of a point: that of its model where this tells the points apart."""
    models = [other.model for other in comparison.points]
    has_own = models.count(point.model) == 1
    colour = COLOURS[comparison.points.index(point) % len(COLOURS)]
    if has_own:
        colour = line_of(comparison, point.model)["color"]
    return {"color": colour, "label": point_name(comparison, point)}


def _against_mu(comparison: Comparison, rows: Sequence[Covered]) -> Figure:
    nuisances = list(dict.fromkeys(row.nuisance for row in rows))
    figure = Canvas(comparison.label, comparison.title, comparison.shown).figure(
        width=3.4 * len(nuisances) + 0.6, height=7.2
    )
    grid = figure.subplots(3, len(nuisances), squeeze=False, sharex=True, sharey="row")
    quantities: tuple[tuple[str, Callable[[Covered], Number]], ...] = (
        (r"spread of $\hat\mu$ (line: HESSE)", lambda row: row.number("spread")),
        ("bias / HESSE", lambda row: row.relative_bias),
        ("coverage of MINOS", lambda row: row.number("coverage_minos")),
    )
    for column, nuisance in zip(grid.T, nuisances, strict=True):
        column[0].set_title(f"true nuisance parameters: {nuisance}", fontsize=9)
        column[-1].set_xlabel(r"true $\mu$")
        for number, point in enumerate(comparison.points):
            own = [row for row in rows if row.point is point and row.nuisance == nuisance]
            if not own:
                continue
            style, x = _style(comparison, point), np.array([row.mu for row in own], dtype=float)
            column[0].plot(x, [row.mean("hesse") for row in own], "-", color=style["color"])
            for axes, (_, read) in zip(column, quantities, strict=True):
                # Side by side, that errors can be told apart.
                _points(axes, x + 0.02 * number, [read(row) for row in own], style)
        column[1].axhline(0, color=MUTED, linewidth=0.9, linestyle=":")
        column[2].axhline(ONE_SIGMA, color=MUTED, linewidth=0.9, linestyle=":")
    for axes, (label, _) in zip(grid[:, 0], quantities, strict=True):
        axes.set_ylabel(label)
    legend_below(figure)
    return figure


def _points(axes: Axes, x: Any, numbers: Sequence[Number], style: dict[str, Any]) -> None:
    y, errors = [item.value for item in numbers], [item.error for item in numbers]
    axes.errorbar(x, y, yerr=errors, fmt="o", capsize=2, markersize=4, **style)


def _by_nuisance(comparison: Comparison, rows: Sequence[Covered]) -> Figure:
    nuisances = list(dict.fromkeys(row.nuisance for row in rows))
    height = 1.8 + 0.32 * len(nuisances)
    figure = Canvas(comparison.label, comparison.title, comparison.shown).figure(width=7.6, height=max(3.6, height))
    left, right = figure.subplots(1, 2, sharey=True)
    points = list({id(row.point): row.point for row in rows}.values())
    for row in rows:
        offset = (points.index(row.point) - (len(points) - 1) / 2) * 0.5 / len(points)
        style = {"fmt": "o", "capsize": 2, "markersize": 4, **_style(comparison, row.point)}
        for axes, number in ((left, row.relative_bias), (right, row.number("coverage_minos"))):
            axes.errorbar(number.value, nuisances.index(row.nuisance) + offset, xerr=number.error, **style)
    left.set_yticks(range(len(nuisances)), nuisances)
    left.invert_yaxis()
    left.axvline(0, color=MUTED, linewidth=0.9, linestyle=":")
    right.axvline(ONE_SIGMA, color=MUTED, linewidth=0.9, linestyle=":")
    left.set_xlabel("bias / HESSE")
    right.set_xlabel("coverage of MINOS")
    left.set_title(r"true $\mu$ = 1", fontsize=9)
    legend_below(figure)
    return figure
