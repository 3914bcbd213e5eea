"""The table of expansions beside exact densities."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import nplm_deltas


def test_a_row_says_how_far_the_expansions_are_from_the_exact_ones(capsys: pytest.CaptureFixture[str]) -> None:
    nplm_deltas.main(["--events", "3000"])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert cells[:3] == ["-1, 1", "3000", "1"]
    assert float(cells[3].split(",")[1].rstrip("%")) < 20
    assert float(cells[5]) == pytest.approx(1, abs=0.1)
