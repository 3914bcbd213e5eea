"""The summary of a run on the terminal: short, 80 columns, and plain in a log file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import table
from rich.console import Console, Group, RenderableType
from rich.text import Text

from inferno_cli.fit.result import Estimate
from inferno_cli.names import printable
from inferno_cli.report.run.canvas import title
from inferno_cli.report.tables import Line, Table
from inferno_cli.runs.record import Results

MAX_NUISANCES = 8
"""Rows of nuisance parameters; a workspace can have hundreds, and results.json has them all."""
MAX_NOTES = 5


def decimals(error: float) -> int:
    """Return the decimals that show three significant digits of ``error``, four when it begins with 1."""
    if not (error > 0 and math.isfinite(error)):
        return 3
    return max(0, 2 - math.floor(math.log10(error / 2)))


def by_correlation(results: Results, names: Sequence[str], limit: int) -> list[str]:
    """Return at most ``limit`` of the parameters, those most correlated with mu, in their own order."""
    row = results.correlation.get("mu", {})
    foremost = sorted(names, key=lambda name: -abs(row.get(name, 0.0)))[:limit]
    return [name for name in names if name in foremost]


def summary(results: Results, *, plus_minus: str = "±") -> RenderableType:
    """Return what a physicist wants to see at the end of a run, at most about twenty lines.

    Args:
        results: The record of the run.
        plus_minus: Sign in front of symmetric errors; "+-" where the terminal has no better.
    """
    parts: list[RenderableType] = [Text(title(results), style="bold")]
    if results.label:
        parts.append(Text(f"*** {results.label} ***", style="bold yellow"))
    parts.append(_parameters(results, plus_minus))
    if facts := list(_facts(results)):
        grid = table.Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(overflow="fold")
        grid.add_column(overflow="fold")
        for name, value in facts:
            grid.add_row(Text(printable(name)), Text(printable(value).replace("±", plus_minus)))
        parts += [Text(), grid]
    return Group(*parts)


def show(results: Results) -> None:
    """Print the summary to stdout, without colours where that is not a terminal."""
    console = Console(highlight=False)
    plus_minus = "±" if console.encoding.lower().startswith("utf") else "+-"
    console.print(summary(results, plus_minus=plus_minus))


def _parameters(results: Results, plus_minus: str) -> RenderableType:
    lines: list[Line] = []

    def add(name: str, estimate: Estimate, kind: str = "") -> None:
        digits = decimals(estimate.hesse)
        hesse = f"{plus_minus}{estimate.hesse:.{digits}f}" if estimate.hesse > 0 else "constant"
        if estimate.at_limit is not None:
            hesse = "at its limit"
        minos = "" if estimate.minos is None else "  ".join(f"{side:+z.{digits}f}" for side in estimate.minos)
        lines.append(Line([name, f"{estimate.bestfit:z.{digits}f}", hesse, minos], kind))

    poi = results.parameters["mu"]
    add("mu" if results.poi == "mu" else f"mu ({results.poi})", poi, "poi")
    for _, quantity, value in results.outcomes():
        for what, estimate in quantity.estimates(value).items():
            add(f"mu, {what}", estimate)
    scalars = [name for name in results.scalars if name != "mu"]
    shown = by_correlation(results, scalars, MAX_NUISANCES)
    for name in shown:
        add(name, results.parameters[name])
    if len(shown) < len(scalars):
        lines.append(Line([f"... and {len(scalars) - len(shown)} more in results.json"]))
    for name, entries in _vectors(results).items():
        errors = [entry.hesse for entry in entries]
        values = [entry.bestfit for entry in entries]
        lines.append(Line([f"{name} ({len(entries)} bins)", _range(values, 3), plus_minus + _range(errors, 3)]))
    return Table(("", "best fit", "HESSE", "MINOS"), lines).on_terminal(gap=3)


def _vectors(results: Results) -> dict[str, list[Estimate]]:
    """Group the entries of vectors, all staterror in one; constant entries are left out."""
    groups: dict[str, list[Estimate]] = {}
    for parameter in results.parameters.values():
        if parameter.entry is not None and parameter.hesse > 0:
            name = parameter.kind if parameter.kind == "staterror" else parameter.entry.vector
            groups.setdefault(name, []).append(parameter)
    return groups


def _not_trained(results: Results) -> list[str]:
    """Nuisance parameters of the fit that the training knew nothing of."""
    known = () if results.training is None else ("mu", *results.training.nuisance)
    return [name for name in results.scalars if name not in known]


def _range(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):z.{digits}f}", f"{max(values):z.{digits}f}"
    return low if low == high else f"{low}..{high}"


def _facts(results: Results) -> Iterator[tuple[str, str]]:
    for name, quantity, value in results.outcomes():
        yield from quantity.rows(name, value, results)
    if results.sigma_s is not None:
        text = f"{results.sigma_s:.4g}"
        if bound := results.cramer_rao_bound_s:
            text += f", Cramer-Rao bound {bound:.4g} ({results.sigma_s / bound - 1:+.1%})"
        yield "sigma(s)", text
    if (variance := results.poi_variance) is not None:
        honest = "" if variance.honest is None else f", {_sigma(variance.honest)} with the noise of their variations"
        yield (
            "sigma(mu), closed form",
            f"templates {_sigma(variance.templates)}{honest}; validation soft {_sigma(variance.validation_soft)}, "
            f"hard {_sigma(variance.validation_hard)}",
        )
    if results.stability:
        names = by_correlation(results, list(results.stability), MAX_NUISANCES)
        yield "HESSE, two halves", ", ".join(f"{name} {_sides(results.stability[name])}" for name in names)
    if (origin := results.trained_in) is not None:
        yield "network", f"of {origin.folder}" + (f" ({origin.experiment})" if origin.experiment else "")
    if results.training is not None and (absent := _not_trained(results)):
        yield "not in the training", f"{', '.join(absent)} (in the fit alone)"
    if results.bins is not None:
        before = sum(len(entry.merged_from) for entry in results.bins)
        merged = "none merged" if before == len(results.bins) else f"merged from {before}"
        yield "bins", f"{len(results.bins)}, {merged}"
    for note in results.notes[:MAX_NOTES]:
        yield "note", note
    if len(results.notes) > MAX_NOTES:
        yield "note", f"and {len(results.notes) - MAX_NOTES} more in results.json"


def _sigma(variance: float | None) -> str:
    return "singular" if variance is None else f"{math.sqrt(variance):#.4g}"


def _sides(errors: tuple[float, float]) -> str:
    return " | ".join(f"{error:#.3g}" for error in errors)
