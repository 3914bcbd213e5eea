"""Fisher's linear discriminant in closed form: the baseline that needs no training.

    w = S^-1 (m_s - m_b),    output = w . (x - (m_s + m_b) / 2)

S is the mean of the covariances of signal and background, each with the weights of its events and half of the total. w
maximises (difference of the means)^2 / (sum of the variances) of the projection; for two Gaussians of one covariance
the output is the logarithm of their ratio, and no classifier is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from inferno_cli.errors import DatasetError
from inferno_cli.training.networks import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from inferno_cli.events.dataset import LogRatio
    from inferno_cli.training.layers import Quadratic
    from inferno_cli.training.summaries import NominalEvents

SMALLEST = 1e-10
"""Least eigenvalue of the correlation of the features, relative to the largest: below, features say the same twice."""


class Fisher(Network):
    """The linear discriminant of signal and background; no objective trains it."""

    is_trained: ClassVar[bool] = False
    only_outputs: ClassVar[int | None] = 1
    kind: Literal["fisher"] = "fisher"
    """Fisher's linear discriminant, in closed form."""

    def build(self, mean: Tensor, deviation: Tensor, n_outputs: int) -> nn.Sequential:  # noqa: ARG002
        """Return a linear function whose coefficients are 0 until it is filled."""
        from torch import nn

        from inferno_cli.training.layers import Quadratic

        return nn.Sequential(Quadratic(len(mean)))

    def fill(self, network: nn.Sequential, samples: Sequence[NominalEvents], log_ratio: LogRatio | None) -> None:  # noqa: ARG002
        """Set the coefficients from the first two moments of signal and background.

        Raises:
            DatasetError: If one of the two has no events, or negative weights leave no variance.
        """
        import torch

        layer, moments = _layer(network), []
        for is_signal in (True, False):
            chosen = [sample for sample in samples if sample.is_signal == is_signal]
            moments.append(_moments(chosen, "signal" if is_signal else "background"))
        (signal, of_signal), (background, of_background) = moments
        linear = discriminant(signal - background, (of_signal + of_background) / 2)
        layer.linear.copy_(torch.from_numpy(linear))
        layer.constant.fill_(-float(linear @ (signal + background)) / 2)

    def about(self, network: nn.Sequential) -> dict[str, Any]:
        """Return the coefficients of the features, in their order."""
        layer = _layer(network)
        return {"linear": layer.linear.tolist(), "constant": float(layer.constant)}


def _layer(network: nn.Sequential) -> Quadratic:
    from inferno_cli.training.layers import Quadratic

    layer = network[0]
    assert isinstance(layer, Quadratic)
    return layer


def _moments(samples: Sequence[NominalEvents], role: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weighted mean, shape (n_features,), and covariance, (n_features, n_features), of some samples together."""
    total = sum(float(sample.weights.sum()) for sample in samples)
    if not total > 0:
        raise DatasetError(
            f"Fisher's discriminant needs signal and background, and the {role} in the training split has the weight "
            f"{total:g}. Use more events, or another model"
        )
    events = [(x.features.double().cpu().numpy(), x.weights.double().cpu().numpy() / total) for x in samples]
    # About a point inside: the squares of features that are far from 0 leave no digits for a variance.
    centre = np.mean([features.mean(axis=0) for features, _ in events], axis=0)
    mean = sum(weights @ (features - centre) for features, weights in events)
    squares = sum(((features - centre).T * weights) @ (features - centre) for features, weights in events)
    return centre + mean, squares - np.outer(mean, mean)


def discriminant(difference: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the direction that divides best, shape (n_features,); none in what is constant or said by others.

    Args:
        difference: Of the means, shape (n_features,).
        covariance: Within signal and background, shape (n_features, n_features).

    Raises:
        DatasetError: If it is no covariance.
    """
    variance = covariance.diagonal()
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    if not values.max() > 0 or values.min() < -1e3 * SMALLEST * values.max():
        raise DatasetError(
            "the covariance of the features in signal and background is not positive, so negative weights dominate "
            "it, and Fisher's discriminant is not known. Use another model, or fewer features"
        )
    kept = values > SMALLEST * values.max()
    projected = vectors[:, kept].T @ (difference / scale)
    return np.asarray(vectors[:, kept] @ (projected / values[kept]) / scale)
