"""The norm of a sample: its cross section times the luminosity, by the sum of the weights of all generated events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferno_cli import expressions
from inferno_cli.errors import BranchNotFoundError, ConfigError, DatasetError, closest
from inferno_cli.events.assignment import FileTree
from inferno_cli.events.root.layout import NtupleLayout
from inferno_cli.events.root.trees import contents, is_tree, one_per_row, opened
from inferno_cli.expressions import Lists


class Norms:
    """Calculates the norms of the samples of one dataset configuration, each once."""

    def __init__(self, dataset: NtupleLayout) -> None:
        self.dataset = dataset
        self._known: dict[tuple[str, str, tuple[FileTree, ...]], float] = {}

    def of(self, sample: str, era: str, trees: Sequence[FileTree]) -> float:
        """Return what the weights of a sample are multiplied by in one era, that of its trees there; 1 without a norm.

        Raises:
            ConfigError: If the expression is none of constants and sums.
            DatasetError: If a branch is missing, or the norm is no positive number.
        """
        key = sample, era, tuple(trees)
        if key not in self._known:
            self._known[key] = self._norm(sample, era, trees)
        return self._known[key]

    def _norm(self, sample: str, era: str, trees: Sequence[FileTree]) -> float:
        dataset, settings = self.dataset, self.dataset.samples[sample]
        text = dataset.norm if settings.norm is None else settings.norm
        if text is None:
            return 1.0
        name = "dataset.norm" if settings.norm is None else f"dataset.samples.{sample}.norm"
        key = f"{name} (sample {sample!r}{f', {era}' if era else ''})"
        constants = dataset.constants_of(sample, era)
        try:
            parsed = expressions.parse(text, constants)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from error
        # All rows are the list of one event, so that sum, count and max of them are those of the language.
        columns: dict[str, NDArray[np.float64] | Lists] = {}
        for branch in parsed.branches:
            rows = np.concatenate([_rows(branch, *tree, key, constants) for tree in _each(branch, trees)])
            columns[branch] = Lists(rows, np.array([0, len(rows)]))
        given = {constant: np.array([value]) for constant, value in constants.items()}
        try:
            (norm,) = np.broadcast_to(parsed.evaluate(columns, given), (1,))
        except DatasetError as error:
            raise DatasetError(f"{key}: {expressions.shown(text)} cannot be evaluated: {error}") from error
        if not (np.isfinite(norm) and norm > 0):
            raise DatasetError(f"{key}: {expressions.shown(text)} is {norm:g}, expected a positive number. Fix {name}")
        return float(norm)


def _each(branch: str, trees: Sequence[FileTree]) -> Iterator[FileTree]:
    """Yield the trees with a branch: those of the sample, or for TREE.BRANCH the tree in each of their files, once."""
    of_file = branch.rpartition(".")[0]
    seen: set[FileTree] = set()
    for path, tree in trees:
        is_beside = of_file != "" and is_tree(contents(path).get(of_file, ""))
        found = (path, of_file if is_beside else tree)
        if found not in seen:
            seen.add(found)
            yield found


def _rows(branch: str, path: Path, tree: str, key: str, constants: Mapping[str, float]) -> NDArray[np.float64]:
    """Read all rows of a branch, or of TREE.BRANCH that of TREE, shape (n_rows,)."""
    where = f"tree {tree!r} in {path}"
    of_file, _, own = branch.rpartition(".")
    name = own if of_file == tree else branch
    with opened(path, tree) as branches:
        if name not in branches:
            known = (*constants, *branches.keys())
            raise BranchNotFoundError(
                f"{key}: {branch!r} is neither a constant nor a branch of {where}{closest(name, known)}. Say it in "
                "dataset.constants, or in those of the sample or the era; a branch of another tree is TREE.BRANCH"
            )
        return one_per_row(branches, name, where, f"Fix {key}").astype(np.float64)
