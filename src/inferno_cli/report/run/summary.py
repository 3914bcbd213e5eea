"""The result of a run in words: on the terminal in 80 columns, in a few lines of Markdown, and its tables as files."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import table
from rich.console import Console, Group, RenderableType
from rich.text import Text

from inferno_cli.errors import OutputError
from inferno_cli.fit.result import Estimate
from inferno_cli.names import markdown, printable
from inferno_cli.report.tables import Line, Table, decimals
from inferno_cli.runs.record import BinRecord, Results
from inferno_cli.section import POI
from inferno_cli.training.metrics import metrics

MAX_NUISANCES = 8
"""Rows of nuisance parameters; a workspace can have hundreds, and results.json has them all."""
MAX_NOTES = 5


def title(results: Results) -> str:
    """Return "INFERNO on top11004, Asimov data": what was fitted, to which data."""
    data = "Asimov data" if results.data == "asimov" else "observed data"
    if results.blinded:
        data += ", blinded"
    model = "" if results.model is None else f"{results.model_title or results.model} on "
    return f"{model}{results.dataset}, {data}"


def by_correlation(results: Results, names: Sequence[str], limit: int) -> list[str]:
    """Return at most ``limit`` of the parameters, those most correlated with mu, in their own order."""
    row = results.correlation.get("mu", {})
    foremost = sorted(names, key=lambda name: -abs(row.get(name, 0.0)))[:limit]
    return [name for name in names if name in foremost]


def headline(results: Results) -> str:
    """Return mu with its errors, and what it was measured with, in Markdown: the description of a run in MLflow."""
    digits = decimals(results.mu.hesse)
    errors = _errors(results.mu)
    for _, quantity, value in results.outcomes():
        for text, estimate in quantity.estimates(value).items():
            if estimate.error is not None:
                errors.append(f"±{estimate.error:.{digits}f} ({text})")
    # MLflow folds a description after some three lines; what must be said with every number comes before.
    what = markdown(title(results)) + (f". **{markdown(results.label)}**" if results.label else "")
    measured = [_measured(results, POI, errors)]
    measured += [_measured(results, poi, _errors(results.parameters[poi])) for poi in results.pois]
    lines = ["; ".join(measured), what]
    for name, quantity, value in results.outcomes():
        if quantity.is_foremost:
            lines += [f"{heading}: {text}" for heading, text in quantity.rows(name, value, results)]
    if results.sigma_s is not None:
        bound = "" if results.cramer_rao_bound_s is None else f", Cramér-Rao bound {results.cramer_rao_bound_s:.4g}"
        lines.append(f"sigma(s) = {results.sigma_s:.4g}{bound}")
    return "\n\n".join(lines)


def _errors(estimate: Estimate) -> list[str]:
    """Return the errors of a parameter, by how they were calculated."""
    digits, errors = decimals(estimate.hesse), []
    if estimate.minos is not None:
        errors.append(f"{estimate.minos[0]:+.{digits}f} / {estimate.minos[1]:+.{digits}f} (MINOS)")
    if estimate.error is not None:
        errors.append(f"±{estimate.error:.{digits}f} (HESSE)")
    return errors


def _measured(results: Results, poi: str, errors: Sequence[str]) -> str:
    """Return a POI with its errors, in Markdown."""
    estimate = results.parameters[poi]
    value = f"{estimate.bestfit:z.{decimals(estimate.hesse)}f}"
    return f"**{markdown(results.shown(poi, poi))} = {value}**, {', '.join(errors)}"


def write_tables(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write the tables that the quantities of the fit have, as Markdown; return the files.

    Raises:
        OutputError: If one cannot be written.
    """
    lines: dict[str, list[str]] = {}
    for _, quantity, value in results.outcomes():
        if quantity.file:
            lines.setdefault(quantity.file, []).extend(quantity.tables(value, results))
    label = [f"**{markdown(results.label)}**", ""] if results.label else []
    for name, text in lines.items():
        path = folder / name
        try:
            path.write_text("\n".join([*label, *text]), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"the table {path} cannot be written: {error}") from error
    return tuple(folder / name for name in lines)


