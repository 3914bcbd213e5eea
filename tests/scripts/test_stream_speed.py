"""The comparison on large ntuples: what it writes and how it watches the memory of a command."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import uproot
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import stream_speed


def test_the_file_has_as_many_rows_as_asked_for_and_plain_uproot_fills_them(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_speed, "CHUNK", 150)
    stream_speed.write(tmp_path / "large.root", 1000)
    with uproot.open(tmp_path / "large.root") as file:
        assert {name: file[name].num_entries for name in stream_speed.TREES} == {
            "signal": 200,
            "signal_jes_up": 200,
            "signal_jes_down": 200,
            "background": 400,
        }
        assert file["background"]["event"].array(library="np").tolist() == list(range(400))
        assert np.isclose(file["signal"]["w"].array(library="np").sum(), 1000)
    stream_speed.plain(tmp_path / "large.root")
    configured = yaml.safe_load(stream_speed.DATASET.format(path=tmp_path, features=", ".join(stream_speed.FEATURES)))
    assert len(configured["features"]) == 10


def test_the_memory_of_a_command_is_its_peak(tmp_path):
    small, large = (
        stream_speed.measured([sys.executable, "-c", f"import time; x = b'1' * {n}; time.sleep(0.2)"], tmp_path / "log")
        for n in (1, 80_000_000)
    )
    assert small.status == large.status == 0
    assert large.resident - small.resident > 70
    assert stream_speed.measured([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log").status == 3
