"""Profiles of the likelihood in two parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from inferno_cli.errors import WorkspaceError
from inferno_cli.fit.result import STRICT, Finite, FitResult, Quantity, moved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.fit.problem import Problem

HALF_WIDTH = 3.0
"""Half width of a scan, in units of the HESSE error: the 95% contour reaches 2.45."""
CONTOURS = {2.30: "68%", 5.99: "95%"}
"""Twice the NLL above its minimum on contours of two parameters, and their coverage (chi-squared, two degrees)."""


@dataclass(frozen=True, config=STRICT)
class Scan2D:
    """Profile of the likelihood in two parameters; ``delta_twice_nll[i][j]`` is at ``y_values[i]``, ``x_values[j]``.

    It is None where there is no likelihood, as a bin expects a negative number of events.
    """

    x: str
    y: str
    x_values: tuple[float, ...]
    y_values: tuple[float, ...]
    delta_twice_nll: tuple[tuple[Finite, ...], ...]


class Scans2DQuantity(Quantity):
    """Profile likelihoods in pairs of parameters."""

    kind: Literal["scans_2d"]
    scan_2d: tuple[tuple[str, str], ...] | None = None
    """Pairs of parameters; null: the POIs, where there are two (``fit.pois``)."""
    scan_2d_points: Annotated[int, Field(ge=3)]
    """Points along each axis."""

    record: ClassVar[Any] = tuple[Scan2D, ...]
    absent: ClassVar[Any] = ()
    order: ClassVar[int] = 80

    @property
    def is_wanted(self) -> bool:
        return self.scan_2d is None or bool(self.scan_2d)

    def check(self) -> None:
        for x, y in self.scan_2d or ():
            if x == y:
                raise ValueError(f"scan_2d has a pair of {x!r} with itself")

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        yield from (("scan_2d", name) for pair in self.scan_2d or () for name in pair)

    def resolved(self, problem: Problem) -> Self:
        if self.scan_2d is None:
            return self
        pairs = []
        for names in self.scan_2d:
            pair = problem.parameters(names, "fit.scan_2d")
            if len(pair) != 2:
                raise WorkspaceError(
                    f"fit.scan_2d: [{', '.join(names)}] is {len(pair)} parameters of {problem.where}, not two"
                )
            pairs.append(pair)
        return self.model_copy(update={"scan_2d": tuple(pairs)})

    def compute(self, fitted: Fitted) -> tuple[Scan2D, ...] | None:
        import numpy as np

        pairs, pois = self.scan_2d, fitted.pois
        if pairs is None:
            pairs = ((pois[0], pois[1]),) if len(pois) == 2 else ()
        found = []
        for x, y in pairs:
            what = f"scan of {x} and {y}"
            profile = fitted.attempt(what, fitted.scan, (x, y), self.scan_2d_points, HALF_WIDTH, holes=True)
            if profile is not None:
                (x_values, y_values), rise = profile
                if lacking := int(np.isinf(rise).sum()):
                    fitted.notes.append(f"{what}: at {lacking} of {rise.size} points a bin expects negative events")
                rows = tuple(map(tuple, rise.T.tolist()))
                ends = tuple(x_values.tolist()), tuple(y_values.tolist())
                found.append(Scan2D(fitted.names[x], fitted.names[y], *ends, rows))
        return tuple(found) or None

    @classmethod
    def blinded(
        cls, value: tuple[Scan2D, ...], fit: FitResult, offsets: Mapping[str, float]
    ) -> tuple[Scan2D, ...] | None:
        """Return the scans with hidden parameters where they are shown, but those that a bound cuts."""
        found = []
        for scan in value:
            x_values = moved(scan.x, scan.x_values, fit, offsets)
            y_values = moved(scan.y, scan.y_values, fit, offsets)
            if x_values is not None and y_values is not None:
                found.append(replace(scan, x_values=x_values, y_values=y_values))
        return tuple(found) or None

    @classmethod
    def figures(
        cls, name: str, value: tuple[Scan2D, ...], fit: FitResult, canvas: Canvas
    ) -> Iterator[tuple[str, Figure]]:
        for scan in value:
            yield f"scan_2d_{scan.x}_{scan.y}", _draw(scan, fit, canvas)


def _draw(scan: Scan2D, fit: FitResult, canvas: Canvas) -> Figure:
    """Draw the contours of the profile likelihood in two parameters."""
    import numpy as np
    from matplotlib.lines import Line2D
    from scipy.interpolate import RectBivariateSpline

    from inferno_cli.drawing.style import SIGNAL, axis_name

    figure = canvas.figure()
    axes = figure.subplots()
    rise = np.clip(np.array(scan.delta_twice_nll, dtype=float), 0, None)
    x, y, smooth = np.array(scan.x_values), np.array(scan.y_values), np.ma.masked_invalid(rise)
    if np.isfinite(rise).all():  # no spline goes through points without a likelihood
        degree, fine = min(3, len(x) - 1), [np.linspace(values[0], values[-1], 201) for values in (x, y)]
        smooth = RectBivariateSpline(y, x, rise, kx=degree, ky=degree)(fine[1], fine[0])
        x, y = fine
    image = axes.pcolormesh(x, y, smooth, cmap="Blues_r", vmin=0, vmax=12, shading="nearest", rasterized=True)
    lines = dict(zip(CONTOURS, ("-", "--"), strict=True))
    drawn = [level for level in lines if level < smooth.max()]
    if drawn:
        axes.contour(x, y, smooth, drawn, colors=SIGNAL, linestyles=[lines[level] for level in drawn])
    handles = [Line2D([], [], color=SIGNAL, ls=lines[level], label=f"{CONTOURS[level]} CL") for level in drawn]
    best = [fit.parameters[name].bestfit for name in (scan.x, scan.y)]
    handles += axes.plot(*best, "+", color="black", markersize=10, label="best fit")
    axes.legend(handles=handles, loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")
    axes.set_xlabel(fit.shown(scan.x, axis_name(scan.x, fit.poi)))
    axes.set_ylabel(fit.shown(scan.y, axis_name(scan.y, fit.poi)))
    figure.colorbar(image, ax=axes, label=r"$2\,\Delta$ NLL", extend="max" if smooth.max() > 12 else "neither")
    return figure
