"""MINUIT on the likelihood of one problem: minima, covariances and MINOS, each with a verdict.

MIGRAD minimises with the exact gradient and Hessian. Newton's method then takes its minimum to where the gradient is
rounding, or to a limit, and finds the minima beside it (scans, impacts, limits, toys) alone where it converges: MIGRAD
stops within 2% of an error, and earlier near a limit, where its inner parameter is flat. The covariance is the inverse
of the Hessian there, in the parameters themselves: a numerical HESSE was off by up to a factor of two near limits and
at high statistics. MINUIT's verdict on the minimum is kept. MINOS is MINUIT's, its ends moved to where the profile of
-2 ln L has risen by 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DeeperMinimumError, FitFailedError, NegativeRateError
from inferno_cli.fit.auxiliary import constraint_terms
from inferno_cli.fit.covariance import flat_direction, inverse
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.problem import Problem, nominal
from inferno_cli.fit.scaled import ScaledMinuit
from inferno_cli.likelihood.data import FloatArray, Likelihood
from inferno_cli.likelihood.newton import newton
from inferno_cli.progress import Advance, progress

if TYPE_CHECKING:
    from inferno_cli.config.fit import Fit

CLOSE = 1e-8
"""Estimated distance to the minimum with which Newton's method needs no MIGRAD before it."""
NOTHING_NEGATIVE = 1e-6
"""A lower limit between 0 and this is physical: a rate cannot be negative (pyhf's own is 0, or 1e-10 for gammas)."""
DEEPER = 0.01
"""What is this much below the minimum (in -2 ln L) is another, deeper one."""
MINOS_TOLERANCE = 0.1
"""That of MINOS, in units of ``fit.tolerance``: it ends within 0.5% of an error with MIGRAD's own."""
MINOS_STEPS, MINOS_PRECISION, FAR_OFF = 5, 1e-4, 0.1
"""Most of Newton's steps from MINUIT's end of an interval; the last of them, of second order, and the largest: in units
of the error."""
CHECK_STEP = 2e-3
"""Of the check of an error, in units of it. Where parameters are correlated, many events make a narrow, bent valley."""
SMALLEST_MOVE = 1e-13
"""Of a parameter, relative to it, that the check of an error makes: smaller ones are lost in the rounding."""
STRAIGHT = 1e-9
"""Second derivative, in units of the expected one, below which it is the rounding of a straight line."""
HESSE_CHECK = 0.02
"""Relative difference of an error and the rise of the likelihood along it that is refused."""


@dataclass(frozen=True)
class _Start:
    """Where a minimisation begins, shape (n_parameters,) each, with limits (n_parameters, 2); first steps if known."""

    values: FloatArray
    fixed: NDArray[np.bool_]
    limits: FloatArray
    steps: FloatArray | None


