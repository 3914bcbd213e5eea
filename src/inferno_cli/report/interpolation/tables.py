"""An interpolation as tables."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from inferno_cli.interpolation.pulls import DEFINITIONS
from inferno_cli.interpolation.record import InterpolationRecord, SpreadRecord
from inferno_cli.report.tables import Line, Table, show_title, terminal

TITLES = {
    "training": "training",
    "held_out": "held out",
    "left_out_inside": "left out by a fold, inside",
    "left_out_edge": "left out by a fold, edge",
}
"""What a group of points is called."""
ERRORS = {"ensemble": "sigma of the flows", "statistical": "sqrt(N)", "larger": "the larger", "both": "both"}
"""What the difference is divided by."""


def title(record: InterpolationRecord) -> str:
    """Return what was interpolated."""
    return f"{record.dataset}: signals given {', '.join(record.parameters)}, {record.members} flows"


def tables(record: InterpolationRecord) -> list[Table]:
    """Return the groups, every point that trained nothing, the yields, and the new templates; without empty ones."""
    found = [_groups(record), _points(record), _yields(record), _targets(record)]
    return [table for table in found if table.rows]


def show(record: InterpolationRecord) -> None:
    """Print the groups and the new templates, and what failed."""
    console = terminal()
    show_title(console, title(record), record.label)
    console.print(_groups(record))
    targets = _targets(record)
    if targets.rows:
        console.print()
        console.print(targets)
    for note in record.notes:
        console.print(Text(note, style="yellow"))


def _groups(record: InterpolationRecord) -> Table:
    lines = []
    for name, group in record.groups.items():
        verdict = "" if name == "training" else "holds" if group.holds else "FAILS"
        cells = [TITLES[name], group.n_points, *_spreads(group.pulls), _number(group.divergence, 4), verdict]
        lines.append(Line(cells))
    headings = ["points", "number", *(f"pulls / {ERRORS[kind]}" for kind in DEFINITIONS), "log p - log q", "verdict"]
    note = (
        "Mean and width of (flow - simulation) / error over the bins, by what the error is; log p - log q where the "
        "true density is known. The verdict is by the larger error: a mean within 0.5 of 0, and a width below 2."
    )
    return Table(headings, lines, title="Pulls", note=note)


def _points(record: InterpolationRecord) -> Table:
    lines = []
    for point in record.points:
        if point.group != "training":
            cells = [point.sample, TITLES[point.group], *_spreads(point.pulls), _number(point.divergence, 4)]
            lines.append(Line(cells))
    headings = ["signal", "points", *(f"pulls / {ERRORS[kind]}" for kind in DEFINITIONS), "log p - log q"]
    note = "Points whose events the flows have not seen."
    return Table(headings, lines, places=2, title="Points without a training", note=note)


def _yields(record: InterpolationRecord) -> Table:
    if record.yields is None:
        return Table((), ())
    lines = []
    for point in record.yields.points:
        predicted = f"{point.predicted:.4g} +- {100 * point.relative_error:.2g}%"
        lines.append(Line([point.sample, f"{point.expected:.4g}", predicted, f"{point.pull:+.2f}"]))
    spread = record.yields.pulls
    note = (
        f"Each from the other points. Kernel of ln yield: {record.yields.kernel}. Pulls: mean {spread.mean:.2f}, "
        f"width {spread.width:.2f}."
    )
    return Table(["signal", "yield", "predicted", "pull"], lines, title="Yields", note=note)


def _targets(record: InterpolationRecord) -> Table:
    lines = []
    for target in record.targets:
        at = ", ".join(f"{name}={value:g}" for name, value in target.at.items())
        relative = (sum(x**2 for x in target.errors) ** 0.5) / max(sum(target.nominal), 1e-300)
        place = "" if target.is_inside else "extrapolation"
        expected = f"{target.expected:.4g} +- {100 * target.relative_error:.2g}%"
        cells = [at, target.workspace, place, len(target.nominal), expected, f"{100 * relative:.2g}%"]
        if any(item.limit for item in record.targets):
            cells += [_limit(target.limit), _number(target.simulated_limit, 3)]
        lines.append(Line(cells))
    headings = ["at", "workspace", "", "bins", "signal", "error of the flows"]
    if any(item.limit for item in record.targets):
        headings += ["expected limit on mu", "simulated"]
    note = "Templates at new parameters, each in a workspace for inferno fit."
    return Table(headings, lines, places=3, title="New parameters", note=note)


def _spreads(pulls: Mapping[str, SpreadRecord]) -> list[str]:
    found = []
    for kind in DEFINITIONS:
        spread = pulls.get(kind)
        found.append("" if spread is None else f"{spread.mean:+.2f}, {spread.width:.2f}")
    return found


def _limit(limit: tuple[float, ...] | None) -> str:
    return "" if limit is None else f"{limit[2]:.3f} [{limit[1]:.3f}, {limit[3]:.3f}]"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
