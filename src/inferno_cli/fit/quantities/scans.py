"""Profiles of the likelihood in one parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from inferno_cli.fit.result import STRICT, FitResult, Quantity, moved
from inferno_cli.section import POI, Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.problem import Problem

HALF_WIDTH = 2.5
"""Half width of a scan, in units of the HESSE error."""


@dataclass(frozen=True, config=STRICT)
class Scan:
    """Profile of the likelihood in one parameter: values, and twice the NLL above the minimum."""

    parameter: str
    values: tuple[float, ...]
    delta_twice_nll: tuple[float, ...]


class ScansQuantity(Quantity):
    """Profile likelihoods by parameter."""

    kind: Literal["scans"]
    scan: Names
    """Parameters whose profile likelihood is wanted."""
    scan_points: Annotated[int, Field(ge=3)] | None
    """Points of each NLL scan; null: no scan."""

    record: ClassVar[Any] = dict[str, Scan]
    absent: ClassVar[Any] = {}
    order: ClassVar[int] = 70

    @property
    def is_wanted(self) -> bool:
        return self.scan_points is not None and bool(self.scan)

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        yield from (("scan", name) for name in self.scan)

    def resolved(self, problem: Problem) -> Self:
        return self.model_copy(update={"scan": problem.parameters(self.scan, "fit.scan")})

    def compute(self, fitted: Fitted) -> dict[str, Scan]:
        found = {}
        for label in self.scan:
            profile = fitted.attempt(f"scan of {label}", fitted.scan, (label,), self.scan_points or 0, HALF_WIDTH)
            if profile is not None:
                ((values,), rise), name = profile, fitted.names[label]
                found[name] = Scan(name, tuple(values.tolist()), tuple(rise.tolist()))
        return found

    @classmethod
    def blinded(cls, value: dict[str, Scan], fit: FitResult, offsets: Mapping[str, float]) -> dict[str, Scan] | None:
        """Return the scans with hidden parameters where they are shown, but those that a bound cuts."""
        found = {}
        for name, scan in value.items():
            values = moved(name, scan.values, fit, offsets)
            if values is not None:
                found[name] = Scan(name, values, scan.delta_twice_nll)
        return found or None

    @classmethod
    def stored(cls, value: Any) -> dict[str, Any]:
        return {"scans": value, "nll_scan": value.get(POI)}

    @classmethod
    def figures(cls, name: str, value: dict[str, Scan], fit: FitResult, canvas: Canvas) -> Iterator[tuple[str, Figure]]:
        for parameter, scan in value.items():
            yield "scan" if parameter == POI else f"scan_{parameter}", _draw(scan, fit, canvas)


def _draw(scan: Scan, fit: FitResult, canvas: Canvas) -> Figure:
    """Draw the profile likelihood in one parameter, with its HESSE parabola and MINOS interval."""
    import numpy as np

    from inferno_cli.drawing.style import ACCENT, MUTED, SIGNAL, axis_name

    estimate = fit.parameters[scan.parameter]
    figure = canvas.figure()
    axes = figure.subplots()
    values, rise = np.asarray(scan.values), np.clip(scan.delta_twice_nll, 0, None)
    dense = np.union1d(values, np.linspace(values.min(), values.max(), 201))
    top = max(float(rise.max()), 1.2)
    if estimate.minos is not None:
        low, high = estimate.bestfit + estimate.minos[0], estimate.bestfit + estimate.minos[1]
        axes.axvspan(low, high, color=ACCENT, alpha=0.2, linewidth=0, label=f"MINOS: {low:.3f} to {high:.3f}")
    if estimate.hesse > 0 and estimate.at_limit is None:
        axes.plot(dense, ((dense - estimate.bestfit) / estimate.hesse) ** 2, "--", color=MUTED, label="HESSE parabola")
    # The signed root is nearly a straight line: interpolated there, the curve has no corners.
    root = np.interp(dense, values, np.sign(values - estimate.bestfit) * np.sqrt(rise))
    axes.plot(dense, root**2, color="black", linewidth=1.2)
    axes.plot(values, rise, "o", color="black", markersize=3.5, label="profile likelihood")
    axes.vlines(estimate.bestfit, 0, top, color=MUTED, linewidth=0.8)
    edge = axes.get_yaxis_transform()
    for sigma in (1, 2):
        if sigma**2 < 1.05 * top:
            axes.axhline(sigma**2, color=SIGNAL, linewidth=0.9, linestyle=":")
            text = rf"{sigma}$\,\sigma$"
            axes.text(0.99, sigma**2, text, transform=edge, ha="right", va="bottom", color=SIGNAL)
    axes.margins(x=0.02)
    axes.set_ylim(0, 1.35 * top)
    axes.set_xlabel(fit.shown(scan.parameter, axis_name(scan.parameter, fit.poi)))
    axes.set_ylabel(r"$2\,\Delta$ NLL")
    axes.legend(loc="upper center")
    return figure
