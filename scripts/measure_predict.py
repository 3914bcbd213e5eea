"""Measure the memory and the time of ``inferno predict`` on a file of two million rows.

    python scripts/measure_predict.py [rows]

The file is the dataset of the run itself, so that the splits are found again as well: the harder case.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import uproot

FEATURES = [f"x{i}" for i in range(8)]
DATASET = """
kind: ntuples
name: large
path: {path}
file: "*.root"
tree: "{{sample}}{{variation}}"
variation: "_{{systematic}}_{{direction}}"
features: [x0, x1, x2, x3, x4, x5, x6, x7]
event_id: [run, luminosityBlock, event]
weight: w
luminosity_scale: 1.0
downsample_factor: 1.0
samples: {{signal: {{role: signal}}, background: {{role: background}}}}
splits: {{train: 0.1, validation: 0.1, template: 0.8}}
systematics: {{jes: {{kind: shape, samples: [signal]}}}}
"""
STEP = 100_000


def write(path: Path, rows: int) -> None:
    """Write ``rows`` rows: a quarter each of the signal, the signal up and down, and the background."""
    with uproot.recreate(path) as file:
        for name, mean in (("signal", 1.0), ("signal_jes_up", 1.1), ("signal_jes_down", 0.9), ("background", -1.0)):
            random = np.random.default_rng(len(name) if name == "background" else 1)
            types = dict.fromkeys(FEATURES, np.float32) | {"run": np.int32, "luminosityBlock": np.int32}
            tree = file.mktree(name, types | {"event": np.int64, "w": np.float32})
            for first in range(0, rows // 4, STEP):
                event = np.arange(first, min(first + STEP, rows // 4))
                part = {feature: random.normal(mean, 1.0, len(event)).astype(np.float32) for feature in FEATURES}
                part |= {"run": (event // 500_000).astype(np.int32), "luminosityBlock": (event % 977).astype(np.int32)}
                tree.extend(part | {"event": event, "w": np.full(len(event), 1000 / rows, dtype=np.float32)})


def main() -> None:
    """Write, train for one epoch, predict."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "conf" / "dataset").mkdir(parents=True)
        path = folder / "large.root"
        write(path, rows)
        (folder / "conf" / "dataset" / "large.yaml").write_text(DATASET.format(path=path))
        inferno = [sys.executable, "-m", "inferno_cli"]
        point = ["dataset=large", "nuisance=jes", "trainer.max_epochs=2", "report.plots=false", "tracking=none"]
        place = [f"hydra.run.dir={folder}/run", "fit.significance=false", "trainer.progress=none"]
        subprocess.run([*inferno, "train", "--config-dir", str(folder / "conf"), *point, *place], check=True)
        print(f"peak memory of the training: {peak():.0f} MB")
        start = time.perf_counter()
        child = subprocess.Popen([*inferno, "predict", f"run={folder}/run"])
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        print(f"predict: {rows} rows, status {status}, {usage.ru_maxrss / 1024:.0f} MB, {seconds:.1f} s")


def peak() -> float:
    """Peak memory of the children so far, MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


if __name__ == "__main__":
    main()
