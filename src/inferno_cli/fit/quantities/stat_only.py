"""Statistical error alone: the POI with all other parameters at their best fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from inferno_cli.fit.result import Column, Estimate, FitResult, Quantity
from inferno_cli.section import POI

if TYPE_CHECKING:
    from inferno_cli.fit.fitted import Fitted


class StatOnlyQuantity(Quantity):
    """The POI with everything else held."""

    kind: Literal["stat_only"]
    stat_only: bool
    """Fit mu once more with everything else fixed."""

    record: ClassVar[Any] = dict[str, Estimate]
    title: ClassVar[str] = "statistical error alone"
    order: ClassVar[int] = 10
    columns: ClassVar[tuple[Column, ...]] = (Column("stat_only", "stat. only", lambda value, _: value[POI].error),)

    def compute(self, fitted: Fitted) -> dict[str, Estimate]:
        from inferno_cli.fit.estimates import estimates

        problem = fitted.problem
        others = [name for name in problem.labels if name != problem.poi_name]
        alone = fitted.fitter.fit(minos=(problem.poi_name,), frozen=others, best=fitted.best)
        for note in alone.notes:
            fitted.notes.append(f"{self.title}: {note}")
        return {POI: estimates(problem, alone)[problem.poi]}

    @classmethod
    def blinded(
        cls, value: dict[str, Estimate], fit: FitResult, offsets: Mapping[str, float]
    ) -> dict[str, Estimate] | None:
        """Return the same with the POI where it is shown; the error stays."""
        return {POI: replace(value[POI], bestfit=value[POI].bestfit + offsets[POI])}

    @classmethod
    def metrics(cls, name: str, value: dict[str, Estimate]) -> dict[str, float | None]:
        return {f"{name}/{POI}/hesse": value[POI].error}

    @classmethod
    def estimates(cls, value: dict[str, Estimate]) -> dict[str, Estimate]:
        return {"stat. only": value[POI]}
