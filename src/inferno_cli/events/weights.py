"""Event weights: expressions of branches, evaluated alike on a TTree and on an RNTuple."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from inferno_cli.errors import DatasetError
from inferno_cli.events.files import first_line
from inferno_cli.events.sample import FloatArray
from inferno_cli.events.trees import missing_branch, one_per_row

_QUOTED_OR_WEIGHT = re.compile(r"""('[^']*'|"[^"]*")|(?<![\w.])weight(?![\w.])""")


@dataclass(frozen=True)
class Weight:
    """A weight expression.

    Attributes:
        expression: Of branches, as uproot understands it.
        key: Of the configuration, where it is from.
        nominal: The expression that ``weight`` stands for in it, whatever branches there are; None in the nominal
            itself, where ``weight`` is a branch as any other.
    """

    expression: str
    key: str
    nominal: str | None = None

    def values(self, tree: Any, where: str) -> FloatArray:
        """Return the weight of every row of a tree, shape (n_rows,).

        Args:
            tree: uproot's TTree or RNTuple.
            where: Names the tree in errors.

        Raises:
            BranchNotFoundError: If the expression uses a branch that is not there.
            DatasetError: If a branch does not hold one number per row, or the expression gives none.
        """
        import uproot
        from uproot.language.python import python_language as language

        fix, why = f"Fix {self.key}", f" in the expression {self.expression!r}"
        known = {*tree.keys(), *tree.keys(full_paths=False)}
        expression = self._written_out(known)
        try:
            names = list(dict.fromkeys(language.free_symbols(expression, known, {}, where, tree.name)))
        except uproot.KeyInFileError as error:
            raise missing_branch(tree, error.key, where, fix, why) from error
        except Exception as error:
            raise self._unusable(error, where) from error
        arrays = {name: one_per_row(tree, name, where, fix, why) for name in names}
        # uproot's trees evaluate expressions by this function too, but RNTuples have no `arrays` that does so yet.
        branches = [SimpleNamespace(cache_key=name, name=name, parent=tree) for name in names]
        context = [(expression, {"is_primary": True, "is_cut": False, "branches": branches})]
        try:
            found = language.compute_expressions(tree, arrays, context, known, {}, where, tree.name)[expression]
            return np.broadcast_to(np.asarray(found, dtype=np.float64), (int(tree.num_entries),))
        except Exception as error:  # whatever Python and NumPy raise for what somebody wrote
            raise self._unusable(error, where) from error

    def _written_out(self, known: Collection[str]) -> str:
        """Put the nominal expression in the place of ``weight``."""
        nominal = self.nominal
        # A branch may have a name that is no Python name, such as "gen-weight", and be an expression as it is.
        if nominal is None or (self.expression in known and self.expression != "weight"):
            return self.expression
        replacement = f"get({nominal!r})" if nominal in known else f"({nominal})"
        return _QUOTED_OR_WEIGHT.sub(lambda found: found[1] or replacement, self.expression)

    def _unusable(self, error: Exception, where: str) -> DatasetError:
        return DatasetError(
            f"the expression {self.expression!r} cannot be evaluated on {where}: {first_line(error)}. Fix {self.key}"
        )
