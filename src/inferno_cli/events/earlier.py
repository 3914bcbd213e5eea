"""Events of other files than those that a network was trained on: which of them its training has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.events.assignment import NOT_USED, SPLITS, Division, SplitAssignment, folds_of
from inferno_cli.events.ids import UNKNOWN, EventIds

TEMPLATE = SPLITS.index("template")


@dataclass(frozen=True)
class Recognised:
    """How many events of a sample the training of a network knows.

    Attributes:
        left_out: Those that it trained on, or selected its epoch with: they are in no template.
        known: All that it had, in any split or fold.
        total: All.
    """

    left_out: int
    known: int
    total: int


@dataclass(frozen=True)
class Earlier:
    """What a training used events for, and how they are recognised in another dataset.

    An event with the id of one of its sample is that event, whatever its features are: it may have been processed anew.
    Ids repeat between samples: there an event is recognised by its features as well.

    Attributes:
        assignment: What the run of the training wrote down.
        eras: For each era of this dataset the numbers that it may have in the ids of the run; None for one without eras
            in the run.
        has_eras: Whether the first column of the ids here is the number of the era.
        columns: For each sample the columns of the ids, without the era, that events share which may not be divided.
        n_folds: Number of networks; 1: the events are in three splits.
    """

    assignment: SplitAssignment
    eras: tuple[tuple[int | None, ...], ...]
    has_eras: bool
    columns: Mapping[str, tuple[int, ...]]
    n_folds: int

    def split(
        self, sample: str, events: str, ids: NDArray[np.int64], features: NDArray[np.float32]
    ) -> NDArray[np.int8]:
        """Return what the training used events for, shape (n_events,): the split or fold of each, -1 for new ones.

        Args:
            sample: The sample.
            events: Key of its division: the sample, or one of its variations that has events of its own.
            ids: With the era in front where there are some, shape (n_events, n_branches).
            features: The nominal ones, shape (n_events, n_features).
        """
        bare = ids[:, 1:] if self.has_eras else ids
        found = self.assignment.of_rows("", "", bare, features, 0)
        found = np.where(found < 0, np.int8(NOT_USED), found)  # the same id in another sample, of another event
        division = self.assignment.divisions.get(events)
        if division is None:
            return found
        columns = list(self.columns[sample])
        of_run = division.events.rows()
        first = of_run.shape[1] - bare.shape[1]
        shared = np.concatenate([of_run[:, :first], of_run[:, first:][:, columns]], axis=1)
        known = EventIds(shared)
        # Of several splits the training is the first: what it has seen it has seen.
        smallest = np.full(len(known), np.iinfo(np.int8).max, dtype=np.int8)
        is_used = division.split != NOT_USED
        np.minimum.at(smallest, known.find(shared[is_used]), division.split[is_used])
        era = ids[:, 0] if self.has_eras else np.zeros(len(ids), dtype=np.int64)
        for number, of_era in enumerate(self.eras):
            rows = np.flatnonzero(era == number)
            for there in of_era:
                own = bare[rows][:, columns]
                same = known.find(own if there is None else np.insert(own, 0, there, axis=1))
                split = np.where(same == UNKNOWN, np.int8(NOT_USED), smallest[same])
                split = np.where(split == np.iinfo(np.int8).max, np.int8(NOT_USED), split)
                found[rows] = _first(found[rows], split)
        return found

    def divided(
        self, sample: str, known: NDArray[np.int8], ids: NDArray[np.int64], group: NDArray[np.int64]
    ) -> list[NDArray[np.intp]]:
        """Return the rows of a sample in each split or fold: those that are known as they were.

        Of new events all are in the templates; with folds the id says which, as any network may evaluate them.

        Args:
            known: Of ``split``, shape (n_events,).
            ids: Shape (n_events, n_branches).
            group: Events of one number stay together, shape (n_events,).

        Raises:
            DatasetError: If nothing is left for the templates.
        """
        highest = np.iinfo(np.int8).max
        of_group = np.full(int(group.max()) + 1, highest, dtype=np.int8)
        np.minimum.at(of_group, group, np.where(known == NOT_USED, highest, known))
        _, first, number = np.unique(group, return_index=True, return_inverse=True)
        bare = ids[:, 1:] if self.has_eras else ids
        of_new = np.full(len(group), TEMPLATE)
        if self.n_folds > 1:
            of_new = folds_of(bare[first], self.n_folds)[number]
        split = np.where(of_group[group] == highest, of_new, of_group[group])
        n_parts = self.n_folds if self.n_folds > 1 else len(SPLITS)
        rows = [np.flatnonzero(split == number) for number in range(n_parts)]
        if self.n_folds == 1 and not len(rows[TEMPLATE]):
            raise DatasetError(
                f"sample {sample!r}: the training of trained_in has seen each of its {len(group)} events, and none is "
                "left for the templates. Add events to dataset.path, or train a network"
            )
        return rows

    def recognised(self, known: NDArray[np.int8], rows: list[NDArray[np.intp]]) -> Recognised:
        """Count the events of a sample."""
        left_out = 0 if self.n_folds > 1 else sum(len(part) for part in rows[:TEMPLATE])
        return Recognised(left_out, int((known != NOT_USED).sum()), len(known))

    def with_those_of_the_run(self, here: SplitAssignment) -> SplitAssignment:
        """Return an assignment with the trees and events of the run that it lacks: the network has seen these, too.

        Where the eras here are not those of the run, their numbers are others, and it stays as it is.
        """
        n_eras = self.assignment.n_eras
        same = [(number,) for number in range(n_eras)] if n_eras else [(None,)]
        if list(self.eras) != same or self.has_eras != bool(n_eras):
            return here
        found = dict(here.divisions)
        for name, earlier in self.assignment.divisions.items():
            found[name] = _joined(found[name], earlier) if name in found else earlier
        return replace(here, divisions=found).with_parts(self.assignment.parts)


def _first(one: NDArray[np.int8], two: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the smaller split of two, where both are known."""
    both = np.minimum(one, two)
    return np.where(both == NOT_USED, np.maximum(one, two), both)


def _joined(here: Division, there: Division) -> Division:
    """Return a division with the events of another one that it has not."""
    rows = there.events.rows()
    others = here.events.find(rows) == UNKNOWN
    ids = np.concatenate([here.events.rows(), rows[others]])
    events = EventIds(ids)
    place = events.find(ids)
    split = np.empty(len(events), dtype=np.int8)
    split[place] = np.concatenate([here.split, there.split[others]])
    if here.prints is None or there.prints is None:
        return Division(events, split, None)
    prints = np.empty(len(events), dtype=np.uint32)
    prints[place] = np.concatenate([here.prints, there.prints[others]])
    return Division(events, split, prints)


def said(recognised: Mapping[str, Recognised]) -> str:
    """Say how many events the training of the network has seen, and of which samples."""
    total = sum(item.total for item in recognised.values())
    known = sum(item.known for item in recognised.values())
    left_out = sum(item.left_out for item in recognised.values())
    of_samples = [f"{name} {item.left_out or item.known}" for name, item in recognised.items() if item.known]
    which = f" ({', '.join(of_samples)})" if of_samples else ""
    if left_out or not known:
        return (
            f"{left_out} of {total} events were seen by the training of the network and are left out of the "
            f"templates{which if left_out else ''}; validation says nothing here"
        )
    return (
        f"{known} of {total} events are known to the training of the networks and keep their split{which}; validation "
        "says nothing here"
    )
