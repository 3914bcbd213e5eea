"""Event weights: expressions of branches, evaluated alike on a TTree and on an RNTuple."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inferno_cli import expressions
from inferno_cli.errors import ConfigError, DatasetError
from inferno_cli.events.root.trees import one_per_row
from inferno_cli.events.sample import FloatArray

NAME_OF_NOMINAL = "weight"
"""What stands for the nominal weight in those of a systematic."""


@dataclass(frozen=True)
class Weight:
    """A weight expression.

    Attributes:
        expression: Of branches, see ``inferno_cli.expressions``; or the name of a branch, whatever it is.
        key: Of the configuration, where it is from.
        nominal: What ``weight`` stands for in it, whatever branches there are; None in the nominal itself, where
            ``weight`` is a branch as any other.
    """

    expression: str
    key: str
    nominal: Weight | None = None

    def values(self, tree: Any, where: str) -> FloatArray:
        """Return the weight of every row of uproot's TTree or RNTuple, shape (n_rows,); errors name it ``where``.

        Raises:
            BranchNotFoundError: If the expression uses a branch that is not there.
            DatasetError: If a branch does not hold one number per row, or the expression gives none.
        """
        shown = expressions.shown(self.expression)
        fix, why = f"Fix {self.key}", f" in the expression {shown}"
        parsed = self._parsed(tree)
        columns = {name: one_per_row(tree, name, where, fix, why) for name in parsed.branches}
        given = {}
        if self.nominal is not None and parsed.given:
            given[NAME_OF_NOMINAL] = self.nominal.values(tree, where)
        try:
            found = parsed.evaluate(columns, given)
        except DatasetError as error:
            raise DatasetError(f"the expression {shown} cannot be evaluated on {where}: {error}. {fix}") from error
        return np.broadcast_to(found, (int(tree.num_entries),))

    def _parsed(self, tree: Any) -> expressions.Expression:
        given = () if self.nominal is None else (NAME_OF_NOMINAL,)
        # A branch may have a name that is no Python name, such as "gen-weight", and be an expression as it is.
        if self.expression not in given and self.expression in {*tree.keys(), *tree.keys(full_paths=False)}:
            return expressions.branch(self.expression)
        try:
            return expressions.parse(self.expression, given)
        except ConfigError as error:
            raise ConfigError(f"{self.key}: {error}") from error
