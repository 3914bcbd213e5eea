"""Files and trees of ntuples: found, opened, and their branches read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
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
from inferno_cli.events import arrays
from inferno_cli.events.assignment import FileTree
from inferno_cli.events.root.friends import Joined
from inferno_cli.events.root.parquet import KIND, TABLE, ParquetTable, is_parquet
from inferno_cli.expressions import EXACT_INTEGERS, Lists
from inferno_cli.files import user_path
from inferno_cli.remote import address, find_remote, is_remote, is_remote_folder, size_and_time

Columns = dict[str, NDArray[Any]]


def find_files(text: str, pattern: str, path_key: str, pattern_key: str) -> list[Path]:
    """Return the files that a path, a glob or a folder with a pattern stands for, sorted; keys are for messages."""
    if is_remote(text):
        found = find_remote(text, pattern)
        if not found:
            raise DatasetFileError(f"{text} ({path_key}) is no file, and none matches it. Fix {path_key}")
        return found
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


def is_folder(text: str) -> bool:
    """Whether a path, or an address, is a folder."""
    return is_remote_folder(text) if is_remote(text) else user_path(text).is_dir()


@contextmanager
def opened(path: Path, tree: str, friends: Sequence[FileTree] = ()) -> Iterator[Any]:
    """Open a tree, or the table of a Parquet file, with its friends; see ``readable``."""
    if not friends:
        with _opened(path, tree) as branches:
            yield branches
        return
    with ExitStack() as stack:
        branches = stack.enter_context(_opened(path, tree))
        beside = []
        for file, name in friends:
            where = f"tree {name!r} in {file}"
            try:
                is_there = is_parquet(file) or is_tree(contents(file).get(name, ""))
            except FileNotFoundError as error:
                raise DatasetFileError(f"{file}, with a friend of {path}, is missing. Fix dataset.friends") from error
            if not is_there:
                near = closest(name, contents(file))
                raise TreeNotFoundError(f"the friend {where} is missing{near}. Fix dataset.friends")
            beside.append((where, stack.enter_context(_opened(file, TABLE if is_parquet(file) else name))))
        with readable(f"tree {tree!r} in {path} cannot be read with its friends"):
            yield Joined(branches, f"tree {tree!r} in {path}", beside)


@contextmanager
def _opened(path: Path, tree: str) -> Iterator[Any]:
    import uproot

    with readable(f"tree {tree!r} in {path} cannot be read"):
        if is_parquet(path):
            with closing(ParquetTable(path)) as table:
                yield table
            return
        # Every branch is read once: a cache of what was read is memory for nothing.
        with uproot.open(address(path), array_cache=None) as file:
            yield file[tree]


@contextmanager
def readable(failure: str) -> Iterator[None]:
    """Whatever goes wrong while a file is read is the file's fault, unless it is ours already."""
    try:
        yield
    except (InfernoError, MemoryError):
        raise
    except Exception as error:  # uproot raises many kinds for a damaged file
        kind = "of another kind than ROOT or Parquet, or " if "not a ROOT file" in str(error) else ""
        raise DatasetFileError(
            f"{failure} ({type(error).__name__}: {first_line(error)}); the file may be {kind}truncated: compare its "
            "size or checksum with the original and copy it again"
        ) from error


def contents(path: Path) -> dict[str, str]:
    """Return the class of every object in a file, by name."""
    if is_parquet(path):
        return {TABLE: KIND}
    with readable(f"{path} cannot be read as a ROOT file"):
        return _contents(path, *size_and_time(path))


@cache
def _contents(path: Path, _size: int, _changed: str) -> dict[str, str]:
    import uproot

    with uproot.open(address(path)) as file:
        return dict(file.classnames(cycle=False))


def is_tree(kind: str) -> bool:
    """Tell by its class whether an object of a file has rows."""
    return kind in ("TTree", "TNtuple", "TNtupleD", KIND) or kind.endswith("RNTuple")


def tree_names(path: Path, pattern: str = "*") -> list[str]:
    """Return the names of the trees in a file that match a glob, or are called so: at least one."""
    trees = [name for name, kind in contents(path).items() if is_tree(kind)]
    found = [name for name in trees if name == pattern or fnmatchcase(name, pattern)]
    if not found:
        raise TreeNotFoundError(f"no tree in {path} matches {pattern!r}{closest(pattern, trees)}. Fix tree=NAME")
    return found


def parts_of(tree: Any, names: Sequence[str]) -> Iterator[slice]:
    """Divide the rows of a tree, in order, into parts that fit into memory, about ``arrays.CHUNK`` each.

    A part ends where a basket of the first of some branches does, which is read and uncompressed as a whole.
    """
    n = int(tree.num_entries)
    branch = next((tree[name] for name in names if name in tree), None)
    borders = list(getattr(branch, "entry_offsets", ())) or [*range(0, n, arrays.CHUNK), n]
    start = 0
    while n - start > arrays.CHUNK:
        # The last border within a chunk; where the basket is larger than that, its end.
        number = bisect_right(borders, start + arrays.CHUNK) - 1
        stop = borders[number] if borders[number] > start else borders[number + 1]
        yield slice(start, stop)
        start = stop
    if start < n or not n:
        yield slice(start, n)


