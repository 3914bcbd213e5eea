"""-2 ln L of one set of data with its derivatives, computed so that they are right at any statistics.

Everything is relative to a reference point, bin by bin: of 1e8 events -2 ln L is 1e9, and its rise by 1 is lost in the
rounding of that sum. The derivatives come from its structure: with the expectation nu, for which ``rates`` stands,

    d(-ln L) / d theta_i = sum_b (1 - n / nu)_b d nu_b / d theta_i + that of the constraint terms,
    H_ij = sum_b [n / nu^2 J_i J_j + (1 - n / nu) d^2 nu / d theta_i d theta_j]_b + those of the constraint terms,

where the first term of H is all there is for Asimov data.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from inferno_cli.likelihood.expectation import poisson_nll
from inferno_cli.likelihood.rates import Rates

FloatArray = NDArray[np.float64]

SMALLEST_SHARE = 1e-6
"""A bin with events is continued by a parabola below this share of the reference and of the events: ln 0 is no number,
and from negative expectations MINUIT would not find back."""


class Response(NamedTuple):
    """An auxiliary measurement: its parameter and place in the data, its standard deviation, and what it moves.

    ``size`` is d2(-ln L) / d theta d m times the standard deviation.
    """

    parameter: int
    entry: int
    sigma: float
    size: float


class Likelihood:
    """-2 ln L of one set of data, above its value at a reference point.

    Attributes:
        is_exact: Whether its derivatives are exact, and cost little.
        events: Of every bin, shape (n_bins,).
        reference: Parameters at which the rise is 0, shape (n_parameters,).
    """

    def __init__(
        self, rates: Rates, constraints: tuple[Terms, Terms], data: Sequence[float], reference: FloatArray
    ) -> None:
        """Take the rates, the Gaussian and the Poisson terms, data with the auxiliary ones, and a reference.

        At the reference every bin with events expects some.
        """
        self._rates = rates
        self.is_exact = rates.is_exact
        self.reference = np.asarray(reference, dtype=float)
        self._nominal = rates.expected(self.reference)
        self._terms = constraints
        self._take(data)

    def on(self, data: Sequence[float]) -> Self:
        """Return the likelihood of other data."""
        other = copy(self)
        other._take(data)
        return other

    def _take(self, data: Sequence[float]) -> None:
        values = np.asarray(data, dtype=float)
        n_bins = len(self._nominal)
        self.events = values[:n_bins]
        self._filled = self.events > 0
        self._floor = SMALLEST_SHARE * np.minimum(self._nominal, np.where(self._filled, self.events, np.inf))
        self._gauss, self._poisson = (terms.measuring(values[n_bins:]) for terms in self._terms)

    # ---------------------------------------------------------------------------------------------------- its value
    def expected(self, theta: FloatArray) -> FloatArray:
        """Return the expected events of every bin, shape (n_bins,)."""
        return self._rates.expected(theta)

    def rise(self, theta: FloatArray) -> float:
        """Return -2 ln L above its value at the reference."""
        expected = self.expected(theta)
        total = 2 * float((expected - self._nominal).sum() - self.events @ self._logarithm(expected)[0])
        gauss, poisson = self._gauss, self._poisson
        here, start = theta[gauss.index], self.reference[gauss.index]
        total += float(((here - start) * (here + start - 2 * gauss.measured) / gauss.scale**2).sum())
        if len(poisson.index):
            here, start = theta[poisson.index], self.reference[poisson.index]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(here > 0, np.log1p((here - start) / start), -np.inf)
            total += 2 * float((poisson.scale * (here - start) - poisson.measured * ratio).sum())
        return total

    def nll(self, theta: FloatArray) -> float:
        """Return -ln L, all constants included, as pyhf counts them."""
        gauss, poisson = self._gauss, self._poisson
        total = poisson_nll(self.expected(theta), self.events)
        total += poisson_nll(poisson.scale * theta[poisson.index], poisson.measured)
        pulls = (theta[gauss.index] - gauss.measured) / gauss.scale
        return float(total + (pulls**2 / 2 + np.log(gauss.scale) + np.log(2 * np.pi) / 2).sum())

    def _logarithm(self, expected: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return ln(nu / nu at the reference) with its first two derivatives in nu; a parabola below the floor.

        Of bins without events it is 0.
        """
        low = expected < self._floor
        filled = self._filled
        if filled.all() and not low.any():
            inverse = 1 / expected
            return np.log1p((expected - self._nominal) / self._nominal), inverse, -(inverse**2)
        value, slope, bend = np.zeros((3, len(expected)))
        nominal, floor = self._nominal[filled], self._floor[filled]
        near = np.maximum(expected[filled], floor)
        distance = np.minimum((expected[filled] - floor) / floor, 0)
        value[filled] = np.log1p((near - nominal) / nominal) + distance - distance**2 / 2
        slope[filled] = (1 - distance) / near
        bend[filled] = -1 / near**2
        return value, slope, bend

    # -------------------------------------------------------------------------------------------- its derivatives
    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return the gradient of -ln L, shape (n_parameters,)."""
        _, slope, _ = self._logarithm(self.expected(theta))
        gradient = self._rates.gradient(theta, 1 - self.events * slope)
        gauss, poisson = self._gauss, self._poisson
        gradient[gauss.index] += (theta[gauss.index] - gauss.measured) / gauss.scale**2
        gradient[poisson.index] += poisson.scale - poisson.measured / theta[poisson.index]
        return gradient

    def hessian(self, theta: FloatArray, *, is_step: bool = False) -> FloatArray:
        """Return the Hessian of -ln L, shape (n_parameters, n_parameters).

        For a step to the minimum, inexact rates leave the second derivatives of nu out, which are expensive.
        """
        _, slope, bend = self._logarithm(self.expected(theta))
        residual = 1 - self.events * slope
        if is_step and not self.is_exact:
            residual = np.zeros_like(residual)
        matrix = self._rates.hessian(theta, residual, -self.events * bend)
        gauss, poisson = self._gauss, self._poisson
        matrix[gauss.index, gauss.index] += 1 / gauss.scale**2
        matrix[poisson.index, poisson.index] += poisson.measured / theta[poisson.index] ** 2
        return matrix

    def information(self, theta: FloatArray) -> FloatArray:
        """Return the Hessian for the Asimov data of ``theta``, shape (n_parameters, n_parameters)."""
        expected = self.expected(theta)
        weight = np.divide(1, expected, out=np.zeros_like(expected), where=expected > 0)
        matrix = self._rates.hessian(theta, np.zeros_like(expected), weight)
        gauss, poisson = self._gauss, self._poisson
        matrix[gauss.index, gauss.index] += 1 / gauss.scale**2
        matrix[poisson.index, poisson.index] += poisson.scale / theta[poisson.index]
        return matrix

    def responses(self, theta: FloatArray) -> tuple[FloatArray, list[Response]]:
        """Return d2(-ln L) / d theta d m for every measurement m, times its standard deviation.

        Of the events of all bins, shape (n_parameters, n_bins), where Asimov data have the expected variance and
        observed data their own; and of every auxiliary measurement, of which only its own parameter knows.
        """
        expected = self.expected(theta)
        _, slope, _ = self._logarithm(expected)
        of_events = self.jacobian(theta).T * (slope * np.sqrt(self.events))
        found = []
        gauss, poisson = self._gauss, self._poisson
        n_bins = len(expected)
        for index, entry, width in zip(gauss.index, gauss.entry, gauss.scale, strict=True):
            found.append(Response(int(index), n_bins + int(entry), float(width), float(1 / width)))
        for index, entry, events in zip(poisson.index, poisson.entry, poisson.measured, strict=True):
            sigma = float(np.sqrt(events))
            found.append(Response(int(index), n_bins + int(entry), sigma, float(sigma / theta[index])))
        return of_events, found

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return d nu_b / d theta_i, shape (n_bins, n_parameters)."""
        return self._rates.jacobian(theta)

    # ----------------------------------------------------------------------------------------------------- its size
    def size(self, theta: FloatArray) -> float:
        """Return the sum of the absolute terms of -2 ln L, which tells the rounding of a plain sum of them."""
        expected, poisson = self.expected(theta), self._poisson
        rate = poisson.scale * theta[poisson.index]
        total = 0.0
        for mean, events in ((expected, self.events), (rate, poisson.measured)):
            logarithm = np.log(np.where(mean > 0, mean, 1))
            total += 2 * float((mean + events * np.abs(logarithm) + events * np.log1p(events)).sum())
        return total

    def distance_to_saturated(self, theta: FloatArray, varied: NDArray[np.bool_]) -> float:
        """Return -2 ln L above that of the saturated model, in which every bin expects its events.

        Constraint terms count where the parameter is varied: that of a constant is no measurement. Both arguments have
        shape (n_parameters,).
        """
        expected, events = self.expected(theta), self.events
        filled = events > 0
        total = 2 * (expected - events).sum()
        total += 2 * (events[filled] * np.log(events[filled] / expected[filled])).sum()
        gauss, poisson = self._gauss.of(varied), self._poisson.of(varied)
        total += (((theta[gauss.index] - gauss.measured) / gauss.scale) ** 2).sum()
        rate = poisson.scale * theta[poisson.index]
        total += 2 * (rate - poisson.measured).sum()
        counted = poisson.measured > 0  # of a toy also none
        total += 2 * (poisson.measured[counted] * np.log(poisson.measured[counted] / rate[counted])).sum()
        return float(total)


@dataclass(frozen=True)
class Terms:
    """Constraint terms of one kind: index of the parameter and of its auxiliary measurement, width or rate factor."""

    index: NDArray[np.intp]
    entry: NDArray[np.intp]
    scale: FloatArray
    measured: FloatArray

    def measuring(self, auxiliary: FloatArray) -> Terms:
        """Return them with the measurements among all auxiliary data."""
        return replace(self, measured=auxiliary[self.entry])

    def of(self, varied: NDArray[np.bool_]) -> Terms:
        """Return those of the parameters that are varied."""
        kept = varied[self.index]
        return Terms(self.index[kept], self.entry[kept], self.scale[kept], self.measured[kept])
