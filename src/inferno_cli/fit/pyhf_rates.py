"""Expected events of a pyhf model, with numerical derivatives: the other way to the numbers of ``ExactRates``."""

from __future__ import annotations

from typing import Any

import numpy as np

from inferno_cli.likelihood.data import FloatArray

FIRST_STEP, SECOND_STEP = 1e-4, 5e-3
"""Steps of the derivatives, in units of the parameter, or of its value where that is above 1.

The expectation is linear in every factor, and a polynomial or an exponential of every pull: its scale is 1.
"""


class PyhfRates:
    """``inferno_cli.likelihood.rates.Rates`` of a pyhf model."""

    is_exact = False

    def __init__(self, model: Any) -> None:
        self._model = model

    def expected(self, theta: FloatArray) -> FloatArray:
        """Return nu, shape (N,)."""
        return np.asarray(self._model.main_model.expected_data(theta), dtype=float)

    def samples(self, theta: FloatArray) -> list[FloatArray]:
        """Return what is expected of each sample, in the order of the workspace, for every channel: (samples, bins)."""
        config, channels = self._model.config, {channel["name"]: channel for channel in self._model.spec["channels"]}
        every = np.asarray(self._model.main_model.expected_data(theta, return_by_sample=True), dtype=float)
        parts = []
        for name in config.channels:
            rows = [config.samples.index(sample["name"]) for sample in channels[name]["samples"]]
            parts.append(every[rows][:, config.channel_slices[name]])
        return parts

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return d nu_b / d theta_i, shape (N, n)."""
        columns = []
        for step in np.diag(FIRST_STEP * np.maximum(1, np.abs(theta))):
            columns.append((self.expected(theta + step) - self.expected(theta - step)) / (2 * step.sum()))
        return np.stack(columns, axis=1)

    def gradient(self, theta: FloatArray, slope: FloatArray) -> FloatArray:
        """Return sum_b slope_b d nu_b / d theta_i, shape (n,)."""
        return np.asarray(slope @ self.jacobian(theta))

    def hessian(self, theta: FloatArray, slope: FloatArray, curvature: FloatArray) -> FloatArray:
        """Return sum_b [slope_b d2 nu_b / d theta_i d theta_j + curvature_b (d nu_b / d theta_i)(d nu_b / d theta_j)].

        Its shape is (n, n).
        """
        jacobian = self.jacobian(theta)
        matrix = np.asarray(jacobian.T @ (curvature[:, None] * jacobian))
        return matrix + self._bend(theta, slope) if slope.any() else matrix

    def _bend(self, theta: FloatArray, slope: FloatArray) -> FloatArray:
        """Return sum_b slope_b d2 nu_b / d theta_i d theta_j, shape (n, n)."""
        n = len(theta)
        matrix = np.zeros((n, n))
        steps = np.diag(SECOND_STEP * np.maximum(1, np.abs(theta)))

        def projected(moved: FloatArray) -> float:
            return float(slope @ self.expected(moved))

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
