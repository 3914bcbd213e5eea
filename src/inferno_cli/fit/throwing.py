"""Many toys: in chunks, by several processes, and kept as they are finished, so that a killed fit goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from inferno_cli.code import code_digest
from inferno_cli.errors import FitFailedError
from inferno_cli.files import write_whole
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import Problem, numpy_backend
from inferno_cli.fit.toys import Chunk, Throw, thrown
from inferno_cli.progress import progress
from inferno_cli.workers import in_workers

if TYPE_CHECKING:
    from inferno_cli.config.fit import Fit
    from inferno_cli.shard import Shard

CHUNK = 50
"""Toys that are kept together."""
SEED = 1
"""Of a fit without ``fit.toys_seed``."""


class ElsewhereError(FitFailedError):
    """Toys that other shards throw are not there yet."""


Piece = tuple[int, range]
"""A part of the work: number of the throw, and toys of it."""


class Toys:
    """Throws toys for one fit: ``settings.toys`` of each kind.

    ``folder`` is where finished chunks are kept; None: nowhere. ``notes`` take how many toys have no valid fit.
    Of a ``shard`` only its chunks are thrown, and others must be there.
    """

    def __init__(self, fitter: Fitter, folder: Path | None, notes: list[str], shard: Shard | None = None) -> None:
        self._fitter, self._folder, self._notes, self._shard = fitter, folder, notes, shard
        settings = fitter.settings
        self.number = settings.toys or 0
        self.seed = SEED if settings.toys_seed is None else settings.toys_seed
        self._thrown: dict[str, Chunk] = {}

    def __call__(self, what: str, throws: Sequence[Throw]) -> list[Chunk]:
        """Throw toys of some kinds, unless that was done; return what was measured of each kind.

        Args:
            what: Says what they are for, in the progress.
            throws: The kinds.

        Raises:
            FitFailedError: If no toy has a valid fit.
        """
        digests = [self._digest(throw) for throw in throws]
        missing = {digest: throw for digest, throw in zip(digests, throws, strict=True) if digest not in self._thrown}
        if missing:
            self._thrown |= dict(zip(missing, self._all(what, list(missing.values()), list(missing)), strict=True))
        found = [self._thrown[digest] for digest in digests]
        for throw, chunk in zip(throws, found, strict=True):
            if not len(chunk.rows):
                raise FitFailedError(f"no toy of {throw.name} has a valid fit: {chunk.failures[0]}")
            if chunk.failures:
                first = min(chunk.failures)
                said = f"{len(chunk.failures)} of {self.number} have no valid fit, and are in no other number"
                self._notes.append(f"toys of {throw.name}: {said}; toy {first}: {chunk.failures[first]}")
        return found

    def _all(self, what: str, throws: list[Throw], digests: list[str]) -> list[Chunk]:
        pieces = [(kind, toys) for kind in range(len(throws)) for toys in _chunks(self.number)]
        paths = {piece: self._path(digests[piece[0]], piece[1]) for piece in pieces}
        found: dict[Piece, Chunk] = {}
        for piece, path in paths.items():
            if path is not None and (chunk := _read(path)) is not None:
                found[piece] = chunk
        missing = [piece for piece in pieces if piece not in found]
        left: list[Piece] = []
        if self._shard is not None:
            own = self._shard.take(pieces)
            left = [piece for piece in missing if piece not in own]
            missing = [piece for piece in missing if piece in own]
        with progress(self._fitter.settings.progress, f"toys: {what}", len(throws) * self.number) as advance:
            advance(sum(len(toys) for _, toys in found), is_line=False)
            for piece, chunk in self._work(throws, missing):
                found[piece] = chunk
                path = paths[piece]
                if path is not None:
                    _write(path, chunk)
                advance(len(piece[1]))
        if left:
            raise ElsewhereError(f"{what}: {len(left)} of {len(pieces)} chunks of toys are those of other shards")
        return [_together([found[piece] for piece in pieces if piece[0] == kind]) for kind in range(len(throws))]

    def _work(self, throws: list[Throw], pieces: list[Piece]) -> Iterator[tuple[Piece, Chunk]]:
        """Yield every piece with its toys as they are finished."""
        workers = self._fitter.settings.toys_workers
        if workers == 1 or len(pieces) < 2:
            for piece in pieces:
                yield piece, thrown(self._fitter, throws[piece[0]], self.seed, piece[1])
            return
        work = partial(_in_worker, self._fitter.problem, self._fitter.settings, throws, self.seed)
        remedy = "Finished toys are kept: repeat the command with fewer fit.toys_workers=..."
        yield from in_workers(work, pieces, workers, remedy=remedy)

    def _digest(self, throw: Throw) -> str:
        """Return what tells apart toys that are not the same: by their number they are."""
        problem, settings, config = self._fitter.problem, self._fitter.settings, self._fitter.problem.model.config
        model = [problem.model.spec, config.poi_name, config.suggested_init(), config.suggested_fixed(), config.auxdata]
        fits = [problem.bounds, settings.engine, settings.tolerance, settings.max_calls, code_digest()]
        drawn = [self.seed, throw.key, throw.truth.values.tolist(), throw.truth.hesse.tolist(), repr(throw.measure)]
        text = json.dumps([model, fits, drawn], default=repr)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _path(self, digest: str, toys: range) -> Path | None:
        return None if self._folder is None else self._folder / digest / f"{toys.start}-{toys.stop}.npz"


def _chunks(number: int) -> list[range]:
    return [range(first, min(first + CHUNK, number)) for first in range(0, number, CHUNK)]


def _in_worker(problem: Problem, settings: Fit, throws: list[Throw], seed: int, piece: Piece) -> Chunk:
    kind, toys = piece
    with numpy_backend():
        return thrown(Fitter(problem, settings), throws[kind], seed, toys)


def _together(chunks: Sequence[Chunk]) -> Chunk:
    filled = [chunk.rows for chunk in chunks if len(chunk.rows)]
    failures = {toy: why for chunk in chunks for toy, why in chunk.failures.items()}
    return Chunk(np.concatenate(filled) if filled else np.empty((0, 0)), failures)


def _write(path: Path, chunk: Chunk) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = BytesIO()
    np.savez(stream, rows=chunk.rows, failed=list(chunk.failures), why=list(chunk.failures.values()))
    write_whole(path, stream.getvalue())


def _read(path: Path) -> Chunk | None:
    """Return what was kept; None where there is no such file, or a damaged one: these toys are thrown again."""
    try:
        with np.load(BytesIO(path.read_bytes())) as stored:
            failures = dict(zip(stored["failed"].tolist(), stored["why"].tolist(), strict=True))
            return Chunk(stored["rows"], failures)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
