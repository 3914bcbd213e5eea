"""Files to ntuples: each input file on its own, kept when finished, then all of them in one file of trees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inferno_cli.analyses.cut_flow import CutFlow
from inferno_cli.code import code_digest
from inferno_cli.files import whole
from inferno_cli.progress import Advance
from inferno_cli.workers import in_workers

Table = dict[str, NDArray[Any]]


class Analysis(Protocol):
    """What makes rows of the events of a file; its text (``repr``) holds every setting, and it goes to workers."""

    def tables(self, path: Path, size: int) -> Iterator[tuple[dict[str, Table], CutFlow]]:
        """Yield rows by suffix of the tree ("", "_jes_up", ...), and the nominal cut flow, of each ``size`` events."""


@dataclass(frozen=True)
class Prepared:
    """A file of ntuples: rows of each tree, the nominal cut flow, and the input files that were finished before."""

    path: Path
    rows: dict[str, int]
    cut_flow: CutFlow
    resumed: int


def process_file(path: Path, part: Path, analysis: Analysis, size: int) -> None:
    """Make the rows of one input file, and keep them with its cut flow."""
    pieces: dict[str, list[Table]] = {}
    flow: CutFlow | None = None
    for tables, cut_flow in analysis.tables(path, size):
        flow = cut_flow if flow is None else flow + cut_flow
        for suffix, table in tables.items():
            pieces.setdefault(suffix, []).append(table)
    assert flow is not None
    arrays = {"cut_flow": np.array(json.dumps(asdict(flow)))}
    for suffix, several in pieces.items():
        for name in several[0]:
            arrays[f"{suffix}/{name}"] = np.concatenate([table[name] for table in several])
    part.parent.mkdir(parents=True, exist_ok=True)
    with whole(part) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def part_path(folder: Path, path: Path, analysis: Analysis) -> Path:
    """Return where the rows of an input file are kept: another name if the file, a setting or the code changes.

    Of the code only this package counts: other changes, a new plot say, must not cost a day of preparation. Of the rest
    of inferno_cli it takes how files are opened, and settings, whose values are in the name.
    """
    status = path.stat()
    text = json.dumps(
        [str(path.resolve()), status.st_size, status.st_mtime_ns, repr(analysis), code_digest("analyses")]
    )
    return folder / f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def prepare(
    files: Sequence[Path],
    *,
    sample: str,
    folder: Path,
    analysis: Analysis,
    workers: int,
    size: int,
    advance: Advance,
) -> Prepared:
    """Make the ntuples of one sample, after which the trees are called.

    Args:
        workers: Input files at a time.
        size: Events in memory at a time, in each worker.
        advance: Told of every finished file.
    """
    parts = {path: part_path(folder / f"{sample}.parts", path, analysis) for path in files}
    missing = [path for path in files if not parts[path].is_file()]
    done = resumed = len(files) - len(missing)
    advance(resumed, is_line=False)
    for path in _in_parallel(missing, parts, analysis, workers, size):
        done += 1
        advance(said=f"{done}/{len(files)} {path}", is_line=True)
    output = folder / f"{sample}.root"
    rows, flow = _merge(output, sample, [parts[path] for path in files])
    return Prepared(output, rows, flow, resumed)


def _in_parallel(
    files: list[Path], parts: dict[Path, Path], analysis: Analysis, workers: int, size: int
) -> Iterator[Path]:
    """Process files, and yield each as it is finished."""
    work = partial(_process, parts=parts, analysis=analysis, size=size)
    if workers == 1 or len(files) < 2:
        for path in files:
            work(path)
            yield path
        return
    remedy = "What is finished is kept: repeat the command with fewer workers=... or a smaller chunk=..."
    for path, _ in in_workers(work, files, workers, remedy=remedy):
        yield path


def _process(path: Path, parts: dict[Path, Path], analysis: Analysis, size: int) -> None:
    process_file(path, parts[path], analysis, size)


def _merge(output: Path, sample: str, parts: Sequence[Path]) -> tuple[dict[str, int], CutFlow]:
    """Write the trees, one input file after the other."""
    import uproot

    rows: dict[str, int] = {}
    flow: CutFlow | None = None
    with whole(output) as partial, uproot.recreate(partial) as file:
        for part in parts:
            with np.load(part) as stored:
                values = json.loads(str(stored["cut_flow"]))
                added = CutFlow(**{key: tuple(value) for key, value in values.items()})
                flow = added if flow is None else flow + added
                tables: dict[str, Table] = {}
                for key in stored.files:
                    if key != "cut_flow":
                        suffix, _, name = key.partition("/")
                        tables.setdefault(sample + suffix, {})[name] = stored[key]
            for name, table in tables.items():
                if name not in rows:
                    file.mktree(name, {key: values.dtype for key, values in table.items()})
                file[name].extend(table)
                rows[name] = rows.get(name, 0) + len(table["nJets"])
    assert flow is not None
    return rows, flow
