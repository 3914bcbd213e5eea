"""MINUIT in units of the first steps: it converges whatever the sizes of the parameters are.

A gamma of 1e15 events moves by 1e-8, a limit may be 1e308 away. MINUIT's own steps and its sine that maps a parameter
into its limits lose their digits there; in units of the errors every parameter is of the size 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_cli.fit.verdict import Verdict
from inferno_cli.likelihood.data import FloatArray, Likelihood

FAR = 1e4
"""Limits that are more first steps away than this are none for MINUIT."""


class Side(NamedTuple):
    """One side of a MINOS interval: its length with its sign, and what MINUIT says of it."""

    length: float
    is_valid: bool
    is_at_limit: bool
    has_new_minimum: bool


NO_SIDE = Side(0.0, is_valid=False, is_at_limit=False, has_new_minimum=False)


class ScaledMinuit:
    """MINUIT, with the parameters of its caller outside and steps from the start inside.

    ``minuit`` is iminuit's, for its state; ``fixed`` says which parameters are held, shape (n_parameters,).
    """

    def __init__(
        self,
        likelihood: Likelihood,
        start: FloatArray,
        steps: FloatArray,
        limits: FloatArray,
        fixed: NDArray[np.bool_],
        names: Sequence[str],
    ) -> None:
        from iminuit import Minuit

        self._origin, self._steps = start, steps
        self._curvature: FloatArray | None = None
        self._is_exact = likelihood.is_exact
        self.fixed = fixed

        def rise(moves: FloatArray) -> float:
            return likelihood.rise(start + steps * moves)

        def gradient(moves: FloatArray) -> FloatArray:
            return 2 * steps * likelihood.gradient(start + steps * moves)

        def curvature(moves: FloatArray) -> FloatArray:
            if self._curvature is None:
                self._curvature = 2 * steps**2 * np.diag(likelihood.information(start + steps * moves))
            return self._curvature

        exact: dict[str, Any] = {}
        if likelihood.is_exact:
            # Not the Hessian itself: MINUIT transforms it wrongly at limits, and inverts it slowly (iminuit 2.33). Its
            # diagonal is the first guess of the covariance, and asked for at every step: that of the start will do.
            exact = {"grad": gradient, "g2": curvature}
        self.minuit: Any = Minuit(rise, np.zeros(len(start)), name=tuple(names), **exact)
        near = (limits - start[:, None]) / steps[:, None]
        self.minuit.limits = np.where(np.abs(near) > FAR, np.copysign(np.inf, near), near)
        self.minuit.fixed = fixed
        self.minuit.errors = 1.0
        self.minuit.errordef, self.minuit.print_level = 1, 0

    @property
    def values(self) -> FloatArray:
        """The parameters, shape (n_parameters,)."""
        return np.asarray(self._origin + self._steps * np.array(self.minuit.values))

    def start_from(self, values: FloatArray, steps: FloatArray | None = None) -> None:
        """Go to a point, with the first steps or with others."""
        self._curvature = None
        self.minuit.values = (values - self._origin) / self._steps
        self.minuit.errors = 1.0 if steps is None else steps / self._steps

    def migrad(self, max_calls: int, strategy: int) -> bool:
        """Minimise; return whether MINUIT calls the minimum valid."""
        self.minuit.strategy = strategy
        # With iterations iminuit repeats a MIGRAD that failed with a numerical Hessian, of n^2 calls.
        return bool(self.minuit.migrad(ncall=max_calls, iterate=1 if self._is_exact else 5).valid)

    def verdict(self) -> Verdict:
        """Return what MINUIT says of its minimum."""
        fmin = self.minuit.fmin
        return Verdict(is_valid=bool(fmin.is_valid), edm=float(fmin.edm), edm_goal=float(fmin.edm_goal))

    def minos(self, name: str, max_calls: int) -> tuple[Side, Side]:
        """Return the lower and the upper side of the interval of one parameter; neither is valid off a minimum."""
        if not self.minuit.valid:
            return NO_SIDE, NO_SIDE
        self.minuit.minos(name, ncall=max_calls)
        found = self.minuit.merrors[name]
        step = float(self._steps[self.minuit.parameters.index(name)])
        return (
            Side(step * found.lower, found.lower_valid, found.at_lower_limit, found.lower_new_min),
            Side(step * found.upper, found.upper_valid, found.at_upper_limit, found.upper_new_min),
        )
