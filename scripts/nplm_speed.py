"""Time of the toys of `inferno nplm`: fitted as one stack, beside one after the other.

    python scripts/nplm_speed.py                 # one thread of a CPU; a minute
    python scripts/nplm_speed.py --device cuda --toys 64 --at-once 64

Both do the same steps of the same fits, and take turns, so that other work on the machine slows them alike. No time is
printed before both have given the same losses. Prints a Markdown table: seconds per toy, CPU time on a CPU, of the
clock on a GPU; the smallest of the turns.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

from inferno_cli.nplm.minimum import minimise
from inferno_cli.nplm.perceptron import Perceptron
from inferno_cli.nplm.statistic import Data, Hypothesis, Stack
from inferno_cli.nplm.taylor import Taylor

PROBLEMS = {"1-4-1": (1, 4, 1), "3-4-1": (3, 4, 1), "5-5-5-5-1": (5, 5, 5, 5, 1)}
"""Layers of the networks."""
EXPECTED, RATIO, CLIP, STEPS = 2000, 5, 5.0, 15
AGREE = 1e-5
"""Relative difference of losses that is rounding after so many steps."""
NONE = Taylor([])


def toys(n_features: int, number: int) -> list[Data]:
    """Draw toys of a normal reference."""
    sets = []
    for toy in range(number):
        rng = np.random.default_rng([1, toy])
        data = rng.normal(size=(rng.poisson(EXPECTED), n_features))
        reference = rng.normal(size=(RATIO * EXPECTED, n_features))
        sets.append(Data(data, reference, np.full(len(reference), 1 / RATIO), np.zeros(0)))
    return sets


def fitted(sets: list[Data], network: Perceptron, at_once: int, device: str) -> torch.Tensor:
    """Return the losses after the steps, of stacks of so many toys."""
    losses = []
    for first in range(0, len(sets), at_once):
        stack = Stack.of(sets[first : first + at_once], NONE, device)
        starts = [network.start(np.random.default_rng([2, first + toy])) for toy in range(len(stack.x))]
        start = torch.as_tensor(np.stack(starts), device=device)
        losses.append(minimise(Hypothesis(stack, NONE, network), start, steps=STEPS, tolerance=0.0).loss)
    return torch.cat(losses).cpu()


def timed(sets: list[Data], network: Perceptron, at_once: int, device: str) -> tuple[float, torch.Tensor]:
    """Return the seconds for each toy, and the losses."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    begin = clock()
    losses = fitted(sets, network, at_once, device)
    return (clock() - begin) / len(sets), losses


def row(name: str, number: int, at_once: int, turns: int, device: str) -> str:
    """Return a row of the table."""
    sizes = PROBLEMS[name]
    sets, network = toys(sizes[0], number), Perceptron(sizes, CLIP, device)
    together, alone = [], []
    for _ in range(turns):
        seconds, stacked = timed(sets, network, at_once, device)
        together.append(seconds)
        seconds, single = timed(sets, network, 1, device)
        alone.append(seconds)
        torch.testing.assert_close(stacked, single, rtol=AGREE, atol=AGREE)
    best, other = min(together), min(alone)
    return f"| {name} | {network.n_parameters} | {best:.4f} | {other:.4f} | {other / best:.2f} |"


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--toys", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--network", choices=PROBLEMS, nargs="*", default=list(PROBLEMS))
    chosen = parser.parse_args(arguments)
    if chosen.device == "cpu":
        torch.set_num_threads(1)
    sys.stdout.write(
        f"{STEPS} steps, {EXPECTED} expected events, a reference of {RATIO * EXPECTED}, {chosen.device}\n\n"
    )
    sys.stdout.write(
        f"| network | parameters | {chosen.at_once} at once | one after the other | ratio |\n|---|--:|--:|--:|--:|\n"
    )
    for name in chosen.network:
        sys.stdout.write(row(name, chosen.toys, chosen.at_once, chosen.turns, chosen.device) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
