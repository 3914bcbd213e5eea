"""Text files that may be anybody's, and files of ours: whole, or not there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferno_cli.errors import FileError
from inferno_cli.files import (
    LARGEST,
    MOST_VALUES,
    read_configuration,
    read_json,
    read_text,
    read_yaml,
    sha256,
    together,
    user_path,
)
from inferno_cli.files import write_whole as write

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
PYTHON = "a: !!python/object/apply:os.system ['touch pwned']\n"
YAML = {
    "a:\n\tb: 1\n": "line 2: found character that cannot start any token; indent with blanks, not with tabs",
    "a: 1\nb: 2\na: 3\n": "line 3: the key 'a' is there twice",
    "~: 1\n": "line 1: a key is '~', which YAML takes for null",
    "a:\n  no: 1\n": "line 2: a key is 'no', which YAML takes for bool",
    "[a]: 1\n": "a key is a list",
    "a: 1\nb: x${c\n": "line 2: 'x${c' is no interpolation",
    BOMB: f"stand for more than {MOST_VALUES} values",
    "a: &a [*a]\n": f"stand for more than {MOST_VALUES} values",
    PYTHON: "line 1: the tag python/object/apply:os.system is refused",
    "a: !!binary aGVsbG8=\n": "line 1: the tag binary is refused",
    "a: !foo 1\n": "line 1: the tag !foo is refused",
    "- a\n": "has a list at its top",
    "hello": "has a text at its top",
    "a: 'b\n": "found unexpected end of stream",
    "a: b: c\n": "line 1: mapping values are not allowed",
    "a: *b\n": "line 1: found undefined alias",
    "a: " + "[" * 100_000: "nest",
    "a: 1\n---\nb: 2\n": "another document",
    "a: 1\n...\nb: 2\n": "line 3: did not find expected <document start>",
    "\t\na: 1\n": "line 1: found character that cannot start any token",
    "a: \x07\n": "control characters are not allowed",
    "a" * (LARGEST // 16 + 1): "3 MB; expected at most 3 MB",
}
JSON = {
    "": "is not JSON",
    "{": "is not JSON",
    '{"a": [1,': "is not JSON",
    "[NaN]": "it holds NaN, which is no finite number",
    "[-Infinity]": "it holds -Infinity",
    "[1e999]": "it holds 1e999",
    "[" * 100_000: "is nested too deeply",
    '{"a":' * 100_000: "is nested too deeply",
    '{"a": 1, "b": {}, "a": 1}': ": the key 'a' is there twice, and one of its values would be lost",
    '[{"b": {"name": "SR", "data": [1], "data": [2]}}]': "the key 'data' is there twice in the object of name 'SR'",
    f'{{"{"a" * 5000}": 1, "{"a" * 5000}": 2}}': f"the key {'a' * 80!r} is there twice",
    "[1" + "0" * 5000 + "]": "holds an integer of more than 4300 digits",
}


@pytest.mark.parametrize("read", [read_yaml, read_configuration])
@pytest.mark.parametrize("text", list(YAML), ids=range(len(YAML)))
def test_yaml_that_is_refused_names_the_file_and_the_line(
    text: str, read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "some.yaml"
    path.write_text(text)
    start = time.perf_counter()

    with pytest.raises(FileError) as refused:
        read(path)

    assert str(refused.value).startswith(str(path))
    assert YAML[text] in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert time.perf_counter() - start < 5
    assert [item.name for item in tmp_path.iterdir()] == ["some.yaml"]


def test_yaml_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    for text, expected in {
        "": {},
        "# nothing\n": {},
        "\ufeffa: 1\r\nb: [x, ~]\r\n": {"a": 1, "b": ["x", None]},
        "2016: {x: 1}\n'no': 2\n": {2016: {"x": 1}, "no": 2},
        "a: &a {x: 1}\nb: {<<: *a, y: 2}\n": {"a": {"x": 1}, "b": {"x": 1, "y": 2}},
        "a: ${b}\nb: \\${c\n": {"a": "${b}", "b": "\\${c"},
        "# said\na: &x 1\nb: *x\n": {"a": 1, "b": 1},
        "a: 'x\nb: y'\nc: [1,\nd: 2]\n": {"a": "x b: y", "c": [1, {"d": 2}]},
        "a:\n- 1\n- b: 2\nc: |\n  d: 3\n\ne:\n": {"a": [1, {"b": 2}], "c": "d: 3\n", "e": None},
    }.items():
        path.write_text(text, newline="", encoding="utf-8")
        for _ in range(2):  # the second time of what is remembered
            assert read_yaml(path) == read_configuration(path) == expected
    path.write_text("- a\n- 1\n")
    assert read_yaml(path, list) == ["a", 1]
    with pytest.raises(FileError, match="has a list at its top"):
        read_yaml(path)


@pytest.mark.parametrize("text", list(JSON), ids=range(len(JSON)))
def test_json_that_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)

    with pytest.raises(FileError) as refused:
        read_json(path)

    assert str(refused.value).startswith(str(path))
    assert JSON[text] in str(refused.value)


def test_json_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text('\ufeff{"a": [1, 2.5, -1e-5, null, true], "b": {"a": {}}}', encoding="utf-8")
    assert read_json(path) == {"a": [1, 2.5, -1e-5, None, True], "b": {"a": {}}}


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pipe": (pipe, "is a pipe or a device; expected a file"),
    "device": (lambda path: Path("/dev/zero"), "is a pipe or a device; expected a file"),
    "folder": (lambda path: path.parent, "is a folder; expected a file"),
    "nothing": (lambda path: path, "cannot be read: No such file or directory"),
    "long": (lambda path: path.with_name("x" * 300), "cannot be read: File name too long"),
    "null": (lambda path: Path("a\0b"), "is no path"),
}


@pytest.mark.parametrize("place", list(PLACES))
def test_what_is_no_file_is_refused_and_not_waited_for(place: str, tmp_path: Path) -> None:
    made, says = PLACES[place]
    path = made(tmp_path / "there")
    for read in (read_json, read_yaml, read_configuration):
        with pytest.raises(FileError, match=says):
            read(path)


def test_a_text_that_is_not_utf8_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(FileError, match=r"is not UTF-8 \(byte 0xe9 at 3\)"):
        read_text(path)
    with pytest.raises(FileError, match="has 4 bytes; expected at most 3 bytes"):
        read_text(path, largest=3)
    with path.open("wb") as file:
        file.truncate(100_000_000)  # takes no room
    with pytest.raises(FileError, match="has 95 MB; expected at most 50 MB"):
        read_json(path)


def test_a_checksum_of_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        sha256(pipe(tmp_path / "pipe"))


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.txt"
    write(path, "before")

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, "after")

    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_files_appear_together(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def half() -> None:
        with together(folder) as scratch:
            (scratch / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert list(folder.iterdir()) == []

    (folder / "a.txt").write_text("before")
    with together(folder) as scratch:
        for name in ("a.txt", "b/c.txt"):
            (scratch / name).parent.mkdir(exist_ok=True)
            (scratch / name).write_text(name)
        assert (folder / "a.txt").read_text() == "before"
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {"a.txt": "a.txt", "b/c.txt": "b/c.txt"}


def test_a_name_that_begins_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert user_path("~/a") == tmp_path / "home" / "a"
    assert user_path("~nobody-of-that-name/a") == Path("~nobody-of-that-name/a")
    (tmp_path / "~x").touch()
    assert user_path("~x") == Path("~x")
    assert user_path("a~") == Path("a~")
