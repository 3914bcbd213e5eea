"""A reader of Combine's rules.

Combine itself is not available to these tests. ``Card`` reads a datacard as the documentation of Combine describes it
(and as text2workspace.py parses it): strict about counts, order and names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uproot


def smooth_step(x: float, region: float) -> float:
    """From -1 to 1 between -region and region, as in "Template shape uncertainties" of Combine's manual."""
    if abs(x) >= region:
        return float(np.sign(x))
    t = x / region
    return t * (3 * t**4 - 10 * t**2 + 15) / 8


def log_normal(theta: float, down: float, up: float) -> float:
    """Combine's asymmetric log-normal; smooth between -1/2 and 1/2."""
    high, low = np.log(up), -np.log(down)
    return float(np.exp(theta * ((high + low) / 2 + smooth_step(theta, 0.5) * (high - low) / 2)))


@dataclass
class Card:
    """A datacard with its histograms, by channel and name; a column is the channel and the name of a process."""

    channels: list[str] = field(default_factory=list)
    columns: list[tuple[str, str]] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    constrained: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    free: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    formulas: dict[str, tuple[str, str]] = field(default_factory=dict)
    factors: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    mc_stats: dict[str, list[int]] = field(default_factory=dict)
    histograms: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    text: str = ""

    @classmethod
    def read(cls, folder: Path) -> Card:
        card = cls(text=(folder / "datacard.txt").read_text())
        lines = [line.split() for line in card.text.splitlines() if line[:1] != "#" and line[:2] != "--"]
        (rate,) = (i for i, line in enumerate(lines) if line[0] == "rate")
        card._head(lines[: rate + 1], folder)
        declared = next(int(line[1]) for line in lines if line[0] == "kmax")
        for line in lines[rate + 1 :]:
            card._parameter(line)
        assert declared == len(card.constrained)
        names = [*card.channels, *dict.fromkeys(card.processes), *card.constrained, *card.free, *card.formulas]
        assert len(set(names)) == len(names)
        assert "r" not in names
        for name in names:
            assert re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII), name
        known = {*card.constrained, *card.free}
        assert all(set(members) <= known for members in card.groups.values())
        return card

    def _head(self, lines: list[list[str]], folder: Path) -> None:
        keys = ["imax", "jmax", "kmax", "shapes", "bin", "observation", "bin", "process", "process", "rate"]
        assert [line[0] for line in lines] == keys
        self.channels = lines[4][1:]
        assert int(lines[0][1]) == len(self.channels)
        assert lines[5][1:] == ["-1"] * len(self.channels)
        self.processes, self.ids = lines[7][1:], [int(text) for text in lines[8][1:]]
        self.columns = list(zip(lines[6][1:], self.processes, strict=True))
        assert len(set(self.columns)) == len(self.columns) == len(self.ids)
        by_name = dict(zip(self.processes, self.ids, strict=True))
        assert [by_name[name] for name in self.processes] == self.ids  # one id for each name, and the other way round
        assert len(set(by_name.values())) == len(by_name) == int(lines[1][1]) + 1
        for channel in self.channels:
            own = [number for number, column in zip(self.ids, self.columns, strict=True) if column[0] == channel]
            assert own == sorted(own)
        assert lines[9][1:] == ["-1"] * len(self.columns)
        assert lines[3][1:3] == ["*", "*"]
        assert lines[3][4:] == ["$CHANNEL/$PROCESS", "$CHANNEL/$PROCESS_$SYSTEMATIC"]
        with uproot.open(folder / lines[3][3]) as file:
            for key, kind in file.classnames(cycle=False).items():
                if key not in self.channels:
                    assert kind == "TH1D"
                    channel, _, name = key.partition("/")
                    assert channel in self.channels
                    assert len(file[key].member("fSumw2")) == file[key].member("fNcells")
                    self.histograms[channel, name] = file[key].values(), file[key].variances()
        shapes = {(channel, values.shape) for (channel, _), (values, _) in self.histograms.items()}
        assert len(shapes) == len(self.channels)

    @property
    def channel(self) -> str:
        """The one channel."""
        (channel,) = self.channels
        return channel

    def _parameter(self, line: list[str]) -> None:
        name, kind = line[:2]
        if kind in ("lnN", "shape"):
            cells = line[2:]
            assert len(cells) == len(self.processes)
            assert name not in self.constrained
            assert set(cells) != {"-"}
            self.constrained[name] = kind, cells
        elif kind == "extArg":
            self._free(name, *line[2:])
        elif kind == "rateParam":
            channel, process, value, last = line[2:]
            assert (channel, process) in self.columns
            if last.startswith("["):
                self._free(name, value, last)
            else:
                assert self.formulas.setdefault(name, (value, last)) == (value, last)
            self.factors.setdefault((channel, process), []).append(name)
        elif kind == "group":
            assert line[2] == "="
            self.groups[name] = line[3:]
        else:
            assert kind == "autoMCStats", line
            assert name in self.channels
            self.mc_stats[name] = [int(text) for text in line[2:]]

    def _free(self, name: str, value: str, bounds: str) -> None:
        low, high = map(float, bounds.strip("[]").split(","))
        assert low < float(value) < high
        assert self.free.setdefault(name, (float(value), low, high)) == (float(value), low, high)

    def _factor(self, name: str, point: dict[str, float]) -> float:
        if name in self.free:
            return point.get(name, self.free[name][0])
        formula, argument = self.formulas[name]
        sign = {"(@0)": 1, "(-@0)": -1}[formula]
        return sign * point.get(argument, self.free[argument][0])

    def yields(self, process: str, r: float = 1.0, *, channel: str | None = None, **point: float) -> np.ndarray:
        """Expected events of a process: factors, log-normals, and shapes interpolated on the nominal's yield."""
        channel = channel or self.channel
        nominal = self.histograms[channel, process][0]
        column = self.columns.index((channel, process))
        scale = r if self.ids[column] <= 0 else 1.0
        for name in self.factors.get((channel, process), []):
            scale *= self._factor(name, point)
        shape = nominal.copy()
        assert nominal.sum() > 0  # text2workspace.py refuses it
        for name, (kind, cells) in self.constrained.items():
            theta, cell = point.get(name, 0.0), cells[column]
            if cell == "-":
                continue
            if kind == "lnN":
                down, up = map(float, cell.split("/"))
            else:
                assert cell == "1"
                pair = [self.histograms[channel, f"{process}_{name}{direction}"][0] for direction in ("Up", "Down")]
                up, down = (values.sum() / nominal.sum() for values in pair)
                rise, fall = (values * (nominal.sum() / values.sum()) - nominal for values in pair)
                shape += theta / 2 * (rise - fall + smooth_step(theta, 1.0) * (rise + fall))
                if abs(up - 1) < 1e-3 and abs(down - 1) < 1e-3:
                    continue
            scale *= log_normal(theta, down, up)
        return scale * shape.clip(min=0)

    def total(self, r: float = 1.0, **point: float) -> np.ndarray:
        """Expected events of all bins, the channels one behind the other."""
        parts = []
        for channel in self.channels:
            own = [process for where, process in self.columns if where == channel]
            parts.append(sum(self.yields(process, r, channel=channel, **point) for process in own))
        return np.concatenate(parts)
