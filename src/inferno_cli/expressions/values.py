"""What stands on the stack: numbers, arrays with one number for each event, and lists of numbers for each event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError

EXACT_INTEGERS = 2.0**53
"""Below this a float64 counts every integer."""

Value = Any
"""A scalar, an array or ``Lists``, of float64 or, as the result of a comparison, of booleans."""


@dataclass(frozen=True)
class Lists:
    """A list of numbers for each event, such as the momenta of its jets.

    Attributes:
        content: The numbers of all events, one list after another, shape (n_numbers,).
        ends: Where the list of each event begins, and where the last one ends, shape (n_events + 1,).
    """

    content: NDArray[Any]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, array: Any) -> Lists:
        """Take an array of awkward of the type ``n * var * number``."""
        import awkward as ak

        counts = ak.to_numpy(ak.num(array, axis=1))
        return cls(ak.to_numpy(ak.flatten(array, axis=1)), _ends(counts))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Length of each list, shape (n_events,)."""
        return np.diff(self.ends)

    @property
    def array(self) -> Any:
        """The same as an array of awkward."""
        import awkward as ak

        return ak.unflatten(self.content, self.counts)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Lists:
        """Return the lists of some events."""
        if not isinstance(rows, slice):
            return Lists.of(self.array[rows])
        first, last, _ = rows.indices(len(self))
        ends = self.ends[first : max(first, last) + 1]
        return Lists(self.content[ends[0] : ends[-1]], ends - ends[0])

    def with_content(self, content: NDArray[Any]) -> Lists:
        """Return lists of the same lengths."""
        return Lists(content, self.ends)

    def masked(self, keep: NDArray[np.bool_]) -> Lists:
        """Return lists of those numbers alone that ``keep``, shape (n_numbers,), has."""
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Lists(self.content[keep], kept_before[self.ends])


def _ends(counts: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def number(value: Value) -> Value:
    """Take true and false as 1 and 0."""
    return value.astype(np.float64, copy=False)


def truth(value: Value) -> Value:
    """Take every number but 0 as true."""
    return value if value.dtype == np.bool_ else value != 0


def side_by_side(values: list[Value]) -> tuple[Lists, list[Value]]:
    """Return the lists among some values, and flat numbers of all: what is one number of an event is there repeated.

    Raises:
        DatasetError: If the lists of an event have different lengths.
    """
    lists = [value for value in values if isinstance(value, Lists)]
    first = lists[0]
    for other in lists[1:]:
        if not np.array_equal(first.ends, other.ends):
            differ = int((first.counts != other.counts).sum())
            raise DatasetError(
                f"two lists of one event have different lengths, in {differ} of {len(first)} events that were looked "
                "at; expected the same, as of two branches of the same jets, both behind the same mask or none"
            )
    flat = []
    for value in values:
        if isinstance(value, Lists):
            flat.append(value.content)
        else:
            flat.append(np.repeat(value, first.counts) if value.ndim else value)
    return first, flat


def over_lists(compute: Callable[..., Value], values: list[Value]) -> Value:
    """Apply a function of flat numbers to values of which some may be lists, number by number."""
    if not any(isinstance(value, Lists) for value in values):
        return compute(*values)
    lists, flat = side_by_side(values)
    return lists.with_content(compute(*flat))
