"""The error of the POI, split by groups of parameters."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic.dataclasses import dataclass

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.result import STRICT, FitResult, Quantity, put
from inferno_cli.section import Names, require_group

if TYPE_CHECKING:
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.minimum import Minimum
    from inferno_cli.fit.problem import Problem


@dataclass(frozen=True, config=STRICT)
class GroupImpact:
    """What one group of parameters adds to the error of the POI, in two ways.

    Attributes:
        name: Of the group.
        parameters: Its members that the fit varies.
        impact: sqrt(total^2 - reduced^2) of HESSE errors, with this group alone fixed at its best fit.
        cumulative: sqrt(before^2 - after^2), with this group fixed in addition to those before it.
        cumulative_minos: The same (down, up) of MINOS errors; None without MINOS of the POI.
    """

    name: str
    parameters: tuple[str, ...]
    impact: float
    cumulative: float
    cumulative_minos: tuple[float, float] | None


@dataclass(frozen=True, config=STRICT)
class Breakdown:
    """The error of the POI, split by groups of parameters.

    Attributes:
        total: HESSE error with everything free.
        statistical: HESSE error with every other parameter fixed at its best fit.
        statistical_minos: MINOS errors there.
        groups: In the order in which they were fixed.
        closure: sqrt(statistical^2 + sum of impact^2) / total - 1. Not zero: groups are correlated.
        cumulative_closure: The same of the cumulative ones: zero by construction, up to rounding.
        hesse_difference: Of older runs: largest relative difference to HESSE of the refits.
    """

    total: float
    statistical: float
    statistical_minos: tuple[float, float] | None
    groups: tuple[GroupImpact, ...]
    closure: float
    cumulative_closure: float
    hesse_difference: float | None = None


class BreakdownQuantity(Quantity):
    """The error of the POI by groups of parameters, fixed at their best fit.

    Two splits. Each group fixed alone gives its ``impact``; groups are correlated, so these do not add up in quadrature
    to the total. Fixed one after the other, as with ``--freezeParameters`` of CMS's Combine, each ``cumulative`` is
    what the error loses at that step: with the statistical error they add up by construction, but depend on the
    order.
    """

    kind: Literal["breakdown"]
    breakdown: bool
    """Split the error of the POI by groups of parameters."""
    groups: Mapping[str, Names] | None
    """Those of the fit."""

    record: ClassVar[Any] = Breakdown
    title: ClassVar[str] = "breakdown by groups"
    order: ClassVar[int] = 50

    def check(self) -> None:
        for name in self.groups or {}:
            require_group(name, "groups")

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        for group, names in (self.groups or {}).items():
            yield from ((f"groups.{group}", name) for name in names)

    def resolved(self, problem: Problem) -> Self:
        from inferno_cli.fit.groups import groups_of

        return self.model_copy(update={"groups": groups_of(problem, self.groups or {})})

    def compute(self, fitted: Fitted) -> Breakdown:
        """Split the error.

        Parameters fixed at their best fit leave the minimum where it is, so HESSE errors come from rows and columns of
        the one Hessian. MINOS needs the refits.
        """
        from inferno_cli.fit.groups import closure

        problem, best = fitted.problem, fitted.best
        poi = problem.poi_name
        if poi in best.at_limit:
            raise FitFailedError(f"{poi} is at its limit, without a symmetric error to split")
        groups = self.groups or {}
        interval = best.minos.get(poi)
        total = before = float(best.hesse[problem.poi])
        frozen: list[str] = []
        impacts = []
        with fitted.fitter.watched("groups", len(groups)):
            for group, members in groups.items():
                frozen += members
                after, step, reduced = _error_without(best, problem.poi, frozen), None, None
                if interval is not None:
                    refit = fitted.fitter.fit(frozen=frozen, best=best, minos=(poi,))
                    fitted.notes.extend(f"groups, {group} fixed: {note}" for note in refit.notes)
                    reduced = refit.minos.get(poi)
                    if reduced is not None:
                        step = -_lost(interval[0], reduced[0]), _lost(interval[1], reduced[1])
                names = tuple(fitted.names[label] for label in members)
                impact = _lost(total, _error_without(best, problem.poi, members))
                impacts.append(GroupImpact(group, names, impact, _lost(before, after), step))
                before, interval = after, reduced
        return Breakdown(
            total=total,
            statistical=before,
            statistical_minos=interval,
            groups=tuple(impacts),
            closure=closure(total, [before, *(group.impact for group in impacts)]),
            cumulative_closure=closure(total, [before, *(group.cumulative for group in impacts)]),
        )

    @classmethod
    def blinded(cls, value: Breakdown, fit: FitResult, offsets: Mapping[str, float]) -> Breakdown:
        """Return the errors as they are."""
        return value

    @classmethod
    def metrics(cls, name: str, value: Breakdown) -> dict[str, float | None]:
        values: dict[str, float | None] = {"error/statistical": value.statistical}
        for group in value.groups:
            put(values, f"error/{group.name}", group.impact)
            put(values, f"error_cumulative/{group.name}", group.cumulative)
        return values

    @classmethod
    def rows(cls, name: str, value: Breakdown, fit: FitResult) -> Iterator[tuple[str, str]]:
        parts = [(group.name, group.cumulative) for group in value.groups]
        parts.append(("statistical", value.statistical))
        text = ", ".join(f"{group} {error:.3g}" for group, error in parts)
        yield "HESSE in quadrature", f"{text} (fixed in this order)"


def _error_without(best: Minimum, poi: int, frozen: Collection[str]) -> float:
    """Return the HESSE error of the POI with some parameters held at their best fit."""
    import numpy as np

    varied = np.flatnonzero(best.errors > 0)
    hessian = np.linalg.inv(best.covariance[np.ix_(varied, varied)])
    kept = [i for i, index in enumerate(varied) if best.labels[index] not in frozen]
    inverse = np.linalg.inv(hessian[np.ix_(kept, kept)])
    place = varied[kept].tolist().index(poi)
    return float(np.sqrt(inverse[place, place]))


def _lost(before: float, after: float) -> float:
    """Return the part of an error that is gone, in quadrature; what rounding makes negative is 0."""
    return math.sqrt(max(before**2 - after**2, 0.0))
