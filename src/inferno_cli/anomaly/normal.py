"""The logarithm of the normal distribution function in ONNX, whose runtimes have no error function in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferno_cli.training.onnx import Graph

COEFFICIENTS = (
    *(-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806),
    *(0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277),
)
"""Of ln erfc(a) + a^2 - ln t in powers of t = 1 / (1 + a / 2), for a >= 0: erfc is right to 1.2e-7 of itself.

W. Press et al., Numerical Recipes, section 6.2 (a Chebyshev fit).
"""


def log_ndtr_in(graph: Graph, x: str) -> str:
    """Add ln Phi(x) to a graph, right to 2e-7; return the name of its output."""
    size = graph("Mul", graph("Abs", x), math.sqrt(0.5))
    t = graph("Div", 1.0, graph("Add", graph("Mul", size, 0.5), 1.0))
    series = graph("Mul", t, COEFFICIENTS[-1])
    for coefficient in COEFFICIENTS[-2:0:-1]:
        series = graph("Mul", t, graph("Add", series, coefficient))
    series = graph("Add", series, COEFFICIENTS[0])
    log_erfc = graph("Sub", graph("Add", series, graph("Log", t)), graph("Mul", size, size))
    lower = graph("Sub", log_erfc, math.log(2))
    upper = graph("Log", graph("Sub", 1.0, graph("Exp", lower)))
    return graph("Where", graph("Less", x, 0.0), lower, upper)
