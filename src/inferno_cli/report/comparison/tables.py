"""The comparison as tables: on the terminal, CSV, Markdown and JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from inferno_cli.names import markdown
from inferno_cli.report.comparison.comparison import BASELINE, SPREAD, Comparison, Quantity, Row, Spread
from inferno_cli.report.tables import WIDTH_OF_A_WIDE_ONE, Line, Table, show_title, terminal
from inferno_cli.runs.points import MODEL
from inferno_cli.section import POI

SCHEMA = "inferno_cli/comparison/1"
FOREMOST = (
    "mu",
    "minos_down",
    "minos_up",
    "width",
    "hesse",
    "ratio",
    "stat_only",
    "significance",
    "observed_significance",
    "goodness_of_fit",
    "sigma_s",
    "relative_error_s",
    "bound_s",
    "bins_left",
    "bins",
)
"""Where there is little room, as on a terminal of fewer than ``WIDE`` letters; the files have every column."""
WIDE = 190


def value_text(value: Any) -> str:
    """Return a swept value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return "+".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def place_cells(comparison: Comparison, row: Row) -> list[str]:
    """Return the swept values of a row, and how many repeats it has."""
    cells = []
    for key in comparison.keys:
        value = row.at.get(key)
        cells.append(comparison.model_titles.get(str(value), str(value)) if key == MODEL else value_text(value))
    if row.source:
        return [*cells, row.label]
    return [*cells, f"{row.repeats}" if not row.missing else f"{row.repeats} of {row.repeats + row.missing}"]


def number(statistic: Spread | None, form: str, *, spread: bool) -> str:
    """Return a number, with the range of its repeats in brackets where there are several."""
    if statistic is None:
        return ""
    text, low, high = (f"{value:{form}}" for value in (statistic.median, statistic.low, statistic.high))
    return f"{text} [{low}, {high}]" if spread and low != high else text


def table(comparison: Comparison, columns: Sequence[Quantity], spread: str | None = None) -> Table:
    """Return the points and the published numbers in some columns; published rows that have none are left out.

    ``spread`` is the name of the only column with the range of the repeats; None: all have it.
    """
    lines = []
    for row in comparison.rows:
        numbers = []
        for item in columns:
            shows_range = spread is None or item.name == spread
            numbers.append(number(row.values.get(item.name), item.form, spread=shows_range))
        if any(numbers) or not row.source:
            kind = "published" if row.source else "incomplete" if row.missing else ""
            lines.append(Line([*place_cells(comparison, row), *numbers], kind, row.source))
    headings = [*comparison.names.values(), "repeats", *(item.title for item in columns)]
    return Table(headings, lines, len(comparison.keys))


def foremost(comparison: Comparison, names: Sequence[str] = FOREMOST) -> list[Quantity]:
    """Return columns of the main table that are to be read first, or all; without POIs, which are 1, of Asimov data."""
    fitted = any(result.data == "observed" for result in comparison.results)
    of_pois = [f"sigma_{poi}" for poi in comparison.pois]
    chosen = []
    for item in comparison.main:
        is_wanted = not names or item.name in (*names, *of_pois)
        if is_wanted and (fitted or item.name not in (POI, *comparison.pois)):
            chosen.append(item)
    return chosen


def show_comparison(comparison: Comparison, metrics: Sequence[str] = ()) -> None:
    """Print the main table to stdout, with some of the metrics."""
    console = terminal(WIDTH_OF_A_WIDE_ONE)
    show_title(console, comparison.title, comparison.label)
    columns = foremost(comparison, FOREMOST if console.width < WIDE else ())
    columns += [item for item in comparison.metrics if item.name in metrics]
    # One column has room for the spread over the repeats.
    spread = "sigma_s" if any(item.name == "sigma_s" for item in columns) else "width"
    console.print(table(comparison, columns, spread))
    if comparison.label and any(row.source for row in comparison.rows):
        console.print(Text(f"published rows are not of the {comparison.label.partition(',')[0]}", style="dim"))
    for line in remarks(comparison):
        console.print(Text(line), soft_wrap=True)


