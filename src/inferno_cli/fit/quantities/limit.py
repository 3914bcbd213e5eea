"""Upper limit on the POI with CLs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from inferno_cli.fit.result import STRICT, Finite, FitResult, Quantity
from inferno_cli.fit.share import Share
from inferno_cli.section import POI, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.minimum import Minimum
    from inferno_cli.fit.minuit import Fitter


@dataclass(frozen=True, config=STRICT)
class ToyLimit:
    """Upper limit from CLs by toys.

    Attributes:
        limit, error: The limit, and what the number of toys leaves open.
        asymptotic: The one that it stands beside: of observed data ``observed``, else the median of ``a_priori``.
        poi_values: Where CLs was tested, rising.
        signal, background: Toys with and without signal whose test statistic is at least that of the data there; CLs
            is the ratio of these shares.
    """

    limit: float
    error: float
    asymptotic: float
    poi_values: tuple[float, ...]
    signal: tuple[Share, ...]
    background: tuple[Share, ...]


@dataclass(frozen=True, config=STRICT)
class Limit:
    """Upper limit on the POI with CLs (asymptotic, q-tilde).

    Attributes:
        confidence_level: Of the limit.
        observed: Of the data that was fitted, Asimov or observed.
        expected: Without signal, nuisance parameters fitted to the data with POI 0; -2, -1, 0, +1, +2 sigma.
        a_priori: Without signal, nuisance parameters at their nominal values; for Asimov data, else None. The Asimov
            data hold a signal, which ``expected`` must absorb in the nuisance parameters.
        bracket: Values of the POI between which the limits were looked for.
        tolerance: To which they were found.
        poi_values: Where CLs was evaluated, rising: for ``a_priori``, or without it for ``observed`` and ``expected``.
        observed_cls: At those values, of the data (``a_priori``: of the data without signal).
        expected_cls: The five expected ones at those values.
        toys: The limit by toys.
    """

    confidence_level: float
    observed: float
    expected: tuple[float, ...]
    a_priori: tuple[float, ...] | None
    bracket: tuple[float, float]
    tolerance: float
    poi_values: tuple[float, ...]
    observed_cls: tuple[Finite, ...]
    expected_cls: tuple[tuple[Finite, ...], ...]
    toys: ToyLimit | None = None


class LimitQuantity(Quantity):
    """Upper limit on the POI."""

    kind: Literal["limit"]
    limit: bool
    """Upper limit on the POI with CLs."""
    confidence_level: Fraction
    """Confidence level of the limit."""
    limit_bracket: tuple[NonNegative, NonNegative] | None
    """Values of the POI between which all limits lie; null: wherever they are."""
    limit_tolerance: Positive
    """Precision of the limits, in units of the POI."""

    record: ClassVar[Any] = Limit
    title: ClassVar[str] = "upper limit"
    order: ClassVar[int] = 30
    needs_no_signal: ClassVar[bool] = True

    def check(self) -> None:
        if self.limit_bracket is not None and self.limit_bracket[0] >= self.limit_bracket[1]:
            raise ValueError("limit_bracket must rise")

    def compute(self, fitted: Fitted) -> Limit:
        from inferno_cli.fit.hypotheses import Limits, asimov, limits, nominal_point

        fitter, best, problem = fitted.fitter, fitted.best, fitted.problem
        error = float(best.hesse[problem.poi])

        def found(fitter: Fitter, best: Minimum) -> Limits:
            return limits(fitter, best, error, self.confidence_level, self.limit_bracket, self.limit_tolerance)

        shown, a_priori = (fitter, best), None
        with fitter.watched("upper limit"):
            of_data = curves = found(fitter, best)
            if problem.is_asimov:
                shown = asimov(fitter, nominal_point(fitter, 0.0))
                curves = found(*shown)
                a_priori = curves.expected
        by_toys = None
        if fitted.toys.number:
            at = replace(shown[1], hesse=best.hesse)
            by_toys = fitted.attempt("limit by toys", self._by_toys, fitted, shown[0], at, curves.observed)
        values = sorted(curves.tested)
        return Limit(
            confidence_level=self.confidence_level,
            observed=of_data.observed,
            expected=of_data.expected,
            a_priori=a_priori,
            bracket=of_data.bracket,
            tolerance=of_data.tolerance,
            poi_values=tuple(values),
            observed_cls=tuple(curves.tested[value][0] for value in values),
            expected_cls=tuple(curves.tested[value][1:] for value in values),
            toys=by_toys,
        )

    def _by_toys(self, fitted: Fitted, fitter: Fitter, best: Minimum, asymptotic: float) -> ToyLimit:
        from inferno_cli.fit.toy_limits import limit_by_toys

        limit, error, tested = limit_by_toys(fitted.toys, fitter, best, asymptotic, 1 - self.confidence_level)
        return ToyLimit(
            limit=limit,
            error=error,
            asymptotic=asymptotic,
            poi_values=tuple(item.poi for item in tested),
            signal=tuple(item.signal for item in tested),
            background=tuple(item.background for item in tested),
        )

    @classmethod
    def metrics(cls, name: str, value: Limit) -> dict[str, float | None]:
        median = None if value.a_priori is None else value.a_priori[2]
        numbers = {
            f"{name}/observed": value.observed,
            f"{name}/expected": value.expected[2],
            f"{name}/a_priori": median,
        }
        return numbers | {f"{name}/toys": None if value.toys is None else value.toys.limit}

    @classmethod
    def rows(cls, name: str, value: Limit, fit: FitResult) -> Iterator[tuple[str, str]]:
        """Yield the limit, expected ones with the band of one sigma."""
        expected = value.expected if value.a_priori is None else value.a_priori
        text = f"expected {expected[2]:.3g}, 68% within {expected[1]:.3g} and {expected[3]:.3g}"
        if fit.data == "observed":
            text = f"observed {value.observed:.3g}, {text}"
        if value.toys is not None:
            text = f"{text}; by toys {value.toys.limit:.3g} ±{value.toys.error:.1g}"
        yield cls.title, f"{100 * value.confidence_level:.4g}% CL: {text}"

    @classmethod
    def figures(cls, name: str, value: Limit, fit: FitResult, canvas: Canvas) -> Iterator[tuple[str, Figure]]:
        """Draw CLs against the signal strength, expected and, of observed data, observed."""
        import numpy as np

        from inferno_cli.drawing.style import SIGNAL, axis_name

        figure = canvas.figure()
        axes = figure.subplots()
        values = np.asarray(value.poi_values)
        expected = np.array(value.expected_cls, dtype=float).T
        for low, high, colour, label in ((0, 4, "#ffdf7f", r"$\pm 2\,\sigma$"), (1, 3, "#85d18b", r"$\pm 1\,\sigma$")):
            axes.fill_between(values, expected[low], expected[high], color=colour, linewidth=0, label=label)
        bands = list(value.expected if value.a_priori is None else value.a_priori)
        axes.plot(values, expected[2], "--", color="black", label=f"expected: {bands[2]:.3g}")
        if value.a_priori is None:
            observed = np.array(value.observed_cls, dtype=float)
            axes.plot(values, observed, ".-", color="black", label=f"observed: {value.observed:.3g}")
            bands.append(value.observed)
        level = f"{100 * value.confidence_level:.4g}% CL"
        axes.axhline(1 - value.confidence_level, color=SIGNAL, linewidth=0.9, linestyle=":", label=level)
        axes.set_xlim(0, min(1.3 * max(bands), float(values.max())))
        axes.set_ylim(0, 1.05)
        axes.set_xlabel(axis_name(POI, fit.poi))
        axes.set_ylabel("CLs")
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")
        yield name, figure
