"""The summary of a run on the terminal: short, 80 columns, and plain in a log file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import table
from rich.console import Console, Group, RenderableType
from rich.text import Text

from inferno_cli.fit.result import Estimate, Impact, Limit, Significance
from inferno_cli.names import printable
from inferno_cli.report.run.canvas import title
from inferno_cli.report.run.yields import YIELDS_FILE, channels
from inferno_cli.report.tables import Line, Table
from inferno_cli.runs.record import Results

MAX_NUISANCES = 8
"""Rows of nuisance parameters; a workspace can have hundreds, and results.json has them all."""

MAX_RANKED = 3
MAX_CHANNELS = 3
"""With their expected events on the terminal; yields.md has all, by sample."""
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
    if facts := list(_facts(results, plus_minus)):
        grid = table.Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(overflow="fold")
        grid.add_column(overflow="fold")
        for name, value in facts:
            grid.add_row(Text(printable(name)), Text(printable(value)))
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
    if results.stat_only is not None:
        add("mu, stat. only", results.stat_only.mu)
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
    """Group "staterror_SR[0]", "staterror_SR[1]", ... and the like; constant entries are left out."""
    groups: dict[str, list[Estimate]] = {}
    for name, entry in results.parameters.items():
        if results.is_entry(name) and entry.hesse > 0:
            base = "staterror" if name.startswith("staterror") else name.rpartition("[")[0]
            groups.setdefault(base, []).append(entry)
    return groups


def _not_trained(results: Results) -> list[str]:
    """Nuisance parameters of the fit that the training knew nothing of."""
    known = () if results.training is None else ("mu", *results.training.nuisance)
    return [name for name in results.scalars if name not in known]


def significance_text(found: Significance, data: str) -> str:
    """Return the expected significance, or of observed data the observed one and what was expected."""
    if data == "asimov":
        return f"expected {_sigmas(found.expected)} (p = {found.expected_p_value:.2g})"
    text = f"observed {_sigmas(found.observed)} (p = {found.observed_p_value:.2g}); expected "
    if found.a_priori is not None:
        text += f"{_sigmas(found.a_priori)} from nominal parameters, "
    return f"{text}{_sigmas(found.expected)} from those fitted to the data"


def _sigmas(significance: float | None) -> str:
    return "above 37 sigma" if significance is None else f"{significance:.3g} sigma"


def _range(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):z.{digits}f}", f"{max(values):z.{digits}f}"
    return low if low == high else f"{low}..{high}"


def _facts(results: Results, plus_minus: str) -> Iterator[tuple[str, str]]:
    if results.significance is not None:
        yield "significance", significance_text(results.significance, results.data)
    if results.limit is not None:
        yield "upper limit", _limit(results, results.limit)
    if results.goodness_of_fit is not None:
        fit = results.goodness_of_fit
        yield "goodness of fit", f"p = {fit.p_value:.3g}, {fit.degrees_of_freedom} degrees of freedom"
    if results.breakdown is not None:
        parts = [(group.name, group.cumulative) for group in results.breakdown.groups]
        parts.append(("statistical", results.breakdown.statistical))
        text = ", ".join(f"{name} {error:.3g}" for name, error in parts)
        yield "HESSE in quadrature", f"{text} (fixed in this order)"
    if results.ranking:
        largest = (f"{entry.parameter} {_impact(entry)}" for entry in results.ranking[:MAX_RANKED])
        yield "impacts, post-fit", ", ".join(largest)
    if 0 < len(by_channel := channels(results)) <= MAX_CHANNELS:
        for name, (prefit, postfit) in by_channel.items():
            totals = " -> ".join(
                f"{value:z.1f} {plus_minus}{error:.1f}" for value, error in (prefit.total, postfit.total)
            )
            text = f"{totals}, data {sum(prefit.data):.1f}; by sample in {YIELDS_FILE}"
            yield "events" if len(by_channel) == 1 else f"events, {name}", text
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


def _limit(results: Results, limit: Limit) -> str:
    """Return the limit, expected ones with the band of one sigma."""
    expected = limit.expected if limit.a_priori is None else limit.a_priori
    text = f"expected {expected[2]:.3g}, 68% within {expected[1]:.3g} and {expected[3]:.3g}"
    if results.data == "observed":
        text = f"observed {limit.observed:.3g}, {text}"
    return f"{100 * limit.confidence_level:.4g}% CL: {text}"


def _impact(entry: Impact) -> str:
    return "/".join("?" if side is None else f"{side:+.2g}" for side in entry.postfit)


def _sigma(variance: float | None) -> str:
    return "singular" if variance is None else f"{math.sqrt(variance):#.4g}"


def _sides(errors: tuple[float, float]) -> str:
    return " | ".join(f"{error:#.3g}" for error in errors)
