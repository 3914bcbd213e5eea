"""Simulate the stand-in for the TOP-11-004 ntuples from nothing: Pythia 8, a parametric detector, the selection.

    pip install 'inferno-cli[sim]'
    python scripts/simulate_top11004.py --quick --output quick.root          # a small sample, minutes
    python scripts/simulate_top11004.py --jobs 2 --output sample.root        # as large as the embedded one, an hour
    python -m inferno_cli train +experiment=top11004 dataset.path=sample.root

Top pairs, W/Z + jets, single top and multijets at 7 TeV become the trees of the embedded sample. The selection, the
features and the shifted selections are those of ``inferno_cli.analyses``. Finished parts are kept in OUTPUT.parts: the
same command goes on where it was stopped. The same seed gives the same arrays, whatever the number of jobs; the file
holds the settings, the versions and a checksum of every tree (``simulation``, a JSON text), and the ``label`` that
every result from it shows. README.md in scripts/top11004 says what is simulated, how, and what is not.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from top11004.assemble import build, write
from top11004.parts import make_part, part_path
from top11004.settings import PROCESSES, ROWS, Settings

EVENTS = 40_000
QUICK_EVENTS = 2_000
CHUNK, QUICK_CHUNK = 2_000, 500


def plan(names: list[str], events: int, settings: Settings) -> list[tuple[str, int]]:
    """Parts to make: the dearest first, so that no job waits for another at the end."""
    parts = []
    for name in names:
        wanted = max(1, round(PROCESSES[name].share * events / settings.events_in_part(name)))
        parts += [(name, chunk) for chunk in range(wanted)]
    return sorted(parts, key=lambda part: (not part[0].startswith(("w_", "z_")), names.index(part[0]), part[1]))


def produce(parts: list[tuple[str, int]], folder: Path, settings: Settings, jobs: int) -> None:
    """Make the parts that are not there yet, in parallel."""
    missing = [part for part in parts if not part_path(folder, *part, settings).is_file()]
    print(f"{len(parts)} parts, {len(parts) - len(missing)} of them there; {jobs} jobs", flush=True)
    start = time.monotonic()
    # Pythia holds state in C++ that a fork would share.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(make_part, folder, *part, settings): part for part in missing}
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                future.result()
                name, chunk = waiting[future]
                elapsed = time.monotonic() - start
                left = elapsed / done * (len(missing) - done)
                print(f"{done}/{len(missing)} {name} {chunk}: {elapsed:.0f} s, about {left:.0f} s left", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def main() -> None:
    """Produce, assemble, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--events",
        type=int,
        help=f"events past the parton-level cut, in units of which each process has its share (default {EVENTS})",
    )
    parser.add_argument(
        "--processes", nargs="+", choices=list(PROCESSES), help="make the parts of these alone, no file"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--seed", type=int, default=1, help="0 or more (default 1)")
    parser.add_argument("--output", type=Path, default=Path("top11004_sim.root"))
    parser.add_argument("--quick", action="store_true", help=f"a small sample: --events {QUICK_EVENTS}")
    options = parser.parse_args()
    if options.seed < 0 or options.jobs < 1 or (options.events is not None and options.events < 1):
        parser.error("--seed must be 0 or more, --jobs and --events at least 1")
    # Several threads of the linear algebra in each job would only be in each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    events = options.events or (QUICK_EVENTS if options.quick else EVENTS)
    settings = Settings(seed=options.seed, chunk=QUICK_CHUNK if options.quick else CHUNK)
    folder = options.output.with_suffix(".parts")
    parts = plan(options.processes or list(PROCESSES), events, settings)
    produce(parts, folder, settings, options.jobs)
    if options.processes:
        print(f"parts are in {folder}; run again without --processes for the file")
        return
    paths = {name: [part_path(folder, *part, settings) for part in parts if part[0] == name] for name in PROCESSES}
    found, drawn, lines = build(paths, settings, ROWS)
    print("\n".join(lines))
    write(options.output, found, {**versions(), **settings.record(), "events": events, **drawn})
    size = options.output.stat().st_size / 1e6
    rows = ", ".join(f"{name} {len(found[name]['event'])}" for name in (*ROWS, "Data"))
    print(f"{options.output}: {size:.1f} MB; rows: {rows}")
    for name, item in drawn["pseudo_data"].items():
        short = "" if item["drawn"] == item["wanted"] else "; TOO FEW: make more events, or fit the Asimov data alone"
        print(f"pseudo-data {name}: {item['drawn']} rows of {item['generated_events']} events{short}")


def versions() -> dict[str, str]:
    """Versions of what makes the events."""
    from importlib.metadata import version

    return {
        name.replace("-", "_"): version(name) for name in ("pythia8mc", "numpy", "awkward", "uproot", "inferno-cli")
    }


if __name__ == "__main__":
    main()
