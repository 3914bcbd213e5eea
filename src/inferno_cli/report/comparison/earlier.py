"""Earlier comparisons are kept: the latest one is in ``compare``, those before beside it, by the time of each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from inferno_cli.errors import FileError, OutputError
from inferno_cli.files import read_json
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.page import RECORD
from inferno_cli.report.comparison.tables import record_of


@contextmanager
def earlier_kept(folder: Path, comparison: Comparison) -> Iterator[Path | None]:
    """Move an earlier comparison with other numbers out of a folder, and give where it is; None: there is none.

    One with the very same numbers is not worth keeping. Where the new one does not come about, the earlier one goes
    back to where it was.

    Raises:
        OutputError: If it cannot be moved.
    """
    try:
        before: Any = read_json(folder / RECORD)
    except FileError:  # none, or what is no comparison
        yield None
        return
    now = json.loads(json.dumps(record_of(comparison), default=str))
    if isinstance(before, dict) and {**before, "figures": []} == now:
        yield None
        return
    kept = _free(folder)
    try:
        folder.rename(kept)
    except OSError as error:
        raise OutputError(
            f"{folder}, a comparison before, cannot be moved to {kept}: {error}. Choose output=FOLDER"
        ) from error
    try:
        yield kept
    except BaseException:
        with suppress(OSError):  # where a part of the new one is there already
            if folder.exists():
                folder.rmdir()
            kept.rename(folder)
        raise


def _free(folder: Path) -> Path:
    """Return a name beside a folder: with the time of its record, and a number where that is taken."""
    written = time.localtime((folder / RECORD).stat().st_mtime)
    name = f"{folder.name}-{time.strftime('%Y-%m-%d-%H%M%S', written)}"
    kept, number = folder.with_name(name), 2
    while kept.exists():
        kept, number = folder.with_name(f"{name}-{number}"), number + 1
    return kept
