"""The expansion of ln r of `inferno nplm` beside the exact densities of the synthetic mixture.

    python scripts/nplm_deltas.py                                   # 150 000 events, nu = -1 and 1; some minutes
    python scripts/nplm_deltas.py --values -2 -1 1 2 --events 60000 --seeds 2

The background has a mean of x0 that moves by 0.2 nu (r), ln r = 0.2 nu (x0 - 2) / 5 - 0.004 nu^2, and a rate of x2 that
moves by nu / 2 from 3 (lambda), ln r = ln(1 + nu / 6) - nu x2 / 2, with delta_1 = 1 / 6 - x2 / 2 and delta_2 = -1 / 72.
Prints a Markdown table: the root mean square of the difference over that of the exact values, of 20 000 events and of
those among them whose x0 (x2 for lambda) is between its quantiles 0.025 and 0.975; and of delta_2, the same for all
events, the mean of the latter over the exact one.
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


def difference(found: np.ndarray, exact: np.ndarray, is_central: np.ndarray) -> str:
    """Return the root mean square of a difference over that of the exact values, as text: of all, of central events."""
    parts = []
    for rows in (slice(None), is_central):
        parts.append(f"{np.sqrt(np.mean((found - exact)[rows] ** 2) / np.mean(exact[rows] ** 2)):.1%}")
    return f"{parts[0]}, {parts[1]}"


def central(values: np.ndarray) -> np.ndarray:
    """Return which events have a value between the quantiles 0.025 and 0.975."""
    low, high = np.quantile(values, (0.025, 0.975))
    return (low <= values) & (values <= high)


def row(events: Pool, values: Sequence[float], number: int, seed: int) -> str:
    """Return a line of the table."""
    standard = Standard.of(events.nominal, ("x0", "x1", "x2"), (0, 1, 2))
    features = events.nominal.features[-TESTED:].astype(float)
    tested = torch.as_tensor(standard(events.nominal.features[-TESTED:])[None])
    cells = []
    x0, x2 = features[:, 0], features[:, 2]
    for name, moves, first, second in (
        ("r", x0, SHIFT * (x0 - 2) / 5, SECOND),
        ("lambda", x2, 1 / RATE - x2 / 2, -1 / (2 * RATE**2)),
    ):
        made = expansion(events, name, standard, values, order=2, hidden=(4,), events=number, seed=seed, device="cpu")
        found = made.deltas(tested)[0].numpy().T
        is_central = central(moves)
        cells += [
            difference(found[0], first, is_central),
            difference(found[1], np.full_like(first, second), is_central),
        ]
        cells.append(f"{found[1][is_central].mean() / second:.3f}")
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
    print("| nu | events | seed | r: delta_1 | delta_2 | its mean | lambda: delta_1 | delta_2 | its mean |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for seed in range(1, chosen.seeds + 1):
        print(row(events, chosen.values, chosen.events, seed), flush=True)


if __name__ == "__main__":
    main()
