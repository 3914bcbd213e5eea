"""Expected events before and after the fit, from cabinetry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.fit.minuit import session
from inferno_cli.fit.problem import Problem, nominal
from inferno_cli.fit.result import Yields


def yields(problem: Problem, best: Any) -> tuple[Yields, ...]:
    """Return the expected events of every channel with their errors, before and then after the fit.

    Args:
        problem: What is fitted.
        best: cabinetry's result of the fit.
    """
    from cabinetry import model_utils
    from cabinetry.fit import FitResults

    model, labels = problem.model, list(problem.labels)
    before = FitResults(nominal(model), model_utils.prefit_uncertainties(model), labels, np.eye(len(labels)), 0.0)
    found = []
    for when, point in (("pre-fit", before), ("post-fit", best)):
        # Rounding can make the variance of a sample that no parameter changes -1e-20.
        with session(), np.errstate(invalid="ignore"):
            prediction = model_utils.prediction(model, fit_results=point)
        for index, channel in enumerate(model.config.channels):
            errors = [_finite(row) for row in prediction.total_stdev_model_bins[index]]
            sums = _finite(prediction.total_stdev_model_channels[index])
            rows = np.asarray(prediction.model_yields[index])
            samples = model.config.samples
            found.append(
                Yields(
                    channel=channel,
                    when=when,
                    samples={name: tuple(rows[i].tolist()) for i, name in enumerate(samples)},
                    errors={name: tuple(errors[i].tolist()) for i, name in enumerate(samples)},
                    total_error=tuple(errors[-1].tolist()),
                    sums={name: (float(rows[i].sum()), float(sums[i])) for i, name in enumerate(samples)},
                    total=(float(rows.sum()), float(sums[-1])),
                    data=tuple(problem.data[model.config.channel_slices[channel]]),
                )
            )
    return tuple(found)


def _finite(values: Any) -> NDArray[np.float64]:
    finite: NDArray[np.float64] = np.nan_to_num(np.asarray(values, dtype=float))
    return finite