class Fitter:
    """Fits one problem, and stands for no result that MINUIT does not stand for."""

    def __init__(self, problem: Problem, settings: Fit) -> None:
        self.problem, self.settings = problem, settings
        self.likelihood = Likelihood(
            problem.rates, constraint_terms(problem.model.config), problem.data, nominal(problem)
        )
        self._tick: Advance | None = None
        # Strategy 1 has a numerical Hessian of n^2 calls, which the exact one makes needless.
        self._strategies = (0, 0, 0) if self.likelihood.is_exact else (1, 0, 1)

    def on(self, data: Sequence[float]) -> Fitter:
        """Return a fitter of the same model to other data."""
        other = copy(self)
        other.problem, other.likelihood = self.problem.with_data(data), self.likelihood.on(data)
        return other

    def within(self, low: float, high: float) -> Fitter:
        """Return a fitter of the same data with other bounds of the POI."""
        other, bounds = copy(self), list(self.problem.bounds)
        bounds[self.problem.poi] = low, high
        other.problem = replace(self.problem, bounds=tuple(bounds))
        return other

    @contextmanager
    def watched(self, what: str, total: int | None = None) -> Iterator[None]:
        """Show the progress of the fits inside."""
        with progress(self.settings.progress, f"fit: {what}", total) as self._tick:
            yield
        self._tick = None

    # --------------------------------------------------------------------------------------------------- minima
    def at(self, values: FloatArray) -> Minimum:
        """Return a point as if it were a minimum, without errors: a start, or one that is known to be the minimum."""
        nothing = np.zeros(len(values))
        return Minimum(self.problem.labels, values, self.likelihood.rise(values), nothing, np.diag(nothing))

    def minimum(self, what: str, held: Mapping[int, float] | None = None, best: Minimum | None = None) -> Minimum:
        """Minimise with some parameters held at given values; only ``values`` and ``rise`` mean something.

        Args:
            what: Names the fit in errors.
            held: Values by index, which may be outside of the bounds.
            best: An earlier minimum, to start from; the workspace's initial values without.

        Raises:
            FitFailedError: If MINUIT does not converge, with its state.
        """
        values, _ = self._minimise(self._start(best, held or {}), what, is_near=best is not None)
        return self.at(values)

    def fit(self, *, minos: Sequence[str] = (), frozen: Collection[str] = (), best: Minimum | None = None) -> Minimum:
        """Minimise, take the covariance, and run MINOS.

        A parameter at a physical limit is data that prefer a negative rate: legitimate, and said with the result. At
        any other limit it is the limit that was measured: an error.

        Args:
            minos: Parameters for MINOS.
            frozen: Parameters to hold at their best fit, besides those that the measurement holds.
            best: An earlier minimum, to start from.

        Raises:
            FitFailedError: If the minimum is not valid, with MINUIT's state, or a parameter moves nothing.
        """
        problem = self.problem
        held: dict[int, float] = {}
        if best is not None:
            held = {index: float(best.values[index]) for index in map(problem.labels.index, frozen)}
        start = self._start(best, held)
        found, blocked = self._estimated(start, is_near=best is not None)
        values, hesse = found.values, found.hesse
        notes = [*found.notes, *self._differences(values, found.covariance, minos)]
        # MINUIT's inner parameter is flat at a limit, and its distance from the minimum no number there.
        resting = self._minuit(replace(start, values=values, fixed=start.fixed | blocked), hesse)
        resting.migrad(self.settings.max_calls, self._strategies[0])
        verdict = resting.verdict()
        if found.at_limit and minos:
            resting = self._minuit(replace(start, values=values), hesse)
            resting.migrad(self.settings.max_calls, self._strategies[0])
        intervals: dict[str, tuple[float, float]] = {}
        for name in minos:
            interval, note = self._minos(resting, found, name, held)
            if interval is not None:
                intervals[name] = interval
            else:
                notes.append(note)
        return replace(found, minos=intervals, notes=tuple(notes), verdict=verdict)

    def estimate(self, near: Minimum) -> Minimum:
        """Minimise from an earlier minimum and take the covariance: ``fit`` of toys, without what is checked there."""
        found, _ = self._estimated(self._start(near, {}), is_near=True)
        return found

    def _estimated(self, start: _Start, *, is_near: bool) -> tuple[Minimum, NDArray[np.bool_]]:
        """Minimise and take the covariance; return also which parameters are held at their limits."""
        problem = self.problem
        values, blocked = self._minimise(start, "the fit", is_near)
        varied = ~start.fixed
        hessian = self.likelihood.hessian(values)
        at_limit = {problem.labels[i]: float(values[i]) for i in np.flatnonzero(blocked)}
        for name, limit in at_limit.items():
            # Below a physical limit a rate would be negative; others are somebody's choice.
            if limit > NOTHING_NEGATIVE or limit < 0 or limit != problem.bounds[problem.labels.index(name)][0]:
                raise FitFailedError(
                    f"{name} is at its limit {limit:g} in the fit on {problem.where}: the limit was measured, not "
                    f"{name}. Widen the bounds of {name}: 'fit.bounds={{{name}: [LOW, HIGH]}}'"
                )
        try:
            covariance = inverse(hessian, varied & ~blocked, problem.labels, problem.where)
        except FitFailedError:
            # Where one of two factors is 0, the other has no effect: at the nominal parameters they only act together.
            reference = self.likelihood.reference
            inverse(self.likelihood.information(reference), varied, problem.labels, problem.where)
            raise
        hesse = np.sqrt(np.diag(covariance))
        notes = [f"{name} is at its limit {limit:g}: its HESSE error means nothing" for name, limit in at_limit.items()]
        if at_limit:
            hesse[blocked] = self._errors_at_limit(values, hessian, varied, blocked)
        rise = self.likelihood.rise(values)
        found = Minimum(problem.labels, values, rise, hesse, covariance, at_limit, notes=tuple(notes))
        return found, blocked

    def _start(self, best: Minimum | None, held: Mapping[int, float]) -> _Start:
        problem = self.problem
        values = np.array(problem.model.config.suggested_init() if best is None else best.values, dtype=float)
        fixed, limits = np.array(problem.fixed), np.array(problem.bounds, dtype=float)
        for index, value in held.items():
            values[index], fixed[index], limits[index] = value, True, (-np.inf, np.inf)
        return _Start(values, fixed, limits, None if best is None or not best.hesse.any() else best.hesse)

    def _minuit(self, start: _Start, steps: FloatArray) -> ScaledMinuit:
        """Return MINUIT at its start, in units of some steps."""
        steps = np.where(steps > 0, steps, 0.1)
        scaled = ScaledMinuit(self.likelihood, start.values, steps, start.limits, start.fixed, self.problem.labels)
        scaled.minuit.tol = MINOS_TOLERANCE * self.settings.tolerance
        return scaled

    def _first_steps(self) -> FloatArray:
        """Return the errors of the parameters at the reference with all others held, 0 where they move nothing."""
        reference = self.likelihood.reference
        diagonal = np.diag(self.likelihood.information(reference))
        return np.asarray(np.divide(1, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0))

    def _minimise(self, start: _Start, what: str, is_near: bool) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Run MIGRAD and Newton's method from a start, ``is_near`` where it is an earlier minimum.

        Returns:
            The minimum, and which parameters are held at their limits.
        """
        if self._tick is not None:
            self._tick()
        varied = ~start.fixed
        if not varied.any():
            return start.values, np.zeros(len(varied), dtype=bool)
        if is_near:
            values, blocked, distance = newton(self.likelihood, self.problem.bounds, start.values, varied)
            if distance <= CLOSE:
                self._require_rates(values, what)
                return values, blocked
        values, blocked = self._migrad(start, what)
        self._require_rates(values, what)
        return values, blocked

    def _migrad(self, start: _Start, what: str) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Run MIGRAD, and Newton's method from where it ends; see ``_minimise``."""
        varied = ~start.fixed
        minuit = self._minuit(start, self._first_steps() if start.steps is None else start.steps)
        inner, max_calls = minuit.minuit, self.settings.max_calls
        inner.tol = self.settings.tolerance
        # MIGRAD that fails is repeated, first from where it ended, then from its start behind a simplex with the first
        # steps: where the curvature at the start is nearly 0, its own steps may end far away, where it goes nowhere.
        for attempt, strategy in enumerate(self._strategies):
            if attempt == 2:
                minuit.start_from(start.values)
                inner.simplex(ncall=max_calls)
            is_done = minuit.migrad(max_calls, strategy)
            values, blocked, distance = newton(self.likelihood, self.problem.bounds, minuit.values, varied)
            # Of hundreds of parameters that go together MIGRAD, which begins with their own curvatures, steps too far
            # and stops; a simplex takes a minute there.
            if is_done or (distance <= CLOSE and not inner.fmin.has_reached_call_limit):
                break
        # Hundreds of standard deviations away MINUIT's steps are rounding; Newton's are not.
        if not distance <= CLOSE or inner.fmin.has_reached_call_limit:
            if not inner.valid:
                minuit.start_from(values)
                minuit.migrad(max_calls, self._strategies[0])
            if not (inner.valid and distance <= inner.fmin.edm_goal):
                raise FitFailedError(self._failure(inner.fmin, what, values, varied & ~blocked, distance))
        return values, blocked

    def _require_rates(self, values: FloatArray, what: str) -> None:
        """Check that no bin expects a negative number of events, of which without data the likelihood is a number."""
        expected = self.likelihood.expected(values)
        negative = np.flatnonzero(expected < 0)
        if len(negative):
            problem = self.problem
            raise NegativeRateError(
                f"{what} on {problem.where} ends where {problem.bin_name(int(negative[0]))} expects "
                f"{expected[negative[0]]:.3g} events, and a rate cannot be negative. Raise the lower bound of "
                f"{problem.poi_name} (fit.bounds, or likelihood.poi_bounds), or repair the templates"
            )

    # ------------------------------------------------------------------------------------------------- errors
    def _errors_at_limit(
        self, values: FloatArray, hessian: FloatArray, varied: NDArray[np.bool_], blocked: NDArray[np.bool_]
    ) -> FloatArray:
        """Return the errors of the parameters at their limits, from the curvature there."""
        labels = [self.problem.labels[index] for index in np.flatnonzero(varied).tolist()]
        expected = self.likelihood.information(values)
        # Parameters that only act together slide along their valley until one is at its limit: then the others have a
        # minimum, which means nothing. The Hessian may bend there, where the events are not the expected ones.
        alike = inverse(expected, varied, self.problem.labels, self.problem.where)
        # Without events the likelihood is a straight line there: then the curvature is the expected one.
        is_straight = np.diag(hessian)[blocked] < STRAIGHT * np.diag(expected)[blocked]
        if is_straight.any() or flat_direction(hessian[np.ix_(varied, varied)], labels):
            covariance = alike
        else:
            covariance = inverse(hessian, varied, self.problem.labels, self.problem.where)
        return np.asarray(np.sqrt(np.diag(covariance))[blocked])

    def _differences(self, values: FloatArray, covariance: FloatArray, minos: Sequence[str]) -> list[str]:
        """Compare errors with the rise of the likelihood along them, and say where the likelihood disagrees.

        Along theta + t C_i / sigma_i, the profile of parameter i, -2 ln L rises by t^2: it is the other way to the
        same number, which shares nothing with the Hessian but the likelihood. Of an exact Hessian the errors of the POI
        and of those of which MINOS is asked for; of a numerical one all.
        """
        here = self.likelihood.rise(values)
        labels = self.problem.labels
        looked_at = {self.problem.poi_name, *minos} if self.likelihood.is_exact else set(labels)
        notes = []
        # A gamma that is known to 1e-13 cannot be moved by a part of that.
        errors = np.sqrt(np.diag(covariance))
        for index in np.flatnonzero(CHECK_STEP * errors > SMALLEST_MOVE * np.abs(values)).tolist():
            if labels[index] not in looked_at:
                continue
            error = errors[index]
            move = CHECK_STEP * covariance[index] / error
            both = self.likelihood.rise(values + move) + self.likelihood.rise(values - move) - 2 * here
            ratio = both / (2 * CHECK_STEP**2)
            if not abs(ratio**-0.5 - 1 if ratio > 0 else np.inf) <= HESSE_CHECK:
                right = f"{error * ratio**-0.5:.3g}" if ratio > 0 else "no parabola"
                notes.append(
                    f"HESSE of {labels[index]} is {error:.3g}, and the likelihood itself rises as for "
                    f"{right}, which is right: its second derivative jumps here. Take MINOS"
                )
        return notes

    def _minos(
        self, minuit: ScaledMinuit, best: Minimum, name: str, held: Mapping[int, float]
    ) -> tuple[tuple[float, float] | None, str]:
        """Run MINOS; return the interval, or None and a note with the side that is good.

        A side that MINUIT does not find, where many events make a narrow, bent valley, is looked for with the profile.
        """
        index = best.labels.index(name)
        value, limits = best.values[index], self.problem.bounds[index]
        found = minuit.minos(name, self.settings.max_calls)
        lengths: list[float | None] = []
        said = []
        for which, sign, side in zip(("lower", "upper"), (-1, 1), found, strict=True):
            limit = limits[max(sign, 0)]
            if value == limit:
                length = None
            elif side.is_valid and not (side.is_at_limit or side.has_new_minimum):
                length = self._refined(best, index, side.length, held)
            else:
                length = self._crossing(best, index, sign, held)
                if side.has_new_minimum:  # which the profile has not met
                    raise self._deeper(f"MINOS of {name}")
            lengths.append(length)
            if length is None:
                said.append(f"no {which} side, it ends at the limit {limit:g}")
            else:
                said.append(f"the {which} side is {length:+.4g}")
        lower, upper = lengths
        if lower is None or upper is None:
            return None, f"MINOS of {name}: {'; '.join(said)}"
        return (lower, upper), ""

    def _refined(self, best: Minimum, index: int, length: float, held: Mapping[int, float]) -> float | None:
        """Return MINUIT's length of one side, moved to where the profile of -2 ln L has risen by 1.

        MINUIT ends within 0.5% of an error of it. These are Newton's steps on the profile, whose slope is that of the
        likelihood itself where the other parameters are fitted. Where the profile is elsewhere, it is looked for.
        """
        what, error, start = f"the profile of {best.labels[index]}", float(best.hesse[index]), best
        for _ in range(MINOS_STEPS):
            start = self.minimum(what, {**held, index: float(best.values[index] + length)}, start)
            if start.rise < best.rise - DEEPER:
                raise self._deeper(what, start.values)
            slope = 2 * float(self.likelihood.gradient(start.values)[index])
            above = start.rise - best.rise - 1
            if not abs(above) <= FAR_OFF * abs(slope) * error:
                break
            length -= above / slope
            if abs(above) <= MINOS_PRECISION * abs(slope) * error:
                return length
        return self._crossing(best, index, 1 if length > 0 else -1, held)

    def _crossing(self, best: Minimum, index: int, sign: int, held: Mapping[int, float]) -> float | None:
        """Return how far on one side the profile of -2 ln L rises by 1; None where it ends at a limit before."""
        from scipy.optimize import brentq

        value, error = best.values[index], float(best.hesse[index])
        limit = self.problem.bounds[index][max(sign, 0)]
        what = f"the profile of {best.labels[index]}"
        start, known = best, {0.0: -1.0}

        def above(length: float) -> float:
            # A profile with two branches may be on the other one when it is asked again, from elsewhere.
            nonlocal start
            if length not in known:
                start = self.minimum(what, {**held, index: float(value + sign * length)}, start)
                if start.rise < best.rise - DEEPER:
                    raise self._deeper(what, start.values)
                known[length] = start.rise - best.rise - 1
            return known[length]

        inner, outer, room = 0.0, error, float(abs(limit - value))
        while above(min(outer, room)) < 0:
            if outer >= room:
                return None
            inner, outer = outer, 1.5 * outer
        return sign * float(brentq(above, inner, min(outer, room), xtol=1e-6 * error))

    def _deeper(self, what: str, values: FloatArray | None = None) -> DeeperMinimumError:
        return DeeperMinimumError(
            f"{what} on {self.problem.where} found a deeper minimum than the fit. Start nearer to it: change the "
            "initial values in the workspace",
            values,
        )

    def _failure(self, fmin: Any, what: str, values: FloatArray, chosen: NDArray[np.bool_], distance: float) -> str:
        """Say why there is no minimum, and what to do."""
        information = self.likelihood.information(values)
        names = [self.problem.labels[index] for index in np.flatnonzero(chosen)]
        if flat := flat_direction(information[np.ix_(chosen, chosen)], names):
            return f"{what} on {self.problem.where} has no minimum: {flat}"
        parts = [f"EDM {max(distance, fmin.edm):.2g} (goal {fmin.edm_goal:.2g})", f"{fmin.nfcn} calls"]
        if fmin.has_reached_call_limit:
            parts.append("the call limit was reached")
        return (
            f"MINUIT: {what} on {self.problem.where} did not converge: {'; '.join(parts)}. Raise fit.max_calls, or "
            "check the templates"
        )
