"""Say whether a change of the code changed a number: short runs of every kind, before and after.

    python scripts/golden.py record /my/before      # with the old code; some ten minutes on one core
    python scripts/golden.py record /my/after       # with the new code, on the same machine
    python scripts/golden.py compare /my/before /my/after

Compares every number of results.json but the times, the workspaces, the datacards, cabinetry's configurations and every
histogram of the ROOT files, to the last digit. Exit code 1 where something differs or is missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uproot

TOP = ("+experiment=top11004",)
FEW_EVENTS = ("dataset.events={train: 20000, validation: 10000, template: 50000}", "trainer.max_epochs=4")
JOBS: dict[str, tuple[str, ...]] = {
    "top-bce": (*TOP, "model=bce", "trainer.max_epochs=20", "fit=full"),
    "top-inferno": (*TOP, "model=inferno", "trainer.max_epochs=20"),
    "top-inferno-data": (*TOP, "model=inferno", "trainer.max_epochs=6", "fit=data", "unblind=true"),
    "top-all-bce": (*TOP, "model=bce", "nuisance=all", "trainer.max_epochs=6"),
    "top-all-inferno": (*TOP, "model=inferno", "nuisance=all", "trainer.max_epochs=6"),
    "shift": ("+experiment=shift", "model=inferno", "dataset.systematics.toy_shift.size=10", "trainer.max_epochs=6"),
    **{
        f"{experiment}-{model}": (f"+experiment={experiment}", f"model={model}", *FEW_EVENTS)
        for experiment in ("synthetic", "benchmark2")
        for model in ("bce", "inferno", "optimal")
    },
    "study": ("-m", "+study=signal_yield", "study.scale=quick", "study.repeats=1", *FEW_EVENTS),
    "search": ("-m", *TOP, "+sweep=optuna", "hydra.sweeper.n_trials=3", "trainer.max_epochs=4"),
    "trained_in": (*TOP, "model=inferno", "trained_in={folder}/top-inferno", "dataset.luminosity_scale=3"),
}
"""What is run, by the name of its folder."""
NOT_NUMBERS = {"timing", "code_version", "workspace", "trained_in"}
"""Keys of results.json that are others in every run."""


def record(folder: Path) -> None:
    """Run every job, without tracking and with one thread, each in a folder of its own."""
    folder.mkdir(parents=True)
    for name, overrides in JOBS.items():
        print(name, flush=True)
        place = f"hydra.{'sweep' if '-m' in overrides else 'run'}.dir={folder / name}"
        own = [word.format(folder=folder) if word.startswith("trained_in=") else word for word in overrides]
        common = ["tracking=none", "report.plots=false", "trainer.threads=1", f"output_dir={folder}/outputs"]
        command = [sys.executable, "-m", "inferno_cli", "train", *own, *common, place]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def values(path: Path) -> Any:
    """Return what a file says, without what differs from run to run."""
    if path.name == "results.json":
        found = json.loads(path.read_text(encoding="utf-8"))
        return without_schema_2({key: value for key, value in found.items() if key not in NOT_NUMBERS})
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".root":
        return dict(histograms(path))
    return path.read_text(encoding="utf-8").replace(str(path.parent), "FOLDER").splitlines()


def without_schema_2(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without what schema 2 says and schema 1 does not, or the other way round: none was computed."""
    for key in ("schema", "vectors", "twice_nll", "quantities"):
        record.pop(key, None)
    for parameter in record["parameters"].values():
        for key in ("kind", "is_constrained", "entry"):
            parameter.pop(key, None)
    for channel in record["yields"]:
        for key in ("signal", "parts"):
            channel.pop(key, None)
    return record


def histograms(path: Path) -> Iterator[tuple[str, list[float]]]:
    """Yield the contents and the variances of every histogram of a file."""
    with uproot.open(path) as file:
        for key, kind in file.classnames().items():
            if kind.startswith("TH1"):
                yield key, np.concatenate([file[key].values(), file[key].variances()]).tolist()


def differences(before: Any, after: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every place where two values differ, and how."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if key in before and key in after:
                yield from differences(before[key], after[key], f"{where} {key}")
            else:
                yield f"{where} {key}", "only before" if key in before else "only after"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{where}[{index}]")
    elif before != after:
        yield where, f"{before} -> {after}"


def compare(before: Path, after: Path) -> int:
    """Print every difference and the number of files; return 1 if there is one."""
    patterns = ("results.json", "workspace.json", "templates.root", "datacard.txt", "cabinetry.yaml", "shapes.root")
    paths = {
        path.relative_to(top) for top in (before, after) for pattern in patterns for path in top.glob(f"**/{pattern}")
    }
    n_differences = 0
    for path in sorted(paths):
        if not ((before / path).is_file() and (after / path).is_file()):
            found = [(str(path), "only in one of the two")]
        else:
            found = list(differences(values(before / path), values(after / path), str(path)))
        n_differences += len(found)
        for where, what in found[:20]:
            print(f"{where}: {what}")
    print(f"{len(paths)} files compared, {n_differences} differences")
    return int(n_differences > 0 or not paths)


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("record").add_argument("folder", type=Path)
    comparison = commands.add_parser("compare")
    comparison.add_argument("before", type=Path)
    comparison.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.command == "record":
        record(options.folder.resolve())
    else:
        sys.exit(compare(options.before, options.after))


if __name__ == "__main__":
    main()
