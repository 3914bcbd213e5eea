"""The description of a dataset as tables: on the terminal, in the page, and ``data.json``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
from rich.text import Text

from inferno_cli.events.description import ALL, OBSERVED, ChannelEntry, Description, SystematicEntry
from inferno_cli.report.tables import Line, Table, show_title, terminal

SCHEMA = "inferno_cli/data/1"


def title(description: Description) -> str:
    """Return what a page, a plot or a table shows."""
    return ", ".join(filter(None, (f"dataset {description.dataset}", description.blinded)))


def tables(description: Description) -> tuple[Table, ...]:
    """Return every table, in the order of the page."""
    return (
        _samples(description),
        *_channels(description),
        _systematics(description),
        _overlap(description),
        *_features(description),
    )


def where(description: Description) -> str:
    """Return in which channels features are described, where these are not all."""
    return f", in {', '.join(description.networks)}" if description.networks else ""


def _samples(description: Description) -> Table:
    selections = _selections(description)
    lines = []
    for item in description.samples:
        role = "signal" if item.is_signal else "background"
        splits = " / ".join(map(str, item.splits))
        sums = (f"{item.expected:.2f}", f"{item.error:.2f}", f"{item.effective:.0f}", f"{item.negative:.1%}")
        read = [item.read] if selections else []
        lines.append(Line([item.name, role, *read, item.rows, item.sources, splits, *sums]))
    total = sum(item.expected for item in description.samples)
    error = np.sqrt(sum(item.error**2 for item in description.samples))
    blank = [""] if selections else []
    lines.append(Line(["prediction", "", *blank, "", "", "", f"{total:.2f}", f"{error:.2f}", "", ""]))
    if (used := description.observed_used) is not None:
        read = [description.observed_read] if selections else []
        lines.append(Line(["data", "data", *read, description.observed_rows, "", "", used, "", "", ""]))
    note = (
        "Yield: expected events, with luminosity scale and downsample factor; of data the events that are used. "
        "Events: what is divided into train, validation and template, nominal or shifted, rows of one source event "
        "together. Of a generated dataset the template split is described. "
        "Effective: unweighted events with the same relative error, (sum w)² / sum w²."
    )
    if selections:
        note += f" Read: rows before the selection; rows: those behind it. {'. '.join(selections)}."
    headings = (
        "sample",
        "role",
        *(["read"] if selections else []),
        "rows",
        "events",
        "splits",
        "yield",
        "error",
        "effective",
        "w < 0",
    )
    return Table(headings, lines, 2, "Samples", note)


def _channels(description: Description) -> Iterator[Table]:
    """Yield what each channel has, where there are several or one does not have everything."""
    if not description.channels:
        return
    found: dict[str, dict[str, ChannelEntry]] = {}
    for item in description.channels:
        found.setdefault(item.channel, {})[item.sample] = item
    of_channels = [item.sample for item in description.channels if item.sample != OBSERVED]
    names = list(dict.fromkeys([*(item.name for item in description.samples), *of_channels]))
    lines = []
    for channel, entries in found.items():
        own = [entries[name] for name in names if name in entries]
        cells = [f"{entries[name].expected:.2f}" if name in entries else "" for name in names]
        total = f"{sum(item.expected for item in own):.2f}"
        error = f"{np.sqrt(sum(item.error**2 for item in own)):.2f}"
        data = [f"{entries[OBSERVED].events}"] if OBSERVED in entries else [""]
        lines.append(Line([channel, *cells, total, error, *data]))
    note = "Expected events of each sample in each channel, and the error of their sum that simulation has."
    headings = ("channel", *names, "prediction", "error", "data")
    yield Table(headings, lines, 1, "Channels", note)


def _selections(description: Description) -> list[str]:
    """Return what is selected, of all samples and of single ones; nothing where all events are taken."""
    found = [f"Selection of all samples: {description.selection}"] if description.selection else []
    for item in description.samples:
        if item.selection:
            found.append(f"Selection of {item.name}: {item.selection}")
    if description.observed_selection:
        found.append(f"Selection of the data: {description.observed_selection}")
    return found


def _systematics(description: Description) -> Table:
    def change(item: SystematicEntry) -> str:
        return "free" if item.up is None or item.down is None else f"{100 * item.up:+z.1f} {100 * item.down:+z.1f}"

    lines = [Line([name, kind, *cells]) for name, kind, cells in _by_systematic(description, change)]
    heading = "Systematics: change of the yield at +1 and -1 standard deviation, in percent"
    note = "Of eigenvectors, the sum of their changes in quadrature; free: a yield without a constraint."
    headings = ("systematic", "kind", *(item.name for item in description.samples))
    return Table(headings, lines, 2, heading, note)


def _overlap(description: Description) -> Table:
    def common(item: SystematicEntry) -> str:
        if item.rows is None or item.overlap is None:
            return ""
        shares = " ".join(f"{share:.1%}" for share in item.overlap)
        return f"{' '.join(map(str, item.rows))} ({shares})"

    lines = [Line([name, *cells]) for name, _, cells in _by_systematic(description, common) if any(cells)]
    note = "Rows up and down, and the share of events (by id) in common with the nominal, of the smaller of the two."
    headings = ("systematic", *(item.name for item in description.samples))
    return Table(headings, lines, 1, "Shifted selections", note)


def _by_systematic(
    description: Description, text: Callable[[SystematicEntry], str]
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield every systematic and its kind with one cell for each sample, empty where it does not change that.

    One that changes a sample by several parameters (of eras, of eigenvectors) has a line for each.
    """
    parameters = Counter((item.name, item.sample) for item in description.systematics)
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for item in description.systematics:
        label = item.parameter if parameters[item.name, item.sample] > 1 else item.name
        lines.setdefault((label, item.kind), {})[item.sample] = text(item)
    for (label, kind), texts in lines.items():
        yield label, kind, [texts.get(sample.name, "") for sample in description.samples]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _features(description: Description) -> Iterator[Table]:
    backgrounds = list(dict.fromkeys(item.background for item in description.separation))
    names = list(dict.fromkeys(item.feature for item in description.features))
    found = {(item.feature, item.background): item for item in description.separation}
    lines = []
    for name in names:
        pairs = [found.get((name, background)) for background in backgrounds]
        lines.append(Line([name, *("" if pair is None else f"{pair.auc:.3f} {pair.ks:.3f}" for pair in pairs)]))
    note = (
        "AUC and KS distance of the signal against each background, weighted. AUC: probability that the signal has the "
        "larger value, 0.5 where the feature says nothing, below 0.5 where the signal has the smaller one."
    )
    yield Table(("feature", *backgrounds), lines, 1, f"Separation{where(description)}", note)
    lines = []
    for item in description.features:
        numbers = (item.minimum, item.maximum, item.mean, item.deviation)
        lines.append(Line([item.feature, item.sample, *map(_number, numbers), item.missing]))
    headings = ("feature", "sample", "smallest", "largest", "mean", "std. dev.", "missing")
    note = "Weighted mean and standard deviation; missing: values that are not finite, which the others leave out."
    if description.definitions:
        note += " " + ", ".join(f"{name} = {text}" for name, text in description.definitions.items()) + "."
    yield Table(headings, lines, 2, f"Features{where(description)}", note)


