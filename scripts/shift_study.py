"""Closure study: what INFERNO gains over BCE as an artificial systematic shift of the signal grows.

    python scripts/shift_study.py                   # five sizes, 3 seeds; about half an hour on 2 cores
    python scripts/shift_study.py --seeds 1 2 3 4 5 --picture docs/shift_study.png

Prints a Markdown table and draws the curve. Every point is a run of the command line: +experiment=shift.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from measure import PUBLISHED, sweep

SIZES = (0, 5, 10, 15, 20)
"""Shift of MET in GeV at one standard deviation; the yield changes by 6% at every size."""


MODELS = {"bce": PUBLISHED, "inferno": ["model=inferno"]}
"""The classifier is that of the reproduction, as the picture in the documentation has it."""


def widths(size: float, seeds: list[int], overrides: list[str]) -> dict[str, list[float]]:
    """MINOS widths of mu by model, one for each seed."""
    found = {}
    for model, own in MODELS.items():
        common = ["+experiment=shift", *own, f"dataset.systematics.toy_shift.size={size}"]
        minos = [item.parameters["mu"].minos for item in sweep(seeds, [*common, *overrides])]
        found[model] = [up - down for down, up in filter(None, minos)]
    return found


def draw(table: dict[int, dict[str, list[float]]], label: str, path: Path) -> None:
    """Width of both models, and their ratio below, against the size of the shift."""
    import matplotlib.pyplot as plt

    figure, (upper, lower) = plt.subplots(2, sharex=True, figsize=(6, 5), height_ratios=(2, 1), layout="constrained")
    for model, name in (("bce", "BCE"), ("inferno", "INFERNO")):
        values = [table[size][model] for size in table]
        upper.plot(list(table), [median(x) for x in values], marker="o", label=name)
        upper.fill_between(list(table), [min(x) for x in values], [max(x) for x in values], alpha=0.2)
    ratios = [median(row["inferno"]) / median(row["bce"]) for row in table.values()]
    lower.plot(list(table), ratios, marker="o", color="black")
    upper.set_ylabel("MINOS width of mu")
    upper.set_title(label, fontsize="small", loc="left")
    upper.legend()
    lower.set_ylabel("INFERNO / BCE")
    lower.set_xlabel("shift of MET at one standard deviation (GeV)")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--picture", type=Path, default=Path("shift_study.png"))
    options = parser.parse_args()
    table = {}
    print("| shift (GeV) | BCE width | INFERNO width | INFERNO / BCE |\n|---|---|---|---|")
    for size in options.sizes:
        row = table[size] = widths(size, options.seeds, options.overrides)
        bce, inferno = median(row["bce"]), median(row["inferno"])
        print(f"| {size} | {bce:.3f} | {inferno:.3f} | {inferno / bce:.3f} |", flush=True)
    draw(table, "simulated stand-in, not CMS data; Asimov, free QCD; median and range of seeds", options.picture)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
