"""What no summary of the Gaussian blobs can beat: the metrics of the two features themselves, with their mean known.

    python scripts/blobs_bound.py                              # squares of 0.1 x 0.1; a second

Bins of any function of the features, a network's score among them, are unions of such squares as these shrink; merging
bins loses information, and so does a nuisance parameter. With the densities s and b of signal and background

    1 / sigma(mu)^2 = int s^2 / (s + b)    q0 = 2 int [(s + b) ln(1 + s / b) - s]    q = 2 int [s - b ln(1 + s / b)],

the last one of the exclusion of mu = 1. Prints a row of a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from inferno_cli.api import compose
from inferno_cli.likelihood.profile import log_cls, log_p0

FAR = 8.0
"""How far from a mean the squares go."""


@dataclass(frozen=True)
class Bound:
    """The error of mu, and the statistics of discovery and exclusion."""

    sigma_mu: float
    q0: float
    q: float


def contents(mean: Sequence[float], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares of a blob in the squares between edges (n + 1,), shape (n, n)."""
    x, y = (np.diff(ndtr(edges - centre)) for centre in mean)
    return np.outer(x, y)


def bound(width: float) -> Bound:
    """Return what squares of a width make known."""
    dataset = compose("+experiment=blobs").dataset
    means = dataset.signal_mean, dataset.background_mean
    limit = np.abs(means).max() + FAR
    edges = np.arange(-limit, limit + width, width)
    signal, background = dataset.expected
    s, b = signal * contents(means[0], edges), background * contents(means[1], edges)
    filled = (s > 0) & (b > 0)  # far from both the shares are too small for numbers
    s, b = s[filled], b[filled]
    rise = np.log1p(s / b)
    return Bound(
        sigma_mu=float((s**2 / (s + b)).sum() ** -0.5),
        q0=float(2 * ((s + b) * rise - s).sum()),
        q=float(2 * (s - b * rise).sum()),
    )


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.1, help="of the squares")
    best = bound(parser.parse_args().width)
    p0, cls = np.exp(log_p0(np.asarray(best.q0))), np.exp(log_cls(np.asarray(best.q)))
    print("| | sigma(mu) | exp. signif. | p0 | CLs |\n|---|---|---|---|---|")
    print(f"| bound | {best.sigma_mu:.4f} | {best.q0**0.5:.2f} | {p0:.2e} | {cls:.2e} |")


if __name__ == "__main__":
    main()
