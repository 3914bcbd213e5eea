"""The rows of a tree: branches, each read once, the selection, and expressions of what is selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli import expressions
from inferno_cli.errors import ConfigError, DatasetError
from inferno_cli.events.features import Inputs, Missing, evaluated, is_sentinel, without_sentinels
from inferno_cli.events.root.trees import column, one_per_row
from inferno_cli.events.sample import FloatArray
from inferno_cli.expressions import Lists

NAME_OF_NOMINAL = "weight"
"""What stands for the nominal weight in those of a systematic."""


@dataclass(frozen=True)
class Formula:
    """A weight or a selection.

    Attributes:
        expression: Of branches, see ``inferno_cli.expressions``; or the name of a branch, whatever it is.
        key: Of the configuration, where it is from.
        nominal: What ``weight`` stands for in it, whatever branches there are; None in the nominal itself, where
            ``weight`` is a branch as any other.
        era: The era in which it holds, in the others it is the nominal; empty: in all.
    """

    expression: str
    key: str
    nominal: Formula | None = None
    era: str = ""

    def in_era(self, era: str) -> Formula:
        """Return what holds in an era."""
        return self.nominal if self.nominal is not None and self.era not in ("", era) else self

    def parsed(self, tree: Any) -> expressions.Expression:
        """Read the expression for uproot's TTree or RNTuple.

        Raises:
            ConfigError: If it is none.
        """
        given = () if self.nominal is None else (NAME_OF_NOMINAL,)
        # A branch may have a name that is no Python name, such as "gen-weight", and be an expression as it is.
        if self.expression not in given and self.expression in {*tree.keys(), *tree.keys(full_paths=False)}:
            return expressions.branch(self.expression)
        try:
            return expressions.parse(self.expression, given)
        except ConfigError as error:
            raise ConfigError(f"{self.key}: {error}") from error


class Rows:
    """The rows of uproot's TTree or RNTuple, or a part of them, that are selected; all, before ``select``."""

    def __init__(
        self, tree: Any, where: str, missing: Mapping[str, Missing] | None = None, part: slice | None = None
    ) -> None:
        """Begin to read a tree, which errors name ``where``; ``missing`` says which branches have no value, and how."""
        n = int(tree.num_entries)
        self.part = part = part or slice(0, n)
        self.tree, self.missing = tree, missing or {}
        self.where = where if part == slice(0, n) else f"rows {part.start} to {part.stop - 1} of {where}"
        self.n_read = part.stop - part.start
        self.kept: NDArray[np.intp] | None = None
        """Places of the selected rows in the part, shape (n_selected,); None: all are."""
        self._known: dict[str, NDArray[Any] | Lists] = {}

    def __len__(self) -> int:
        return self.n_read if self.kept is None else len(self.kept)

    @property
    def numbers(self) -> NDArray[np.intp]:
        """Numbers of the selected rows in the tree, shape (n_selected,)."""
        kept = np.arange(self.n_read) if self.kept is None else self.kept
        return np.asarray(self.part.start + kept)

    def branch(self, name: str, fix: str, why: str = "", *, lists: bool = False) -> NDArray[Any] | Lists:
        """Return a branch of the selected rows, as it is in the file.

        Raises:
            BranchNotFoundError: If it is not there.
            DatasetError: If it does not hold one number per row, nor, where ``lists`` are taken, a list of numbers.
        """
        values = self._known.get(name)
        if values is None or (isinstance(values, Lists) and not lists):
            read = column if lists else one_per_row
            values = read(self.tree, name, self.where, fix, why, start=self.part.start, stop=self.part.stop)
            values = values if self.kept is None else values[self.kept]
            self._known[name] = values
        return values

    def columns(self, names: Sequence[str], fix: str) -> dict[str, NDArray[Any]]:
        """Return branches with one number per row."""
        return {name: np.asarray(self.branch(name, fix)) for name in names}

    def values(self, formula: Formula) -> FloatArray:
        """Return a weight or a selection of every selected row, shape (n_selected,).

        Raises:
            BranchNotFoundError: If the expression uses a branch that is not there.
            DatasetError: If a branch does not hold numbers, or the expression gives none for every row.
        """
        parsed, columns = self._needed(formula)
        given = {}
        if formula.nominal is not None and parsed.given:
            given[NAME_OF_NOMINAL] = self.values(formula.nominal)
        try:
            found = parsed.evaluate(without_sentinels(columns, self.missing), given)
        except DatasetError as error:
            text = expressions.shown(formula.expression)
            raise DatasetError(
                f"the expression {text} cannot be evaluated on {self.where}: {error}. Fix {formula.key}"
            ) from error
        return np.broadcast_to(found, (len(self),))

    def _needed(self, formula: Formula) -> tuple[expressions.Expression, dict[str, NDArray[Any] | Lists]]:
        fix, why = f"Fix {formula.key}", f" in the expression {expressions.shown(formula.expression)}"
        parsed = formula.parsed(self.tree)
        columns = {}
        for name in parsed.branches:
            columns[name] = self.branch(name, fix, why, lists=parsed.takes_lists)
        return parsed, columns

    def select(self, formulas: Sequence[Formula]) -> None:
        """Keep the rows for which all selections are true.

        Raises:
            DatasetError: See ``passed``.
        """
        if not formulas:
            return
        is_kept = np.ones(len(self), dtype=np.bool_)
        for formula in formulas:
            is_kept &= self.passed(formula)
        self.keep(is_kept)

    def passed(self, formula: Formula) -> NDArray[np.bool_]:
        """Return for which of the selected rows a selection is true, shape (n_selected,).

        Raises:
            DatasetError: See ``passed``.
        """
        parsed, columns = self._needed(formula)
        found = passed(parsed, columns, self.missing, self.where, formula.key)
        return np.broadcast_to(found, (len(self),))

    def keep(self, is_kept: NDArray[np.bool_]) -> None:
        """Keep some of the selected rows, shape (n_selected,)."""
        self.kept = np.flatnonzero(is_kept) if self.kept is None else self.kept[is_kept]
        self._known = {name: values[is_kept] for name, values in self._known.items()}

    def of(self, is_kept: NDArray[np.bool_]) -> Rows:
        """Return some of the selected rows by themselves, shape (n_selected,)."""
        found = copy(self)
        found.keep(is_kept)
        return found

    def features(self, inputs: Inputs, *, missing: bool) -> NDArray[np.float32]:
        """Return the features of the selected rows, see ``Inputs.table``."""
        branches = {}
        for name in inputs.branches:
            branches[name] = self.branch(name, "Fix dataset.features", lists=name in inputs.of_lists)
        return inputs.table(branches, len(self), self.where, rows=self.numbers, missing=missing)


