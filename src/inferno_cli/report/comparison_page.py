"""The comparison written down: tables, figures, and one page that needs nothing but itself."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from inferno_cli.errors import OutputError
from inferno_cli.report.canvas import STYLE
from inferno_cli.report.comparison import Comparison
from inferno_cli.report.comparison_plots import figures
from inferno_cli.report.comparison_tables import as_csv, as_json, as_markdown, cells, headings, remarks

PAGE = "compare.html"
CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.label { background: #bd1f01; color: #fff; font-weight: 600; padding: .4rem .8rem; border-radius: .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #bd1f01; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: #fff; } .place { text-align: left; }
tr.published { color: #717581; font-style: italic; } tr.incomplete td { background: #fff3cd; }
figure { display: inline-block; margin: 1rem 1rem 0 0; } img { max-width: 100%; height: auto; }
.missing { color: #bd1f01; } code { font-size: .85em; }
"""


def write_comparison(comparison: Comparison, folder: Path) -> tuple[Path, ...]:
    """Write compare.csv, compare.md, compare.json, the figures, and compare.html.

    Returns:
        The files, the page last.

    Raises:
        OutputError: If one cannot be written.
    """
    import matplotlib.style

    texts = {"csv": as_csv(comparison), "md": as_markdown(comparison), "json": as_json(comparison)}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in texts.items():
            path = folder / f"compare.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
        pictures: dict[str, bytes] = {}
        with matplotlib.style.context(["default", STYLE]):
            for name, figure in figures(comparison):
                path = folder / f"{name}.png"
                figure.savefig(path)
                pictures[name] = path.read_bytes()
                written.append(path)
        page = folder / PAGE
        page.write_text(as_html(comparison, pictures), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the comparison cannot be written to {folder}: {error}. Choose output=FOLDER") from error
    return (*written, page)


def as_html(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Return the page: no script, no network; the pictures are in it."""
    title = html.escape(comparison.title)
    banner = f'<p class="label">{html.escape(comparison.label)}</p>' if comparison.label else ""
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        # Without it browsers ask the server, or the disk, for an icon.
        '<link rel="icon" href="data:,">',
        f'<meta name="viewport" content="width=device-width"><style>{CSS}</style></head><body>',
        f"<h1>{title}</h1>{banner}",
        _table(comparison, main=True),
    ]
    lines = remarks(comparison)
    if lines:
        items = "".join(
            f"<li{' class=missing' if line.startswith('missing') else ''}>{html.escape(line)}</li>" for line in lines
        )
        parts.append(f"<ul>{items}</ul>")
    if comparison.others:
        parts += ["<h2>Nuisance parameters: HESSE errors and correlations</h2>", _table(comparison, main=False)]
    parts.append("<h2>Figures</h2>")
    for name, data in pictures.items():
        encoded = base64.b64encode(data).decode("ascii")
        parts.append(f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{encoded}"></figure>')
    parts.append("<h2>Runs</h2><ul>")
    for point in comparison.points:
        for job in point.jobs:
            assert job.results is not None
            said = f"seed {job.results.seed}, {job.results.code_version}"
            parts.append(f"<li><code>{html.escape(job.where)}</code> {html.escape(said)}</li>")
    parts.append("</ul></body></html>")
    return "\n".join(parts) + "\n"


def _table(comparison: Comparison, *, main: bool) -> str:
    columns = comparison.main if main else comparison.others
    places = len(comparison.keys)

    def line(tag: str, texts: list[str]) -> str:
        kinds = ['class="place"' if i < places else "" for i in range(len(texts))]
        return "".join(f"<{tag} {kind}>{html.escape(x)}</{tag}>" for kind, x in zip(kinds, texts, strict=True))

    rows = []
    for row, texts in cells(comparison, columns):
        kind = "published" if row.source else "incomplete" if row.missing else ""
        rows.append(f'<tr class="{kind}" title="{html.escape(row.source)}">{line("td", texts)}</tr>')
    caption = f"<caption>{html.escape(comparison.label)}</caption>" if comparison.label else ""
    head = f"<thead><tr>{line('th', headings(comparison, columns))}</tr></thead>"
    return f'<div class="scroll"><table>{caption}{head}<tbody>{"".join(rows)}</tbody></table></div>'
