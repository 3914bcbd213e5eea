"""What a run is called in a title, and figures that say so."""

from __future__ import annotations

from inferno_cli.drawing.style import MODEL_NAMES, Canvas
from inferno_cli.runs.record import Results


def title(results: Results) -> str:
    """Return "INFERNO on top11004, Asimov data": what was fitted, to which data."""
    data = "Asimov data" if results.data == "asimov" else "observed data"
    model = "" if results.model is None else f"{MODEL_NAMES.get(results.model, results.model)} on "
    return f"{model}{results.dataset}, {data}"


def canvas_of(results: Results) -> Canvas:
    """Return what every figure of a run begins with: what it shows, and that the events are simulated."""
    return Canvas(results.label, title(results))
