"""Expected events before and after the fit, from cabinetry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.minuit import Minimum
from inferno_cli.fit.problem import Problem, nominal
from inferno_cli.fit.result import When, Yields

ROUNDING = 1e-9
"""Eigenvalues of a correlation matrix that are no further than this below 0 are 0."""


def yields(problem: Problem, best: Minimum) -> tuple[Yields, ...]:
    """Return the expected events of every channel with their errors, before and then after the fit.

    Args:
        problem: What is fitted.
        best: The fit. A parameter at its limit is held there: its error has no meaning.

    Raises:
        FitFailedError: If an error is not finite.
    """
    from cabinetry import model_utils
    from cabinetry.fit import FitResults

    model, labels = problem.model, list(problem.labels)
    before = FitResults(nominal(problem), model_utils.prefit_uncertainties(model), labels, np.eye(len(labels)), 0.0)
    correlation = best.correlation + np.diag(best.errors == 0)
    after = FitResults(best.values, best.errors, labels, correlation, 0.0)
    moments: tuple[tuple[When, FitResults], ...] = (("pre-fit", before), ("post-fit", after))
    found = []
    for when, point in moments:
        with np.errstate(invalid="ignore"):
            prediction = model_utils.prediction(model, fit_results=point)
        for index, channel in enumerate(model.config.channels):
            rows = np.asarray(prediction.model_yields[index])
            samples = model.config.samples
            where = f"{when}, channel {channel!r} of {problem.where}"
            errors = _errors(prediction.total_stdev_model_bins[index], model, point, where)
            sums = _errors(prediction.total_stdev_model_channels[index], model, point, where)
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


def _errors(values: Any, model: Any, point: Any, where: str) -> NDArray[np.float64]:
    """Check errors of yields, shape (n_samples + 1, n_bins) or (n_samples + 1,), those of the total last."""
    errors = np.asarray(values, dtype=float)
    if np.isnan(errors).any() and _is_rounding(model, point):
        # Where parameters compensate each other the variance is a sum of terms that cancel: cabinetry takes the root
        # of the -1e-17 that rounding leaves of it.
        errors = np.nan_to_num(errors, posinf=np.inf)
    if not np.isfinite(errors).all():
        row = int(np.argwhere(~np.isfinite(errors))[0][0])
        samples = model.config.samples
        what = f"sample {samples[row]!r}" if row < len(samples) else "all samples"
        raise FitFailedError(
            f"the errors of the expected events of {what}, {where}, are {errors[row].tolist()}, expected finite "
            "numbers. Check its templates one sigma up and down, or leave the yields out with fit.yields=false"
        )
    return errors


def _is_rounding(model: Any, point: Any) -> bool:
    """Tell whether nothing but rounding can take a variance of yields below 0.

    It is v M v with the changes v of a yield one sigma up and down and the correlations M: never below 0 where v is
    finite and M has no negative eigenvalue.
    """
    if not np.isfinite(point.corr_mat).all() or np.linalg.eigvalsh(point.corr_mat)[0] < -ROUNDING:
        return False
    steps = np.diag(point.uncertainty)
    with np.errstate(all="ignore"):
        moved = [model.main_model.expected_data(point.bestfit + step) for step in (*steps, *-steps)]
    return bool(np.isfinite(moved).all())
