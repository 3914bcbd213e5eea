"""A parsed expression: its steps on a stack of numbers, and their evaluation for many rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError
from inferno_cli.expressions.values import Lists, Value, number, over_lists

BLOCK = 8_192
"""Rows that are worked on together: what lies between two steps stays in the cache of the processor.

A column of them has 64 KiB. From 128 KiB on the C library may give every such piece back to the system, and fetching it
again takes three times as long as the work.
"""


@dataclass(frozen=True)
class Constant:
    """Push a number."""

    value: Value


@dataclass(frozen=True)
class Column:
    """Push the values of a branch, or of a name that stands for given values."""

    name: str
    is_given: bool = False


@dataclass(frozen=True)
class Apply:
    """Replace the last ``n`` values by what is computed of them: number by number, or of lists (``of_lists``)."""

    compute: Callable[..., Value]
    n: int
    of_lists: bool = False


Step = Constant | Column | Apply


@dataclass(frozen=True)
class Expression:
    """An expression of branches, ready to be evaluated: its text, and what to do, in order.

    Example:
        >>> from inferno_cli.expressions import parse
        >>> expression = parse("w * (1 - 2 * negative)")
        >>> expression.branches
        ('w', 'negative')
        >>> columns = {"w": np.array([0.5, 0.5]), "negative": np.array([0, 1], dtype=np.uint8)}
        >>> expression.evaluate(columns).tolist()
        [0.5, -0.5]
    """

    text: str
    steps: tuple[Step, ...]

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches that it needs."""
        return tuple(column.name for column in self._columns if not column.is_given)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the other values that it needs."""
        return tuple(column.name for column in self._columns if column.is_given)

    @property
    def takes_lists(self) -> bool:
        """Whether a branch may hold a list for each event: one number can be made of it."""
        return any(isinstance(step, Apply) and step.of_lists for step in self.steps)

    @property
    def asks_for_missing(self) -> bool:
        """Whether it asks which numbers are none: with ``isnan`` and the like."""
        asking = (np.isnan, np.isfinite, np.isinf)
        return any(isinstance(step, Apply) and getattr(step.compute, "ufunc", None) in asking for step in self.steps)

    @property
    def _columns(self) -> tuple[Column, ...]:
        return tuple(dict.fromkeys(step for step in self.steps if isinstance(step, Column)))

    def evaluate(
        self, columns: Mapping[str, NDArray[Any] | Lists], given: Mapping[str, NDArray[np.float64]] | None = None
    ) -> NDArray[np.float64]:
        """Return the value for every row: shape (n_rows,), or () where no branch is in it.

        What is divided by 0 or too large is infinite, and the logarithm of a negative number is not a number.

        Raises:
            DatasetError: If ``&``, ``|``, ``^`` or ``~`` meets numbers that it has no meaning for; if lists and numbers
                do not go together, or a list is left where one number of each event is needed.
        """
        values: dict[Column, NDArray[Any] | Lists] = {}
        for column in self._columns:
            values[column] = (given or {})[column.name] if column.is_given else columns[column.name]
        with np.errstate(all="ignore"):
            if not values:
                return np.asarray(self._value({}))
            n_rows = len(next(iter(values.values())))
            found = np.empty(n_rows)
            for first in range(0, n_rows, BLOCK):
                rows = slice(first, first + BLOCK)
                found[rows] = self._value({column: array[rows] for column, array in values.items()})
        return found

    def _value(self, values: Mapping[Column, NDArray[Any] | Lists]) -> Value:
        has_lists = any(isinstance(value, Lists) for value in values.values())
        stack: list[Value] = []
        for step in self.steps:
            if isinstance(step, Constant):
                stack.append(step.value)
            elif isinstance(step, Apply):
                arguments = stack[-step.n :]
                del stack[-step.n :]
                is_flat = step.of_lists or not has_lists
                stack.append(step.compute(*arguments) if is_flat else over_lists(step.compute, arguments))
            else:
                stack.append(_pushed(values[step]))
        found = stack.pop()
        if isinstance(found, Lists):
            raise DatasetError(
                "it gives a list for each event, expected one number; take sum, count, first, max, min, any or all of "
                "it"
            )
        return number(found)


def _pushed(values: NDArray[Any] | Lists) -> Value:
    if isinstance(values, Lists):
        return values.with_content(_pushed(values.content))
    return values if values.dtype == np.bool_ else number(values)


def branch(name: str) -> Expression:
    """Return the expression that is one branch, whatever its name."""
    return Expression(name, (Column(name),))
