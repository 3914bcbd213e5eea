"""The comparison of stacked toys with single ones: it times the same fits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import nplm_speed


def test_a_row_has_both_times_of_the_same_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nplm_speed, "EXPECTED", 50)
    monkeypatch.setattr(nplm_speed, "STEPS", 4)
    nplm_speed.main(["--toys", "4", "--at-once", "2", "--turns", "1", "--network", "1-4-1"])
    cells = capsys.readouterr().out.splitlines()[-1].split("|")
    assert cells[1].strip() == "1-4-1"
    assert int(cells[2]) == 13
    assert all(float(cell) > 0 for cell in cells[3:6])
