"""Measure the numbers of the README: BCE and INFERNO on every experiment, median over seeds.

    python scripts/measure.py                       # all, 3 seeds; about half an hour on 2 cores
    python scripts/measure.py top11004 'top11004 all' --seeds 1 2 3 4 5
    python scripts/measure.py top11004 dataset.path=/my/second/sample.root

Prints a Markdown table, the machine, and writes measure.json. Every line is a multirun of the command line itself.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from inferno_cli.runs.record import Results

MODELS = {"BCE": ["model=bce"], "INFERNO": ["model=inferno"]}
EXPERIMENTS: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    name: ([f"+experiment={name}"], MODELS) for name in ("synthetic", *(f"benchmark{i}" for i in range(5)), "top11004")
}
# The classifier of the reproduction: fewer hidden units than INFERNO has, and equal bins.
PUBLISHED = ["model=bce", "model.hidden=[20,20]", "model.edges=uniform"]
EXPERIMENTS["top11004 published"] = (["+experiment=top11004"], {**MODELS, "BCE": PUBLISHED})
EXPERIMENTS["top11004 multiclass"] = (["+experiment=top11004"], {"multi-class": ["model=multiclass"]})
# The synthetic experiments have the equal bins of the publications.
EXPERIMENTS["synthetic balanced"] = (["+experiment=synthetic", "model.edges=balanced"], {"BCE": MODELS["BCE"]})
# Fitted with all systematics of the dataset, trained with some.
EXPERIMENTS["top11004 all"] = (
    ["+experiment=top11004", "nuisance=all"],
    {
        "BCE": ["model=bce"],
        "INFERNO, trained with jes": ["model=inferno", "nuisance.train=[jes,QCD_norm]"],
        "INFERNO, trained with all": ["model=inferno"],
    },
)
"""What is run: the overrides of each experiment, and of each line in it."""


def sweep(seeds: list[int], overrides: list[str]) -> list[Results]:
    """Run one configuration for all seeds."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"seed={','.join(map(str, seeds))}", "tracking=none", "report.plots=false"]
        arguments += [f"hydra.sweep.dir={folder}", *overrides]
        subprocess.run(
            [sys.executable, "-m", "inferno_cli", "train", "-m", *arguments], check=True, stdout=subprocess.DEVNULL
        )
        return [Results.load(path) for path in sorted(Path(folder).glob("*/results.json"))]


def row(experiment: str, model: str, results: list[Results]) -> dict[str, object]:
    """Medians over seeds."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    mu = [item.parameters["mu"] for item in results]
    nuisances = [name for name in results[0].parameters if name != "mu" and "[" not in name]
    assert all(item.minos is not None for item in mu)
    widths = [item.minos[1] - item.minos[0] for item in mu if item.minos is not None]
    return {
        "experiment": experiment,
        "model": model,
        "seeds": len(results),
        "hesse": median([item.hesse for item in mu]),
        "minos_width": median(widths),
        "all_widths": widths,
        "sigma_s": median([x.sigma_s for x in results if x.sigma_s is not None]) if results[0].sigma_s else None,
        "bound": results[0].cramer_rao_bound_s,
        "nuisances": {name: median([item.parameters[name].hesse for item in results]) for name in nuisances},
        "worst_closed_form": max(
            abs(item.poi_variance.templates**0.5 / item.parameters["mu"].hesse - 1)
            for item in results
            if item.poi_variance is not None
        ),
        "training_seconds": median([item.timing["training"] for item in results]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"{', '.join(EXPERIMENTS)}; and overrides with '='")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    options = parser.parse_args()
    overrides = [name for name in options.names if "=" in name]
    experiments = [name for name in options.names if "=" not in name] or list(EXPERIMENTS)
    rows = []
    print("| experiment | model | sigma(mu) HESSE | MINOS width | sigma(s) | bound | sigma of nuisances | training |")
    print("|---|---|---|---|---|---|---|---|")
    for experiment in experiments:
        common, lines = EXPERIMENTS[experiment]
        for model, own in lines.items():
            results = sweep(options.seeds, [*common, *own, *overrides])
            item = row(experiment, model, results)
            rows.append(item)
            nuisances = ", ".join(f"{name} {value:.3g}" for name, value in item["nuisances"].items())
            s = "" if item["sigma_s"] is None else f"{item['sigma_s']:.2f}"
            bound = "" if item["bound"] is None else f"{item['bound']:.2f}"
            print(
                f"| {experiment} | {model} | {item['hesse']:.4f} | {item['minos_width']:.4f} | {s} | {bound} "
                f"| {nuisances} | {item['training_seconds']:.0f} s |",
                flush=True,
            )
    machine = f"{platform.machine()}, Python {platform.python_version()}, one training thread"
    print(f"\nMedian of seeds {options.seeds}; {machine}; {results[0].code_version}.")
    Path("measure.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
