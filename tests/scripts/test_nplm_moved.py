"""The table of t with a parameter moved, beside the same draws without."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import nplm_moved


def test_a_row_compares_pairs_of_toys(capsys: pytest.CaptureFixture[str]) -> None:
    nplm_moved.main(["--exact", "--toys", "2", "--seeds", "3"])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert cells[:2] == ["3", "2"]
    moved, nominal, difference = (float(cells[column].split(" +- ")[0]) for column in (2, 4, 6))
    assert 5 < moved < 50
    assert 5 < nominal < 50
    assert difference == pytest.approx(moved - nominal, abs=0.02)
