"""The synthetic mixture: events, exact nuisance transforms, densities and the Cramer-Rao bound.

Background: (x0, x1) is normal with mean (2 + r, 0) and covariance diag(5, 9), x2 is exponential with rate lambda.
Signal: (x0, x1) is normal with unit covariance, x2 is exponential with rate 2. arXiv:1806.04743, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inferno_cli.events.dataset import LogRatio
from inferno_cli.events.generated import GeneratedDataset
from inferno_cli.events.modifiers import NormFactor, NormSys
from inferno_cli.events.sample import FloatArray
from inferno_cli.section import Finite, Names, Positive, Section

BACKGROUND_MEAN, BACKGROUND_VARIANCE = (2.0, 0.0), (5.0, 9.0)
SIGNAL_VARIANCE, SIGNAL_RATE = (1.0, 1.0), 2.0


class MixtureParameters(Section):
    """Nominal parameters of the background."""

    r: Finite
    """Shift of the mean of x0."""
    rate: Annotated[Positive, Field(alias="lambda")]
    """Rate of the exponential of x2."""


class SyntheticDataset(GeneratedDataset):
    """The three-dimensional mixture of arXiv:1806.04743, section 4.1."""

    kind: Literal["synthetic"]
    """The mixture."""
    signal_mean: tuple[Finite, Finite]
    """Mean of (x0, x1) for the signal. The paper prints (1, 1); its code and its tables have (0, 0)."""
    nominal: MixtureParameters

    features: ClassVar[Names] = ("x0", "x1", "x2")
    made_by: ClassVar[Names] = (*GeneratedDataset.made_by, "signal_mean", "nominal")

    def check(self) -> None:
        """Refuse systematics of several parameters."""
        for name, systematic in self.systematics.items():
            if systematic.modifier_name is not None or systematic.correlated is not True:
                raise ValueError(f"systematics.{name}: on the synthetic mixture every systematic is one parameter")

    @property
    def nominal_parameters(self) -> dict[str, float]:
        """Parameters of the background."""
        return {"r": self.nominal.r, "lambda": self.nominal.rate}

    @property
    def background_mean(self) -> tuple[float, float]:
        """Nominal mean of (x0, x1) of the background."""
        return BACKGROUND_MEAN[0] + self.nominal.r, BACKGROUND_MEAN[1]

    def transformed(self, features: NDArray[np.float32], parameter: str, shift: float) -> NDArray[np.float32]:
        """Return background events as they would be with r + shift, or with rate lambda + shift."""
        return transform(features, parameter, shift, self.nominal.rate)

    def draw(self, rng: np.random.Generator, signal: int, background: int) -> list[NDArray[np.float32]]:
        """Draw so many events of the signal, then of the background."""
        nominal = self.nominal
        return [
            draw_signal(rng, signal, self.signal_mean),
            draw_background(rng, background, nominal.r, nominal.rate),
        ]

    def exact_classifier(self) -> LogRatio:
        """Return the ratio of the nominal densities.

        Both are products of normal and exponential densities, so it is exact.
        """
        mean_s, var_s = np.array(self.signal_mean), np.array(SIGNAL_VARIANCE)
        mean_b, var_b = np.array(self.background_mean), np.array(BACKGROUND_VARIANCE)
        origin = np.zeros((1, 3))
        at_origin = log_density(origin, self.signal_mean, SIGNAL_VARIANCE, SIGNAL_RATE)
        at_origin -= log_density(origin, self.background_mean, BACKGROUND_VARIANCE, self.nominal.rate)
        return LogRatio(
            square=np.append((1 / var_b - 1 / var_s) / 2, 0.0),
            linear=np.append(mean_s / var_s - mean_b / var_b, self.nominal.rate - SIGNAL_RATE),
            constant=float(at_origin[0]),
            odds=self.yields.signal / self.yields.background,
        )

    def quoted_signal(self) -> float:
        """Return the expected signal: the paper quotes the error of s."""
        return self.expected[0]

    def cramer_rao_bound(self, fitted: Names, unconstrained: Names) -> float | None:
        """Return the bound from the exact densities; None with a shift, whose density is not known."""
        return cramer_rao_bound(self, fitted, unconstrained)


def _draw(
    rng: np.random.Generator, n: int, mean: Sequence[float], variance: Sequence[float], rate: float
) -> NDArray[np.float32]:
    normal = rng.normal(mean, np.sqrt(variance), size=(n, 2))
    return np.column_stack([normal, rng.exponential(1 / rate, size=n)]).astype(np.float32)


def draw_background(rng: np.random.Generator, n: int, r: float, rate: float) -> NDArray[np.float32]:
    """Draw background events, shape (n, 3)."""
    return _draw(rng, n, (BACKGROUND_MEAN[0] + r, BACKGROUND_MEAN[1]), BACKGROUND_VARIANCE, rate)


def draw_signal(rng: np.random.Generator, n: int, mean: Sequence[float]) -> NDArray[np.float32]:
    """Draw signal events, shape (n, 3)."""
    return _draw(rng, n, mean, SIGNAL_VARIANCE, SIGNAL_RATE)


def transform(events: NDArray[np.float32], parameter: str, shift: float, rate: float) -> NDArray[np.float32]:
    """Return background events as they would be with r + shift, or with rate lambda + shift.

    A variable with rate lambda_0 times lambda_0 / lambda has rate lambda: the inverse of what one peer multiplies by.
    """
    changed = events.copy()
    if parameter == "r":
        changed[:, 0] += shift
    else:
        changed[:, 2] *= rate / (rate + shift)
    return changed


def log_density(x: FloatArray, mean: Sequence[float], variance: Sequence[float], rate: float) -> FloatArray:
    """Logarithm of the density of one component at ``x``, shape (n, 3)."""
    pulls = (x[:, :2] - np.asarray(mean)) ** 2 / np.asarray(variance)
    norm = np.log(2 * np.pi) + 0.5 * np.log(np.prod(variance)) - np.log(rate)
    return np.asarray(-0.5 * pulls.sum(axis=1) - rate * x[:, 2] - norm)


@dataclass(frozen=True)
class ExactYields:
    """What the exact densities expect at n points of the space of the features, and how it changes with P parameters.

    Attributes:
        points: Features, shape (n, 3).
        expected: Events, shape (n,).
        derivatives: Of ``expected`` in s (per event) and in each nuisance parameter (per standard deviation), (P, n).
        prior: Information on each that its constraint has, shape (P,).
    """

    points: FloatArray
    expected: FloatArray
    derivatives: FloatArray
    prior: FloatArray

    @property
    def covariance(self) -> FloatArray:
        """Smallest possible covariance of s and the nuisance parameters, shape (P, P)."""
        information = (self.derivatives / self.expected) @ self.derivatives.T + np.diag(self.prior)
        return np.asarray(np.linalg.inv(information))


def cramer_rao_bound(dataset: SyntheticDataset, fitted: Names, unconstrained: Names) -> float | None:
    """Smallest possible standard deviation of s, in events, for any summary of the data.

    The extended likelihood of the exact densities gives the information matrix of (s, r, lambda, b), integrated on a
    grid; nuisance parameters enter with their constraints, those that are not ``fitted`` are known.
    """
    exact = exact_yields(dataset, fitted, unconstrained)
    return None if exact is None else float(np.sqrt(exact.covariance[0, 0]))


def exact_yields(dataset: SyntheticDataset, fitted: Names, unconstrained: Names) -> ExactYields | None:
    """Return what the exact densities expect on a grid; None with a shift, whose density is not known."""
    grid, volume = _grid(dataset)
    s, b = dataset.expected
    mean, rate = dataset.background_mean, dataset.nominal.rate
    f_s = np.exp(log_density(grid, dataset.signal_mean, SIGNAL_VARIANCE, SIGNAL_RATE))
    f_b = np.exp(log_density(grid, mean, BACKGROUND_VARIANCE, rate))
    scores = {"r": (grid[:, 0] - mean[0]) / BACKGROUND_VARIANCE[0], "lambda": 1 / rate - grid[:, 2]}
    expected = {"signal": s * f_s, "background": b * f_b}
    derivatives, prior = [f_s], [0.0]
    for name in fitted:
        systematic = dataset.systematics[name]
        touched = sum((expected[sample] for sample in systematic.samples), np.zeros_like(f_b))
        modifier, moved = systematic.modifier((name,)), systematic.density_parameter()
        if moved is not None:
            parameter, width = moved
            derivatives.append(b * f_b * scores[parameter] * width)
            prior.append(0.0 if name in unconstrained else 1.0)
        elif isinstance(modifier, NormSys):
            up, down = modifier.factors
            derivatives.append(touched * (up - down) / 2)
            prior.append(1.0)
        elif isinstance(modifier, NormFactor):
            derivatives.append(touched)
            prior.append(0.0)
        else:  # an artificial shift, whose density is not known
            return None
    return ExactYields(grid, (s * f_s + b * f_b) * volume, np.stack(derivatives) * volume, np.array(prior))


def _grid(dataset: SyntheticDataset) -> tuple[FloatArray, FloatArray]:
    """Return points of the space of the features, shape (n, 3), and the volume of each, shape (n,).

    The trapezium rule converges exponentially for Gaussians; x2 = -log(1 - u) / k turns the tail into a polynomial.
    """
    step = 0.25
    axes = []
    for i, deviation in enumerate(np.sqrt(BACKGROUND_VARIANCE)):
        low, high = sorted((dataset.background_mean[i], dataset.signal_mean[i]))
        axes.append(np.arange(low - 8 * deviation, high + 8 * deviation, step))
    nodes, node_weights = np.polynomial.legendre.leggauss(80)
    scale = min(dataset.nominal.rate, SIGNAL_RATE) / 2
    u = (nodes + 1) / 2
    x2, dx2 = -np.log1p(-u) / scale, node_weights / 2 / (scale * (1 - u))
    grid = np.stack([part.ravel() for part in np.meshgrid(*axes, x2, indexing="ij")], axis=1)
    return grid, np.tile(dx2, len(grid) // len(x2)) * step**2
