"""Fetch files of a record of the CERN Open Data portal by name: checked, and resumed where it was stopped.

    python scripts/fetch_open_data.py 30565 --list                     # what is there
    python scripts/fetch_open_data.py 30565 --first 2 --output nanoaod # the first two files
    python scripts/fetch_open_data.py 30565 --name '*5F2A*.root'

A record names its files, their size and their checksum (https://opendata.cern.ch/api/records/RECORD); large datasets
list them in file indices. A file is written to NAME.part and gets its name when its checksum is that of the record. The
same command goes on where it was stopped, and leaves files that are there and right alone. Where fsspec-xrootd is
installed files come over XRootD (root://), else over HTTPS. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

PORTAL = "https://opendata.cern.ch"
EOS = "root://eospublic.cern.ch/"
CHUNK = 1 << 20
ATTEMPTS = 5
"""For each file, in a row without a byte more."""


class FetchError(Exception):
    """Something that the user has to do; the message says what."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record.

    Attributes:
        name: Its name, without folders.
        index: Key of the file index that it is in, or "".
        uri: Where it is (root://...).
        size: Bytes.
        checksum: As the portal writes it: "adler32:62e0c299".
        availability: "online", or "on demand" for one that is on tape.
    """

    name: str
    index: str
    uri: str
    size: int
    checksum: str
    availability: str


# ----------------------------------------------------------------------------------------------- what is there
def listing(server: str, record: str, timeout: float) -> list[RemoteFile]:
    """Return every file of a record, those of its file indices included.

    Raises:
        FetchError: If the portal cannot be reached, has no such record, or the record no files.
    """
    where = f"{server}/api/records/{record}"
    metadata = _json(where, timeout, missing=f"{server} has no record {record}; fix the number").get("metadata", {})
    found = []
    for index in metadata.get("_file_indices") or []:
        found += [_remote(entry, index.get("key", ""), where) for entry in index.get("files", [])]
    for entry in metadata.get("_files") or metadata.get("files") or []:
        file = _remote(entry, "", where)
        if file.name.endswith("_file_index.json"):  # the portal before 2025: the index is a file of its own
            place = f"{server}/record/{record}/files/{file.name}"
            inside = _json(place, timeout, missing=f"{place} is missing, though record {record} names it")
            found += [_remote(entry, file.name, place) for entry in inside]
        elif not file.name.endswith("_file_index.txt"):
            found.append(file)
    if not found:
        raise FetchError(f"record {record} of {server} has no files; look at {server}/record/{record}")
    return found


def _remote(entry: dict[str, Any], index: str, where: str) -> RemoteFile:
    try:
        uri = entry["uri"]
        name = PurePosixPath(uri).name
        said = entry.get("availability") or "online"
        return RemoteFile(name, index, uri, int(entry["size"]), entry.get("checksum") or "", str(said))
    except (KeyError, TypeError, ValueError) as error:
        raise FetchError(f"{where} is not what this script knows: a file without {error}. Update the script") from error


def _json(url: str, timeout: float, *, missing: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(missing if error.code == 404 else f"{url}: {error}; try again later") from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(_unreachable(url, error)) from error
    except ValueError as error:
        raise FetchError(f"{url} did not answer with JSON ({error}); is --server the portal?") from error


def _unreachable(url: str, error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return (
        f"{url} cannot be reached ({reason}). This script needs a network: check it (https_proxy=... behind a proxy), "
        "or run it where there is one and copy the files"
    )


def chosen(files: Sequence[RemoteFile], names: Sequence[str], index: str, first: int | None) -> list[RemoteFile]:
    """Return the files that match one of the names and the index, the first few of them."""
    found = [file for file in files if fnmatchcase(file.index, index)]
    if names:
        found = [file for file in found if any(fnmatchcase(file.name, pattern) for pattern in names)]
    if not found:
        raise FetchError(
            f"none of {len(files)} files matches --name {' '.join(names) or '*'} --index {index}; see --list"
        )
    found = found[:first]
    twice = sorted({file.name for file in found if sum(other.name == file.name for other in found) > 1})
    if twice:
        raise FetchError(f"several files are called {twice[0]}; choose one with --index")
    return found


# ------------------------------------------------------------------------------------------------ one file
def matches(path: Path, checksum: str) -> bool:
    """Whether a file has a published checksum.

    Raises:
        FetchError: If the algorithm is not known.
    """
    algorithm, _, expected = checksum.partition(":")
    if algorithm == "adler32":
        value = 1
        with path.open("rb") as stream:
            while block := stream.read(CHUNK):
                value = zlib.adler32(block, value)
        return f"{value:08x}" == expected.lower().zfill(8)
    if algorithm not in hashlib.algorithms_guaranteed:
        raise FetchError(f"checksum {checksum!r} of {path.name}: {algorithm!r} is not known; use --unverified")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest() == expected.lower()


def xrootd_installed() -> bool:
    """Whether fsspec can read root:// URIs."""
    return find_spec("fsspec") is not None and find_spec("fsspec_xrootd") is not None


@contextmanager
def over_xrootd(uri: str, offset: int) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file at an offset; yield it with the offset at which it begins."""
    import fsspec

    with fsspec.open(uri, "rb") as stream:
        stream.seek(offset)
        yield stream, offset


@contextmanager
def over_http(url: str, offset: int, timeout: float) -> Iterator[tuple[Any, int]]:
    """Ask for a file from an offset on; yield the answer with the offset at which it really begins."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        begins = 0
        if answer.status == 206:
            begins = int(answer.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
        yield answer, begins


class Fetcher:
    """Fetches files into a folder."""

    def __init__(self, server: str, folder: Path, *, protocol: str, timeout: float, wait: float, unverified: bool):
        """Prepare to fetch.

        Args:
            server: The portal.
            folder: Where the files go.
            protocol: "https" or "xrootd".
            timeout: Seconds without an answer.
            wait: Seconds before another attempt.
            unverified: Take files without a published checksum.
        """
        self.server, self.folder, self.protocol = server, folder, protocol
        self.timeout, self.wait, self.unverified = timeout, wait, unverified

    def fetch(self, file: RemoteFile) -> str:
        """Fetch one file; return what was done.

        Raises:
            FetchError: If it cannot be had, or is not what the record says.
        """
        target, part = self.folder / file.name, self.folder / f"{file.name}.part"
        if not file.checksum and not self.unverified:
            raise FetchError(f"the record has no checksum of {file.name}; --unverified takes it by its size alone")
        if target.exists():
            if target.stat().st_size == file.size and (not file.checksum or matches(target, file.checksum)):
                return "is there"
            raise FetchError(
                f"{target} is there and is not the file of the record ({file.size} bytes, {file.checksum}); remove it, "
                "or choose another --output"
            )
        if file.availability != "online":
            raise FetchError(
                f"{file.name} is {file.availability!r}: ask for it on the record's page of {self.server} first, and "
                "start again when it is online"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        before, start = part.stat().st_size if part.exists() else 0, time.monotonic()
        self._complete(file, part)
        if file.checksum and not matches(part, file.checksum):
            part.unlink()
            raise FetchError(
                f"{file.name} does not have the checksum of the record ({file.checksum}); it was removed, start again"
            )
        part.replace(target)
        resumed = f", the first {before} bytes were there" if before else ""
        return f"{file.size} bytes in {time.monotonic() - start:.1f} s{resumed}"

    def _complete(self, file: RemoteFile, part: Path) -> None:
        """Read until the part has the size of the file; go on after a cut."""
        failures, reason = 0, "the connection ended"
        while (there := part.stat().st_size if part.exists() else 0) != file.size:
            if there > file.size:
                part.unlink()
                raise FetchError(
                    f"{part} has {there} bytes, more than the {file.size} of the record; it was removed, start again"
                )
            if failures == ATTEMPTS:
                raise FetchError(
                    f"{file.name}: {there} of {file.size} bytes after {ATTEMPTS} attempts in a row without any more "
                    f"({reason}); what is there is kept, and the same command goes on"
                )
            try:
                self._read(file, part, there)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code in (403, 404, 410):
                    raise FetchError(f"{error.url}: {error}; {file.name} is in the record but not there") from error
                reason = str(error)
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error))
            more = part.exists() and part.stat().st_size > there
            failures = 0 if more else failures + 1
            if failures:
                time.sleep(self.wait)

    def _read(self, file: RemoteFile, part: Path, offset: int) -> None:
        url = file.uri.replace(EOS, self.server)
        opened = over_xrootd(file.uri, offset) if self.protocol == "xrootd" else over_http(url, offset, self.timeout)
        with opened as (stream, begins), part.open("ab") as output:
            # A server that knows no ranges sends everything again.
            output.truncate(begins)
            while block := stream.read(CHUNK):
                output.write(block)


# ------------------------------------------------------------------------------------------------ the program
def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="number of the record")
    parser.add_argument(
        "--list", action="store_true", help="print name, size, checksum, availability, index; no download"
    )
    parser.add_argument("--name", action="append", default=[], help="name or glob of files; may be given several times")
    parser.add_argument("--index", default="*", help="key or glob of file indices")
    parser.add_argument("--first", type=int, help="only the first so many of them")
    parser.add_argument("--output", type=Path, default=Path(), help="folder")
    parser.add_argument("--protocol", choices=("auto", "https", "xrootd"), default="auto")
    parser.add_argument("--server", default=PORTAL, help="the portal")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds without an answer")
    parser.add_argument("--wait", type=float, default=5.0, help="seconds before another attempt")
    parser.add_argument("--unverified", action="store_true", help="take files without a published checksum")
    return parser.parse_args(words)


def run(given: argparse.Namespace) -> None:
    """List or fetch."""
    server = given.server.rstrip("/")
    files = chosen(listing(server, given.record, given.timeout), given.name, given.index, given.first)
    if given.list:
        for file in files:
            print(f"{file.name}  {file.size}  {file.checksum or '-'}  {file.availability}  {file.index or '-'}")
        print(f"{len(files)} files, {sum(file.size for file in files) / 1e9:.2f} GB")
        return
    protocol = given.protocol
    if protocol == "auto":
        protocol = "xrootd" if xrootd_installed() else "https"
    if protocol == "xrootd" and not xrootd_installed():
        raise FetchError(
            "--protocol xrootd needs fsspec-xrootd (pip install fsspec-xrootd, or conda install); or use https"
        )
    fetcher = Fetcher(
        server,
        given.output.expanduser(),
        protocol=protocol,
        timeout=given.timeout,
        wait=given.wait,
        unverified=given.unverified,
    )
    for number, file in enumerate(files, 1):
        print(f"{number}/{len(files)} {file.name}: {fetcher.fetch(file)}", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    try:
        run(arguments(words))
    except (FetchError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
