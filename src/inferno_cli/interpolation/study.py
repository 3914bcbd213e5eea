"""Train flows on a grid of signals, and compare them with the simulation at every point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.sample import FloatArray, generator
from inferno_cli.interpolation.flow import Ensemble, Trainer, density
from inferno_cli.interpolation.grid import Grid, is_inside
from inferno_cli.interpolation.pulls import Comparison, compare, spreads
from inferno_cli.interpolation.record import (
    JUDGED,
    MEAN,
    WIDTH,
    FlowRecord,
    Group,
    GroupRecord,
    PointRecord,
    SpreadRecord,
    YieldRecord,
    YieldsRecord,
)
from inferno_cli.interpolation.settings import InterpolateConfig, Pulls
from inferno_cli.interpolation.yields import Yields
from inferno_cli.progress import Advance
from inferno_cli.training.flows import Job

LogDensity = Callable[[str, FloatArray], FloatArray | None]
"""Takes the name of a signal and features to the logarithm of its true density, or None where that is not known."""


@dataclass(frozen=True)
class Flows:
    """The flows of a run.

    Attributes:
        ensemble: Those that have seen every point but the held-out ones.
        folds: The points that each fold leaves out, shape (n_left_out,), and its ensemble.
        records: Of every flow, in the order of training.
    """

    ensemble: Ensemble
    folds: tuple[tuple[NDArray[np.intp], Ensemble], ...]
    records: tuple[FlowRecord, ...]


@dataclass(frozen=True)
class Compared:
    """Comparisons at the points of a grid.

    Attributes:
        points: One record for each point of a group.
        pulls: Pulls in the bins of each of these, by definition.
        comparisons: The bins of each.
    """

    points: list[PointRecord] = field(default_factory=list)
    pulls: list[Mapping[str, FloatArray]] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def groups(self) -> dict[Group, GroupRecord]:
        """Sum up each group of points."""
        names = dict.fromkeys(point.group for point in self.points)
        return {name: self._group(name) for name in names}

    def _group(self, name: Group) -> GroupRecord:
        numbers = [number for number, point in enumerate(self.points) if point.group == name]
        found = spreads([self.pulls[number] for number in numbers])
        known = [self.points[number].divergence for number in numbers]
        divergences = [value for value in known if value is not None]
        judged = found.get(JUDGED)
        return GroupRecord(
            n_points=len(numbers),
            pulls={kind: SpreadRecord.of(spread) for kind, spread in found.items()},
            divergence=float(np.mean(divergences)) if divergences else None,
            holds=judged is not None and abs(judged.mean) < MEAN and judged.width < WIDTH,
        )


def train(grid: Grid, config: InterpolateConfig, device: str, advance: Advance) -> Flows:
    """Train the members, and those of every fold."""
    trainer = Trainer(grid, config.flow, config.seed, device)
    left_out = [np.array([], dtype=np.intp), *grid.folds(config.folds, generator(config.seed, "folds of points"))]
    jobs: list[Job] = []
    names: list[tuple[str, ...]] = []
    for points in left_out:
        for _ in range(config.flow.members):
            jobs.append(trainer.job(points, len(jobs)))
            names.append(tuple(grid.names[number] for number in points))
    trained = trainer.run(jobs, advance)
    ensembles = []
    for number in range(len(left_out)):
        own = trained[number * config.flow.members : (number + 1) * config.flow.members]
        ensembles.append(trainer.ensemble(own))
    records = []
    for flow, absent in zip(trained, names, strict=True):
        records.append(FlowRecord(left_out=absent, best=flow.best, losses=flow.losses))
    return Flows(ensembles[0], tuple(zip(left_out[1:], ensembles[1:], strict=True)), tuple(records))


def n_steps(grid: Grid, config: InterpolateConfig) -> int:
    """Return the iterations of all flows together."""
    n_folds = len(grid.folds(config.folds, generator(config.seed, "folds of points")))
    return (1 + n_folds) * config.flow.members * config.flow.iterations


def compared(
    grid: Grid, flows: Flows, features: Sequence[str], settings: Pulls, seed: int, log_density: LogDensity
) -> Compared:
    """Compare the ensemble at every point of the grid, and each fold at the points that it leaves out."""
    axes = _axes(features, settings)
    found = Compared()
    for number, group, ensemble in _cases(grid, flows):
        name = grid.names[number]
        simulated, weights = grid.template.of(number)
        drawn = ensemble.sample(grid.at[number], settings.flow_events, seed, f"{group} {name}")
        bins = compare(
            simulated[:, axes], weights, drawn[..., axes], bins=settings.bins, half_range=settings.half_range
        )
        pulls = bins.pulls(settings.min_events)
        divergence = None
        if (truth := log_density(name, simulated)) is not None:
            learnt = density(ensemble.log_density(simulated, grid.at[number]))
            divergence = float(np.average(truth - learnt, weights=weights))
        found.points.append(
            PointRecord(
                sample=name,
                at=dict(zip(grid.parameters, grid.at[number].tolist(), strict=True)),
                group=group,
                is_inside=_is_inside(grid, number),
                events=len(simulated),
                pulls={kind: SpreadRecord.of(spread) for kind, spread in spreads([pulls]).items()},
                divergence=divergence,
            )
        )
        found.pulls.append(pulls)
        found.comparisons.append(bins)
    return found


def _cases(grid: Grid, flows: Flows) -> Iterator[tuple[int, Group, Ensemble]]:
    """Yield what is compared: the number of a point, its group, and the flows."""
    for number in range(len(grid.names)):
        yield number, "held_out" if grid.is_held_out[number] else "training", flows.ensemble
    for points, ensemble in flows.folds:
        for number in points:
            yield int(number), "left_out_inside" if _is_inside(grid, int(number)) else "left_out_edge", ensemble


def _is_inside(grid: Grid, number: int) -> bool:
    """Whether a point is inside of the other points of the training."""
    others = grid.is_trained_on.copy()
    others[number] = False
    return is_inside(grid.at[number], grid.at[others])


def _axes(features: Sequence[str], settings: Pulls) -> list[int]:
    """Return the numbers of the features that are axes of the comparison."""
    wanted = settings.features or tuple(features[:2])
    return [list(features).index(name) for name in wanted]


def fit_yields(grid: Grid, seed: int) -> tuple[Yields, YieldsRecord]:
    """Fit the yields of the points that are not held out, and predict every point from the others."""
    trained = grid.is_trained_on
    process = Yields.fit(grid.at[trained], grid.yields[trained], grid.yield_errors[trained], seed)
    predicted, errors = process.predict(grid.at)
    predicted[trained], errors[trained] = process.left_out()
    # What was left out has an error of its own, which a prediction of the true yield has not.
    own = grid.yield_errors / grid.yields
    total = np.where(trained, errors, np.hypot(errors, own))
    pulls = np.log(predicted / grid.yields) / total
    points = []
    for number, name in enumerate(grid.names):
        points.append(
            YieldRecord(
                sample=name,
                at=dict(zip(grid.parameters, grid.at[number].tolist(), strict=True)),
                expected=float(grid.yields[number]),
                predicted=float(predicted[number]),
                relative_error=float(errors[number]),
                pull=float(pulls[number]),
            )
        )
    spread = SpreadRecord(mean=float(pulls.mean()), width=float(pulls.std()), n_bins=len(pulls))
    return process, YieldsRecord(kernel=process.kernel, points=tuple(points), pulls=spread)


def notes(groups: Mapping[Group, GroupRecord]) -> Iterator[str]:
    """Say where an interpolation fails, and what was not looked at."""
    titles = {
        "held_out": "points that are held out",
        "left_out_inside": "points that a fold leaves out inside of the grid",
        "left_out_edge": "points that a fold leaves out at the edge of the grid, where flows extrapolate",
        "training": "the points of the training themselves",
    }
    for name, title in titles.items():
        group = groups.get(name)  # type: ignore[call-overload]
        if group is not None and JUDGED not in group.pulls:
            yield f"nothing is known at {title}: no bin has pulls.min_events simulated events; lower it or pulls.bins"
        if group is not None and not group.holds and JUDGED in group.pulls:
            spread = group.pulls[JUDGED]
            yield (
                f"the flows fail at {title}: pulls with the larger error have mean {spread.mean:.2f} and width "
                f"{spread.width:.2f}, expected a mean within {MEAN:g} of 0 and a width below {WIDTH:g}"
            )
    if not set(groups) - {"training"}:
        yield (
            "no point was kept from the flows, so nothing says what they are worth at new parameters; set held_out or "
            "folds=leave_one_out"
        )
