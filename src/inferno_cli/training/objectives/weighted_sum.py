"""Several objectives at once: the weighted sum of what each minimises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.errors import closest
from inferno_cli.section import POI, Names, NonNegative
from inferno_cli.training.objectives import FigureOfMerit, FitObjective

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.likelihood.expectation import Expectation

PACKAGE = "inferno_cli.training.objectives"
WEIGHT = "weight"
"""Key of the weight of a term that has settings of its own."""


@dataclass(frozen=True)
class _Mean:
    """The weighted geometric mean of figures of merit, of the covariance of ``pois``."""

    parts: tuple[tuple[float, FigureOfMerit], ...]
    pois: Names

    def __call__(self, covariance: Any) -> Any:
        """Return it for a covariance, shape (K, K)."""
        from array_api_compat import array_namespace

        total = 0.0 * covariance[0, 0]
        for weight, part in self.parts:
            total = total + weight * array_namespace(covariance).log(part.of(covariance, self.pois))
        return array_namespace(covariance).exp(total / sum(weight for weight, _ in self.parts))


class WeightedSum(FitObjective):
    """The weighted sum of objectives of the fit.

    Each enters with what it minimises by itself: the logarithm of a variance, of a p-value that which its statistic
    stands for. So a weight is that of a relative gain, and no term drowns another one for being small.
    """

    fixed: ClassVar[Names] = ("terms",)
    kind: Literal["weighted_sum"] = "weighted_sum"
    """A weighted sum of objectives."""
    terms: dict[str, NonNegative | dict[str, Any]] = Field(min_length=1)
    """Weight of each objective by its kind, or its settings with a key ``weight``; 0: none."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not any(weight > 0 for weight, _ in self._parts()):
            raise ValueError("no term has a weight above 0; set one")
        return self

    @property
    def fits_templates(self) -> bool:
        """Whether one of the terms does."""
        return any(term.fits_templates for _, term in self._parts())

    def cost(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:
        """Weighted sum."""
        total: Tensor = templates.nominal.new_zeros(())
        for weight, term in self._parts():
            total = total + weight * term.cost(templates, pois)
        return total

    def value(self, templates: Expectation, pois: Names = (POI,)) -> Tensor:
        """Weighted geometric mean of the variances that the terms minimise the logarithm of."""
        weights = sum(weight for weight, _ in self._parts())
        return (self.cost(templates, pois) / weights).exp()

    def merit(self, pois: Names) -> FigureOfMerit:
        """Return what rises with the sum; bins are merged by the geometric mean of what merges them for each term."""
        parts = tuple((weight, term.merit(pois)) for weight, term in self._parts())
        names: dict[str, None] = {}
        for _, part in parts:
            names |= dict.fromkeys(part.pois)
        return FigureOfMerit(tuple(names), _Mean(parts, tuple(names)), exact=self.value)

    def _parts(self) -> Iterator[tuple[float, FitObjective]]:
        """Yield the weight and the objective of each term that counts."""
        from inferno_cli.choices import sections

        known = {}
        for kind, section in sections(PACKAGE, FitObjective).items():
            if section is not type(self):
                known[kind] = section
        for kind, term in self.terms.items():
            if kind not in known:
                raise ValueError(f"{kind!r} is no objective of the fit{closest(kind, known)}")
            settings = dict(term) if isinstance(term, dict) else {WEIGHT: term}
            weight = settings.pop(WEIGHT, None)
            if not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
                raise ValueError(f"{kind}.{WEIGHT} is {weight!r}; expected a number that is not negative")
            if weight > 0:
                yield float(weight), known[kind].model_validate({"warm_up": self.warm_up} | settings, strict=False)