def passed(
    expression: expressions.Expression,
    columns: Mapping[str, NDArray[Any] | Lists],
    missing: Mapping[str, Missing],
    where: str,
    key: str,
) -> NDArray[np.bool_]:
    """Return the rows for which a selection is true, shape (n_rows,), or () where no branch is in it.

    Raises:
        DatasetError: If it is no truth in some row: another number than 0 and 1, or made of what is no number.
    """
    text = expressions.shown(expression.text)
    for name, found in columns.items():
        # Whatever is compared with what is no number is false: the event would be gone without a word.
        if isinstance(found, Lists) or found.dtype.kind != "f" or expression.asks_for_missing:
            continue
        unknown = np.isnan(found)
        if name in missing:
            unknown &= ~is_sentinel(name, found, missing[name])
        if unknown.any():
            row = np.flatnonzero(unknown)[0]
            raise DatasetError(
                f"the selection {text} on {where}: branch {name!r} is not a number in {unknown.sum()} of "
                f"{len(unknown)} rows (first in row {row}). Say in {key} what becomes of them: with isnan({name}), or "
                f"where(isnan({name}), 0, ...)"
            )
    values = evaluated(expression, without_sentinels(columns, missing), {}, key, where)
    other = np.flatnonzero((values != 0) & (values != 1))
    if len(other):
        raise DatasetError(
            f"the selection {text} on {where} is neither true nor false in {len(other)} of {values.size} rows (first "
            f"in row {other[0]}: {values.flat[other[0]]:g}), expected a comparison. Fix {key}"
        )
    return np.asarray(values == 1)
