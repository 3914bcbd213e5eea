"""The likelihood of a pyhf model and its derivatives, computed so that they are right at any statistics.

Everything is relative to a reference point, bin by bin: of 1e8 events -2 ln L is 1e9, its rise by 1 is lost in the
rounding of that sum, and MINUIT's numerical second derivatives are those of the rounding. The Hessian is not taken from
differences of the likelihood but from its structure: with the expectation nu and its derivatives J,

    H_ij = sum_b [n / nu^2 J_i J_j + (1 - n / nu) d^2 nu / d theta_i d theta_j]_b + the constraint terms,

where the first term is all there is for Asimov data. Only the smooth function nu is differentiated numerically.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FIRST_STEP, SECOND_STEP = 1e-4, 5e-3
"""Steps of the derivatives, in units of the parameter, or of its value where that is above 1.

The expectation is linear in every factor, and a polynomial or an exponential of every pull: its scale is 1.
"""
SMALLEST_SHARE = 1e-6
"""A bin with events is continued by a parabola below this share of the reference and of the events: ln 0 is no number,
and from negative expectations MINUIT would not find back."""


class Likelihood:
    """-2 ln L of one set of data, above its value at a reference point.

    Attributes:
        model: pyhf's.
        events: Of every bin, shape (n_bins,).
        reference: Parameters at which the rise is 0, shape (n_parameters,).
    """

    def __init__(self, model: Any, data: Sequence[float], reference: FloatArray) -> None:
        """Take a model, the data with the auxiliary ones, and a point at which every bin with events expects some."""
        self.model = model
        values = np.asarray(data, dtype=float)
        self.events = values[: model.config.nmaindata]
        self.reference = np.asarray(reference, dtype=float)
        self._gauss, self._poisson = _constraints(model, values[model.config.nmaindata :])
        self._nominal = self.expected(self.reference)
        self._floor = SMALLEST_SHARE * np.minimum(self._nominal, np.where(self.events > 0, self.events, np.inf))

    def expected(self, theta: FloatArray) -> FloatArray:
        """Return the expected events of every bin, shape (n_bins,)."""
        return np.asarray(self.model.main_model.expected_data(theta), dtype=float)

    def rise(self, theta: Sequence[float] | FloatArray) -> float:
        """Return -2 ln L above its value at the reference."""
        point = np.asarray(theta, dtype=float)
        expected = self.expected(point)
        change = expected - self._nominal
        filled = self.events > 0
        logarithm = self._logarithm(expected[filled], filled)
        total = 2 * (change.sum() - (self.events[filled] * logarithm).sum())
        here, there = point[self._gauss.index], self.reference[self._gauss.index]
        total += ((here - there) * (here + there - 2 * self._gauss.measured) / self._gauss.scale**2).sum()
        here, there = point[self._poisson.index], self.reference[self._poisson.index]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(here > 0, np.log1p((here - there) / there), -np.inf)
        total += 2 * (self._poisson.scale * (here - there) - self._poisson.measured * ratio).sum()
        return float(total)

    def _logarithm(self, expected: FloatArray, filled: NDArray[np.bool_]) -> FloatArray:
        """Return ln(nu / nu at the reference) of the bins with events; a parabola below the floor."""
        nominal, floor = self._nominal[filled], self._floor[filled]
        low = expected < floor
        found = np.log1p((np.where(low, floor, expected) - nominal) / nominal)
        distance = (expected - floor) / floor
        return np.asarray(np.where(low, found + distance - distance**2 / 2, found))

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return d nu_b / d theta_i, shape (n_bins, n_parameters)."""
        columns = []
        for step in np.diag(FIRST_STEP * np.maximum(1, np.abs(theta))):
            columns.append((self.expected(theta + step) - self.expected(theta - step)) / (2 * step.sum()))
        return np.stack(columns, axis=1)

    def gradient(self, theta: FloatArray, jacobian: FloatArray) -> FloatArray:
        """Return the gradient of -ln L, shape (n_parameters,), given the derivatives of the expectation there."""
        gradient = jacobian.T @ self._residual(self.expected(theta))
        gauss, poisson = self._gauss, self._poisson
        gradient[gauss.index] += (theta[gauss.index] - gauss.measured) / gauss.scale**2
        gradient[poisson.index] += poisson.scale - poisson.measured / theta[poisson.index]
        return np.asarray(gradient)

    def hessian(self, theta: FloatArray, jacobian: FloatArray, curvature: FloatArray | None = None) -> FloatArray:
        """Return the Hessian of -ln L, shape (n_parameters, n_parameters), given the derivatives of the expectation.

        ``curvature`` is that of a point nearby, in place of the one there, which is expensive.
        """
        expected = self.expected(theta)
        weight = np.divide(self.events, expected**2, out=np.zeros_like(expected), where=self.events > 0)
        matrix = jacobian.T @ (weight[:, None] * jacobian)
        matrix += self.curvature(theta) if curvature is None else curvature
        gauss, poisson = self._gauss, self._poisson
        matrix[gauss.index, gauss.index] += 1 / gauss.scale**2
        matrix[poisson.index, poisson.index] += poisson.measured / theta[poisson.index] ** 2
        return np.asarray(matrix)

    def information(self, theta: FloatArray, jacobian: FloatArray) -> FloatArray:
        """Return the Hessian for the Asimov data of ``theta``, shape (n_parameters, n_parameters)."""
        expected = self.expected(theta)
        weight = np.divide(1, expected, out=np.zeros_like(expected), where=expected > 0)
        matrix = jacobian.T @ (weight[:, None] * jacobian)
        gauss, poisson = self._gauss, self._poisson
        matrix[gauss.index, gauss.index] += 1 / gauss.scale**2
        matrix[poisson.index, poisson.index] += poisson.scale / theta[poisson.index]
        return np.asarray(matrix)

    def _residual(self, expected: FloatArray) -> FloatArray:
        """Return 1 - n / nu of every bin, shape (n_bins,): d(-ln L) / d nu."""
        return np.asarray(1 - np.divide(self.events, expected, out=np.zeros_like(expected), where=self.events > 0))

    def curvature(self, theta: FloatArray) -> FloatArray:
        """Return sum_b (1 - n / nu)_b d^2 nu_b / d theta_i d theta_j, shape (n_parameters, n_parameters)."""
        n, residual = len(theta), self._residual(self.expected(theta))
        matrix = np.zeros((n, n))
        if not residual.any():
            return matrix
        steps = np.diag(SECOND_STEP * np.maximum(1, np.abs(theta)))

        def projected(moved: FloatArray) -> float:
            return float(residual @ self.expected(moved))

        here = projected(theta)
        for i in range(n):
            outer = projected(theta + steps[i]) + projected(theta - steps[i]) - 2 * here
            matrix[i, i] = outer / steps[i, i] ** 2
            for j in range(i):
                both, across = steps[i] + steps[j], steps[i] - steps[j]
                mixed = projected(theta + both) + projected(theta - both)
                mixed -= projected(theta + across) + projected(theta - across)
                matrix[i, j] = matrix[j, i] = mixed / (4 * steps[i, i] * steps[j, j])
        return matrix

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
        total += 2 * (rate - poisson.measured - poisson.measured * np.log(rate / poisson.measured)).sum()
        return float(total)


