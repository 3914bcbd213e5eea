"""The synthetic mixture: events, exact nuisance transforms, densities and the Cramer-Rao bound.

Background: (x0, x1) is normal with mean (2 + r, 0) and covariance diag(5, 9), x2 is exponential with rate lambda.
Signal: (x0, x1) is normal with unit covariance, x2 is exponential with rate 2. arXiv:1806.04743, section 4.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import (
    Effect,
    NormalisationSystematic,
    Nuisance,
    ShiftSystematic,
    SyntheticDataset,
    TransformSystematic,
)
from inferno_cli.events.sample import NOMINAL, Events, FloatArray, Sample, generator
from inferno_cli.events.shift import shifted

BACKGROUND_MEAN, BACKGROUND_VARIANCE = (2.0, 0.0), (5.0, 9.0)
SIGNAL_RATE = 2.0


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
    return _draw(rng, n, mean, (1.0, 1.0), SIGNAL_RATE)


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


def _sample(
    name: str, features: NDArray[np.float32], expected: float, dataset: SyntheticDataset, effects: Sequence[Effect]
) -> Sample:
    n = len(features)
    weights = np.full(n, expected * dataset.downsample_factor / n)
    sample = Sample(name, name == "signal", np.arange(n), (NOMINAL,), features[None], (0,), weights[None])
    for effect in effects:
        item = effect.definition
        if isinstance(item, TransformSystematic) and effect.sample == name:
            up, down = (
                transform(features, item.parameter, sign * item.moved, dataset.nominal.rate) for sign in (1, -1)
            )
            sample = sample.with_variation(effect.parameter, (up, weights), (down, weights))
    return shifted(sample, dataset.features, effects)


def generate(dataset: SyntheticDataset, effects: Sequence[Effect], seed: int) -> Events:
    """Generate the three splits and one set of pseudo-data, every draw from ``seed``."""
    rate, r = dataset.nominal.rate, dataset.nominal.r
    digest = hashlib.sha256()
    splits: dict[str, tuple[Sample, ...]] = {}
    for split, n in dataset.events:
        rng = generator(seed, split)
        signal = draw_signal(rng, n // 2, dataset.signal_mean)
        background = draw_background(rng, n - n // 2, r, rate)
        splits[split] = (
            _sample("signal", signal, dataset.yields.signal, dataset, effects),
            _sample("background", background, dataset.yields.background, dataset, effects),
        )
        for features in (signal, background):
            digest.update(features.tobytes())
    rng = generator(seed, "observed")
    n_signal, n_background = rng.poisson(
        [x * dataset.downsample_factor for x in (dataset.yields.signal, dataset.yields.background)]
    )
    observed = np.concatenate(
        [draw_signal(rng, n_signal, dataset.signal_mean), draw_background(rng, n_background, r, rate)]
    )
    digest.update(observed.tobytes())
    return Events(
        name=dataset.name,
        label="",
        features=dataset.features,
        train=splits["train"],
        validation=splits["validation"],
        template=splits["template"],
        observed=observed,
        checksum=digest.hexdigest(),
    )


def log_density(x: FloatArray, mean: Sequence[float], variance: Sequence[float], rate: float) -> FloatArray:
    """Logarithm of the density of one component at ``x``, shape (n, 3)."""
    pulls = (x[:, :2] - np.asarray(mean)) ** 2 / np.asarray(variance)
    norm = np.log(2 * np.pi) + 0.5 * np.log(np.prod(variance)) - np.log(rate)
    return np.asarray(-0.5 * pulls.sum(axis=1) - rate * x[:, 2] - norm)


def log_ratio(dataset: SyntheticDataset) -> tuple[FloatArray, FloatArray, float]:
    """Logarithm of the ratio of the nominal densities, signal to background, as a polynomial.

    Both are products of normal and exponential densities, so it is exact.

    Returns:
        Coefficients of x^2 and of x, shape (3,) each, and the constant.
    """
    mean_s, var_s = np.array(dataset.signal_mean), np.ones(2)
    mean_b, var_b = (
        np.array([BACKGROUND_MEAN[0] + dataset.nominal.r, BACKGROUND_MEAN[1]]),
        np.array(BACKGROUND_VARIANCE),
    )
    square = np.append((1 / var_b - 1 / var_s) / 2, 0.0)
    linear = np.append(mean_s / var_s - mean_b / var_b, dataset.nominal.rate - SIGNAL_RATE)
    origin = np.zeros((1, 3))
    at_origin = log_density(origin, mean_s.tolist(), var_s.tolist(), SIGNAL_RATE)
    at_origin -= log_density(origin, mean_b.tolist(), var_b.tolist(), dataset.nominal.rate)
    return square, linear, float(at_origin[0])


def signal_share(dataset: SyntheticDataset, x: FloatArray) -> FloatArray:
    """Expected share of signal at ``x``, shape (n, 3), from the exact nominal densities; shape (n,)."""
    square, linear, constant = log_ratio(dataset)
    odds = np.log(dataset.yields.signal / dataset.yields.background) + x**2 @ square + x @ linear + constant
    return np.asarray(1 / (1 + np.exp(-odds)))


def cramer_rao_bound(dataset: SyntheticDataset, nuisance: Nuisance) -> float | None:
    """Smallest possible standard deviation of s, in events, for any summary of the data.

    The extended likelihood of the exact densities gives the information matrix of (s, r, lambda, b), integrated on a
    grid; nuisance parameters enter with their constraints, those that are not in ``nuisance.fit`` are known.

    Returns:
        Standard deviation of the signal yield s; None with an artificial shift, whose density is not known.
    """
    if any(isinstance(dataset.systematics[name], ShiftSystematic) for name in nuisance.fit):
        return None
    s, b = (x * dataset.downsample_factor for x in (dataset.yields.signal, dataset.yields.background))
    r, rate = dataset.nominal.r, dataset.nominal.rate
    mean = (BACKGROUND_MEAN[0] + r, BACKGROUND_MEAN[1])
    # The trapezium rule converges exponentially for Gaussians; x2 = -log(1 - u) / k turns the tail into a polynomial.
    step = 0.25
    axes = [
        np.arange(min(mean[i], dataset.signal_mean[i]) - 8 * sd, max(mean[i], dataset.signal_mean[i]) + 8 * sd, step)
        for i, sd in enumerate(np.sqrt(BACKGROUND_VARIANCE))
    ]
    nodes, node_weights = np.polynomial.legendre.leggauss(80)
    scale = min(rate, SIGNAL_RATE) / 2
    u = (nodes + 1) / 2
    x2, dx2 = -np.log1p(-u) / scale, node_weights / 2 / (scale * (1 - u))
    grid = np.stack([part.ravel() for part in np.meshgrid(*axes, x2, indexing="ij")], axis=1)
    volume = np.tile(dx2, len(grid) // len(x2)) * step**2

    f_s = np.exp(log_density(grid, dataset.signal_mean, (1.0, 1.0), SIGNAL_RATE))
    f_b = np.exp(log_density(grid, mean, BACKGROUND_VARIANCE, rate))
    derivatives, prior = [f_s], [0.0]
    for name in nuisance.fit:
        systematic = dataset.systematics[name]
        if isinstance(systematic, TransformSystematic):
            if systematic.parameter == "r":
                score = (grid[:, 0] - mean[0]) / BACKGROUND_VARIANCE[0]
            else:
                score = 1 / rate - grid[:, 2]
            derivatives.append(b * f_b * score * systematic.width)
            prior.append(0.0 if name in nuisance.unconstrained else 1.0)
        elif isinstance(systematic, NormalisationSystematic):
            yields = [s * f_s if sample == "signal" else b * f_b for sample in systematic.samples]
            up, down = systematic.factors
            derivatives.append(sum(yields, np.zeros_like(f_b)) * (up - down) / 2)
            prior.append(1.0)
        else:
            derivatives.append(
                sum((s * f_s if x == "signal" else b * f_b for x in systematic.samples), np.zeros_like(f_b))
            )
            prior.append(0.0)
    jacobian = np.stack(derivatives)
    information = (jacobian * (volume / (s * f_s + b * f_b))) @ jacobian.T + np.diag(prior)
    return float(np.sqrt(np.linalg.inv(information)[0, 0]))


__all__ = [
    "cramer_rao_bound",
    "draw_background",
    "draw_signal",
    "generate",
    "log_ratio",
    "signal_share",
    "transform",
]
