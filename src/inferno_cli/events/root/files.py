"""Files and trees of ntuples: found, opened, and told apart by their content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import DatasetError, DatasetFileError, InfernoError, first_line
from inferno_cli.expressions import EXACT_INTEGERS
from inferno_cli.files import file_checksum as file_checksum
from inferno_cli.files import user_path


def find_files(text: str, pattern: str, path_key: str, pattern_key: str) -> list[Path]:
    """Return the files that a path, a folder or a glob stands for, sorted.

    Args:
        text: The path, folder or glob.
        pattern: Glob of the files in a folder.
        path_key: The configuration key of ``text``, for the message.
        pattern_key: That of ``pattern``.
    """
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
    """Whatever goes wrong while a file is read is the file's fault, unless it is ours already.

    Args:
        failure: What cannot be done then, for the message.
    """
    try:
        yield
    except (InfernoError, MemoryError):
        raise
    except Exception as error:  # uproot raises many kinds for a damaged file
        raise DatasetFileError(
            f"{failure} ({type(error).__name__}: {first_line(error)}); the file may be truncated: compare its size or "
            "checksum with the original and copy it again"
        ) from error


def id_columns(arrays: dict[str, NDArray[Any]], n: int, where: str = "the input") -> NDArray[np.int64]:
    """Return branches of integers as columns, shape (n, n_branches).

    Args:
        arrays: One number per row; floating-point numbers are taken where they are whole.
        n: Number of rows.
        where: Names the tree in errors.

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
