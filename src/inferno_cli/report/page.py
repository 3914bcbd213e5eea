"""One HTML page that needs nothing but itself: no script, no network; the pictures are in it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from inferno_cli.names import printable

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


class Line(NamedTuple):
    """A row of a table: its cells, a class of the style sheet, and what is said when the mouse is on it."""

    cells: Sequence[str]
    kind: str = ""
    title: str = ""


def as_page(title: str, label: str, parts: Iterable[str]) -> str:
    """Return the page.

    Args:
        title: What it is.
        label: What must not be overlooked, or empty.
        parts: HTML of the body.
    """
    banner = f'<p class="label">{html.escape(label)}</p>' if label else ""
    head = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        # Without it browsers ask the server, or the disk, for an icon.
        '<link rel="icon" href="data:,">',
        f'<meta name="viewport" content="width=device-width"><style>{CSS}</style></head><body>',
        f"<h1>{html.escape(title)}</h1>{banner}",
    ]
    return "\n".join([*head, *parts, "</body></html>"]) + "\n"


def markdown(text: str) -> str:
    """Return a text that Markdown, also in a table, shows as it is: the signs that mean something else are escaped."""
    return re.sub(r"([\\`*|])", r"\\\1", html.escape(printable(text), quote=False))


def as_table(headings: Sequence[str], lines: Iterable[Line], *, label: str, places: int = 1) -> str:
    """Return a table that scrolls by itself where it is too wide.

    Args:
        headings: Of the columns.
        lines: The rows.
        label: What must not be overlooked, or empty.
        places: The first columns, which say what a row is; the others are numbers.
    """

    def row(tag: str, texts: Sequence[str]) -> str:
        kinds = ['class="place"' if i < places else "" for i in range(len(texts))]
        return "".join(f"<{tag} {kind}>{html.escape(x)}</{tag}>" for kind, x in zip(kinds, texts, strict=True))

    body = "".join(
        f'<tr class="{line.kind}" title="{html.escape(line.title)}">{row("td", line.cells)}</tr>' for line in lines
    )
    caption = f"<caption>{html.escape(label)}</caption>" if label else ""
    head = f"<thead><tr>{row('th', headings)}</tr></thead>"
    return f'<div class="scroll"><table>{caption}{head}<tbody>{body}</tbody></table></div>'


def as_list(items: Iterable[Line]) -> str:
    """Return a list; the first cell of each line is its text."""
    return "<ul>" + "".join(f"<li{_class(item.kind)}>{html.escape(item.cells[0])}</li>" for item in items) + "</ul>"


def _class(kind: str) -> str:
    return f" class={kind}" if kind else ""


def as_figures(pictures: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the pictures, PNG by name."""
    for name, data in pictures.items():
        encoded = base64.b64encode(data).decode("ascii")
        yield f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{encoded}"></figure>'
