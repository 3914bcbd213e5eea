"""Goodness of fit against the saturated model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.result import STRICT, Column, FitResult, Quantity
from inferno_cli.fit.share import Share

if TYPE_CHECKING:
    from inferno_cli.fit.fitted import Fitted


@dataclass(frozen=True, config=STRICT)
class GoodnessOfFit:
    """Against the saturated model: p-value, and bins minus free parameters.

    Attributes:
        p_value: From the chi-squared distribution.
        degrees_of_freedom: Of it.
        toys: Toys, drawn at the best fit, that fit no better than the data: the p-value whatever the distribution is.
    """

    p_value: float
    degrees_of_freedom: int
    toys: Share | None = None


class GoodnessOfFitQuantity(Quantity):
    """Goodness of fit of observed data."""

    kind: Literal["goodness_of_fit"]
    goodness_of_fit: bool
    """Test the fit of observed data; Asimov data fit perfectly by construction."""

    record: ClassVar[Any] = GoodnessOfFit
    title: ClassVar[str] = "goodness of fit"
    order: ClassVar[int] = 40
    columns: ClassVar[tuple[Column, ...]] = (Column("goodness_of_fit", "fit p", lambda value, _: value.p_value),)

    def compute(self, fitted: Fitted) -> GoodnessOfFit | None:
        """Compare with the saturated model: bins that nothing fills are no degrees of freedom."""
        import numpy as np
        from scipy.stats import chi2

        problem, likelihood, values = fitted.problem, fitted.fitter.likelihood, fitted.best.values
        if problem.is_asimov:
            return None
        config = problem.model.config
        free = 0
        for name in config.par_order:
            parameter = config.param_set(name)
            if not parameter.constrained:
                free += parameter.suggested_fixed.count(False)
        empty = (likelihood.expected(values) == 0) & ~likelihood.jacobian(values).any(axis=1)
        if empty.any():
            bins = ", ".join(problem.bin_name(int(index)) for index in np.flatnonzero(empty)[:5])
            fitted.notes.append(f"{empty.sum()} bins without any expected events are no degrees of freedom: {bins}")
        freedom = int((~empty).sum()) - free
        if freedom <= 0:
            raise FitFailedError("there are no more bins than free parameters")
        distance = likelihood.distance_to_saturated(values, ~np.array(problem.fixed))
        by_toys = None
        if fitted.toys.number:
            by_toys = fitted.attempt(f"{self.title} by toys", _by_toys, fitted, distance)
        return GoodnessOfFit(float(chi2.sf(distance, freedom)), freedom, by_toys)

    @classmethod
    def blinded(cls, value: GoodnessOfFit, fit: FitResult, offsets: Mapping[str, float]) -> GoodnessOfFit:
        """Return it as it is: one number for all bins tells no count."""
        return value

    @classmethod
    def metrics(cls, name: str, value: GoodnessOfFit) -> dict[str, float | None]:
        by_toys = None if value.toys is None else value.toys.value
        return {f"{name}/p_value": value.p_value, f"{name}/p_value_toys": by_toys}

    @classmethod
    def rows(cls, name: str, value: GoodnessOfFit, fit: FitResult) -> Iterator[tuple[str, str]]:
        by_toys = "" if value.toys is None else f"; by toys p = {value.toys}"
        yield cls.title, f"p = {value.p_value:.3g}, {value.degrees_of_freedom} degrees of freedom{by_toys}"


def _by_toys(fitted: Fitted, distance: float) -> Share:
    from inferno_cli.fit.toys import Estimates, repeated, share_above

    (chunk,) = fitted.toys("the experiment repeated", [repeated(fitted.fitter, fitted.best)])
    return share_above(Estimates.of(chunk.rows).distance, distance)
