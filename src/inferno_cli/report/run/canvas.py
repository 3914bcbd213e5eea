"""What a run is called in a title, and a figure that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferno_cli.report.style import MODEL_NAMES, labelled_figure
from inferno_cli.runs.record import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def title(results: Results) -> str:
    """Return "INFERNO on top11004, Asimov data": what was fitted, to which data."""
    data = "Asimov data" if results.data == "asimov" else "observed data"
    model = "" if results.model is None else f"{MODEL_NAMES.get(results.model, results.model)} on "
    return f"{model}{results.dataset}, {data}"


def new_figure(results: Results, *, width: float = 6.4, height: float = 4.8) -> Figure:
    """Return a figure that says in its upper left corner what it shows, and that the events are simulated."""
    return labelled_figure(results.label, title(results), width=width, height=height)
