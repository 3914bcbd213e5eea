"""``scripts/fetch_open_data.py`` against a portal on the loopback device: resume, checksums, what goes wrong."""

from __future__ import annotations

import json
import socket
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import fetch_open_data  # noqa: E402

CONTENT = {f"file{number}.root": bytes([number]) * 70_000 + b"the end" for number in range(3)}
EOS = "root://eospublic.cern.ch/"


def entry(name: str, **changes: Any) -> dict[str, Any]:
    """How the portal's JSON describes a file."""
    content = CONTENT[name]
    checksum = f"adler32:{zlib.adler32(content):08x}"
    uri = f"{EOS}/eos/opendata/cms/{name}"
    return {"key": name, "uri": uri, "size": len(content), "checksum": checksum, "availability": "online"} | changes


@dataclass
class Portal:
    """A portal with a few records, and a server that can be told to be cut off.

    Attributes:
        records: Answers by path.
        cut: How many bytes of a file are sent, for the first so many requests.
        ranges: Whether it knows HTTP Range.
        asked: Path and range of every request for a file.
    """

    records: dict[str, Any] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def put(self, record: str, files: list[dict[str, Any]]) -> None:
        index = {"key": "SET_00000_file_index.json", "size": 1, "files": files}
        self.records[f"/api/records/{record}"] = {"id": record, "metadata": {"_file_indices": [index], "_files": []}}


