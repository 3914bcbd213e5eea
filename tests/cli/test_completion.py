"""Tab completion: Hydra sees the line without the word of the step."""

from __future__ import annotations

import os
import sys

import pytest

from inferno_cli.cli.completion import prepare

STEPS = ["fit", "train", "ui"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> object:
    """Set the line as the shell does, and the arguments with which it calls the program."""

    def set_line(line: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["inferno", *(arguments or ("-sc", "query=bash"))])
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))

    return set_line


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("inferno ", "fit train ui"),
        ("inferno", "fit train ui"),
        ("inferno t", "train"),
        ("inferno train", "train"),
        ("inferno   f", "fit"),
        ("inferno x", ""),
        ("inferno x seed=", ""),
    ],
)
def test_the_step_is_completed(line: str, choices: str, typed: object, capsys: pytest.CaptureFixture[str]) -> None:
    typed(line)  # type: ignore[operator]

    with pytest.raises(SystemExit) as stop:
        prepare(STEPS)

    assert stop.value.code == 0
    assert capsys.readouterr().out == choices


@pytest.mark.parametrize(
    ("line", "left", "step"),
    [
        ("inferno train model=", "inferno model=", "train"),
        ("inferno train ", "inferno ", "train"),
        ("inferno fit work", "inferno work", "fit"),
        ("inferno  ui  po", "inferno  po", "ui"),
        ("inferno train seed=1 model=train", "inferno seed=1 model=train", "train"),
    ],
)
def test_the_step_is_taken_out_of_the_line(line: str, left: str, step: str, typed: object) -> None:
    typed(line)  # type: ignore[operator]

    prepare(STEPS)

    assert os.environ["COMP_LINE"] == left
    assert int(os.environ["COMP_POINT"]) == len(left)
    assert sys.argv == ["inferno", step, "-sc", "query=bash"]


def test_installation_needs_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    monkeypatch.setattr(sys, "argv", ["inferno", "-sc", "install=bash"])

    prepare(STEPS)

    assert sys.argv == ["inferno", "train", "-sc", "install=bash"]


def test_a_step_in_the_arguments_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    monkeypatch.setattr(sys, "argv", ["inferno", "fit", "-sc", "install=bash"])

    prepare(STEPS)

    assert sys.argv == ["inferno", "fit", "-sc", "install=bash"]
