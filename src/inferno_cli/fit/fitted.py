"""A fit that is done, with which quantities are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from inferno_cli.errors import DeeperMinimumError, FitFailedError, NegativeRateError
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.minuit import DEEPER, Fitter
from inferno_cli.fit.problem import Problem
from inferno_cli.fit.throwing import Toys
from inferno_cli.likelihood.data import FloatArray
from inferno_cli.shard import Shard

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Fitted:
    """A fit that is done, and what it takes to make others of the same problem.

    Attributes:
        fitter: Fits again, with parameters held at values, or other data.
        best: The fit, with everything free.
        names: Name of every parameter in the record, by that in the workspace.
        notes: What cannot be given, or has no meaning, and why: to be added to.
        folder: Where toys are kept as they are finished; None: nowhere.
        shard: Part of the toys that is thrown; None: all.
    """

    fitter: Fitter
    best: Minimum
    names: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None
    shard: Shard | None = None

    @cached_property
    def toys(self) -> Toys:
        """Throws the toys that the settings ask for."""
        return Toys(self.fitter, self.folder, self.notes, self.shard)

    @property
    def problem(self) -> Problem:
        """What is fitted."""
        return self.fitter.problem

    @property
    def pois(self) -> tuple[str, ...]:
        """Parameters of interest by their names in the workspace, that of the measurement first."""
        return self.problem.pois(self.fitter.settings.pois or ())

    def scan(
        self, labels: Sequence[str], points: int, half_width: float, *, holes: bool = False
    ) -> tuple[list[FloatArray], FloatArray]:
        """Profile the likelihood in some parameters around their best fit, within their bounds.

        Args:
            labels: Names of the parameters.
            points: Of each.
            half_width: In units of their HESSE errors.
            holes: Points where a bin expects a negative number of events are infinite, and not an error.

        Returns:
            Values of each parameter, and -2 ln L above the fit, of shape (points,) * len(labels).

        Raises:
            FitFailedError: If a fit fails.
            DeeperMinimumError: If one goes below the minimum.
        """
        what, best = " and ".join(labels), self.best
        values: dict[int, FloatArray] = {}
        for index in map(best.labels.index, labels):
            low, high = self.problem.bounds[index]
            centre, half = best.values[index], half_width * best.hesse[index]
            values[index] = np.linspace(max(low, centre - half), min(high, centre + half), points)
        rise = np.zeros((points,) * len(labels))
        with self.fitter.watched(f"scan of {what}", rise.size):
            for place in np.ndindex(rise.shape):
                held = {index: float(axis[i]) for i, (index, axis) in zip(place, values.items(), strict=True)}
                point = " and ".join(f"{best.labels[index]} = {value:.4g}" for index, value in held.items())
                try:
                    rise[place] = self.fitter.minimum(f"the scan with {point}", held, best).rise - best.rise
                except NegativeRateError:
                    if not holes:
                        raise
                    rise[place] = np.inf
        if rise.min() < -DEEPER:
            raise DeeperMinimumError(
                f"the scan of {what} on {self.problem.where} found twice the NLL {-rise.min():.3g} below the minimum "
                "of the fit, which is not the global one. Start nearer to it: change the initial values in the "
                "workspace"
            )
        return list(values.values()), rise

    def attempt(self, what: str, calculate: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call a function; return None, and take a note, where it has no result: the rest of the fit stays.

        Raises:
            DeeperMinimumError: If the calculation shows that the fit is wrong.
        """
        try:
            return calculate(*args, **kwargs)
        except DeeperMinimumError:
            raise
        except FitFailedError as error:
            self.notes.append(f"no {what}: {error}")
            return None
