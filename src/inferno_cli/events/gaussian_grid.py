"""Normal signals in a plane, about every point of a grid, before a wide normal background."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.grid import GridDataset, Values
from inferno_cli.events.sample import FloatArray
from inferno_cli.section import Names, Positive


class GaussianGrid(GridDataset):
    """Normal signals whose mean is the point of the grid; a kind says which covariance they have."""

    background_width: Positive
    """Standard deviation of the background about the origin, in x and in y."""

    features: ClassVar[Names] = ("x", "y")
    made_by: ClassVar[Names] = (*GridDataset.made_by, "background_width")

    @abstractmethod
    def root(self, at: Values) -> FloatArray:
        """Return a matrix M with the covariance M M^T, shape (2, 2)."""

    def check(self) -> None:
        """Refuse another plane than that of two parameters, and points without a covariance."""
        super().check()
        if len(self.grid) != 2:
            raise ValueError(f"grid: the means are points of a plane; expected two parameters, found {len(self.grid)}")

    def draw_signal(self, rng: np.random.Generator, n: int, at: Values) -> NDArray[np.float64]:
        """Draw normal numbers about the point."""
        return np.asarray(rng.normal(size=(n, 2)) @ self.root(at).T + np.array(at))

    def draw_background(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw normal numbers about the origin."""
        return rng.normal(scale=self.background_width, size=(n, 2))

    def log_density(self, sample: str, features: FloatArray) -> FloatArray | None:
        """Return the normal density of a signal; None for the background, which is not interpolated."""
        if sample not in self.points:
            return None
        at = self.points[sample]
        root = self.root(at)
        standard = np.linalg.solve(root, (features - np.array(at)).T)
        return np.asarray(-0.5 * (standard**2).sum(axis=0) - np.log(2 * np.pi) - np.log(abs(np.linalg.det(root))))
