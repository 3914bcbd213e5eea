"""A fit that is done, with which quantities are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from inferno_cli.errors import DeeperMinimumError, FitFailedError
from inferno_cli.fit.minuit import DEEPER, Fitter, Minimum
from inferno_cli.fit.problem import Problem

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
    """

    fitter: Fitter
    best: Minimum
    names: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def problem(self) -> Problem:
        """What is fitted."""
        return self.fitter.problem

    def around(self, index: int, half_width: float) -> tuple[float, float]:
        """Return the ends of a scan of a parameter, ``half_width`` in units of its error, within its bounds."""
        low, high = self.problem.bounds[index]
        value, half = self.best.values[index], half_width * self.best.hesse[index]
        return max(low, value - half), min(high, value + half)

    def require_lowest(self, what: str, rise: float) -> None:
        """Check that the lowest point of a scan, above the fit in -2 ln L, is not below it.

        Raises:
            DeeperMinimumError: If it is.
        """
        if rise < -DEEPER:
            raise DeeperMinimumError(
                f"the scan of {what} on {self.problem.where} found twice the NLL {-rise:.3g} below the minimum of the "
                "fit, which is not the global one. Start nearer to it: change the initial values in the workspace"
            )

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