@dataclass(frozen=True)
class _Terms:
    """Constraint terms of one kind: index of the parameter, auxiliary measurement, and its width or rate factor."""

    index: NDArray[np.intp]
    measured: FloatArray
    scale: FloatArray

    def of(self, varied: NDArray[np.bool_]) -> _Terms:
        """Return those of the parameters that are varied."""
        kept = varied[self.index]
        return _Terms(self.index[kept], self.measured[kept], self.scale[kept])


def _constraints(model: Any, auxiliary: FloatArray) -> tuple[_Terms, _Terms]:
    """Return the Gaussian and the Poisson terms, in pyhf's order of the auxiliary data."""
    found: dict[str, list[tuple[int, float, float]]] = {"normal": [], "poisson": []}
    measured = iter(auxiliary.tolist())
    for name in model.config.auxdata_order:
        parameter, place = model.config.param_set(name), model.config.par_slice(name)
        scales = parameter.width() if parameter.pdf_type == "normal" else parameter.factors
        for index, scale in zip(range(place.start, place.stop), scales, strict=True):
            found[parameter.pdf_type].append((index, next(measured), scale))
    terms = []
    for rows in found.values():
        columns = np.array(rows, dtype=float).reshape(-1, 3).T.copy()
        terms.append(_Terms(columns[0].astype(np.intp), columns[1], columns[2]))
    return terms[0], terms[1]
