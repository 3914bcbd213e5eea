"""Impacts of single parameters on the POI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic.dataclasses import dataclass

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.result import STRICT, FitResult, Quantity
from inferno_cli.section import POI, Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.problem import Problem

IN_TABLE, IN_FIGURE = 3, 20
"""Parameters in the summary and in the figure, the largest impacts."""


@dataclass(frozen=True, config=STRICT)
class Impact:
    """Change of the POI when one parameter is fixed one sigma up or down of its best fit and the rest is refitted.

    Attributes:
        parameter: Its name.
        prefit: (up, down) for a shift by the width of its constraint, (0, 0) without one; a side is None where the
            shifted value is outside of the parameter's bounds.
        postfit: (up, down) for a shift by its HESSE error; None as above.
        covariance: The post-fit change up without a refit, their covariance over the error of the parameter: of a
            likelihood that is a parabola the same. None in records of before.
    """

    parameter: str
    prefit: tuple[float | None, float | None]
    postfit: tuple[float | None, float | None]
    covariance: float | None = None


class RankingQuantity(Quantity):
    """Impacts of single parameters on the POI, as ``cabinetry.fit.ranking`` defines them, largest post-fit first."""

    kind: Literal["ranking"]
    ranking: Names
    """Parameters whose impact on the POI is wanted: four fits each."""

    record: ClassVar[Any] = tuple[Impact, ...]
    absent: ClassVar[Any] = ()
    order: ClassVar[int] = 55

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        yield from (("ranking", name) for name in self.ranking)

    def resolved(self, problem: Problem) -> Self:
        return self.model_copy(update={"ranking": problem.parameters(self.ranking, "fit.ranking")})

    def compute(self, fitted: Fitted) -> tuple[Impact, ...]:
        from inferno_cli.fit.problem import constraint_widths

        problem, best = fitted.problem, fitted.best
        widths = constraint_widths(problem)
        # The POI has no impact on itself.
        ranked = [best.labels.index(label) for label in self.ranking if label != problem.poi_name]
        impacts = []
        with fitted.fitter.watched("ranking", sum(2 + 2 * bool(widths[index]) for index in ranked)):
            for index in ranked:
                before, after = float(widths[index]), float(best.hesse[index])
                prefit = _shifted(fitted, index, before), _shifted(fitted, index, -before)
                postfit = _shifted(fitted, index, after), _shifted(fitted, index, -after)
                error = best.errors[index]
                straight = float(best.covariance[problem.poi, index] / error) if error > 0 else 0.0
                impacts.append(Impact(fitted.names[best.labels[index]], prefit, postfit, straight))
        return tuple(sorted(impacts, key=lambda item: -max(abs(side or 0.0) for side in item.postfit)))

    @classmethod
    def blinded(cls, value: tuple[Impact, ...], fit: FitResult, offsets: Mapping[str, float]) -> tuple[Impact, ...]:
        """Return the impacts, which are differences of the POI, of the parameters that a blinded fit has."""
        shown = []
        for impact in value:
            if fit.parameters[impact.parameter].entry is None:
                shown.append(impact)
        return tuple(shown)

    @classmethod
    def rows(cls, name: str, value: tuple[Impact, ...], fit: FitResult) -> Iterator[tuple[str, str]]:
        texts = []
        for impact in value[:IN_TABLE]:
            sides = "/".join("?" if side is None else f"{side:+.2g}" for side in impact.postfit)
            texts.append(f"{impact.parameter} {sides}")
        if texts:
            yield "impacts, post-fit", ", ".join(texts)

    @classmethod
    def figures(
        cls, name: str, value: tuple[Impact, ...], fit: FitResult, canvas: Canvas
    ) -> Iterator[tuple[str, Figure]]:
        if value:
            yield name, _draw(value, fit, canvas)


def _shifted(fitted: Fitted, index: int, size: float) -> float | None:
    """Return the change of the POI when a parameter is moved from its best fit and held; None where it cannot be."""
    problem, best = fitted.problem, fitted.best
    value = float(best.values[index] + size)
    if value == best.values[index]:
        return 0.0
    low, high = problem.bounds[index]
    if not low <= value <= high:
        return None
    try:
        found = fitted.fitter.minimum(f"the fit with {best.labels[index]} = {value:.4g}", {index: value}, best)
    except FitFailedError as error:
        fitted.notes.append(f"ranking: {error}")
        return None
    return float(found.values[problem.poi] - best.values[problem.poi])


def _draw(impacts: tuple[Impact, ...], fit: FitResult, canvas: Canvas) -> Figure:
    """Draw the largest impacts on the POI, beside the pulls of their parameters."""
    import numpy as np
    from matplotlib.patches import Patch

    from inferno_cli.drawing.pulls import draw_pulls
    from inferno_cli.drawing.style import ACCENT, SIGNAL, axis_name

    ranked = impacts[:IN_FIGURE]
    figure = canvas.figure(width=8.4, height=2.3 + 0.3 * len(ranked))
    pulls, axes = figure.subplots(1, 2, sharey=True)
    draw_pulls(pulls, {impact.parameter: fit.parameters[impact.parameter] for impact in ranked})
    rows = np.arange(len(ranked))[::-1]
    handles = []
    for side, (direction, colour) in enumerate((("up", ACCENT), ("down", SIGNAL))):
        # None, a shift outside of the parameter's bounds, is not drawn.
        before = np.array([impact.prefit[side] for impact in ranked], dtype=float)
        after = np.array([impact.postfit[side] for impact in ranked], dtype=float)
        axes.barh(rows, before, height=0.8, facecolor="none", edgecolor=colour, linewidth=1)
        axes.barh(rows, after, height=0.8, color=colour, alpha=0.8, linewidth=0)
        handles += [
            Patch(facecolor="none", edgecolor=colour, label=f"pre-fit, {direction}"),
            Patch(facecolor=colour, alpha=0.8, label=f"post-fit, {direction}"),
        ]
    axes.axvline(0, color="black", linewidth=0.8)
    reach = 1.1 * max(abs(side or 0.0) for impact in ranked for side in (*impact.prefit, *impact.postfit))
    axes.set_xlim(-(reach or 1.0), reach or 1.0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"impact on {axis_name(POI, fit.poi)}")
    title = f"the largest {len(ranked)} of {len(impacts)}" if len(ranked) < len(impacts) else None
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title=title)
    return figure
