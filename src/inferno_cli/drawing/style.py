"""What all plots share: the style, and a figure that says what it shows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inferno_cli.drawing.presentation import PLAIN, Presentation
from inferno_cli.errors import OutputError
from inferno_cli.names import LONGEST, another, folded, printable
from inferno_cli.section import POI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# M. Petroff's colours (arXiv:2107.02270), chosen to be told apart with any colour vision; the signal is red.
SIGNAL, ACCENT, MUTED = "#bd1f01", "#3f90da", "#717581"
STYLE = {
    "axes.axisbelow": True,
    "axes.labelsize": 11,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.dpi": 150,
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "xtick.direction": "in",
    "xtick.top": True,
    "ytick.direction": "in",
    "ytick.right": True,
}
MARGIN = 0.08
"""Inches between the edge of a figure and the texts at its top."""
SMALLEST = 0.6
"""To which share of its size a text shrinks where the figure is narrow."""


def plain(text: str) -> str:
    """Return a text that matplotlib draws as it is: "$" begins no formula, and "_" hides nothing from a legend."""
    text = printable(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def as_written(text: str) -> str:
    """Return a text of the configuration's, in which "$" begins a formula (see ``section.drawable``)."""
    return f" {text}" if text.startswith("_") else text


def short(name: str) -> str:
    """Return a name that fits beside a plot, as ``plain``: a foreign workspace can have very long ones."""
    return plain(name if len(name) <= 26 else f"{name[:14]}…{name[-11:]}")


class Line(NamedTuple):
    """A line at the top of a figure: texts with their style, on the left and on the right; heights are in inches."""

    left: Sequence[tuple[str, Mapping[str, Any]]]
    right: Sequence[tuple[str, Mapping[str, Any]]]
    height: float


def called(name: str, presentation: Presentation) -> str:
    """Return what plots call a sample or a group: its title as it is written, or its name as ``short``."""
    return as_written(presentation.titles[name]) if name in presentation.titles else short(name)


@dataclass(frozen=True)
class Canvas:
    """What the figures of one record begin with: what must be said with every number, or nothing, and what is shown."""

    label: str
    title: str
    presentation: Presentation = PLAIN

    def sample(self, name: str) -> str:
        """Return what plots call a sample or a group."""
        return called(name, self.presentation)

    def figure(self, *, width: float = 6.4, height: float = 4.8) -> Figure:
        """Return a figure that says both in its upper left corner; its size is in inches.

        Above is the experiment with its luminosity, where they are given: they never stand for the label.
        """
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        lines = list(self._lines())
        above = 0.07 + sum(line.height for line in lines)
        space = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - (above + 0.02) / height))
        figure = Figure(figsize=(width, height), layout=space)
        above = 0.07
        for line in lines:
            _write(figure, line, above)
            above += line.height
        return figure

    def _lines(self) -> Iterator[Line]:
        shown = self.presentation
        left: list[tuple[str, Mapping[str, Any]]] = []
        if shown.experiment:
            left.append((as_written(shown.experiment), {"size": 13, "weight": "bold"}))
        if shown.status:
            left.append((as_written(shown.status), {"size": 11, "style": "italic"}))
        right = [(as_written(shown.luminosity), {"size": 11})] if shown.luminosity else []
        if left or right:
            yield Line(left, right, 0.25)
        if self.label:
            yield Line([(plain(self.label), {"size": 9, "weight": "bold", "color": SIGNAL})], (), 0.18)
        yield Line([(plain(self.title), {"size": 9, "color": MUTED})], (), 0.18)


def _write(figure: Figure, line: Line, above: float) -> None:
    """Write a line ``above`` inches below the upper edge: smaller where it is too long for the figure."""
    width, height = figure.get_size_inches()
    lengths = [text_length(text, style) for text, style in (*line.left, *line.right)]
    gap = 0.08
    needed = sum(lengths) + gap * (len(lengths) - 1) + (0.2 if line.left and line.right else 0.0)
    scale = min(1.0, max(SMALLEST, (width - 2 * MARGIN) / max(needed, gap)))
    # All texts of a line stand on its baseline, as those of different sizes do in print.
    y = 1 - (above + 0.75 * line.height) / height
    x = MARGIN
    for (text, style), length in zip(line.left, lengths, strict=False):
        figure.text(x / width, y, text, va="baseline", **{**style, "size": scale * style["size"]})
        x += scale * (length + gap)
    for text, style in line.right:
        size = scale * style["size"]
        figure.text(1 - MARGIN / width, y, text, ha="right", va="baseline", **{**style, "size": size})


def text_length(text: str, style: Mapping[str, Any]) -> float:
    """Return how long a text is, in inches; its style has at least the size."""
    return _length(text, style["size"], style.get("weight"), style.get("style"))


@lru_cache(maxsize=1000)  # all figures of a record have the same lines at their top
def _length(text: str, size: float, weight: Any, style: Any) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    font = FontProperties(weight=weight, style=style)
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().x1) / 72


def axis_name(name: str, poi: str) -> str:
    """Return what an axis calls a parameter of a record; ``poi`` is what its workspace calls "mu"."""
    if name != POI:
        return short(name)
    return r"$\mu$" if poi == POI else short(poi)


class Pictures(NamedTuple):
    """Figures that were saved: the files, and each as PNG by name."""

    files: tuple[Path, ...]
    png: Mapping[str, bytes]


def save_figures(figures: Iterable[tuple[str, Figure]], folder: Path, formats: Sequence[str] = ("png",)) -> Pictures:
    """Draw figures one at a time, within the style, and save each under its name.

    Raises:
        OutputError: If a file cannot be written.
    """
    import matplotlib.style

    files: list[Path] = []
    png: dict[str, bytes] = {}
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for name, figure in figures:
            stem = _file_name(name, png)
            # Once: matplotlib lays a figure out anew, and goes through all of it, each time that it is saved.
            if (layout := figure.get_layout_engine()) is not None:
                layout.execute(figure)
                figure.set_layout_engine(None)
            for suffix in dict.fromkeys(("png", *formats)):
                drawn = BytesIO()
                figure.savefig(drawn, format=suffix)
                if suffix == "png":
                    png[stem] = drawn.getvalue()
                if suffix not in formats:
                    continue
                files.append(folder / f"{stem}.{suffix}")
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    files[-1].write_bytes(drawn.getvalue())
                except OSError as error:
                    raise OutputError(
                        f"the plot {files[-1]} cannot be written: {error}. Choose another folder, or free space"
                    ) from error
    return Pictures(tuple(files), png)


def _file_name(name: str, used: Iterable[str]) -> str:
    """Return a name that a file can have, and that none of ``used`` has."""
    safe = re.sub(r"[^\w.-]+", "_", name).strip("_")
    if len(safe.encode()) <= LONGEST and folded(safe) not in map(folded, used):
        return safe
    return another(name, safe, used)
