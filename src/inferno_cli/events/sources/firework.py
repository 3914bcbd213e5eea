"""Normal signals that point away from the origin, the narrower the farther: a covariance that no neighbour foretells.

The second example of flow interpolation in N. Simpson's thesis (2023), section 8.4, where it fails. The covariance is
M M^T with M = rot(theta) diag(1/r, 1) at the point (r cos theta, r sin theta). The thesis prints the matrix of the
rotation by -theta in equation 8.1, against its text; at the origin both are singular, and there is no signal.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from inferno_cli.events.gaussian_grid import GaussianGrid
from inferno_cli.events.grid import Values
from inferno_cli.events.sample import FloatArray


class FireworkDataset(GaussianGrid):
    """Normal signals that are narrow along the line to the origin."""

    kind: Literal["firework"]
    """The Gaussian firework."""

    def has_signal(self, at: Values) -> bool:
        """All points have one but the origin, where the covariance is singular."""
        return any(at)

    def root(self, at: Values) -> FloatArray:
        """Return rot(theta) diag(1/r, 1)."""
        radius, angle = np.hypot(at[0], at[1]), np.arctan2(at[1], at[0])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.asarray(rotation @ np.diag([1 / radius, 1.0]))
