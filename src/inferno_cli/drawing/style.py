"""What all plots share: the style, and a figure that says what it shows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
MODEL_NAMES = {"bce": "BCE", "bce_augmented": "BCE, augmented", "inferno": "INFERNO", "optimal": "optimal classifier"}


def plain(text: str) -> str:
    """Return a text that matplotlib draws as it is: "$" begins no formula, and "_" hides nothing from a legend."""
    text = printable(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def short(name: str) -> str:
    """Return a name that fits beside a plot, as ``plain``: a foreign workspace can have very long ones."""
    return plain(name if len(name) <= 26 else f"{name[:14]}…{name[-11:]}")


@dataclass(frozen=True)
class Canvas:
    """What the figures of one record begin with: what must be said with every number, or nothing, and what is shown."""

    label: str
    title: str

    def figure(self, *, width: float = 6.4, height: float = 4.8) -> Figure:
        """Return a figure that says both in its upper left corner; its size is in inches."""
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        lines = [(plain(self.title), MUTED, "normal")]
        if self.label:
            lines.insert(0, (plain(self.label), SIGNAL, "bold"))
        space = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - (0.09 + 0.18 * len(lines)) / height))
        figure = Figure(figsize=(width, height), layout=space)
        for number, (text, colour, weight) in enumerate(lines):
            y = 1 - (0.07 + 0.18 * number) / height
            figure.text(0.08 / width, y, text, va="top", size=9, color=colour, weight=weight)
        return figure


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
