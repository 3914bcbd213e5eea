"""MINUIT through cabinetry, its own verdict on every fit included."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.config import Fit
from inferno_cli.errors import FitFailedError
from inferno_cli.fit.progress import Tick, progress

if TYPE_CHECKING:
    from inferno_cli.fit.problem import Problem

NOTHING_NEGATIVE = 1e-6
"""A lower limit between 0 and this is physical: a rate cannot be negative (pyhf's own is 0, or 1e-10 for gammas)."""


@contextmanager
def session(tick: Tick | None = None, *, errors: bool = True, steps: Any = None) -> Iterator[list[Any]]:
    """Give access to the Minuit objects that cabinetry makes and does not hand out.

    Their state decides whether a result is valid. pyhf's backend and optimiser are put back at the end: cabinetry
    leaves its own behind when a fit fails.

    Args:
        tick: Called before every minimisation.
        errors: Whether anybody reads the errors. If not, HESSE is left out.
        steps: First step of each parameter, shape (n_parameters,); pyhf's without, or where it is 0.
    """
    import pyhf

    made: list[Any] = []
    original = pyhf.optimize.minuit_optimizer

    class Recorded(original):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def _get_minimizer(self, *args: Any, **kwargs: Any) -> Any:
            if tick is not None:
                tick()
            minimizer = super()._get_minimizer(*args, **kwargs)
            minimizer.print_level = 0
            if steps is not None:
                minimizer.errors = np.where(steps > 0, steps, minimizer.errors)
            made.append(minimizer)
            return minimizer

        def _minimize(self, minimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if errors and not all(minimizer.fixed):
                return super()._minimize(minimizer, *args, **kwargs)
            return _minimize_alone(minimizer, self, kwargs.get("options") or {})

    backend, optimizer = pyhf.get_backend()
    loggers = [logging.getLogger(name) for name in ("cabinetry", "pyhf")]
    levels = [logger.level for logger in loggers]
    pyhf.set_backend("numpy")
    pyhf.optimize.minuit_optimizer = Recorded
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)  # pyhf logs a failed fit with its traceback as an error
    try:
        yield made
    finally:
        pyhf.optimize.minuit_optimizer = original
        pyhf.set_backend(backend, optimizer)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _minimize_alone(minimizer: Any, optimizer: Any, options: dict[str, Any]) -> Any:
    """Do what pyhf's optimiser does, without HESSE: the same minimum, in a fraction of the calls.

    HESSE can also turn a good minimum invalid: beyond one sigma the second derivative of the interpolation jumps. A
    MIGRAD that fails is repeated, first from where it ended, then from its start behind a simplex with the first steps:
    where the curvature at the start is nearly 0, MIGRAD's own steps end among negative rates, and it goes nowhere.
    """
    import scipy.optimize

    calls = options.get("maxiter") or optimizer.maxiter
    minimizer.tol = options.get("tolerance") or optimizer.tolerance
    minimizer.strategy = 1
    start, steps = list(minimizer.values), list(minimizer.errors)
    valid = all(minimizer.fixed)  # With mu fixed and no other parameter there is nothing to minimise.
    for again in (None, 0, 1):
        if not valid:
            if again is not None:
                minimizer.strategy = again
            if again == 1:
                minimizer.values, minimizer.errors = start, steps
                minimizer.simplex(ncall=calls)
            valid = minimizer.migrad(ncall=calls).valid
    return scipy.optimize.OptimizeResult(
        x=minimizer.values,
        unc=minimizer.errors,
        corr=np.eye(minimizer.npar),
        success=valid,
        fun=minimizer.fcn(minimizer.values),
        message="Optimization failed.",
        minuit=minimizer,
    )


def _state(minuit: Any) -> str:
    """What MINUIT says of its last fit, and what to do."""
    parts = [f"EDM {minuit.fmin.edm:.2g} (goal {minuit.fmin.edm_goal:.2g})", f"{minuit.fmin.nfcn} calls"]
    flags = {
        "the call limit was reached": minuit.fmin.has_reached_call_limit,
        "the EDM is above its goal": minuit.fmin.is_above_max_edm,
        "HESSE failed": minuit.fmin.hesse_failed,
        "the covariance is not positive definite": not minuit.fmin.has_posdef_covar,
    }
    parts += [text for text, flag in flags.items() if flag]
    at_limit = _at_limit(minuit)
    parts += [f"{name} is at its limit {limit:g}" for name, limit in at_limit.items()]
    remedy = (
        f"Widen the bounds of {next(iter(at_limit))}" if at_limit else "Raise fit.max_calls, or check the templates"
    )
    return f"{'; '.join(parts)}. {remedy}"


def _at_limit(minuit: Any) -> dict[str, float]:
    """Limits at which varied parameters are, by name."""
    found = {}
    for parameter in minuit.params:
        if parameter.is_fixed:
            continue
        for limit in (parameter.lower_limit, parameter.upper_limit):
            if limit is not None and abs(parameter.value - limit) < 1e-3 * max(parameter.error, 1e-12):
                found[parameter.name] = float(limit)
    return found


def _is_physical(minuit: Any, name: str, limit: float | None) -> bool:
    """Whether a limit is the one below which a rate would be negative; others are somebody's choice."""
    return limit is not None and limit == minuit.params[name].lower_limit and 0 <= limit <= NOTHING_NEGATIVE


@dataclass(frozen=True)
class Minimum:
    """A valid minimum.

    Attributes:
        result: cabinetry's.
        at_limit: Physical limits at which parameters are.
        minos: Intervals of the profile likelihood, where they do not end at a physical limit.
        notes: Where they do.
    """

    result: Any
    at_limit: dict[str, float] = field(default_factory=dict)
    minos: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Fitter:
    """Fits one problem, and stands for no result that MINUIT does not stand for."""

    def __init__(self, problem: Problem, settings: Fit) -> None:
        self.problem, self.settings = problem, settings
        self._tick: Tick | None = None

    @contextmanager
    def watched(self, what: str, total: int | None = None) -> Iterator[None]:
        """Show the progress of the fits inside."""
        with progress(self.settings.progress, what, total) as self._tick:
            yield
        self._tick = None

    def _options(self) -> dict[str, Any]:
        return {"maxiter": self.settings.max_calls, "tolerance": self.settings.tolerance}

    def fit(
        self, *, minos: Sequence[str] = (), frozen: Collection[str] = (), best: Any = None, **options: Any
    ) -> Minimum:
        """Run MIGRAD, HESSE and MINOS.

        A parameter at a physical limit is data that prefer a negative rate: legitimate, and said with the result. At
        any other limit it is the limit that was measured: an error.

        Args:
            minos: Parameters for MINOS.
            frozen: Parameters to hold at their best fit, besides those that the measurement holds.
            best: cabinetry's result of an earlier fit, to start from.
            options: More for ``cabinetry.fit.fit``.

        Raises:
            FitFailedError: If any of them is not valid, with MINUIT's state.
        """
        import cabinetry

        where = self.problem.where
        if best is not None:
            options["init_pars"] = best.bestfit.tolist()
            held = zip(self.problem.labels, self.problem.fixed, strict=True)
            options["fix_pars"] = [fixed or name in frozen for name, fixed in held]
        # A step is 1% of the value by default: of 1e-8, where Asimov data leave a pull, HESSE would see rounding only.
        with session(self._tick, steps=None if best is None else best.uncertainty) as made:
            try:
                result = cabinetry.fit.fit(
                    self.problem.model, self.problem.data, minos=list(minos) or None, **self._options(), **options
                )
            except Exception as error:
                state = _state(made[-1]) if made and made[-1].fmin else str(error)
                raise FitFailedError(f"MINUIT did not converge on {where}: {state}") from error
            minuit = made[-1]
            at_limit = _at_limit(minuit)
            physical = all(_is_physical(minuit, name, limit) for name, limit in at_limit.items())
            if not (minuit.valid and minuit.accurate and physical):
                raise FitFailedError(f"MINUIT's minimum on {where} is not valid: {_state(minuit)}")
            notes = [note for name in minos if (note := self._judge_minos(minuit, name)) is not None]
            ended = {name for name in minos if self._judge_minos(minuit, name) is not None}
        if not np.isfinite([*result.bestfit, *result.uncertainty]).all():
            raise FitFailedError(f"MINUIT gave values that are not finite on {where}")
        intervals = {
            name: (float(down), float(up)) for name, (down, up) in result.minos_uncertainty.items() if name not in ended
        }
        return Minimum(result, at_limit, intervals, tuple(notes))

    def _judge_minos(self, minuit: Any, name: str) -> str | None:
        """Return None for a good interval, and a note for one that ends at a physical limit.

        Raises:
            FitFailedError: For any other.
        """
        interval, lower = minuit.merrors[name], minuit.params[name].lower_limit
        if interval.is_valid and not (interval.at_lower_limit or interval.at_upper_limit):
            return None
        # From a best fit at the limit MINOS has no way down, and does not say why.
        ends = _is_physical(minuit, name, lower) and (interval.at_lower_limit or name in _at_limit(minuit))
        if ends and interval.upper_valid and not interval.at_upper_limit:
            upper = f"the upper side is {interval.upper:+.4g}"
            return f"MINOS of {name} has no lower side: it ends at the limit {lower:g}; {upper}"
        raise FitFailedError(
            f"MINOS of {name} on {self.problem.where} failed: lower valid {interval.lower_valid}, upper valid "
            f"{interval.upper_valid}, at limit {interval.at_lower_limit or interval.at_upper_limit}, "
            f"new minimum {interval.lower_new_min or interval.upper_new_min}. Widen the bounds of {name}"
        )

    def minima(
        self,
        what: str,
        function: Callable[..., Any],
        *,
        data: list[float] | None = None,
        steps: Any = None,
        **arguments: Any,
    ) -> Any:
        """Call a function of cabinetry that needs minima only, no errors.

        Args:
            what: Names the calculation in errors.
            function: Takes a model, data and cabinetry's options of a fit.
            data: In place of the problem's.
            steps: First step of each parameter, shape (n_parameters,).
            arguments: More for ``function``.

        Raises:
            FitFailedError: If it fails, with MINUIT's state.
        """
        given = self.problem.data if data is None else data
        with session(self._tick, errors=False, steps=steps) as made:
            try:
                return function(self.problem.model, given, **arguments, **self._options())
            except Exception as error:
                failed = bool(made) and made[-1].fmin is not None and not made[-1].valid
                state = _state(made[-1]) if failed else str(error)
                raise FitFailedError(f"{what} on {self.problem.where} did not converge: {state}") from error

    def minimum(self, what: str, held: dict[int, float], best: Any = None) -> Any:
        """Return cabinetry's result with some parameters held at given values.

        Args:
            what: Names the fit in errors.
            held: Values by index.
            best: cabinetry's result of an earlier fit, to start from; the workspace's initial values without.
        """
        import cabinetry

        initial = list(self.problem.model.config.suggested_init() if best is None else best.bestfit.tolist())
        fixed = list(self.problem.fixed)
        for index, value in held.items():
            initial[index], fixed[index] = value, True
        steps = None if best is None else best.uncertainty
        return self.minima(what, cabinetry.fit.fit, init_pars=initial, fix_pars=fixed, steps=steps)