def summary(results: Results, *, plus_minus: str = "±") -> RenderableType:
    """Return what a physicist wants to see at the end of a run, at most about twenty lines.

    ``plus_minus`` stands in front of symmetric errors; "+-" where the terminal has no better.
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
    add(results.shown(POI, "mu" if results.poi == "mu" else f"mu ({results.poi})"), poi, "poi")
    for _, quantity, value in results.outcomes():
        for what, estimate in quantity.estimates(value).items():
            add(results.shown(POI, f"mu, {what}"), estimate)
    for name in results.pois:
        add(results.shown(name, name), results.parameters[name], "poi")
    scalars = [name for name in results.scalars if name not in (POI, *results.pois)]
    shown = by_correlation(results, scalars, MAX_NUISANCES)
    for name in shown:
        add(results.shown(name, name), results.parameters[name])
    if len(shown) < len(scalars):
        lines.append(Line([f"... and {len(scalars) - len(shown)} more in results.json"]))
    for name, entries in _vectors(results).items():
        values = _range([entry.bestfit for entry in entries])
        errors = _range([entry.hesse for entry in entries])
        lines.append(Line([f"{name} ({len(entries)} bins)", values, plus_minus + errors]))
    return Table(("", "best fit", "HESSE", "MINOS"), lines, gap=3)


def _vectors(results: Results) -> dict[str, list[Estimate]]:
    """Group the entries of vectors, all staterror in one; constant entries are left out."""
    groups: dict[str, list[Estimate]] = {}
    for parameter in results.parameters.values():
        if parameter.entry is not None and parameter.hesse > 0:
            name = parameter.kind if parameter.kind == "staterror" else parameter.entry.vector
            groups.setdefault(name, []).append(parameter)
    return groups


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):z.3f}", f"{max(values):z.3f}"
    return low if low == high else f"{low}..{high}"


def _facts(results: Results) -> Iterator[tuple[str, str]]:
    for one, other in itertools.combinations((POI, *results.pois), 2):
        yield "correlation", f"{results.correlation[one][other]:+.2f} of {one} and {other}"
    for name, quantity, value in results.outcomes():
        yield from quantity.rows(name, value, results)
    yield from _metrics(results)
    yield from _closed_form(results)
    if results.coverage is not None and (overall := results.coverage.overall()) is not None:
        (minos, error), (hesse, _) = overall.coverage_minos, overall.coverage_hesse
        text = f"{minos:.3f} ± {error:.3f} (MINOS), {hesse:.3f} (HESSE) of {overall.experiments} experiments"
        yield "coverage", f"{text}, truth {overall.nuisance}; score {overall.score:.3f}"
    if results.trained_in is not None:
        origin = results.trained_in
        yield "network", f"of {origin.folder}" + (f" ({origin.experiment})" if origin.experiment else "")
    if results.training is not None:
        known = (POI, *results.pois, *results.training.nuisance)
        if absent := [name for name in results.scalars if name not in known]:
            yield "not in the training", f"{', '.join(absent)} (in the fit alone)"
    if results.bins is not None:
        yield "bins", _bins(results.bins)
    for note in results.notes[:MAX_NOTES]:
        yield "note", note
    if len(results.notes) > MAX_NOTES:
        yield "note", f"and {len(results.notes) - MAX_NOTES} more in results.json"


def _bins(bins: Sequence[BinRecord]) -> str:
    """Return how many bins are fitted, of each channel where there are several, and how many there were before."""
    before = sum(len(entry.merged_from) for entry in bins)
    merged = "none merged" if before == len(bins) else f"merged from {before}"
    of_channels = Counter(entry.channel for entry in bins)
    each = ", ".join(f"{name} {n}" for name, n in of_channels.items())
    return f"{len(bins)}, {merged}" + (f": {each}" if len(of_channels) > 1 else "")


def _metrics(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the foremost metrics of the templates."""
    texts = []
    for kind, metric in metrics().items():
        value = results.metric_values.get(kind)
        if metric.is_foremost and value is not None:
            texts.append(f"{metric.title} {value:{metric.form}}")
    if texts:
        yield "metrics", ", ".join(texts)


def _closed_form(results: Results) -> Iterator[tuple[str, str]]:
    """Yield what is known of the error without a fit."""
    if results.sigma_s is not None:
        text = f"{results.sigma_s:.4g}"
        if bound := results.cramer_rao_bound_s:
            text += f", Cramer-Rao bound {bound:.4g} ({results.sigma_s / bound - 1:+.1%})"
        yield "sigma(s)", text
    if (variance := results.poi_variance) is not None:
        text = f"templates {_sigma(variance.templates)}"
        if variance.honest is not None:
            text += f", {_sigma(variance.honest)} with the noise of their variations"
        both = variance.validation_soft, variance.validation_hard
        if both != (None, None):  # of new ntuples there is no validation split
            text += f"; validation soft {_sigma(variance.validation_soft)}, hard {_sigma(variance.validation_hard)}"
        yield "sigma(mu), closed form", text
    yield from _members(results)
    if results.stability:
        texts = []
        for name in by_correlation(results, list(results.stability), MAX_NUISANCES):
            texts.append(f"{name} " + " | ".join(f"{error:#.3g}" for error in results.stability[name]))
        yield "HESSE, two halves", ", ".join(texts)


def _members(results: Results) -> Iterator[tuple[str, str]]:
    """Yield what the members say of the chosen one, or of their mean."""
    if not (spread := results.spread_of_members()):
        return
    text = f"{len(results.members)}: sigma(mu) {spread['median']:#.4g} [{spread['low']:#.4g}, {spread['high']:#.4g}]"
    if results.optimism is not None and results.optimism_of_members is not None:
        which, others = ("their mean", "each") if results.is_averaged else ("the chosen one", "all")
        text += (
            f"; templates against validation {results.optimism:+.1%} of {which}, "
            f"{results.optimism_of_members:+.1%} of {others}"
        )
    yield "members", text


def _sigma(variance: float | None) -> str:
    return "singular" if variance is None else f"{math.sqrt(variance):#.4g}"