def show_data(description: Description) -> None:
    """Print the description to stdout: samples, systematics, features against all backgrounds, findings."""
    console = terminal()
    show_title(console, title(description), description.label)
    shown = (_samples(description), *_channels(description), _systematics(description), _short_features(description))
    for table in shown:
        if table.rows:
            console.print(Text(table.title, style="bold"))
            console.print(table)
            console.print()
    for text in description.findings:
        console.print(Text(f"finding: {text}"), soft_wrap=True)


def _short_features(description: Description) -> Table:
    """Return one row for each feature: its range over all samples, and its separation against all backgrounds."""
    lines = []
    for item in (item for item in description.separation if item.background == ALL):
        mine = [entry for entry in description.features if entry.feature == item.feature]
        low = min(entry.minimum for entry in mine if entry.minimum is not None)
        high = max(entry.maximum for entry in mine if entry.maximum is not None)
        missing = sum(entry.missing for entry in mine)
        lines.append(Line([item.feature, _number(low), _number(high), missing, f"{item.auc:.3f}", f"{item.ks:.3f}"]))
    headings = ("feature", "smallest", "largest", "missing", "AUC", "KS")
    heading = "Features: range, and separation of the signal from all backgrounds"
    return Table(headings, lines, title=heading + where(description))


def as_json(description: Description) -> str:
    """Return everything as JSON."""
    return json.dumps({"schema": SCHEMA, **asdict(description)}, indent=1, default=_plain, allow_nan=False) + "\n"


def _plain(value: object) -> list[float | bool | None]:
    assert isinstance(value, np.ndarray)
    return [None if np.isnan(item) else item for item in value.tolist()]
