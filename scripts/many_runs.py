"""Time of ``inferno list`` and ``inferno compare`` on many runs.

    python scripts/many_runs.py RUN                  # a thousand copies of a finished run
    python scripts/many_runs.py RUN --seeds 1        # each is a point of its own
    python scripts/many_runs.py RUN --number 5000 --folder FOLDER

The copies are a sweep over ``model.bins`` with ten seeds of each, and errors that differ by some percent. Each command
is timed twice: when the files of the runs have just left the page cache (on Linux), and again. Prints a Markdown
table; the seconds have those of starting Python in them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from inferno_cli.runs.folder import CONFIG_FILE, HYDRA, OVERRIDES_FILE, RESULTS_FILE, Status, finish


def copy(run: Path, folder: Path, number: int, seeds: int) -> None:
    """Copy a finished run as another of a sweep with so many seeds of each point."""
    shutil.copytree(run, folder)
    bins, seed = 2 + number // seeds, number % seeds
    config = yaml.safe_load((folder / CONFIG_FILE).read_text())
    config["seed"], config["model"]["bins"] = seed, bins
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(config, sort_keys=False))
    overrides = folder / HYDRA / OVERRIDES_FILE
    own = yaml.safe_load(overrides.read_text())
    overrides.write_text(yaml.safe_dump([*own, f"model.bins={bins}", f"seed={seed}"]))
    record = json.loads((folder / RESULTS_FILE).read_text())
    mu = record["parameters"][record["poi"]]
    mu["hesse"] *= random.Random(number).gauss(1, 0.03)
    (folder / RESULTS_FILE).write_text(json.dumps(record | {"seed": seed}, indent=2))
    status = Status.read(folder)
    assert status is not None
    replace(status, state="running", point=f"{number:020x}").write(folder)
    finish(folder, f"{number:020x}")


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache, where the system can be asked for that."""
    if not hasattr(os, "posix_fadvise"):
        return
    os.sync()  # what is not on the disk yet stays
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(command: Sequence[str], cwd: Path) -> tuple[float, float]:
    """Run a command; return its seconds of clock and of CPU."""
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Copy the run, time the commands, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=10, help="of each point")
    parser.add_argument("--folder", type=Path, help="where the copies are made; a temporary folder without")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        runs = Path(name).resolve() / "runs"
        for number in range(arguments.number):
            copy(arguments.run, runs / str(number), number, arguments.seeds)
        print(f"| {arguments.number} runs | not in the page cache: clock, CPU | again: clock, CPU |\n|---|---|---|")
        for step, where in (("list", str(runs)), ("compare", f"runs={runs}")):
            command = [sys.executable, "-m", "inferno_cli", step, where]
            forget(runs)
            cold, warm = seconds(command, Path(name)), seconds(command, Path(name))
            print(f"| {step} | {cold[0]:.1f} s, {cold[1]:.1f} s | {warm[0]:.1f} s, {warm[1]:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
