"""Discovery significance, from the likelihood ratio of the POI at 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from inferno_cli.fit.result import STRICT, Column, Finite, FitResult, Quantity
from inferno_cli.fit.share import Share

if TYPE_CHECKING:
    from inferno_cli.fit.fitted import Fitted


@dataclass(frozen=True, config=STRICT)
class Significance:
    """Discovery significance in standard deviations, with p-values; None above 37, where these are 0 in floats.

    Attributes:
        expected: For the nominal signal, nuisance parameters fitted to the data with POI 1.
        observed: Of the data that was fitted, Asimov or observed.
        expected_p_value, observed_p_value: Their p-values; None of a blinded fit, which shows ``a_priori`` alone.
        a_priori, a_priori_p_value: For the nominal signal, nuisance parameters at their nominal values; of observed
            data, else None: ``expected`` of Asimov data is that.
        toys: Toys without signal whose test statistic is at least that of the data: ``observed_p_value`` by toys.
    """

    expected: Finite
    observed: Finite
    expected_p_value: float | None
    observed_p_value: float | None
    a_priori: Finite = None
    a_priori_p_value: float | None = None
    toys: Share | None = None


def _expected(value: Significance, _: FitResult) -> float | None:
    """For the nominal parameters, so that runs on observed data compare with those on Asimov data."""
    return value.expected if value.a_priori is None else value.a_priori


def _expected_p_value(value: Significance, _: FitResult) -> float | None:
    return value.expected_p_value if value.a_priori_p_value is None else value.a_priori_p_value


def _observed(value: Significance, fit: FitResult) -> float | None:
    return value.observed if fit.data == "observed" else None


def _observed_p_value(value: Significance, fit: FitResult) -> float | None:
    return value.observed_p_value if fit.data == "observed" else None


class SignificanceQuantity(Quantity):
    """Discovery significance."""

    kind: Literal["significance"]
    significance: bool
    """Calculate the significance of the discovery, from the likelihood ratio of mu = 0."""

    record: ClassVar[Any] = Significance
    title: ClassVar[str] = "significance"
    order: ClassVar[int] = 20
    is_foremost: ClassVar[bool] = True
    needs_no_signal: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("significance", "exp. signif.", _expected, "z.2f"),
        Column("p_value", "exp. p", _expected_p_value, ".2e", p_value_of="significance"),
        Column("observed_significance", "obs. signif.", _observed, "z.2f"),
        Column("observed_p_value", "obs. p", _observed_p_value, ".2e", p_value_of="observed_significance"),
    )

    def compute(self, fitted: Fitted) -> Significance:
        from scipy.stats import norm

        from inferno_cli.fit.hypotheses import asimov, nominal_point, root_q0

        fitter, best, problem = fitted.fitter, fitted.best, fitted.problem
        with fitter.watched("significance"):
            observed = root_q0(fitter, best)
            signal = fitter.minimum("the fit with the nominal signal", {problem.poi: 1.0}, best)
            expected = root_q0(*asimov(fitter, signal))
            a_priori = None if problem.is_asimov else root_q0(*asimov(fitter, nominal_point(fitter)))
        by_toys = None
        if fitted.toys.number:
            by_toys = fitted.attempt("significance by toys", _by_toys, fitted, observed)
        return Significance(
            expected=expected,
            observed=observed,
            expected_p_value=float(norm.sf(expected)),
            observed_p_value=float(norm.sf(observed)),
            a_priori=a_priori,
            a_priori_p_value=None if a_priori is None else float(norm.sf(a_priori)),
            toys=by_toys,
        )

    @classmethod
    def blinded(cls, value: Significance, fit: FitResult, offsets: Mapping[str, float]) -> Significance | None:
        """Return what was expected from nominal parameters: no data are in that."""
        if value.a_priori_p_value is None:
            return None
        return Significance(None, None, None, None, value.a_priori, value.a_priori_p_value)

    @classmethod
    def metrics(cls, name: str, value: Significance) -> dict[str, float | None]:
        numbers = {f"{name}/{key}": getattr(value, key) for key in ("expected", "observed", "a_priori")}
        return numbers | {f"{name}/p_value_toys": None if value.toys is None else value.toys.value}

    @classmethod
    def rows(cls, name: str, value: Significance, fit: FitResult) -> Iterator[tuple[str, str]]:
        """Yield the expected significance, or of observed data the observed one and what was expected."""
        by_toys = "" if value.toys is None else f", by toys {value.toys.count} of {value.toys.total}"
        if fit.data == "asimov":
            yield name, f"expected {_sigmas(value.expected)} (p = {value.expected_p_value:.2g}{by_toys})"
            return
        if value.observed_p_value is None:
            yield name, f"observed blinded; expected {_sigmas(value.a_priori)} from nominal parameters"
            return
        text = f"observed {_sigmas(value.observed)} (p = {value.observed_p_value:.2g}{by_toys}); expected "
        if value.a_priori is not None:
            text += f"{_sigmas(value.a_priori)} from nominal parameters, "
        yield name, f"{text}{_sigmas(value.expected)} from those fitted to the data"


def _by_toys(fitted: Fitted, root: float) -> Share:
    """Throw toys without signal, their nuisance parameters fitted to the data; ``root`` is the square root of q0."""
    from inferno_cli.fit.starts import bent
    from inferno_cli.fit.toys import Discovery, Throw, conditional, share_above

    measure = Discovery(tuple(bent(fitted.fitter)))
    truth = conditional(fitted.fitter, fitted.best, 0.0)
    (chunk,) = fitted.toys("no signal", [Throw("no signal", (1,), truth, measure)])
    return share_above(chunk.rows[:, 0], root**2)


def _sigmas(significance: float | None) -> str:
    return "above 37 sigma" if significance is None else f"{significance:.3g} sigma"
