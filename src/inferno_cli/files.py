"""Text files that may be anybody's, read with care; and files of ours, which are whole or not there."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL
from functools import cache, lru_cache
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from inferno_cli import remote
from inferno_cli.errors import FileError
from inferno_cli.remote import is_remote, size_and_time

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

T = TypeVar("T", dict[Any, Any], list[Any])

LARGEST = 50 * 2**20
"""Bytes of a text file. A larger workspace is not validated within a minute, nor fitted within a day."""
YAML = "tag:yaml.org,2002:"
PLAIN = frozenset(
    YAML + kind for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
"""Tags of what a configuration is made of."""
ENTRY = re.compile(r"^(?=[A-Za-z_]\w*:)", re.MULTILINE)
"""Where an entry at the top of a YAML file begins."""
MOST_VALUES = 200_000
"""Values of a YAML file when its aliases are unfolded."""


# ---------------------------------------------------------------------------------------------- whole, or not there
@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name to write to that nobody else has; the file gets its own when it is whole, and is removed if not."""
    partial = path.with_name(f"{path.name}.{token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one step: a reader finds the old content or the new one."""
    with whole(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Give a folder to write to; its files move to ``folder`` when all of them are there, in the order of writing."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".partial-") as text:
        yield Path(text)
        made = [path for path in Path(text).rglob("*") if path.is_file()]
        for path in sorted(made, key=lambda path: path.stat().st_mtime_ns):
            target = folder / path.relative_to(text)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


@contextmanager
def locked(path: Path, refusal: Exception, *, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock, which ends with the process; ``refusal`` where another one holds it for ``patience`` seconds."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        raise refusal from None
    try:
        yield
    finally:
        lock.release()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content; OSError if it is no file, or cannot be read; DatasetFileError of a remote one."""
    if is_remote(path):
        return remote.sha256(path)
    if path.exists() and not path.is_file():  # to read a pipe takes for ever
        raise OSError(EINVAL, "not a regular file", str(path))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _known(path: Path, _size: int, _changed: str) -> str:
    return sha256(path)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's content; of one that has not changed since, without reading it again."""
    return _known(path, *size_and_time(path))


# ------------------------------------------------------------------------------------------------ read with care
def user_path(text: str) -> Path:
    """Return the path that a user means: "~" is the home folder, but for a name here that begins with it."""
    path = Path(text)
    try:
        home = path.expanduser()
    except RuntimeError:  # there is no such user
        return path
    return path if os.path.exists(path) and not os.path.exists(home) else home  # noqa: PTH110 (of any length)


def read_text(path: Path, largest: int = LARGEST) -> str:
    """Read a text file; FileError if it is missing, no regular file, too large, or not UTF-8."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileError(f"{path} is a folder; expected a file")
        if not stat.S_ISREG(status.st_mode):  # to read a pipe takes for ever
            raise FileError(f"{path} is a pipe or a device; expected a file")
        if status.st_size > largest:
            raise FileError(f"{path} has {_size(status.st_size)}; expected at most {_size(largest)}")
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start})") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{str(path)!r} is no path: {error}") from error  # it holds a null byte
    except MemoryError as error:
        raise FileError(f"{path}: the memory is not enough for its {_size(path.stat().st_size)}") from error


def _size(number: int) -> str:
    return f"{number / 2**20:.0f} MB" if number >= 2**20 else f"{number} bytes"


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """Read JSON, in which every number is finite and every key is there once; FileError says what it is otherwise."""
    text = read_text(path, largest)

    def refuse(number: str) -> NoReturn:
        raise FileError(f"{path} is not JSON: it holds {number}, which is no finite number")

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(number)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise FileError(f"{path}: {_said_twice(pairs)}")
        return values

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite, object_pairs_hook=once)
    except FileError:
        raise
    except json.JSONDecodeError as error:
        raise FileError(f"{path} is not JSON: {error}") from error
    except ValueError as error:  # Python reads no integer of more digits than this
        raise FileError(f"{path} holds an integer of more than {sys.get_int_max_str_digits()} digits") from error
    except RecursionError as error:
        raise FileError(f"{path} is nested too deeply") from error
    except MemoryError as error:
        raise FileError(f"{path}: the memory is not enough for its {_size(len(text))}") from error


def _said_twice(pairs: list[tuple[str, Any]]) -> str:
    """Say which key an object has twice; its name, where it has one, is where."""
    seen: set[str] = set()
    name = next((value for key, value in pairs if key == "name" and isinstance(value, str)), None)
    within = "" if name is None else f" in the object of name {name[:80]!r}"
    for key, _ in pairs:
        if key in seen:
            return f"the key {key[:80]!r} is there twice{within}, and one of its values would be lost. Remove one"
        seen.add(key)
    raise AssertionError("no key is there twice")


def read_yaml(path: Path, top: type[T] = dict) -> T:  # type: ignore[assignment]
    """Read a mapping, or a list, from YAML; FileError where that is not a configuration.

    Nothing in it can run code, and an empty file is an empty one.
    """
    with yaml_of(path) as text:
        return _parsed(text, path, top)


def read_configuration(path: Path) -> dict[Any, Any]:
    """Read a mapping as ``read_yaml``, and remember its entries: the runs of a sweep have most of them in common.

    An entry reaches from a line that begins with a name to the next one. Where it does not (quotes are closed at the
    start of a line, an alias stands for another entry), it cannot be read by itself, and the file is read as a whole.
    What is returned is shared, and must not be changed.
    """
    text = read_text(path, LARGEST // 16)
    before, *texts = ENTRY.split(text)
    entries = [_entry(text) for text in texts]
    values: dict[Any, Any] = {}
    for entry in entries:
        values |= entry
    is_said_twice = len(values) < sum(map(len, entries))
    has_end = "\n..." in text  # of a document: behind it is none of its entries
    return read_yaml(path) if before or has_end or is_said_twice or not all(entries) else values


@lru_cache(maxsize=10_000)
def _entry(text: str) -> dict[Any, Any]:
    """Return an entry of a mapping; empty where the text is none by itself, as the file may say why."""
    import yaml

    try:
        return _parsed(text, Path(), dict)
    except (yaml.YAMLError, ValueError, RecursionError, MemoryError):
        return {}


def _parsed(text: str, path: Path, top: type[T]) -> T:
    import yaml

    # libyaml's parser is ten times as fast, where it is there.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        _check(node, path, top)
        return top() if node is None else top(loader.construct_document(node) or ())
    finally:
        loader.dispose()


@contextmanager
def yaml_of(path: Path) -> Iterator[str]:
    """Give the text of a YAML file; what goes wrong with it within is a FileError that names the line."""
    import yaml

    text = read_text(path, LARGEST // 16)
    try:
        yield text
    except yaml.MarkedYAMLError as error:
        mark, found = error.problem_mark, str(error.problem or error.context)
        if mark is None:
            raise FileError(f"{path}: {found}") from error
        lines = text.splitlines()
        has_tab = mark.line < len(lines) and "\t" in lines[mark.line]
        hint = "; indent with blanks, not with tabs" if has_tab else ""
        raise FileError(f"{path}, line {mark.line + 1}: {found}{hint}") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise FileError(f"{path}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise FileError(f"{path} is nested too deeply") from error
    except MemoryError as error:
        raise FileError(f"{path}: the memory is not enough for its {_size(len(text))}") from error
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path}: {error}") from error  # of a number or a date


def _check(top: Node | None, path: Path, kind: type[Any]) -> None:
    """Refuse YAML that is more than values by key, before anything is made of it.

    Aliases are counted as often as they are unfolded: a few lines of them can stand for billions of values.
    """
    import yaml

    if top is None or (isinstance(top, yaml.ScalarNode) and top.tag == f"{YAML}null"):
        return
    if not isinstance(top, yaml.MappingNode if kind is dict else yaml.SequenceNode):
        found = {"MappingNode": "mapping", "SequenceNode": "list"}.get(type(top).__name__, "text")
        raise FileError(f"{path} has a {found} at its top; expected {'`key: value`' if kind is dict else '`- value`'}")
    waiting: list[Node] = [top]
    n_values = 0
    while waiting:
        node = waiting.pop()
        n_values += 1
        if n_values > MOST_VALUES:
            raise FileError(f"{path}: its aliases (& and *) stand for more than {MOST_VALUES} values. Write fewer")
        if node.tag not in PLAIN:
            tag = node.tag.removeprefix(YAML)
            raise FileError(f"{_line(path, node)}: the tag {tag} is refused; write a plain value")
        if isinstance(node, yaml.MappingNode):
            waiting += _values(node, path)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif "${" in node.value:
            _check_interpolation(node.value, _line(path, node))


def _line(path: Path, node: Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"


def _values(node: MappingNode, path: Path) -> list[Node]:
    """Return the values of a mapping whose keys are different names."""
    import yaml

    seen = set()
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        is_a = key.tag.rpartition(":")[2]
        if name is None or is_a in ("null", "bool"):
            said = "a list or a mapping" if name is None else f"{name or '~'!r}, which YAML takes for {is_a}"
            raise FileError(f"{_line(path, key)}: a key is {said}. Write a name, in quotes where it looks like that")
        if name in seen and is_a != "merge":
            raise FileError(f"{_line(path, key)}: the key {name!r} is there twice. Remove one of the two")
        seen.add(name)
    return [value for _, value in node.value]


def _check_interpolation(text: str, where: str) -> None:
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import parse

    try:
        parse(text)
    except GrammarParseError as error:
        raise FileError(
            f"{where}: {text!r} is no interpolation: write ${{key}} with both braces, or \\${{ for the sign itself"
        ) from error
