"""Everything that a fit of one workspace is asked for, in the order in which it becomes known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.covariance import inverse
from inferno_cli.fit.estimates import parameters, recorded_names
from inferno_cli.fit.fitted import Fitted
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import Problem, nominal, numpy_backend, open_problem
from inferno_cli.fit.result import FitResult, Outcome
from inferno_cli.fit.starts import global_fit
from inferno_cli.likelihood.data import Likelihood
from inferno_cli.likelihood.readers.checks import ignored
from inferno_cli.shard import Shard

if TYPE_CHECKING:
    from inferno_cli.config.fit import Fit

CLOSED_FORM = 0.01
"""Relative difference of HESSE from the closed form, in the fit of Asimov data, that is said."""
REFEREE, ROUNDING = 1e-8, 1e-13
"""Largest difference of our -2 ln L from pyhf's, beside the rounding of pyhf's, in units of the sum of its terms."""


@numpy_backend()
def fit_workspace(
    spec: dict[str, Any],
    settings: Fit,
    *,
    measurement: str | None = None,
    where: str,
    partial: Path | None = None,
    shard: Shard | None = None,
) -> FitResult:
    """Fit a pyhf workspace, its first measurement unless another is named; ``where`` names it in errors.

    ``partial`` is a folder in which toys are kept as they are finished: the same fit, begun again, goes on from there.
    With a ``shard`` its part of the toys is thrown to that folder, and the result is without what needs the others.

    Raises:
        WorkspaceError: If the workspace has no such measurement, no POI, or no such parameter.
        ConfigError: If groups overlap.
        FitFailedError: If the fit is not valid. What cannot be had of a valid one is a note of the result.
    """
    asimov = settings.data == "asimov"
    problem = open_problem(
        spec, asimov=asimov, measurement=measurement, where=where, bounds=settings.bounds, engine=settings.engine
    )
    # Every name is looked up before the first fit.
    minos, pois = problem.parameters(settings.minos, "fit.minos"), problem.pois(settings.pois or ())
    if problem.poi_name in minos:
        minos = tuple(dict.fromkeys((*minos, *pois)))
    asked = {name: quantity.resolved(problem) for name, quantity in settings.every().items()}

    fitter = Fitter(problem, settings)
    with fitter.watched("MIGRAD, HESSE, MINOS"):
        best = global_fit(fitter, minos)
    twice_nll = _referee(problem, fitter.likelihood, best)
    names = recorded_names(problem)
    closed = _closed_form(problem, fitter.likelihood, best)
    notes = [*ignored(spec, measurement), *problem.notes, *_asimov_notes(problem), *best.notes]
    notes += _differences(problem, best, closed)
    fitted = Fitted(fitter, best, names, notes, partial, shard)
    outcomes = {}
    for name, quantity in asked.items():
        if not quantity.is_wanted:
            continue
        value = fitted.attempt(quantity.title or name, quantity.compute, fitted)
        if value is not None:
            outcomes[name] = Outcome(quantity.kind, value)
    return FitResult(
        data="asimov" if problem.is_asimov else "observed",
        poi=problem.poi_name,
        pois=tuple(names[label] for label in pois[1:]),
        parameters={names[label]: parameter for label, parameter in parameters(problem, best).items()},
        correlation=_correlation(best, names),
        twice_nll=twice_nll,
        closed_form=closed,
        minuit=best.verdict,
        quantities=outcomes,
        notes=tuple(dict.fromkeys(notes)),
    )


def _correlation(best: Minimum, names: dict[str, str]) -> dict[str, dict[str, float]]:
    labels = [names[label] for label in best.labels]
    rows = [dict(zip(labels, row, strict=True)) for row in best.correlation.tolist()]
    return dict(zip(labels, rows, strict=True))


def _closed_form(problem: Problem, likelihood: Likelihood, best: Minimum) -> float | None:
    """Return the error of the POI from the expected information at the best fit; None where it is at a limit."""
    if best.at_limit:
        return None
    information = likelihood.information(best.values)
    covariance = inverse(information, ~np.array(problem.fixed), problem.labels, problem.where)
    return float(np.sqrt(covariance[problem.poi, problem.poi]))


def _differences(problem: Problem, best: Minimum, closed: float | None) -> Iterator[str]:
    """Say where HESSE is not the closed form though the data are the expectation, or MINUIT sees no minimum."""
    hesse = float(best.hesse[problem.poi])
    if problem.is_asimov and closed is not None and abs(hesse / closed - 1) > CLOSED_FORM:
        yield f"HESSE of {problem.poi_name} is {hesse:.4g}, and {closed:.4g} in closed form, on data that are expected"
    verdict = best.verdict
    if verdict is not None and not verdict.is_valid:
        yield f"MINUIT does not call the minimum valid: EDM {verdict.edm:.2g} (goal {verdict.edm_goal:.2g})"


def _asimov_notes(problem: Problem) -> Iterator[str]:
    """Say where the Asimov data are not made with the initial value of the POI."""
    start = float(problem.model.config.suggested_init()[problem.poi])
    made = float(nominal(problem)[problem.poi])
    if problem.is_asimov and start != made:
        yield f"the Asimov data are made with {problem.poi_name} = {made:g}; the workspace starts it at {start:g}"


def _referee(problem: Problem, likelihood: Likelihood, best: Minimum) -> float:
    """Return pyhf's -2 ln L at the minimum; where ours does not rise as it does, the model has an unknown term."""

    def theirs(theta: Any) -> float:
        return float(np.squeeze(-2 * problem.model.logpdf(np.asarray(theta), problem.data)))

    here, there = theirs(best.values), theirs(likelihood.reference)
    if not abs((here - there) - best.rise) <= REFEREE + ROUNDING * likelihood.size(best.values):
        raise FitFailedError(
            f"-2 ln L of {problem.where} rises by {best.rise:.9g} from the nominal parameters to the best fit, and by "
            f"{here - there:.9g} for pyhf. Please report this, with the workspace"
        )
    return here
