"""Profiles of the likelihood in one and in two parameters."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.result import Scan, Scan2D

HALF_WIDTH = 2.5
"""Half width of a scan, in units of the HESSE error."""
HALF_WIDTH_2D = 3.0
"""The same in two parameters: the 95% contour reaches 2.45."""
DEEPER = 0.01
"""A scanned point this much below the minimum (in twice the NLL) is another, deeper minimum."""


def _range(fitter: Fitter, best: Any, index: int, half_width: float) -> tuple[float, float]:
    low, high = fitter.problem.model.config.suggested_bounds()[index]
    half = half_width * best.uncertainty[index]
    return max(low, best.bestfit[index] - half), min(high, best.bestfit[index] + half)


def _check(fitter: Fitter, name: str, rise: NDArray[np.float64]) -> None:
    if rise.min() < -DEEPER:
        raise FitFailedError(
            f"the scan of {name} on {fitter.problem.where} found twice the NLL {-rise.min():.3g} below the minimum of "
            "the fit, which is not the global one. Start nearer to it: change the initial values in the workspace"
        )


def scan(fitter: Fitter, best: Any, name: str, points: int) -> Scan:
    """Profile the likelihood in one parameter around its best fit, within its bounds.

    Raises:
        FitFailedError: If a fit fails, or goes below the minimum.
    """
    import cabinetry

    with fitter.watched(f"scan of {name}", points + 1):
        result = fitter.minima(
            f"the scan of {name}",
            cabinetry.fit.scan,
            par_name=name,
            par_range=_range(fitter, best, best.labels.index(name), HALF_WIDTH),
            n_steps=points,
        )
    _check(fitter, name, result.delta_nlls)
    return Scan(name, tuple(result.parameter_values.tolist()), tuple(result.delta_nlls.tolist()))


def scan_2d(fitter: Fitter, best: Any, pair: tuple[str, str], points: int) -> Scan2D:
    """Profile the likelihood on a grid of two parameters around their best fit, within their bounds.

    Raises:
        FitFailedError: If a fit fails, or goes below the minimum.
    """
    x, y = pair
    indices = [best.labels.index(name) for name in pair]
    axes = [np.linspace(*_range(fitter, best, index, HALF_WIDTH_2D), points) for index in indices]
    rise = np.zeros((points, points))
    with fitter.watched(f"scan of {x} and {y}", points**2):
        for i, j in itertools.product(range(points), repeat=2):
            held = {indices[0]: float(axes[0][j]), indices[1]: float(axes[1][i])}
            what = f"the scan with {x} = {held[indices[0]]:.4g} and {y} = {held[indices[1]]:.4g}"
            result = fitter.minimum(what, held, best=best)
            rise[i, j] = result.best_twice_nll - best.best_twice_nll
    _check(fitter, f"{x} and {y}", rise)
    return Scan2D(x, y, tuple(axes[0].tolist()), tuple(axes[1].tolist()), tuple(map(tuple, rise.tolist())))
