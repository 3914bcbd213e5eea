"""The description of a dataset as tables: on the terminal, in the page, and ``data.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from rich.table import Table as RichTable
from rich.text import Text

from inferno_cli.events import ALL, Description, SystematicEntry
from inferno_cli.report.terminal import new_table, show_title, terminal

SCHEMA = "inferno_cli/data/1"


class Table(NamedTuple):
    """One table, as text.

    Attributes:
        title: What it holds.
        note: How to read it.
        headings: Of the columns, the first of which says what a row is.
        rows: Cells.
        places: The first columns, which say what a row is; the others are numbers.
    """

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    places: int = 1


def title(description: Description) -> str:
    """Return what a page, a plot or a table shows."""
    return f"dataset {description.dataset}"


def tables(description: Description) -> tuple[Table, ...]:
    """Return every table, in the order of the page."""
    return (_samples(description), _systematics(description), _overlap(description), *_features(description))


def _samples(description: Description) -> Table:
    rows = [
        (
            item.name,
            "signal" if item.is_signal else "background",
            f"{item.rows}",
            f"{item.sources}",
            " / ".join(map(str, item.splits)),
            f"{item.expected:.2f}",
            f"{item.error:.2f}",
            f"{item.effective:.0f}",
            f"{item.negative:.1%}",
        )
        for item in description.samples
    ]
    total = sum(item.expected for item in description.samples)
    error = np.sqrt(sum(item.error**2 for item in description.samples))
    rows.append(("prediction", "", "", "", "", f"{total:.2f}", f"{error:.2f}", "", ""))
    if description.observed_used is not None:
        data = ("data", "data", f"{description.observed_rows}", "", "", f"{description.observed_used}", "", "", "")
        rows.append(data)
    note = (
        "Yield: expected events, with luminosity scale and downsample factor; of data the events that are used. "
        "Events: what is divided into train, validation and template, nominal or shifted, rows of one source event "
        "together. Of a generated dataset the template split is described. "
        "Effective: unweighted events with the same relative error, (sum w)² / sum w²."
    )
    headings = ("sample", "role", "rows", "events", "splits", "yield", "error", "effective", "w < 0")
    return Table("Samples", note, headings, tuple(rows), places=2)


def _change(item: SystematicEntry | None) -> str:
    if item is None:
        return ""
    return "free" if item.up is None or item.down is None else f"{100 * item.up:+z.1f} {100 * item.down:+z.1f}"


def _systematics(description: Description) -> Table:
    samples = [item.name for item in description.samples]
    rows = []
    for name in dict.fromkeys(item.name for item in description.systematics):
        mine = {item.sample: item for item in description.systematics if item.name == name}
        kind = next(iter(mine.values())).kind
        rows.append((name, kind, *(_change(mine.get(sample)) for sample in samples)))
    heading = "Systematics: change of the yield at +1 and -1 standard deviation, in percent"
    note = "Of eigenvectors, the sum of their changes in quadrature; free: a yield without a constraint."
    return Table(heading, note, ("systematic", "kind", *samples), tuple(rows), places=2)


def _overlap(description: Description) -> Table:
    samples = [item.name for item in description.samples]
    rows = []
    for name in dict.fromkeys(item.name for item in description.systematics if item.overlap is not None):
        mine = {item.sample: item for item in description.systematics if item.name == name}
        cells = []
        for sample in samples:
            item = mine.get(sample)
            if item is None or item.rows is None or item.overlap is None:
                cells.append("")
            else:
                cells.append(f"{item.rows[0]} {item.rows[1]} ({item.overlap[0]:.1%} {item.overlap[1]:.1%})")
        rows.append((name, *cells))
    note = "Rows up and down, and the share of events (by id) in common with the nominal, of the smaller of the two."
    return Table("Shifted selections", note, ("systematic", *samples), tuple(rows))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _features(description: Description) -> Iterator[Table]:
    backgrounds = list(dict.fromkeys(item.background for item in description.separation))
    names = list(dict.fromkeys(item.feature for item in description.features))
    found = {(item.feature, item.background): item for item in description.separation}
    rows = []
    for name in names:
        pairs = [found.get((name, background)) for background in backgrounds]
        rows.append((name, *("" if pair is None else f"{pair.auc:.3f} {pair.ks:.3f}" for pair in pairs)))
    note = (
        "AUC and KS distance of the signal against each background, weighted. AUC: probability that the signal has the "
        "larger value, 0.5 where the feature says nothing, below 0.5 where the signal has the smaller one."
    )
    yield Table("Separation", note, ("feature", *backgrounds), tuple(rows))
    rows = []
    for item in description.features:
        numbers = (item.minimum, item.maximum, item.mean, item.deviation)
        rows.append((item.feature, item.sample, *map(_number, numbers), f"{item.missing}"))
    headings = ("feature", "sample", "smallest", "largest", "mean", "std. dev.", "missing")
    note = "Weighted mean and standard deviation; missing: values that are not finite, which the others leave out."
    yield Table("Features", note, headings, tuple(rows), places=2)


def show_data(description: Description) -> None:
    """Print the description to stdout: samples, systematics, features against all backgrounds, findings."""
    console = terminal()
    show_title(console, title(description), description.label)
    samples, systematics, *_ = tables(description)
    for table in (samples, systematics, _short_features(description)):
        if table.rows:
            console.print(Text(table.title, style="bold"))
            console.print(_on_terminal(table))
            console.print()
    for text in description.findings:
        console.print(Text(f"finding: {text}"), soft_wrap=True)


def _short_features(description: Description) -> Table:
    """Return one row for each feature: its range over all samples, and its separation against all backgrounds."""
    rows = []
    for item in (item for item in description.separation if item.background == ALL):
        mine = [entry for entry in description.features if entry.feature == item.feature]
        low = min(entry.minimum for entry in mine if entry.minimum is not None)
        high = max(entry.maximum for entry in mine if entry.maximum is not None)
        missing = sum(entry.missing for entry in mine)
        rows.append(
            (item.feature, _number(low), _number(high), f"{missing}", f"{item.auc:.3f}", f"{item.ks:.3f}"),
        )
    headings = ("feature", "smallest", "largest", "missing", "AUC", "KS")
    return Table("Features: range, and separation of the signal from all backgrounds", "", headings, tuple(rows))


def _on_terminal(table: Table) -> RichTable:
    shown = new_table(table.headings, table.places)
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown


def as_json(description: Description) -> str:
    """Return everything as JSON."""
    return json.dumps({"schema": SCHEMA, **asdict(description)}, indent=1, default=_plain, allow_nan=False) + "\n"


def _plain(value: object) -> list[float]:
    assert isinstance(value, np.ndarray)
    return [float(item) for item in value]
