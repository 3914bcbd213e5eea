"""t of `inferno nplm` at a moved parameter of the synthetic mixture, beside t of the same draws at its nominal value.

    python scripts/nplm_moved.py --seeds 1 2 3           # lambda at -1 sigma, 200 toys of each; half an hour
    python scripts/nplm_moved.py --seeds 1 --exact       # the exact ln r in the place of the expansions

The toys are those of the row of `inferno nplm dataset=synthetic nuisance=r_lambda seed=SEED nplm.model.clip=CLIP`. The
nominal ones beside them have the same random numbers: rows of the pool, references, auxiliary fluctuations and starts.
What the draws have by chance is in both, so that the mean of their differences says with less noise than KS whether t
depends on the parameter. Prints a Markdown table; --folder keeps finished toys.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inferno_cli.config.load import compose, resolve
from inferno_cli.config.nplm import NplmConfig
from inferno_cli.nplm.analysis import Analysis
from inferno_cli.nplm.distribution import agreement, sameness
from inferno_cli.nplm.perceptron import Perceptron
from inferno_cli.nplm.standard import Standard
from inferno_cli.nplm.taylor import Expansion, Taylor
from inferno_cli.nplm.toys import LearningTest, Truth

DEGREES = 21.0
LINEAR = Perceptron((3, 1), np.inf)


def linear(standard: Standard, constant: float, column: int = 0, slope: float = 0.0) -> NDArray[np.float64]:
    """Return the parameters of a network without hidden layers: constant + slope times a feature, standardised."""
    parameters = np.zeros(4)
    parameters[column] = slope * standard.deviation[column]
    parameters[3] = constant + slope * standard.mean[column]
    return parameters


def exact(standard: Standard) -> Taylor:
    """Return ln r of the exact densities, see `nplm_deltas.py`; of lambda to fourth order, which leaves 3e-5."""
    of_r = linear(standard, -0.08, 0, 0.04), linear(standard, -0.004)
    of_lambda = [linear(standard, 1 / 6, 2, -0.5)]
    of_lambda += [linear(standard, constant) for constant in (-1 / 72, 1 / 648, -1 / 5184)]
    return Taylor(
        [
            Expansion("r", None, (LINEAR,) * 2, of_r),
            Expansion("lambda", None, (LINEAR,) * 4, tuple(of_lambda)),
        ]
    )


def thrown(chosen: argparse.Namespace, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return t of toys with the parameter moved, and of the same draws at its nominal."""
    words = "dataset=synthetic", "nuisance=r_lambda", f"seed={seed}", f"nplm.model.clip={chosen.clip}"
    config = resolve(NplmConfig, compose("nplm", words))
    events = config.dataset.validated(config.request, ())
    folder = None if chosen.folder is None else chosen.folder / f"seed{seed}{'exact' if chosen.exact else ''}"
    analysis = Analysis(config, events, folder, "cpu")
    if chosen.exact:
        analysis.taylor = exact(analysis.standard)
    test: LearningTest = analysis.test(config.nplm.model)
    name = f"{chosen.parameter} {chosen.value:+g}"
    moved = analysis.toys(name, test, Truth(name, ((chosen.parameter, chosen.value),)), chosen.toys)
    nominal = analysis.toys("nominal", test, Truth(name), chosen.toys)
    return moved.t, nominal.t


def row(label: str, moved: NDArray[np.float64], nominal: NDArray[np.float64]) -> str:
    """Return a line of the table."""
    n_toys, cells = len(moved), [label, str(len(moved))]
    for t in (moved, nominal):
        cells += [f"{t.mean():.2f} +- {t.std(ddof=1) / np.sqrt(n_toys):.2f}", f"{agreement(t, DEGREES):.3f}"]
    change = moved - nominal
    cells += [f"{change.mean():.2f} +- {change.std(ddof=1) / np.sqrt(n_toys):.2f}", f"{sameness(moved, nominal):.3f}"]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameter", choices=("r", "lambda"), default="lambda")
    parser.add_argument("--value", type=float, default=-1.0, help="true value in units of sigma")
    parser.add_argument("--toys", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--clip", type=float, default=1.265)
    parser.add_argument("--exact", action="store_true", help="the exact ln r in the place of the expansions")
    parser.add_argument("--folder", type=Path, help="where finished toys are kept")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| seed | toys | mean of t, moved | KS | mean of t, nominal | KS | difference | KS of the two |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    found = []
    for seed in chosen.seeds:
        found.append(thrown(chosen, seed))
        print(row(str(seed), *found[-1]), flush=True)
    if len(found) > 1:
        print(row("all", *(np.concatenate(part) for part in zip(*found, strict=True))))


if __name__ == "__main__":
    main()
