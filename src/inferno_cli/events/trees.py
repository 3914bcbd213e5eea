"""Trees read and written in chunks, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import BranchNotFoundError, DatasetError, DatasetFileError, TreeNotFoundError, closest
from inferno_cli.events.files import first_line, opened

Columns = dict[str, NDArray[Any]]


def tree_names(path: Path, pattern: str = "*") -> list[str]:
    """Return the names of the trees in a file that match a glob.

    Raises:
        DatasetFileError: If the file cannot be read.
        TreeNotFoundError: If no tree matches.
    """
    import uproot

    try:
        with uproot.open(path) as file:
            kinds = file.classnames(cycle=False)
    except Exception as error:  # uproot raises many kinds for a damaged file
        raise DatasetFileError(
            f"{path} cannot be read as a ROOT file ({type(error).__name__}: {first_line(error)}); it may be truncated: "
            "compare its size or checksum with the original and copy it again"
        ) from error
    trees = [name for name, kind in kinds.items() if kind.startswith("TTree") or kind.endswith("RNTuple")]
    found = [name for name in trees if fnmatchcase(name, pattern)]
    if not found:
        raise TreeNotFoundError(f"no tree in {path} matches {pattern!r}{closest(pattern, trees)}. Fix tree=NAME")
    return found


class Tree:
    """A tree that is read chunk by chunk."""

    def __init__(self, path: Path, name: str, needed: Mapping[str, str]) -> None:
        """Look at a tree.

        Args:
            path: The file.
            name: Name of the tree.
            needed: The branches to read, and why each is needed, for the message when it is missing.

        Raises:
            BranchNotFoundError: If one of them is not there.
            DatasetError: If one has no single number in every row.
        """
        self.path, self.name, self.branches = path, name, tuple(needed)
        self.where = f"tree {name!r} in {path}"
        with opened(path, name) as tree:
            self.rows = int(tree.num_entries)
            present = set(tree.keys())
            for branch, why in needed.items():
                if branch not in present:
                    raise BranchNotFoundError(
                        f"branch {branch!r} ({why}) is missing from {self.where}{closest(branch, present)}. "
                        "Choose other trees with tree=NAME, or other files with input=PATH"
                    )
            head = tree.arrays(list(needed), entry_stop=1, library="np") if needed else {}
        self.types = {branch: np.asarray(head[branch]).dtype.newbyteorder("=") for branch in needed}
        for branch, why in needed.items():
            if np.asarray(head[branch]).ndim != 1 or self.types[branch].kind not in "biuf":
                raise DatasetError(f"branch {branch!r} ({why}) of {self.where} does not hold one number per row")

    def chunks(self, size: int) -> Iterator[Columns]:
        """Read the rows in order, ``size`` at a time."""
        with opened(self.path, self.name) as tree:
            for part in tree.iterate(list(self.branches), step_size=size, library="np"):
                yield {name: np.asarray(part[name]) for name in self.branches}


def as_features(columns: Columns, names: tuple[str, ...], first_row: int, where: str) -> NDArray[np.float32]:
    """Return the features of a chunk, shape (n_rows, n_features).

    Args:
        columns: The chunk.
        names: The features, in the order of the network's inputs.
        first_row: Number of its first row in the tree, for the message.
        where: The tree, for the message.

    Raises:
        DatasetError: If a value is not finite.
    """
    table = np.empty((len(columns[names[0]]), len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        with np.errstate(over="ignore"):
            table[:, i] = columns[name]
        bad = np.flatnonzero(~np.isfinite(table[:, i]))
        if len(bad):
            raise DatasetError(
                f"branch {name!r} of {where}: the value in row {first_row + bad[0]} is not finite "
                f"({columns[name][bad[0]]}). Remove these events or repair the branch"
            )
    return table
