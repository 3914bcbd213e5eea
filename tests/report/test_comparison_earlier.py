"""An earlier comparison is kept beside a new one with other numbers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from handmade import config, put, record

from inferno_cli.config.published import Reference
from inferno_cli.report.comparison.comparison import Comparison
from inferno_cli.report.comparison.earlier import earlier_kept
from inferno_cli.report.comparison.page import write_comparison
from inferno_cli.runs.find import collect

WRITTEN = time.mktime((2026, 3, 4, 5, 6, 7, 0, 0, -1))


def compared(folder: Path, *widths: float) -> Comparison:
    for seed, width in enumerate(widths, 1):
        if not (folder / str(seed)).exists():
            put(folder / str(seed), config("bce", 5, seed), record(width, seed=seed), f"seed={seed}")
    return Comparison.of(collect([str(folder)]).jobs, Reference(name="none"))


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A comparison of one run, some time ago."""
    write_comparison(compared(tmp_path / "runs", 0.4), tmp_path / "compare")
    os.utime(tmp_path / "compare" / "compare.json", (WRITTEN,) * 2)
    return tmp_path / "compare"


def test_one_with_other_numbers_is_moved_to_its_date(first: Path, tmp_path: Path) -> None:
    text = (first / "compare.md").read_text()
    second = compared(tmp_path / "runs", 0.4, 0.3)
    with earlier_kept(first, second) as kept:
        write_comparison(second, first)

    assert kept == tmp_path / "compare-2026-03-04-050607"
    assert kept is not None
    assert (kept / "compare.md").read_text() == text != (first / "compare.md").read_text()
    os.utime(first / "compare.json", (WRITTEN,) * 2)
    third = compared(tmp_path / "runs", 0.4, 0.3, 0.2)
    with earlier_kept(first, third) as kept:
        write_comparison(third, first)
    assert kept == tmp_path / "compare-2026-03-04-050607-2"


def test_one_with_the_same_numbers_is_replaced(first: Path, tmp_path: Path) -> None:
    again = compared(tmp_path / "runs", 0.4)
    with earlier_kept(first, again) as kept:
        write_comparison(again, first)
    assert kept is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compare", "runs"]


def test_where_the_new_one_fails_the_earlier_one_is_back(first: Path, tmp_path: Path) -> None:
    def write() -> None:
        with earlier_kept(first, compared(tmp_path / "runs", 0.4, 0.3)):
            first.mkdir()
            raise KeyboardInterrupt

    text = (first / "compare.md").read_text()
    with pytest.raises(KeyboardInterrupt):
        write()
    assert (first / "compare.md").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compare", "runs"]


def test_of_nothing_there_is_nothing_to_keep(tmp_path: Path) -> None:
    with earlier_kept(tmp_path / "compare", compared(tmp_path / "runs", 0.4)) as kept:
        assert kept is None
