"""The table of expected events, before and after the fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from inferno_cli.errors import OutputError
from inferno_cli.fit.result import Yields
from inferno_cli.report.tables import markdown
from inferno_cli.runs.record import Results

YIELDS_FILE = "yields.md"


def channels(results: Results) -> Mapping[str, tuple[Yields, Yields]]:
    """Return each channel before and after the fit, by name."""
    found: dict[str, list[Yields]] = {}
    for entry in results.yields:
        found.setdefault(entry.channel, []).append(entry)
    return {name: (before, after) for name, (before, after) in found.items()}


def rows(pair: tuple[Yields, Yields]) -> Iterator[tuple[str, Sequence[tuple[float, float]]]]:
    """Yield the name of every sample, and of the total, with (events, error) before and after the fit."""
    before, after = pair
    for name in before.sums:
        yield name, (before.sums[name], after.sums[name])
    yield "total", (before.total, after.total)


def write_yields(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write the table of every channel as Markdown.

    Returns:
        The file, or nothing where there are no yields.

    Raises:
        OutputError: If it cannot be written.
    """
    if not results.yields:
        return ()
    lines = [f"**{markdown(results.label)}**", ""] if results.label else []
    data = "Asimov data" if results.data == "asimov" else "observed data"
    for channel, pair in channels(results).items():
        lines += [
            f"## {markdown(channel)}",
            "",
            "| sample | pre-fit | error | post-fit | error |",
            "|---|--:|--:|--:|--:|",
        ]
        for name, numbers in rows(pair):
            cells = [f"{value:z.2f}" for number in numbers for value in number]
            lines.append("| " + " | ".join((markdown(name), *cells)) + " |")
        lines += [f"| {data} | {sum(pair[0].data):.2f} | | | |", ""]
    path = folder / YIELDS_FILE
    try:
        path.write_text("\n".join(lines), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the table {path} cannot be written: {error}") from error
    return (path,)