class Handler(BaseHTTPRequestHandler):
    portal: Portal

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        portal = self.portal
        if self.path in portal.records:
            self._send(json.dumps(portal.records[self.path]).encode(), 200)
            return
        name = self.path.rsplit("/", 1)[-1]
        if not self.path.startswith("/eos/opendata/cms/") or name not in CONTENT:
            self.send_error(404)
            return
        wanted = self.headers["Range"]
        portal.asked.append((name, wanted))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and portal.ranges else 0
        self._send(CONTENT[name][start:], 206 if start else 200, start, portal.cut.pop(0) if portal.cut else None)

    def _send(self, content: bytes, status: int, start: int = 0, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 206:
            end = start + len(content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.end_headers()
        self.wfile.write(content[:cut])


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Portal()
    made.put("7", [entry(name) for name in CONTENT])
    handler = type("Bound", (Handler,), {"portal": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def fetch(portal: Portal, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(record: str, *words: str, server: str = portal.url) -> Answer:
        place = ["--output", str(tmp_path / "data"), "--server", server, "--wait", "0", "--protocol", "https"]
        code = fetch_open_data.main([record, *place, *words])
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call


def there(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir()} if (folder / "data").exists() else {}


def test_list_names_size_and_checksum_and_fetches_nothing(portal: Portal, fetch: Any, tmp_path: Path) -> None:
    answer = fetch("7", "--list")
    assert answer.code == 0
    first, *_, last = answer.out.splitlines()
    assert first.split() == [
        "file0.root",
        "70007",
        entry("file0.root")["checksum"],
        "online",
        "SET_00000_file_index.json",
    ]
    assert last == "3 files, 0.00 GB"
    assert portal.asked == []
    assert there(tmp_path) == {}


def test_several_files_by_name(fetch: Any, tmp_path: Path) -> None:
    answer = fetch("7", "--name", "*0.root", "--name", "file2*")
    assert answer.code == 0, answer.err
    assert there(tmp_path) == {name: CONTENT[name] for name in ("file0.root", "file2.root")}
    assert "2/2 file2.root: 70007 bytes" in answer.out


def test_files_that_are_there_are_not_fetched_again(portal: Portal, fetch: Any) -> None:
    assert fetch("7", "--first", "2").code == 0
    answer = fetch("7")
    assert "1/3 file0.root: is there" in answer.out
    assert [name for name, _ in portal.asked] == list(CONTENT)


def test_a_cut_is_resumed_in_the_same_call(portal: Portal, fetch: Any, tmp_path: Path) -> None:
    portal.cut = [1000, 500]
    assert fetch("7", "--first", "1").code == 0
    assert there(tmp_path) == {"file0.root": CONTENT["file0.root"]}
    assert portal.asked == [("file0.root", None), ("file0.root", "bytes=1000-"), ("file0.root", "bytes=1500-")]


def test_a_fetch_that_was_stopped_goes_on_in_the_next_call(portal: Portal, fetch: Any, tmp_path: Path) -> None:
    portal.cut = [1000] + [0] * fetch_open_data.ATTEMPTS
    answer = fetch("7", "--first", "1")
    assert answer.code == 2
    assert "file0.root: 1000 of 70007 bytes after 5 attempts" in answer.err
    assert "the same command goes on" in answer.err
    assert there(tmp_path) == {"file0.root.part": CONTENT["file0.root"][:1000]}
    answer = fetch("7", "--first", "1")
    assert "the first 1000 bytes were there" in answer.out
    assert portal.asked[-1] == ("file0.root", "bytes=1000-")
    assert there(tmp_path) == {"file0.root": CONTENT["file0.root"]}


def test_a_server_without_ranges_starts_again(portal: Portal, fetch: Any, tmp_path: Path) -> None:
    portal.cut, portal.ranges = [1000], False
    assert fetch("7", "--first", "1").code == 0
    assert there(tmp_path) == {"file0.root": CONTENT["file0.root"]}


def test_a_wrong_checksum_leaves_nothing(portal: Portal, fetch: Any, tmp_path: Path) -> None:
    portal.put("8", [entry("file0.root", checksum="adler32:00000001")])
    answer = fetch("8")
    assert answer.code == 2
    assert "file0.root does not have the checksum of the record (adler32:00000001)" in answer.err
    assert there(tmp_path) == {}


@pytest.mark.parametrize("algorithm", ["sha1", "md5"])
def test_other_checksums(algorithm: str, portal: Portal, fetch: Any) -> None:
    import hashlib

    right = hashlib.new(algorithm, CONTENT["file1.root"], usedforsecurity=False).hexdigest()
    portal.put("8", [entry("file1.root", checksum=f"{algorithm}:{right}")])
    assert fetch("8").code == 0
    portal.put("9", [entry("file2.root", checksum="crc99:1")])
    assert "'crc99' is not known" in fetch("9").err


def test_a_file_without_a_checksum_needs_a_word(portal: Portal, fetch: Any) -> None:
    portal.put("8", [entry("file0.root", checksum="")])
    assert "the record has no checksum of file0.root; --unverified" in fetch("8").err
    assert fetch("8", "--unverified").code == 0


def test_another_file_of_that_name_is_left_alone(fetch: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file0.root").write_bytes(b"mine")
    answer = fetch("7", "--first", "1")
    assert answer.code == 2
    assert "is there and is not the file of the record" in answer.err
    assert there(tmp_path) == {"file0.root": b"mine"}


def test_a_file_that_the_server_does_not_have(portal: Portal, fetch: Any, tmp_path: Path) -> None:
    portal.put("8", [entry("file0.root", uri=f"{EOS}/eos/opendata/cms/gone.root")])
    answer = fetch("8")
    assert answer.code == 2
    assert "gone.root" in answer.err
    assert "is in the record but not there" in answer.err
    assert there(tmp_path) == {}


def test_a_file_on_tape_has_to_be_asked_for(portal: Portal, fetch: Any) -> None:
    portal.put("8", [entry("file0.root", availability="on demand")])
    answer = fetch("8")
    assert answer.code == 2
    assert "ask for it on the record's page" in answer.err
    assert portal.asked == []


def test_records_and_names_that_are_not_there(portal: Portal, fetch: Any) -> None:
    assert f"{portal.url} has no record 99; fix the number" in fetch("99").err
    assert "none of 3 files matches --name nothing* --index *; see --list" in fetch("7", "--name", "nothing*").err
    portal.put("8", [])
    assert "record 8" in fetch("8").err
    portal.put("9", [{"key": "x"}])
    assert "a file without 'uri'" in fetch("9").err


def test_file_indices_as_files_of_their_own(portal: Portal, fetch: Any, tmp_path: Path) -> None:
    """How records looked before 2025: the metadata name index files, in two formats."""
    indices = [f"{EOS}/eos/opendata/cms/file-indexes/SET_file_index.{kind}" for kind in ("json", "txt")]
    files = [{"uri": uri, "size": 1, "checksum": "sha1:0"} for uri in indices]
    portal.records["/api/records/8"] = {"id": 8, "metadata": {"files": files}}
    inside = [{key: value for key, value in entry(name).items() if key != "availability"} for name in CONTENT]
    portal.records["/record/8/files/SET_file_index.json"] = inside
    assert fetch("8", "--first", "1", "--index", "SET*").code == 0
    assert list(there(tmp_path)) == ["file0.root"]


def test_without_a_network_it_says_so(fetch: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    answer = fetch("7", server=f"http://127.0.0.1:{port}")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith(f"FetchError: http://127.0.0.1:{port}/api/records/7 cannot be reached")
    assert "needs a network" in line


def test_xrootd_is_asked_for_where_it_is_not(
    portal: Portal, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way through fsspec, with a local file in place of root://."""
    remote = tmp_path / "file0.root"
    remote.write_bytes(CONTENT["file0.root"])
    portal.put("8", [entry("file0.root", uri=f"file://{remote}")])
    monkeypatch.setattr(fetch_open_data, "xrootd_installed", lambda: False)
    assert "needs fsspec-xrootd" in fetch("8", "--protocol", "xrootd").err
    monkeypatch.setattr(fetch_open_data, "xrootd_installed", lambda: True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file0.root.part").write_bytes(CONTENT["file0.root"][:500])
    assert fetch("8", "--protocol", "auto").code == 0
    assert there(tmp_path) == {"file0.root": CONTENT["file0.root"]}
    assert portal.asked == []
