"""Yields between the points of a grid: a Gaussian process of the logarithm of the yield, so that none is negative."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from inferno_cli.errors import ConfigError
from inferno_cli.events.sample import FloatArray

RESTARTS = 2
"""Starts of the maximisation of the marginal likelihood, beside the first."""
LENGTHS, NOISE = (0.1, 100.0), (1e-10, 1.0)
"""Bounds of the length scales, in standard deviations of the parameters, and of the white noise."""


@dataclass(frozen=True)
class Yields:
    """A Gaussian process of ln yield over the standardised parameters.

    Attributes:
        process: The fitted process.
        mean, deviation: By which the parameters are standardised.
        offset: Mean of ln yield, which is what the process returns to far away.
        errors: Relative statistical error of each yield that it was fitted to, shape (n_points,).
        target: ln yield minus the offset, shape (n_points,).
    """

    process: Any
    mean: FloatArray
    deviation: FloatArray
    offset: float
    errors: FloatArray
    target: FloatArray

    @classmethod
    def fit(cls, at: FloatArray, yields: FloatArray, errors: FloatArray, seed: int) -> Yields:
        """Fit the kernel by its marginal likelihood: amplitude, one length for each parameter, and white noise.

        Args:
            at: Parameters, shape (n_points, n_parameters).
            yields: Expected events, shape (n_points,), above 0.
            errors: Their statistical errors, shape (n_points,).
            seed: Seed of the further starts.
        """
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.gaussian_process import GaussianProcessRegressor
            from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
        except ImportError as error:
            raise ConfigError(
                "yields=gp needs the package scikit-learn, and it is not installed. Install it: "
                "pip install 'inferno-cli[flows]', or set yields=null"
            ) from error
        mean, deviation = at.mean(axis=0), at.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        logarithm = np.log(yields)
        offset, relative = float(logarithm.mean()), errors / yields
        kernel = ConstantKernel(1.0, (1e-6, 1e4)) * RBF(np.ones(at.shape[1]), LENGTHS) + WhiteKernel(1e-4, NOISE)
        process = GaussianProcessRegressor(
            kernel, alpha=relative**2 + 1e-12, n_restarts_optimizer=RESTARTS, random_state=seed
        )
        with warnings.catch_warnings():
            # A parameter at its bound is an answer: yields that are all alike have any length.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit((at - mean) / deviation, logarithm - offset)
        return cls(process, mean, deviation, offset, relative, logarithm - offset)

    @property
    def kernel(self) -> str:
        """The fitted kernel, lengths in standard deviations of the parameters."""
        return str(self.process.kernel_)

    def predict(self, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the yields at parameters, shape (n, n_parameters), and their relative errors, shape (n,) each.

        The white noise is part of the error: it is how far yields of neighbours are from any smooth function.
        """
        mean, error = self.process.predict((at - self.mean) / self.deviation, return_std=True)
        return np.exp(mean + self.offset), np.asarray(error)

    def left_out(self) -> tuple[FloatArray, FloatArray]:
        """Return what every point is expected to be without itself, and the relative error; shape (n_points,) each.

        With the same kernel, in closed form (Rasmussen and Williams, equation 5.12).
        """
        covariance = self.process.kernel_(self.process.X_train_) + np.diag(self.errors**2 + 1e-12)
        inverse = np.linalg.inv(covariance)
        diagonal = np.diag(inverse)
        expected = self.target - inverse @ self.target / diagonal
        return np.exp(expected + self.offset), np.sqrt(1 / diagonal)
