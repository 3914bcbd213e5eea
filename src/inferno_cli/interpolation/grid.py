"""The signals of a grid as one table of events, each with the number of its point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.events.sample import Events, FloatArray, Sample
from inferno_cli.section import Names


@dataclass(frozen=True)
class Table:
    """Nominal events of all signals in one split.

    Attributes:
        features: Shape (n_events, n_features).
        weights: Expected events, shape (n_events,).
        point: Number of the point that an event is of, shape (n_events,).
    """

    features: FloatArray
    weights: FloatArray
    point: NDArray[np.intp]

    def of(self, point: int) -> tuple[FloatArray, FloatArray]:
        """Return features and weights of one point."""
        rows = self.point == point
        return self.features[rows], self.weights[rows]

    def balanced(self) -> FloatArray:
        """Return the weights divided by their mean at each point, shape (n_events,).

        A density says nothing of the yield, so a point counts as its events do, whatever its cross-section.
        """
        number = np.bincount(self.point)
        total = np.bincount(self.point, self.weights)
        return np.asarray(self.weights * (number / total)[self.point])


@dataclass(frozen=True)
class Grid:
    """Signals and what they were generated with.

    Attributes:
        parameters: Names of the parameters.
        names: Names of the signals.
        at: Values of the parameters of each, shape (n_points, n_parameters).
        is_held_out: Whether the events of a point train no flow, shape (n_points,).
        yields: Expected events of each point, shape (n_points,).
        yield_errors: Their statistical errors, shape (n_points,).
        train, validation, template: The events of all points in each split.
    """

    parameters: Names
    names: Names
    at: FloatArray
    is_held_out: NDArray[np.bool_]
    yields: FloatArray
    yield_errors: FloatArray
    train: Table
    validation: Table
    template: Table

    @classmethod
    def of(
        cls,
        events: Events,
        parameters: Names,
        points: Mapping[str, tuple[float, ...]],
        held_out: Sequence[tuple[float, ...]],
    ) -> Grid:
        """Gather the signals of some events.

        Args:
            events: In one channel whose bins a network makes.
            parameters: Names of the parameters.
            points: Their values by the name of the signal.
            held_out: Values of those points whose events train nothing.

        Raises:
            DatasetError: If a signal has no event there.
        """
        names = tuple(points)
        template = _table(events.template, names)
        split = {sample.name: sample for sample in events.template}
        yields = np.array([split[name].yields[0] for name in names])
        # All splits have the yield of the whole sample; its error is that of all events together.
        effective = np.zeros(len(names))
        for part in (events.train, events.validation, events.template):
            by_name = {sample.name: sample for sample in part}
            effective += [by_name[name].effective_events for name in names]
        return cls(
            parameters=parameters,
            names=names,
            at=np.array([points[name] for name in names], dtype=np.float64),
            is_held_out=np.array([points[name] in set(held_out) for name in names]),
            yields=yields,
            yield_errors=yields / np.sqrt(effective),
            train=_table(events.train, names),
            validation=_table(events.validation, names),
            template=template,
        )

    @property
    def is_trained_on(self) -> NDArray[np.bool_]:
        """The other points, shape (n_points,)."""
        return ~self.is_held_out

    def folds(self, wanted: int | str | None, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        """Return the numbers of the points that are left out together, parts of those that are not held out.

        Args:
            wanted: ``leave_one_out``, a number of parts, or None.
            rng: Divides the points.
        """
        if wanted is None:
            return []
        numbers = np.flatnonzero(self.is_trained_on)
        if wanted == "leave_one_out":
            return [np.array([number]) for number in numbers]
        return [np.sort(part) for part in np.array_split(rng.permutation(numbers), int(wanted))]


def is_inside(at: FloatArray, others: FloatArray) -> bool:
    """Whether a point, shape (n_parameters,), is in the convex hull of others, shape (n_points, n_parameters).

    Outside of it a flow extrapolates. A point is inside where it is a mean of the others with weights that sum to 1.
    """
    from scipy.optimize import linprog

    equations = np.vstack([others.T, np.ones(len(others))])
    found = linprog(np.zeros(len(others)), A_eq=equations, b_eq=np.append(at, 1.0), bounds=(0, None))
    return bool(found.success)


def _table(samples: Sequence[Sample], names: Names) -> Table:
    """Return the nominal events of some signals of a split; rows that only a variation has are left out."""
    by_name = {sample.name: sample for sample in samples}
    features, weights, points = [], [], []
    for number, name in enumerate(names):
        if name not in by_name:
            raise DatasetError(f"signal {name!r} has no event in the channel; leave it out with likelihood.samples")
        sample = by_name[name]
        rows = sample.weights[0] != 0
        features.append(sample.features[0][rows].astype(np.float64))
        weights.append(sample.weights[0][rows])
        points.append(np.full(int(rows.sum()), number))
    return Table(np.concatenate(features), np.concatenate(weights), np.concatenate(points))
