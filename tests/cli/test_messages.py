"""What others raise, in our words; and arguments that a shell and Hydra read as they are meant."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from inferno_cli.cli.messages import known, translated
from inferno_cli.errors import ConfigError, InfernoError, MemoryLimitError, OutputError, WorkspaceError
from inferno_cli.memory import require_memory
from inferno_cli.shell import argument

PLACES = ("/a/b", "a", "a b", "c,d", "don't", 'dq"x', "both'\"x", "back\\slash", "end\\", "q\\'x", 'q\\"x', "josé", "#")
PLACES += ("{x}", "$x", "a=b", "br[1]", "2024", "1e5", "null", "True", "nan", ".5", "~x", "til~", "pct%20", "@x", "(p)")


@pytest.mark.parametrize("place", PLACES)
def test_a_command_that_is_suggested_means_the_place(place: str) -> None:
    (typed,) = shlex.split(argument("run", place))
    override = OverridesParser.create().parse_override(typed)
    assert (override.key_or_group, override.value()) == ("run", place)


def test_a_plain_place_is_not_quoted() -> None:
    assert argument("runs", "outputs/sweeps/2026-01-01/x") == "runs=outputs/sweeps/2026-01-01/x"
    assert argument("runs", "sweep") == "runs=sweep"


COMPOSED = OmegaConf.create({"workspace": "w.json", "dataset": {"path": "/data/*.root"}, "runs": ["a", "b"]})
MEMORY = (
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    RuntimeError("can't start new thread"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
)


@pytest.mark.parametrize("error", MEMORY, ids=str)
def test_without_memory_the_files_and_the_remedy_are_said(error: Exception) -> None:
    found = known(error, COMPOSED)
    assert isinstance(found, MemoryLimitError)
    for part in ("w.json", "/data/*.root", "['a', 'b']", "ulimit -v", "fewer"):
        assert part in str(found)


def test_errors_of_the_user_and_mistakes_of_the_program() -> None:
    own = WorkspaceError("is not JSON")
    assert known(own) is own
    assert isinstance(known(RecursionError("maximum recursion depth exceeded"), COMPOSED), ConfigError)
    assert isinstance(known(OSError(28, "No space left on device", "/a")), OutputError)
    for error in (KeyError("x"), ZeroDivisionError("by zero"), RuntimeError("odd"), ImportError("no module")):
        assert known(error) is error
        assert not isinstance(known(error), InfernoError)


def test_the_memory_that_the_libraries_need(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    for limit, least, enough in (
        (resource.RLIM_INFINITY, 512, True),
        (512 * 2**20, 512, True),
        (512 * 2**20 - 1, 512, False),
        (10**9, 1536, False),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        if enough:
            require_memory(least)
        else:
            with pytest.raises(
                MemoryLimitError, match=rf"may have {limit >> 20} MB .* at least {least} MB.* ulimit -v"
            ):
                require_memory(least)


def test_a_process_with_little_memory_says_so_at_once() -> None:
    """Without this, OpenBLAS asks for memory for ever."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
        "from inferno_cli.cli.main import main; sys.argv = ['inferno', 'fit', 'workspace=w.json']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("MemoryLimitError: the process may have 300 MB of memory")
    assert len(done.stderr.splitlines()) == 1


def test_a_group_that_a_step_has_no_choice_of() -> None:
    error = ConfigCompositionException("Could not override 'tracking'. No match in the defaults list.")
    said = str(translated(error, "log"))
    assert said.startswith("tracking is nothing that `inferno log` has a choice of; its keys are tracking.uri, ")
    error = ConfigCompositionException("Could not override 'model'. No match in the defaults list.")
    assert str(translated(error, "fit")).endswith("has a choice of; `inferno fit --cfg job` prints its keys")
