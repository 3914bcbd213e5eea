"""Arrays of events: small ones in memory, large ones in a file that is mapped, whose pages the kernel may drop.

What is calculated with them does not ask which: the bits are the same, also those of sums, as the order in memory is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any
from weakref import finalize

import numpy as np
from numpy.typing import DTypeLike, NDArray

from inferno_cli.errors import OutputError

LARGE = 2**23
"""Bytes of an array beyond which it is in a file."""
CHUNK = 2**18
"""Rows that are read, moved or evaluated together."""


def chunks(n: int) -> Iterator[slice]:
    """Divide n rows, in order, into parts of ``CHUNK``; of none there is one empty part."""
    for start in range(0, max(n, 1), CHUNK):
        yield slice(start, min(start + CHUNK, n))


class Growing:
    """An array that is written row by row, and read when it is complete.

    Its file has no name: it is gone with the process, however that ends. It is in the folder for temporary files, which
    the environment variable TMPDIR chooses. Rows that were given are not to be changed.
    """

    def __init__(self, dtype: DTypeLike, *row: int) -> None:
        """Begin without any rows, each of the shape ``row``."""
        self.dtype, self.row = np.dtype(dtype), row
        self._parts: list[NDArray[Any]] = []
        self._rows = self._bytes = 0
        self._file: IO[bytes] | None = None

    def append(self, rows: NDArray[Any]) -> None:
        """Write more rows, shape (n_rows, *row).

        Raises:
            OutputError: If the folder for temporary files is full.
        """
        part = np.ascontiguousarray(rows, dtype=self.dtype)
        self._rows += len(part)
        self._bytes += part.nbytes
        self._parts.append(part)
        if self._file is None and self._bytes <= LARGE:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="inferno-")  # noqa: SIM115 (it is mapped)
                finalize(self, self._file.close)
            for written in self._parts:
                self._file.write(written.data)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"a table of events cannot be written to the folder for temporary files, {tempfile.gettempdir()}: "
                f"{error.strerror}. Name one with more space in the environment variable TMPDIR"
            ) from error
        self._parts = []

    def array(self) -> NDArray[Any]:
        """Return all rows, shape (n_rows, *row)."""
        shape = self._rows, *self.row
        if self._file is not None:
            # A plain array: what is made of it is in memory.
            return np.asarray(np.memmap(self._file, dtype=self.dtype, mode="r+", shape=shape))
        if len(self._parts) == 1:
            return self._parts[0]
        return np.concatenate([np.empty((0, *self.row), dtype=self.dtype), *self._parts])


def of_rows(table: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return ``table[:, rows]``, shape (n_blocks, n_rows, ...), as numpy does: in memory the blocks of a row are one.

    Args:
        rows: Numbers, or a mask.
    """
    numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    found = Growing(table.dtype, len(table), *table.shape[2:])
    for part in chunks(len(numbers)):
        found.append(np.moveaxis(table[:, numbers[part]], 1, 0))
    return np.moveaxis(found.array(), 0, 1)


def of_blocks(table: NDArray[Any], blocks: Sequence[int]) -> NDArray[Any]:
    """Return ``table[blocks]``, shape (n_blocks, n_rows, ...), one block behind the other in memory."""
    return stacked([table[block] for block in blocks])


def behind(tables: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the rows of tables, shape (n_rows, ...) each, one behind the other."""
    if len(tables) == 1:
        return tables[0]
    found = Growing(tables[0].dtype, *tables[0].shape[1:])
    for table in tables:
        for part in chunks(len(table)):
            found.append(table[part])
    return found.array()


def stacked(blocks: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return blocks, shape (n_rows, ...) each, one behind the other: shape (n_blocks, n_rows, ...)."""
    shapes = {block.shape for block in blocks}
    if len(shapes) > 1:
        raise ValueError(f"blocks of a table have the shapes {sorted(shapes)}, expected the same shape of all")
    return behind(blocks).reshape(len(blocks), *blocks[0].shape)


def joined(tables: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the rows of tables, shape (n_blocks, n_rows, ...) each, one behind the other, in memory as of the first.

    See ``of_rows``, of which they are.
    """
    first = np.moveaxis(tables[0], 1, 0)
    if not first.flags.c_contiguous:
        return np.concatenate(tables, axis=1)
    found = Growing(first.dtype, *first.shape[1:])
    for table in tables:
        for part in chunks(table.shape[1]):
            found.append(np.moveaxis(table[:, part], 1, 0))
    return np.moveaxis(found.array(), 0, 1)


def times(table: NDArray[np.float64], factors: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return a table, shape (n_blocks, n_rows), times a factor for each block, shape (n_blocks, 1), or one for all."""
    of_each = np.broadcast_to(factors, (len(table), 1))
    by_row = np.moveaxis(table, 1, 0)
    if len(table) > 1 and by_row.flags.c_contiguous:
        found = Growing(table.dtype, len(table))
        for part in chunks(len(by_row)):
            found.append(by_row[part] * of_each[:, 0])
        return np.moveaxis(found.array(), 0, 1)
    found = Growing(table.dtype)
    for block, (factor,) in zip(table, of_each, strict=True):
        for part in chunks(len(block)):
            found.append(block[part] * factor)
    return found.array().reshape(table.shape)
