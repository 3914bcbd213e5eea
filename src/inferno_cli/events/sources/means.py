"""Normal signals with unit covariance, of which the mean alone goes over a grid.

The first example of flow interpolation in N. Simpson's thesis (2023), section 8.3. The range of its grid is in a figure
alone, so ours is an assumption; the background is ours too, so that there is something to fit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from inferno_cli.events.gaussian_grid import GaussianGrid
from inferno_cli.events.grid import Values
from inferno_cli.events.sample import FloatArray


class MeansDataset(GaussianGrid):
    """Normal signals with unit covariance on a grid of means."""

    kind: Literal["means"]
    """Means on a grid."""

    def root(self, at: Values) -> FloatArray:
        """Return the unit matrix."""
        return np.eye(2)
