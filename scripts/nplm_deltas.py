"""The expansion of ln r of `inferno nplm` beside the exact densities of the synthetic mixture.

    python scripts/nplm_deltas.py                                   # 150 000 events, nu = -1 and 1; a minute
    python scripts/nplm_deltas.py --values -2 -1 1 2 --events 60000 --seeds 2

The background has a mean of x0 that moves by 0.2 nu (r), ln r = 0.2 nu (x0 - 2) / 5 - 0.004 nu^2, and a rate of x2 that
moves by nu / 2 from 3 (lambda), ln r = ln(1 + nu / 6) - nu x2 / 2. Prints a Markdown table: the root mean square of the
difference, on 20 000 events, over that of the exact values; of delta_2 of r, which is the same for all events, its
mean, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch

from inferno_cli.config.load import compose, resolve
from inferno_cli.config.nplm import NplmConfig
from inferno_cli.nplm.nuisances import expansion
from inferno_cli.nplm.pool import Pool, pool
from inferno_cli.nplm.standard import Standard

TESTED = 20_000
SHIFT, SECOND, RATE = 0.2, -0.004, 6.0


def background(events: int) -> Pool:
    """Return events of the background, with both systematics."""
    words = "dataset=synthetic", "nuisance=r_lambda", f"dataset.events.template={2 * events}"
    config = resolve(NplmConfig, compose("nplm", words))
    read = config.dataset.validated(config.request, ())
    samples = [item.events for item in read.samples if item.events.name in config.reference_samples]
    return pool(config.dataset, samples, config.request)


def difference(found: np.ndarray, exact: np.ndarray) -> str:
    """Return the root mean square of a difference over that of the exact values, as text."""
    return f"{np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)):.1%}"


def row(events: Pool, values: Sequence[float], number: int, seed: int) -> str:
    """Return a line of the table."""
    standard = Standard.of(events.nominal, ("x0", "x1", "x2"), (0, 1, 2))
    features = events.nominal.features[-TESTED:]
    tested = torch.as_tensor(standard(features)[None])
    found = {}
    for name in ("r", "lambda"):
        made = expansion(events, name, standard, values, order=2, hidden=(4,), events=number, seed=seed, device="cpu")
        found[name] = made.deltas(tested)[0].numpy().T
    first, second = found["r"]
    cells = [difference(first, SHIFT * (features[:, 0] - 2) / 5), difference(second, np.full(TESTED, SECOND))]
    cells.append(f"{second.mean() / SECOND:.3f}")
    first, second = found["lambda"]
    for nu in (-1.0, 0.5, 1.0):
        exact = np.log1p(nu / RATE) - nu * features[:, 2] / 2
        cells.append(difference(first * nu + second * nu**2, exact))
    return f"| {', '.join(f'{value:g}' for value in values)} | {number} | {seed} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=float, nargs="+", default=[-1.0, 1.0], help="nu of the events that are moved")
    parser.add_argument("--events", type=int, default=150_000, help="events of each value")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    events = background(chosen.events)
    print("| nu | events | seed | delta_1 of r | delta_2 of r | its mean | lambda at -1 | at 0.5 | at 1 |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for seed in range(1, chosen.seeds + 1):
        print(row(events, chosen.values, chosen.events, seed), flush=True)


if __name__ == "__main__":
    main()
