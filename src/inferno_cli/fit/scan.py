"""Profiles of the likelihood in one and in two parameters."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DeeperMinimumError
from inferno_cli.fit.minuit import DEEPER, Fitter, Minimum
from inferno_cli.fit.result import Scan, Scan2D

HALF_WIDTH = 2.5
"""Half width of a scan, in units of the HESSE error."""
HALF_WIDTH_2D = 3.0
"""The same in two parameters: the 95% contour reaches 2.45."""


def _range(fitter: Fitter, best: Minimum, index: int, half_width: float) -> tuple[float, float]:
    low, high = fitter.problem.bounds[index]
    half = half_width * best.hesse[index]
    return max(low, best.values[index] - half), min(high, best.values[index] + half)


def _check(fitter: Fitter, name: str, rise: NDArray[np.float64]) -> None:
    if rise.min() < -DEEPER:
        raise DeeperMinimumError(
            f"the scan of {name} on {fitter.problem.where} found twice the NLL {-rise.min():.3g} below the minimum of "
            "the fit, which is not the global one. Start nearer to it: change the initial values in the workspace"
        )


def scan(fitter: Fitter, best: Minimum, name: str, points: int) -> Scan:
    """Profile the likelihood in one parameter around its best fit, within its bounds.

    Raises:
        FitFailedError: If a fit fails.
        DeeperMinimumError: If one goes below the minimum.
    """
    index = best.labels.index(name)
    values = np.linspace(*_range(fitter, best, index, HALF_WIDTH), points)
    rise = np.zeros(points)
    with fitter.watched(f"scan of {name}", points):
        for i, value in enumerate(values):
            found = fitter.minimum(f"the scan with {name} = {value:.4g}", {index: float(value)}, best)
            rise[i] = found.rise - best.rise
    _check(fitter, name, rise)
    return Scan(name, tuple(values.tolist()), tuple(rise.tolist()))


def scan_2d(fitter: Fitter, best: Minimum, pair: tuple[str, str], points: int) -> Scan2D:
    """Profile the likelihood on a grid of two parameters around their best fit, within their bounds.

    Raises:
        FitFailedError: If a fit fails.
        DeeperMinimumError: If one goes below the minimum.
    """
    x, y = pair
    indices = [best.labels.index(name) for name in pair]
    axes = [np.linspace(*_range(fitter, best, index, HALF_WIDTH_2D), points) for index in indices]
    rise = np.zeros((points, points))
    with fitter.watched(f"scan of {x} and {y}", points**2):
        for i, j in itertools.product(range(points), repeat=2):
            held = {indices[0]: float(axes[0][j]), indices[1]: float(axes[1][i])}
            what = f"the scan with {x} = {held[indices[0]]:.4g} and {y} = {held[indices[1]]:.4g}"
            rise[i, j] = fitter.minimum(what, held, best).rise - best.rise
    _check(fitter, f"{x} and {y}", rise)
    return Scan2D(x, y, tuple(axes[0].tolist()), tuple(axes[1].tolist()), tuple(map(tuple, rise.tolist())))
