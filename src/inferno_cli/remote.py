"""Files behind an address, ``root://host//path``, which fsspec reads; others are as they are.

A ``Path`` makes "//" one "/": ``Path("root://host//a")`` is kept as ``root:/host/a``, of which its address is made.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

from inferno_cli.errors import DatasetFileError, first_line

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
XROOTD = ("root", "roots", "xroot", "xroots")
CHUNK = 2**20


def is_remote(path: str | Path) -> bool:
    """Whether a text is an address, or a path was one.

    Example:
        >>> is_remote("root://eos.cern.ch//store/a.root"), is_remote("/store/a.root"), is_remote(Path("s3://a/b.root"))
        (True, False, True)
    """
    return ADDRESS.fullmatch(str(path)) is not None and ("://" in str(path) or isinstance(path, Path))


def address(path: Path) -> str | Path:
    """Return what uproot opens: the address of a remote file, and any other path as it is.

    Example:
        >>> address(Path("root://eos.cern.ch//store/a.root"))
        'root://eos.cern.ch//store/a.root'
    """
    match = ADDRESS.fullmatch(str(path))
    if match is None:
        return path
    scheme, rest = match.groups()
    if scheme in XROOTD:
        host, _, name = rest.partition("/")
        return f"{scheme}://{host}//{name}"
    return f"{scheme}://{rest}"


def find_remote(text: str, pattern: str) -> list[Path]:
    """Return the files that an address, one with ``*``, or that of a folder with a pattern stands for, sorted."""
    system, name = _system(text)
    scheme = text.partition("://")[0]
    try:
        if system.isfile(name):
            return [Path(text)]
        names = system.glob(f"{name.rstrip('/')}/{pattern}" if system.isdir(name) else name)
        files = [found for found in names if system.isfile(found)]
    except Exception as error:  # of the network, of the protocol, of the server: each of its own kind
        raise _unreadable(text, error) from error
    host = text.partition("://")[2].partition("/")[0] if scheme in XROOTD else ""
    return sorted(Path(found if "://" in found else f"{scheme}://{host}/{found.lstrip('/')}") for found in files)


def is_remote_folder(text: str) -> bool:
    """Whether an address is that of a folder."""
    system, name = _system(text)
    return bool(system.isdir(name))


def size_and_time(path: Path) -> tuple[int, str]:
    """Return the size of a file in bytes, and what tells that it has changed."""
    if not is_remote(path):
        status = path.stat()
        return status.st_size, str(status.st_mtime_ns)
    system, name = _system(str(address(path)))
    try:
        about = system.info(name)
    except Exception as error:
        raise _unreadable(str(address(path)), error) from error
    changed = next((about[key] for key in ("mtime", "LastModified", "ETag", "created") if key in about), "")
    return int(about.get("size") or 0), str(changed)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a remote file's content."""
    system, name = _system(str(address(path)))
    digest = hashlib.sha256()
    try:
        with cast("BinaryIO", system.open(name, "rb")) as stream:
            while part := stream.read(CHUNK):
                digest.update(part)
    except Exception as error:
        raise _unreadable(str(address(path)), error) from error
    return digest.hexdigest()


def _system(text: str) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the name of the file there."""
    scheme = text.partition("://")[0]
    package = "fsspec-xrootd" if scheme in XROOTD else "the package of fsspec for it"
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DatasetFileError(f"{text}: to read it needs fsspec. Install fsspec and {package}") from error
    try:
        return cast("tuple[Any, str]", url_to_fs(text))
    except (ImportError, ValueError) as error:
        raise DatasetFileError(
            f"{text}: {scheme}:// cannot be read ({first_line(error)}). Install {package}, or copy the files"
        ) from error


def _unreadable(text: str, error: Exception) -> DatasetFileError:
    return DatasetFileError(f"{text} cannot be read ({type(error).__name__}: {first_line(error)}). Fix dataset.path")
