"""Toys: what many repetitions of the experiment say of the estimate of the POI and of its errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.result import STRICT, Column, Finite, FitResult, Quantity
from inferno_cli.fit.share import Share
from inferno_cli.section import POI

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from inferno_cli.drawing.style import Canvas
    from inferno_cli.fit.fitted import Fitted
    from inferno_cli.likelihood.data import FloatArray

MOST_BINS = 40
"""Of a distribution; fewer where there are few toys."""
EXPECTED = 0.682689492137086
"""Coverage of one standard deviation."""


@dataclass(frozen=True, config=STRICT)
class Distribution:
    """Numbers of toys in bins of equal width, given its edges."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, config=STRICT)
class Pull:
    """(estimate - truth) / HESSE of a parameter: mean and standard deviation over the toys; None: without an error."""

    mean: Finite
    width: Finite


@dataclass(frozen=True, config=STRICT)
class ToyFits:
    """Fits of toys that were drawn at the best fit.

    Attributes:
        number: Toys that were drawn.
        failed: Of these, how many have no valid fit: they are in no other number.
        at_limit: How many have a parameter at a physical limit: they count as all others.
        seed: Of the toys.
        truth: The POI that they were drawn with.
        mean, spread: Of the best fits of the POI: mean and standard deviation.
        bias, bias_error: The mean minus the truth, and its error.
        hesse: Mean HESSE error of the POI.
        pulls: Of the parameters that the fit varies, by name.
        coverage: How many HESSE intervals of the POI hold the truth.
        coverage_minos: How many MINOS intervals do: -2 ln L at the truth is at most 1 above its minimum.
        estimates, pull: Distribution of the best fits of the POI, and of its pull.
    """

    number: int
    failed: int
    at_limit: int
    seed: int
    truth: float
    mean: float
    spread: float
    bias: float
    bias_error: float
    hesse: float
    pulls: dict[str, Pull]
    coverage: Share
    coverage_minos: Share
    estimates: Distribution
    pull: Distribution