def remarks(comparison: Comparison) -> list[str]:
    """Return what has to be said below a table: what is missing, notes, and sources of published numbers."""
    lines = [f"missing: {job.where}: {job.error}" for job in comparison.missing]
    lines += [f"note: {text}" for text in _notes(comparison)]
    reference, published = comparison.reference, [row for row in comparison.rows if row.source]
    if published:
        lines += [f"published: {source}" for source in dict.fromkeys(row.source for row in published)]
        names = dict.fromkeys(itertools.chain.from_iterable(row.values for row in published))
        if unknown := names.keys() - {item.name for item in comparison.quantities}:
            lines.append(f"published, without a column here: {', '.join(name for name in names if name in unknown)}")
        if reference.note:
            lines.append(f"of the published numbers: {reference.note}")
    elif reference.rows:
        keys = ", ".join(dict.fromkeys(itertools.chain.from_iterable(map(comparison.unlike, reference.rows))))
        lines.append(f"published: none of {reference.name}, whose {keys} is not that of these runs")
    return lines


def _notes(comparison: Comparison) -> list[str]:
    """Return what has to be said of the runs."""
    said = list(comparison.notes)
    if comparison.bases:
        conditions = ",".join(comparison.baseline or BASELINE)
        place = "" if len(comparison.bases) == 1 else " at the same point, or the first of them"
        said.append(f"ratio: the HESSE error divided by the median of the runs with {conditions}{place}")
    if texts := _by_model(comparison, comparison.of_the_models):
        said.append(f"the models differ in their settings: {'; '.join(texts)}")
    if texts := _by_model(comparison, comparison.beside_the_model):
        said.append(f"the models differ in more than the model: {'; '.join(texts)}")
    return said


def _by_model(comparison: Comparison, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return settings as texts, with the value of each model."""
    texts = []
    for key, values in settings.items():
        by_model = ", ".join(
            f"{comparison.model_titles.get(model, model)} {value_text(value)}" for model, value in values.items()
        )
        texts.append(f"{key} ({by_model})")
    return texts


def as_csv(comparison: Comparison) -> str:
    """Return every column as CSV: the median, then the smallest and largest, of every quantity."""
    headings = [*comparison.keys, "repeats", "missing", "source", "label", "differs"]
    differing = {**comparison.of_the_models, **comparison.beside_the_model}
    for item in comparison.quantities:
        headings += [item.name, f"{item.name}_low", f"{item.name}_high"]
    lines = []
    for row in comparison.rows:
        cells: list[Any] = []
        for key in comparison.keys:
            value = row.at.get(key)
            cells.append(json.dumps(value) if isinstance(value, list | dict) else value)
        source, label = (f"published: {row.source}", row.label) if row.source else ("runs", comparison.label)
        own = {key: values.get(row.model) for key, values in differing.items()} if not row.source else {}
        cells += [row.repeats, row.missing, source, label, json.dumps(own) if own else ""]
        for item in comparison.quantities:
            entry = row.values.get(item.name)
            cells += ["", "", ""] if entry is None else [entry.median, entry.low, entry.high]
        lines.append(Line(cells))
    return Table(headings, lines).csv()


def as_markdown(comparison: Comparison, added: Sequence[Table] = ()) -> str:
    """Return the main table, those of the metrics and of the nuisance parameters, and further ones as Markdown."""
    lines = [f"# {markdown(comparison.title)}", ""]
    for columns in (comparison.main, comparison.metrics, comparison.others):
        if columns:
            lines += [f"**{markdown(comparison.label)}**", ""] if comparison.label else []
            lines += [*table(comparison, columns).markdown(), ""]
    lines += [f"- {markdown(line)}" for line in remarks(comparison)]
    for item in added:
        label = [f"**{markdown(comparison.label)}**", ""] if comparison.label else []
        lines += ["", f"## {markdown(item.title)}", "", *label, *item.markdown(), "", markdown(item.note)]
    return "\n".join(lines) + "\n"


def record_of(comparison: Comparison, figures: Sequence[str] = ()) -> dict[str, Any]:
    """Return everything as one record, with the names of the files that its figures are in."""
    points = []
    for row in comparison.rows:
        values = {name: vars(statistic) for name, statistic in row.values.items()}
        points.append({"at": row.at, "published": row.source or None, "repeats": row.repeats, "values": values})
    runs = [{"folder": job.where, "at": point.at} for point in comparison.points for job in point.jobs]
    return {
        "schema": SCHEMA,
        "label": comparison.label,
        "dataset": comparison.results[0].dataset,
        "statistic": SPREAD,
        "swept": comparison.keys,
        "points": points,
        "runs": runs,
        "missing": [{"folder": job.where, "error": job.error} for job in comparison.missing],
        "notes": _notes(comparison),
        "figures": list(figures),
    }


def as_json(comparison: Comparison, figures: Sequence[str] = ()) -> str:
    """Return the record as JSON."""
    return json.dumps(record_of(comparison, figures), indent=1, default=str) + "\n"