def one_per_row(
    tree: Any, name: str, where: str, fix: str, why: str = "", *, start: int | None = None, stop: int | None = None
) -> NDArray[Any]:
    """Read a branch of numbers from uproot's TTree or RNTuple, shape (n_rows,), or the rows before ``stop`` alone.

    Errors name the tree (``where``), what to do (``fix``), and what the branch is needed for (``why``).

    Raises:
        BranchNotFoundError: If it is not there.
        DatasetError: If it holds lists, arrays, text or anything else that is not one number per row.
    """
    require_branch(tree, name, where, fix, why)
    branch = tree[name]
    values = np.asarray(branch.array(library="np", entry_start=start, entry_stop=stop))
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise DatasetError(
            f"branch {name!r}{why} of {where} does not hold one number per row, but {branch.typename}. {fix}"
        )
    return values


def column(
    tree: Any, name: str, where: str, fix: str, why: str = "", *, start: int | None = None, stop: int | None = None
) -> NDArray[Any] | Lists:
    """Read a branch of numbers, or of a list of numbers for each row; errors as of ``one_per_row``."""
    import awkward as ak

    require_branch(tree, name, where, fix, why)
    array = tree[name].array(library="ak", entry_start=start, entry_stop=stop)
    found: NDArray[Any] | Lists | None = None
    with suppress(ValueError, TypeError):  # records, texts, lists of lists
        if array.ndim == 1:
            found = ak.to_numpy(array, allow_missing=False)
        elif array.ndim == 2:
            found = Lists.of(ak.from_regular(array))
    if found is None or (found.content if isinstance(found, Lists) else found).dtype.kind not in "biuf":
        raise DatasetError(
            f"branch {name!r}{why} of {where} holds neither one number per row nor a list of numbers, but "
            f"{tree[name].typename}. {fix}"
        )
    return found


def require_branch(tree: Any, name: str, where: str, fix: str, why: str = "") -> None:
    """Raise BranchNotFoundError if a branch is not there."""
    if name not in tree:
        raise BranchNotFoundError(f"branch {name!r}{why} is missing from {where}{closest(name, tree.keys())}. {fix}")


class _BranchesAlone:
    """Stands for the language of uproot's expressions, which is Python: names are branches, nothing is evaluated."""

    def compute_expressions(self, _tree: Any, arrays: Any, chosen: Any, *_: Any) -> Columns:
        return {name: arrays[context["branches"][-1].cache_key] for name, context in chosen}


class Tree:
    """A tree that is read chunk by chunk."""

    def __init__(
        self,
        path: Path,
        name: str,
        needed: Mapping[str, str],
        of_lists: Collection[str] = frozenset(),
        friends: Sequence[FileTree] = (),
    ) -> None:
        """Look at a tree, and at the branches that are needed: why each is, the message says when it is missing.

        Those of ``of_lists`` may hold a list for each row, and those of ``friends`` are branches, too.

        Raises:
            BranchNotFoundError: If one of them is not there.
            DatasetError: If one has no single number in every row.
        """
        self.path, self.name, self.branches = path, name, tuple(needed)
        self.where, self.friends = f"tree {name!r} in {path}", friends
        with opened(path, name, friends) as tree:
            self.rows = int(tree.num_entries)
            fix = "Choose other trees with tree=NAME, or other files with input=PATH"
            self.types = {}
            self.of_lists = frozenset(of_lists)
            for branch, why in needed.items():
                if branch in self.of_lists:
                    column(tree, branch, self.where, fix, f" ({why})", stop=1)
                    continue
                head = one_per_row(tree, branch, self.where, fix, f" ({why})", stop=1)
                self.types[branch] = head.dtype.newbyteorder("=")

    def chunks(self, size: int) -> Iterator[dict[str, Any]]:
        """Read the rows in order, ``size`` at a time."""
        if self.of_lists or self.friends or is_parquet(self.path):
            yield from self._chunks_by_column(size)
            return
        with opened(self.path, self.name) as tree:
            parts = tree.iterate(list(self.branches), step_size=size, library="np", language=_BranchesAlone())
            for part in parts:
                yield {name: np.asarray(part[name]) for name in self.branches}

    def _chunks_by_column(self, size: int) -> Iterator[dict[str, Any]]:
        with opened(self.path, self.name, self.friends) as tree:
            for start in range(0, self.rows, size):
                stop, found = min(start + size, self.rows), {}
                for name in self.branches:
                    found[name] = column(tree, name, self.where, "", start=start, stop=stop)
                yield found


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
