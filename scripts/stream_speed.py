"""Memory and time of ``data``, ``train`` and ``predict`` on large ntuples, beside plain uproot and NumPy.

    python scripts/stream_speed.py                    # 2 million rows of 10 features
    python scripts/stream_speed.py --rows 20000000    # 20 million: 1.1 GB of disk for the file, as much for the tables

The file has a signal with shifted trees, up and down, and a background; the training is one epoch. Plain uproot and
NumPy read the same branches in chunks, select, and fill a histogram of each feature: no analysis does with less. Prints
a Markdown table: the peak of the resident memory, what of it belongs to no file (on Linux alone), and seconds, with
those of starting Python and loading libraries in them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uproot

FEATURES = [f"x{i}" for i in range(10)]
TREES = {"signal": (1.0, 0.2), "signal_jes_up": (1.1, 0.2), "signal_jes_down": (0.9, 0.2), "background": (0.0, 0.4)}
"""Mean of the features, and share of the rows, of each tree."""
DATASET = """
kind: ntuples
name: large
seed: null
path: {path}
file: "*.root"
tree: "{{sample}}{{variation}}"
variation: "_{{systematic}}_{{direction}}"
features: [{features}]
event_id: [run, event]
selection: x0 > -3
weight: w
luminosity_scale: 1.0
downsample_factor: 1.0
samples: {{signal: {{role: signal}}, background: {{role: background}}}}
splits: {{train: 0.4, validation: 0.2, template: 0.4}}
systematics: {{jes: {{kind: shape, samples: [signal]}}}}
"""
CHUNK = 250_000
"""Rows that are written, and read by plain uproot, at a time."""


@dataclass(frozen=True)
class Cost:
    """What a command took: exit status, peak of resident and of anonymous memory in MB, seconds of CPU and clock."""

    status: int
    resident: float
    anonymous: float
    cpu: float
    clock: float


def write(path: Path, rows: int) -> None:
    """Write so many rows, without compression: what is compared is not zlib."""
    types = dict.fromkeys(FEATURES, np.float32) | {"run": np.int32, "event": np.int64, "w": np.float32}
    with uproot.recreate(path, compression=None) as file:
        for name, (mean, share) in TREES.items():
            rng = np.random.default_rng(0 if name == "background" else 1)
            tree, n = file.mktree(name, types), round(share * rows)
            for first in range(0, n, CHUNK):
                event = np.arange(first, min(first + CHUNK, n))
                table = rng.standard_normal((len(FEATURES), len(event)), dtype=np.float32) + np.float32(mean)
                part = dict(zip(FEATURES, table, strict=True)) | {"run": (event // 500_000).astype(np.int32)}
                tree.extend(part | {"event": event, "w": np.full(len(event), 1000 / n, dtype=np.float32)})


def plain(path: Path) -> None:
    """Read, select and fill: a histogram of every feature of every tree."""
    edges = np.linspace(-5.0, 5.0, 41)
    with uproot.open(path) as file:
        for name in TREES:
            filled = np.zeros((len(FEATURES), len(edges) - 1))
            for part in file[name].iterate([*FEATURES, "run", "event", "w"], step_size=CHUNK, library="np"):
                is_kept = part["x0"] > -3
                weights = part["w"][is_kept].astype(np.float64)
                for row, feature in enumerate(FEATURES):
                    filled[row] += np.histogram(part[feature][is_kept], edges, weights=weights)[0]
            assert filled.sum() > 0


def measured(command: Sequence[str], log: Path) -> Cost:
    """Run a command and watch its memory."""
    start, resident, anonymous = time.perf_counter(), 0.0, 0.0
    with log.open("w") as stream:
        child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            memory = _memory(child.pid)
            resident, anonymous = max(resident, memory["VmHWM"]), max(anonymous, memory["RssAnon"])
            time.sleep(0.02)
    _, status, usage = ended
    child.returncode = os.waitstatus_to_exitcode(status)
    # The peak that wait4 knows begins with that of this process, from which the command was forked.
    peaks = resident or usage.ru_maxrss / 1024, anonymous
    return Cost(child.returncode, *peaks, usage.ru_utime + usage.ru_stime, time.perf_counter() - start)


def _memory(pid: int) -> dict[str, float]:
    """Return the peak of the memory of a process, and what belongs to no file now, in MB; 0 where nobody says."""
    found = {"VmHWM": 0.0, "RssAnon": 0.0}
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0]) / 1024
    return found


def main() -> None:
    """Write the file, run every step on it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of all trees together")
    parser.add_argument("--folder", type=Path, help="where the file and the runs are; a temporary folder without")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain is not None:
        plain(arguments.plain)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        compare(Path(name), arguments.rows)


def compare(folder: Path, rows: int) -> None:
    """Run every step in a folder."""
    (folder / "conf" / "dataset").mkdir(parents=True)
    path = folder / "large.root"
    write(path, rows)
    text = DATASET.format(path=path, features=", ".join(FEATURES))
    (folder / "conf" / "dataset" / "large.yaml").write_text(text)
    inferno = [sys.executable, "-m", "inferno_cli"]
    common = ["--config-dir", str(folder / "conf"), "dataset=large", "report.plots=true"]
    point = ["nuisance=jes", "trainer.max_epochs=1", "tracking=none", "trainer.progress=none"]
    commands = {
        "uproot and NumPy": [sys.executable, __file__, "--plain", str(path)],
        "data": [*inferno, "data", *common, f"hydra.run.dir={folder}/data"],
        "train": [*inferno, "train", *common, *point, f"hydra.run.dir={folder}/run"],
        "predict": [*inferno, "predict", f"run={folder}/run", f"output={folder}/predicted"],
    }
    print(f"{rows / 1e6:g} million rows of {len(FEATURES)} features\n")
    print("| | resident | of no file | clock | CPU | CPU, per million rows | |")
    print("|---|---|---|---|---|---|---|")
    reference = None
    for what, command in commands.items():
        log = folder / "log.txt"
        cost = measured(command, log)
        if cost.status:
            raise SystemExit(f"{what} ended with {cost.status}:\n{log.read_text()}")
        reference = reference or cost
        print(
            f"| {what} | {cost.resident:.0f} MB | {cost.anonymous:.0f} MB | {cost.clock:.1f} s | {cost.cpu:.1f} s "
            f"| {cost.cpu * 1e6 / rows:.2f} s | {cost.cpu / reference.cpu:.1f}x |",
            flush=True,
        )


if __name__ == "__main__":
    main()
