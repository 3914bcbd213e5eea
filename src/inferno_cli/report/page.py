"""One HTML page that needs nothing but itself: no script, no network; the pictures are in it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Mapping

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


def as_page(title: str, label: str, parts: Iterable[str]) -> str:
    """Return a page of some HTML; the label must not be overlooked, or is empty."""
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


def as_list(items: Iterable[str], warned: str = "missing") -> str:
    """Return a list; an item that begins with ``warned`` is marked."""
    marks = ((" class=missing" if item.startswith(warned) else "", item) for item in items)
    return "<ul>" + "".join(f"<li{mark}>{html.escape(item)}</li>" for mark, item in marks) + "</ul>"


def as_figures(pictures: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the pictures, PNG by name."""
    for name, data in pictures.items():
        encoded = base64.b64encode(data).decode("ascii")
        yield f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{encoded}"></figure>'
