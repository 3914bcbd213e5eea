"""Files and trees of ntuples: found, opened, and their branches read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import (
    BranchNotFoundError,
    DatasetError,
    DatasetFileError,
    InfernoError,
    TreeNotFoundError,
    closest,
    first_line,
)
from inferno_cli.expressions import EXACT_INTEGERS
from inferno_cli.files import user_path

Columns = dict[str, NDArray[Any]]


def find_files(text: str, pattern: str, path_key: str, pattern_key: str) -> list[Path]:
    """Return the files that a path, a glob or a folder with a pattern stands for, sorted; keys are for messages."""
    root = user_path(text)
    if root.is_file():
        return [root]
    if root.is_dir():
        found = sorted(root.glob(pattern))
        where = f"no file matches {pattern!r} ({pattern_key}) in folder {root}"
    else:
        anchor = Path(root.anchor or ".")
        found = sorted(anchor.glob(str(root.relative_to(root.anchor) if root.anchor else root)))
        where = f"{root} ({path_key}) is neither a file nor a folder, and no file matches it"
    found = [path for path in found if path.is_file()]
    if not found:
        raise DatasetFileError(f"{where}. Fix {' or '.join(dict.fromkeys((path_key, pattern_key)))}")
    return found


@contextmanager
def opened(path: Path, tree: str) -> Iterator[Any]:
    """Open a tree, see ``readable``."""
    import uproot

    with readable(f"tree {tree!r} in {path} cannot be read"), uproot.open(path) as file:
        yield file[tree]


@contextmanager
def readable(failure: str) -> Iterator[None]:
    """Whatever goes wrong while a file is read is the file's fault, unless it is ours already."""
    try:
        yield
    except (InfernoError, MemoryError):
        raise
    except Exception as error:  # uproot raises many kinds for a damaged file
        raise DatasetFileError(
            f"{failure} ({type(error).__name__}: {first_line(error)}); the file may be truncated: compare its size or "
            "checksum with the original and copy it again"
        ) from error


def contents(path: Path) -> dict[str, str]:
    """Return the class of every object in a file, by name."""
    with readable(f"{path} cannot be read as a ROOT file"):
        status = path.stat()
        return _contents(path, status.st_size, status.st_mtime_ns)


@cache
def _contents(path: Path, _size: int, _mtime: int) -> dict[str, str]:
    import uproot

    with uproot.open(path) as file:
        return dict(file.classnames(cycle=False))


def is_tree(kind: str) -> bool:
    """Tell by its class whether an object of a file has rows."""
    return kind in ("TTree", "TNtuple", "TNtupleD") or kind.endswith("RNTuple")


def tree_names(path: Path, pattern: str = "*") -> list[str]:
    """Return the names of the trees in a file that match a glob, or are called so: at least one."""
    trees = [name for name, kind in contents(path).items() if is_tree(kind)]
    found = [name for name in trees if name == pattern or fnmatchcase(name, pattern)]
    if not found:
        raise TreeNotFoundError(f"no tree in {path} matches {pattern!r}{closest(pattern, trees)}. Fix tree=NAME")
    return found


def one_per_row(tree: Any, name: str, where: str, fix: str, why: str = "", *, stop: int | None = None) -> NDArray[Any]:
    """Read a branch of numbers from uproot's TTree or RNTuple, shape (n_rows,), or the rows before ``stop`` alone.

    Errors name the tree (``where``), what to do (``fix``), and what the branch is needed for (``why``).

    Raises:
        BranchNotFoundError: If it is not there.
        DatasetError: If it holds lists, arrays, text or anything else that is not one number per row.
    """
    if name not in tree:
        raise BranchNotFoundError(f"branch {name!r}{why} is missing from {where}{closest(name, tree.keys())}. {fix}")
    branch = tree[name]
    values = np.asarray(branch.array(library="np", entry_stop=stop))
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise DatasetError(
            f"branch {name!r}{why} of {where} does not hold one number per row, but {branch.typename}. {fix}"
        )
    return values


class _BranchesAlone:
    """Stands for the language of uproot's expressions, which is Python: names are branches, nothing is evaluated."""

    def compute_expressions(self, _tree: Any, arrays: Any, chosen: Any, *_: Any) -> Columns:
        return {name: arrays[context["branches"][-1].cache_key] for name, context in chosen}


class Tree:
    """A tree that is read chunk by chunk."""

    def __init__(self, path: Path, name: str, needed: Mapping[str, str]) -> None:
        """Look at a tree, and at the branches that are needed: why each is, the message says when it is missing.

        Raises:
            BranchNotFoundError: If one of them is not there.
            DatasetError: If one has no single number in every row.
        """
        self.path, self.name, self.branches = path, name, tuple(needed)
        self.where = f"tree {name!r} in {path}"
        with opened(path, name) as tree:
            self.rows = int(tree.num_entries)
            fix = "Choose other trees with tree=NAME, or other files with input=PATH"
            self.types = {}
            for branch, why in needed.items():
                head = one_per_row(tree, branch, self.where, fix, f" ({why})", stop=1)
                self.types[branch] = head.dtype.newbyteorder("=")

    def chunks(self, size: int) -> Iterator[Columns]:
        """Read the rows in order, ``size`` at a time."""
        with opened(self.path, self.name) as tree:
            parts = tree.iterate(list(self.branches), step_size=size, library="np", language=_BranchesAlone())
            for part in parts:
                yield {name: np.asarray(part[name]) for name in self.branches}


def id_columns(arrays: dict[str, NDArray[Any]], n: int, where: str = "the input") -> NDArray[np.int64]:
    """Return branches of integers, or of whole floating-point numbers, as columns, shape (n, n_branches).

    Raises:
        DatasetError: If a value is not an integer.
    """
    columns = np.empty((n, len(arrays)), dtype=np.int64)
    for index, (name, values) in enumerate(arrays.items()):
        if values.dtype.kind == "f":
            bad = np.flatnonzero(~(np.abs(values) < EXACT_INTEGERS) | (values != np.trunc(values)))
            if len(bad):
                raise DatasetError(
                    f"branch {name!r} of {where}: {len(bad)} of {n} values are not integers below 2^53 (first in row "
                    f"{bad[0]}: {values[bad[0]]}), as ids of events must be. Choose a branch of integers"
                )
        # Each on its own: side by side, NumPy would make int64 and uint64 or float32 one float64, which is not exact.
        columns[:, index] = values
    return columns


def feature_table(
    columns: Mapping[str, NDArray[Any]], n: int, where: str, *, first_row: int = 0, missing: bool = False
) -> NDArray[np.float32]:
    """Return branches, in the order of the network's inputs, as a table, shape (n_rows, n_features).

    Raises:
        DatasetError: If a value is not finite, and those are not taken (``missing``).
    """
    table = np.empty((n, len(columns)), dtype=np.float32)
    for i, (name, values) in enumerate(columns.items()):
        with np.errstate(over="ignore"):
            table[:, i] = values
        if not missing:
            require_finite(table[:, i], values, f"branch {name!r} of {where}", first_row)
    return table


def require_finite(values: NDArray[Any], stored: NDArray[Any], what: str, first_row: int = 0) -> None:
    """Raise DatasetError if a value that is used is not finite; name the one that is stored in the file."""
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        first = stored[bad[0]]
        why = "too large for a network (float32)" if np.isfinite(first) else "not finite"
        raise DatasetError(
            f"{what}: {len(bad)} of {len(values)} values are {why} (first in row {first_row + bad[0]}: {first}). "
            "Remove these events or repair the branch"
        )
