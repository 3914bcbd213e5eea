"""Two Gaussian blobs in two dimensions, on which losses of the fit were compared first.

N. Simpson's thesis (2023), section 7.4.1, and the code of neos: signal about (-1, 1) and background about (1, -1), with
unit covariance. One standard deviation up, the mean of the background is (2.5, 2), and one down it is (-2.5, -1.5). The
thesis prints the three means in another order, which its text contradicts.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.dataset import LogRatio
from inferno_cli.events.generated import GeneratedDataset
from inferno_cli.section import Finite, Names


class BlobsDataset(GeneratedDataset):
    """Two Gaussian blobs in two dimensions."""

    kind: Literal["blobs"]
    """Blobs."""
    signal_mean: tuple[Finite, Finite]
    """Mean of (x0, x1) for the signal."""
    background_mean: tuple[Finite, Finite]
    """Nominal mean of (x0, x1) for the background."""

    features: ClassVar[Names] = ("x0", "x1")
    made_by: ClassVar[Names] = (*GeneratedDataset.made_by, "signal_mean", "background_mean")

    def draw(self, rng: np.random.Generator, signal: int, background: int) -> list[NDArray[np.float32]]:
        """Draw so many events of the signal, then of the background."""
        drawn = []
        for mean, n in ((self.signal_mean, signal), (self.background_mean, background)):
            drawn.append(rng.normal(mean, 1.0, size=(n, 2)).astype(np.float32))
        return drawn

    def exact_classifier(self) -> LogRatio:
        """Return the ratio of the nominal densities: of two Gaussians alike its logarithm is linear."""
        signal, background = np.array(self.signal_mean), np.array(self.background_mean)
        return LogRatio(
            square=np.zeros(2),
            linear=signal - background,
            constant=float(background @ background - signal @ signal) / 2,
            odds=self.yields.signal / self.yields.background,
        )