class ToysQuantity(Quantity):
    """Repetitions of the experiment."""

    kind: Literal["toys"]
    toys: Annotated[int, Field(ge=1)] | None
    """Those of the fit."""

    record: ClassVar[Any] = ToyFits
    title: ClassVar[str] = "toys"
    order: ClassVar[int] = 90
    columns: ClassVar[tuple[Column, ...]] = (
        Column("coverage", "HESSE cov.", lambda value, _: value.coverage.value),
        Column("coverage_minos", "MINOS cov.", lambda value, _: value.coverage_minos.value),
    )

    def compute(self, fitted: Fitted) -> ToyFits:
        """Repeat the experiment: draw the data and the auxiliary measurements, and fit them."""
        import numpy as np

        from inferno_cli.fit.toys import Estimates, repeated

        poi, toys = fitted.problem.poi, fitted.toys
        (chunk,) = toys("the experiment repeated", [repeated(fitted.fitter, fitted.best)])
        if len(chunk.rows) < 2:
            raise FitFailedError(f"of {toys.number} toys {len(chunk.rows)} have a valid fit. Raise fit.toys")
        found, truth = Estimates.of(chunk.rows), fitted.best.values
        values, errors = found.values[:, poi], found.hesse[:, poi]
        deviations = found.values - truth
        pulls: dict[str, Pull] = {}
        for name in fitted.problem.floating():
            index = fitted.best.labels.index(name)
            of_toys = deviations[:, index] / found.hesse[:, index]
            pulls[fitted.names[name]] = Pull(float(of_toys.mean()), float(of_toys.std(ddof=1)))
        spread = float(values.std(ddof=1))
        n_toys = len(values)
        return ToyFits(
            number=toys.number,
            failed=len(chunk.failures),
            at_limit=int(found.is_at_limit.sum()),
            seed=toys.seed,
            truth=float(truth[poi]),
            mean=float(values.mean()),
            spread=spread,
            bias=float(deviations[:, poi].mean()),
            bias_error=spread / n_toys**0.5,
            hesse=float(errors.mean()),
            pulls=pulls,
            coverage=Share(int((np.abs(deviations[:, poi]) <= errors).sum()), n_toys),
            # One fit with the true POI says it exactly, without looking for the ends of the interval.
            coverage_minos=Share(int((found.rise <= 1).sum()), n_toys),
            estimates=_distribution(values),
            pull=_distribution(deviations[:, poi] / errors),
        )

    @classmethod
    def blinded(cls, value: ToyFits, fit: FitResult, offsets: Mapping[str, float]) -> ToyFits:
        """Return the same around the POI where it is shown; what the toys say of its error stays."""
        offset = offsets[POI]
        estimates = replace(value.estimates, edges=tuple(edge + offset for edge in value.estimates.edges))
        return replace(value, truth=value.truth + offset, mean=value.mean + offset, estimates=estimates)

    @classmethod
    def metrics(cls, name: str, value: ToyFits) -> dict[str, float | None]:
        numbers: dict[str, float | None] = {}
        for key in ("mean", "spread", "bias", "bias_error", "hesse"):
            numbers[f"{name}/{key}"] = getattr(value, key)
        numbers[f"{name}/failed"] = float(value.failed)
        for key in ("coverage", "coverage_minos"):
            share: Share = getattr(value, key)
            numbers |= {f"{name}/{key}": share.value, f"{name}/{key}_error": share.error}
        pull = value.pulls[POI]
        return numbers | {f"{name}/pull_mean": pull.mean, f"{name}/pull_width": pull.width}

    @classmethod
    def rows(cls, name: str, value: ToyFits, fit: FitResult) -> Iterator[tuple[str, str]]:
        """Yield what was drawn, bias and spread, and coverage."""
        counted = [f"{value.number} at {fit.shown(POI, POI)} = {value.truth:.3g}"]
        if value.failed:
            counted.append(f"{value.failed} without a valid fit")
        if value.at_limit:
            counted.append(f"{value.at_limit} with a parameter at its limit")
        yield name, ", ".join(counted)
        spread = f"spread {value.spread:.3g}, mean HESSE {value.hesse:.3g}"
        yield f"{name}, {POI}", f"bias {value.bias:+.2g} ±{value.bias_error:.1g}, {spread}"
        pull = value.pulls[POI]
        if pull.mean is not None and pull.width is not None:
            yield f"{name}, pull", f"mean {pull.mean:+.2g}, width {pull.width:.3g}"
        intervals = f"HESSE {value.coverage}, MINOS {value.coverage_minos}"
        yield f"{name}, coverage", f"{intervals} (expected {EXPECTED:.3f})"

    @classmethod
    def figures(cls, name: str, value: ToyFits, fit: FitResult, canvas: Canvas) -> Iterator[tuple[str, Figure]]:
        """Draw the distributions of the POI and of its pull, with the normal ones that HESSE stands for."""
        from inferno_cli.drawing.style import axis_name

        figure = canvas.figure(width=9.0, height=4.0)
        estimates, pull = figure.subplots(1, 2)
        poi = axis_name(POI, fit.poi)
        _draw(estimates, value.estimates, value.truth, value.hesse, "truth and mean HESSE error")
        estimates.set_xlabel(f"best fit of {fit.shown(POI, poi)}")
        estimates.set_ylabel("toys")
        _draw(pull, value.pull, 0.0, 1.0, "standard normal")
        pull.set_xlabel(f"pull of {poi}")
        yield name, figure


def _distribution(values: FloatArray) -> Distribution:
    import numpy as np

    counts, edges = np.histogram(values, min(MOST_BINS, math.isqrt(len(values)) + 1))
    return Distribution(tuple(edges.tolist()), tuple(counts.tolist()))


def _draw(axes: Axes, found: Distribution, centre: float, width: float, label: str) -> None:
    """Draw a distribution, and the normal one with as many toys."""
    import numpy as np
    from scipy.stats import norm

    from inferno_cli.drawing.style import ACCENT, SIGNAL

    edges = np.array(found.edges)
    axes.stairs(found.counts, edges, fill=True, color=ACCENT, alpha=0.5, label=f"{sum(found.counts)} toys")
    dense = np.linspace(edges[0], edges[-1], 201)
    scale = sum(found.counts) * (edges[1] - edges[0])
    axes.plot(dense, scale * norm.pdf(dense, centre, width), color=SIGNAL, linewidth=1.2, label=label)
    axes.axvline(centre, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylim(0, 1.35 * max(*found.counts, scale * norm.pdf(centre, centre, width)))
    axes.legend(loc="upper center", ncols=2)
