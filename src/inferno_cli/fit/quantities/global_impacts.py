"""Global impacts: what every measurement adds to the error of the POI."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic.dataclasses import dataclass

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.result import STRICT, FitResult, Quantity, put
from inferno_cli.section import POI, Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.problem import Problem

IN_FIGURE = 20
"""Auxiliary measurements in the figure, the largest impacts."""

SAID = 0.01
"""Difference of their sum from the error, relative, that the table says."""


@dataclass(frozen=True, config=STRICT)
class GlobalImpact:
    """Change of the POI with the auxiliary measurement of one parameter.

    Attributes:
        parameter: Whose measurement it is.
        impact: d mu / d a, times the standard deviation of the measurement a.
        refitted: Change (up, down) in the fit of data in which the measurement is one standard deviation up or down;
            None where it was not asked for.
    """

    parameter: str
    impact: float
    refitted: tuple[float, float] | None = None


@dataclass(frozen=True, config=STRICT)
class GlobalImpacts:
    """The error of the POI, split by what was measured: the impacts add up in quadrature.

    Attributes:
        total: HESSE error.
        statistical: Impact of the events in all bins.
        impacts: Of the auxiliary measurements, the largest first.
        groups: Their sums in quadrature by group of parameters.
        closure: sqrt(statistical^2 + sum of impact^2) / total - 1. Of Asimov data it is rounding; of observed data the
            HESSE error is that of these events, and not the average one.
    """

    total: float
    statistical: float
    impacts: tuple[GlobalImpact, ...]
    groups: dict[str, float]
    closure: float


class GlobalImpactsQuantity(Quantity):
    """What every measurement, of events and the auxiliary ones, adds to the error of the POI (arXiv:2307.04007).

    In the linear approximation the best fit moves by C d2(-ln L) / d theta d a for a move of the measurement a, with
    the covariance C. Measurements are independent: so their impacts add up in quadrature to the error, in no order,
    where what is lost when a parameter is held does not. A free parameter has no measurement of its own, and its
    uncertainty is in that of the events.
    """

    kind: Literal["global_impacts"]
    global_impacts: bool = True
    """Split the error of the POI by what was measured: the events, and each auxiliary measurement."""
    global_refits: Names = ()
    """Parameters whose auxiliary measurement is moved and the fit repeated: two fits each."""
    groups: Mapping[str, Names] | None
    """Those of the fit."""

    record: ClassVar[Any] = GlobalImpacts
    title: ClassVar[str] = "global impacts"
    order: ClassVar[int] = 52

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        yield from (("global_refits", name) for name in self.global_refits)

    def resolved(self, problem: Problem) -> Self:
        from inferno_cli.fit.groups import groups_of

        labels = problem.parameters(self.global_refits, "fit.global_refits")
        return self.model_copy(update={"global_refits": labels, "groups": groups_of(problem, self.groups or {})})

    def compute(self, fitted: Fitted) -> GlobalImpacts:
        import numpy as np

        from inferno_cli.fit.groups import closure

        problem, best, likelihood = fitted.problem, fitted.best, fitted.fitter.likelihood
        poi = problem.poi
        if problem.poi_name in best.at_limit:
            raise FitFailedError(f"{problem.poi_name} is at its limit, without a symmetric error to split")
        of_events, of_measurements = likelihood.responses(best.values)
        total = float(best.hesse[poi])
        statistical = float(np.linalg.norm(best.covariance[poi] @ of_events))
        impacts: list[GlobalImpact] = []
        squares: dict[str, float] = {}
        owner = {label: group for group, members in (self.groups or {}).items() for label in members}
        with fitted.fitter.watched("global impacts", 2 * len(self.global_refits)):
            for response in of_measurements:
                label = best.labels[response.parameter]
                if problem.fixed[response.parameter]:
                    continue
                impact = float(best.covariance[poi, response.parameter] * response.size)
                refitted = None
                if label in self.global_refits:
                    refitted = _refitted(fitted, response.entry, response.sigma)
                impacts.append(GlobalImpact(fitted.names[label], impact, refitted))
                group = owner.get(label, problem.poi_name)
                squares[group] = squares.get(group, 0.0) + impact**2
        return GlobalImpacts(
            total=total,
            statistical=statistical,
            impacts=tuple(sorted(impacts, key=lambda item: -abs(item.impact))),
            groups={group: math.sqrt(square) for group, square in squares.items()},
            closure=closure(total, [statistical, *(item.impact for item in impacts)]),
        )

    @classmethod
    def blinded(cls, value: GlobalImpacts, fit: FitResult, offsets: Mapping[str, float]) -> GlobalImpacts:
        """Return the parts of the error as they are."""
        return value

    @classmethod
    def metrics(cls, name: str, value: GlobalImpacts) -> dict[str, float | None]:
        # MLflow shows the first metrics of the alphabet: those of mu itself go before its parts.
        values: dict[str, float | None] = {"sigma_mu/events": value.statistical}
        for group, impact in value.groups.items():
            put(values, f"sigma_mu/{group}", impact)
        return values

    @classmethod
    def rows(cls, name: str, value: GlobalImpacts, fit: FitResult) -> Iterator[tuple[str, str]]:
        parts = sorted(value.groups.items(), key=lambda item: -item[1])
        text = ", ".join(f"{group} {impact:.3g}" for group, impact in [("events", value.statistical), *parts])
        sum_of = "add up in quadrature"
        if abs(value.closure) > SAID:
            sum_of += f" to {value.total * (1 + value.closure):.3g}: these data make the likelihood bend another way"
        yield cls.title, f"{text} ({sum_of})"

    @classmethod
    def figures(cls, name: str, value: GlobalImpacts, fit: FitResult, canvas: Canvas) -> Iterator[tuple[str, Figure]]:
        if value.impacts:
            yield name, _draw(value, fit, canvas)


def _refitted(fitted: Fitted, entry: int, sigma: float) -> tuple[float, float]:
    """Return the change of the POI where an auxiliary measurement is a standard deviation up, and down."""
    problem, best = fitted.problem, fitted.best
    changes = []
    for size in (sigma, -sigma):
        data = list(problem.data)
        data[entry] += size
        other = fitted.fitter.on(data)
        found = other.minimum("the fit with a moved auxiliary measurement", best=other.at(best.values))
        changes.append(float(found.values[problem.poi] - best.values[problem.poi]))
    return changes[0], changes[1]


def _draw(value: GlobalImpacts, fit: FitResult, canvas: Canvas) -> Figure:
    """Draw the largest impacts and that of the events, as bars."""
    import numpy as np

    from inferno_cli.drawing.style import ACCENT, MUTED, SIGNAL, axis_name, short

    shown = value.impacts[:IN_FIGURE]
    figure = canvas.figure(height=1.8 + 0.26 * (len(shown) + 1))
    axes = figure.subplots()
    rows = np.arange(len(shown) + 1)[::-1]
    axes.barh(rows[0], value.statistical, height=0.7, color=MUTED)
    axes.barh(rows[1:], [abs(item.impact) for item in shown], height=0.7, color=ACCENT)
    axes.axvline(value.total, color=SIGNAL, linewidth=1, linestyle=":", label=f"total: {value.total:.3g}")
    axes.set_yticks(rows, ["events", *(short(item.parameter) for item in shown)])
    axes.tick_params(axis="y", length=0)
    title = f"the largest {len(shown)} of {len(value.impacts)}" if len(shown) < len(value.impacts) else None
    axes.set_xlabel(f"global impact on {axis_name(POI, fit.poi)}")
    axes.legend(loc="lower right", title=title)
    return figure
