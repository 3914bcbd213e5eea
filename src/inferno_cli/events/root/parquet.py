"""Parquet files, which are read as if they were a tree of uproot's: one table of columns, as awkward writes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.errors import DatasetError, DatasetFileError
from inferno_cli.remote import address, is_remote

TABLE = "table"
"""Name of the one tree of a file."""
KIND = "Parquet"
SUFFIXES = (".parquet", ".pq")


def is_parquet(path: Path) -> bool:
    """Tell by its name whether a file is one."""
    return path.suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Column:
    """One column, which stands for a branch."""

    table: ParquetTable
    name: str

    @cached_property
    def _values(self) -> Any:
        import awkward as ak

        found = ak.from_arrow(self.table.file.read(columns=[self.name]))[self.name]
        if "?" not in str(found.type):
            return found
        # Whatever pandas writes may have none; where no value is missing, it is a column as any other.
        for axis in range(found.ndim):
            if n := int(ak.sum(ak.is_none(found, axis=axis), axis=None)):
                raise DatasetError(
                    f"column {self.name!r} of {self.table.path} has no value in {n} places, expected numbers. Fill them"
                )
        return ak.drop_none(found, axis=None)

    @property
    def typename(self) -> str:
        """What it holds."""
        return str(self._values.type.content)

    def array(self, library: str, entry_start: int | None = None, entry_stop: int | None = None) -> Any:
        """Return some rows, as uproot's branches do: as an array of awkward, or ``library="np"`` of numpy."""
        import awkward as ak

        values = self._values[entry_start:entry_stop]
        if library != "np":
            return values
        try:
            return ak.to_numpy(values, allow_missing=False)
        except ValueError:  # lists of several lengths
            return np.array(ak.to_list(values), dtype=object)


class ParquetTable:
    """The table of a Parquet file."""

    def __init__(self, path: Path) -> None:
        """Look at the columns.

        Raises:
            DatasetFileError: If there is no pyarrow.
        """
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise DatasetFileError(f"{path}: to read Parquet needs pyarrow. Install inferno-cli[parquet]") from error
        self.path = path
        if is_remote(path):
            import fsspec

            self.file = ParquetFile(fsspec.open(str(address(path)), "rb").open())
        else:
            self.file = ParquetFile(path)
        self.num_entries = int(self.file.metadata.num_rows)
        self._columns: dict[str, Column] = {}

    def keys(self, **_: Any) -> list[str]:
        """Return the names of the columns."""
        return list(self.file.schema_arrow.names)

    def __contains__(self, name: str) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> Column:
        return self._columns.setdefault(name, Column(self, name))

    def label(self, key: str) -> str | None:
        """Return a text that is written in the file."""
        found = (self.file.schema_arrow.metadata or {}).get(key.encode())
        return None if found is None else str(found.decode())

    def close(self) -> None:
        """Close the file."""
        self.file.close(force=True)
