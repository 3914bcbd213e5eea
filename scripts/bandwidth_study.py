"""How wide the kernel of a binned density estimate has to be for its gradient to be right.

    python scripts/bandwidth_study.py                     # 3 samples of each size, as published; a minute
    python scripts/bandwidth_study.py --seeds 30 --output /my/folder

Events are Normal(mu, 1), and one bin is filled, the one about 0. Of an event at x it has the share
Phi((b - x) / h) - Phi((a - x) / h), as in the summary `kde`. The derivative of its content in mu is compared with the
exact one, -[phi(b - mu) - phi(a - mu)]: for each bandwidth h and number of events, the root mean square of the
difference over mu in [-2, 2], relative to that of the exact derivative. Beside it stands what is expected of endless
samples:

    bias^2 + variance / events,

with the derivative of the smeared Normal(mu, sqrt(1 + h^2)), and the variance of that of one share. N. Simpson, thesis
(2023), section 7.2.3; the width of its bin is not stated, here it is 1, and so h is in bins, too. Writes
bandwidth_study.json, .md and .png.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

LOW, HIGH = -0.5, 0.5
LARGEST_MU, N_MU = 2.0, 500
BANDWIDTHS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000)
HEIGHTS = ((20, 100, 5000), (0.05, 0.5, 0.8))
"""Events and bandwidths of the published figures of the bin's content."""
QUADRATURE = 4001
Floats = NDArray[np.float64]


def density(x: Floats) -> Floats:
    """Return the density of a standard normal number."""
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def shares(x: Floats, h: float) -> Floats:
    """Return the share of the bin in each event."""
    return np.asarray(ndtr((HIGH - x) / h) - ndtr((LOW - x) / h))


def slopes(x: Floats, h: float) -> Floats:
    """Return the derivative of each share in mu, with which the event moves."""
    return -(density((HIGH - x) / h) - density((LOW - x) / h)) / h


def content(mu: Floats, spread: float = 1.0) -> Floats:
    """Return the expected content of the bin for events of Normal(mu, spread)."""
    return np.asarray(ndtr((HIGH - mu) / spread) - ndtr((LOW - mu) / spread))


def exact_slope(mu: Floats, spread: float = 1.0) -> Floats:
    """Return its derivative in mu."""
    return -(density((HIGH - mu) / spread) - density((LOW - mu) / spread)) / spread


def grid_of_mu() -> Floats:
    """Return the values of mu, shape (N_MU,)."""
    return np.linspace(-LARGEST_MU, LARGEST_MU, N_MU)


def measured_error(n_events: int, h: float, seed: int) -> float:
    """Return the mean square of the error of the derivative over mu, of one sample, which moves with mu."""
    mu = grid_of_mu()
    events = np.random.default_rng([seed, n_events]).normal(size=n_events)
    estimate = np.array([slopes(at + events, h).mean() for at in mu])
    return float(np.mean((estimate - exact_slope(mu)) ** 2))


def expected_error(n_events: int, h: float) -> float:
    """Return what the mean square is over endless samples."""
    mu = grid_of_mu()
    bias = exact_slope(mu, math.sqrt(1 + h**2)) - exact_slope(mu)
    # The mean of the square of one event's derivative, on a grid that is fine enough for the narrowest kernel.
    x = np.linspace(LOW - 8 * h, HIGH + 8 * h, QUADRATURE)
    weights = density(x[None, :] - mu[:, None]) * (x[1] - x[0])
    square = weights @ slopes(x, h) ** 2
    variance = square - exact_slope(mu, math.sqrt(1 + h**2)) ** 2
    return float(np.mean(bias**2 + variance / n_events))


def relative(mean_square: float) -> float:
    """Return the root of a mean square, in units of that of the exact derivative."""
    return math.sqrt(mean_square / float(np.mean(exact_slope(grid_of_mu()) ** 2)))


def errors(n_seeds: int) -> tuple[Floats, Floats]:
    """Return the relative errors, measured and expected, shape (sizes, bandwidths) each."""
    measured, expected = np.empty((2, len(SIZES), len(BANDWIDTHS)))
    for i, n_events in enumerate(SIZES):
        for j, h in enumerate(BANDWIDTHS):
            squares = [measured_error(n_events, h, seed) for seed in range(n_seeds)]
            measured[i, j] = relative(float(np.mean(squares)))
            expected[i, j] = relative(expected_error(n_events, h))
    return measured, expected


def table(measured: Floats, expected: Floats) -> str:
    """Return both errors, and which bandwidth is best for each number of events."""
    head = " | ".join(f"h = {h:g}" for h in BANDWIDTHS)
    lines = [f"| events | {head} | best h | best h expected |", "|---" * (len(BANDWIDTHS) + 3) + "|"]
    for i, n_events in enumerate(SIZES):
        cells = []
        for found, known in zip(measured[i], expected[i], strict=True):
            cells.append(f"{found:.2f} ({known:.2f})")
        best = [f"{BANDWIDTHS[int(np.argmin(row[i]))]:g}" for row in (measured, expected)]
        lines.append(f"| {n_events} | {' | '.join(cells)} | {' | '.join(best)} |")
    return "\n".join(lines) + "\n"


def draw(path: Path, measured: Floats) -> None:
    """Draw the content of the bin as in the published figures, and the errors of its derivative as a map."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 6.5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    sizes, bandwidths = HEIGHTS
    mu = grid_of_mu()
    panels = left.subplots(len(bandwidths), len(sizes), sharex=True, sharey=True)
    for row, h in zip(panels, bandwidths, strict=True):
        for axes, n_events in zip(row, sizes, strict=True):
            events = np.random.default_rng([0, n_events]).normal(size=n_events)
            axes.plot(mu, [shares(at + events, h).mean() for at in mu], label="estimate")
            axes.plot(mu, content(mu), linestyle="--", label="exact")
            axes.set_title(f"{n_events} events, h = {h:g}", fontsize=9)
    panels[0, 0].legend(fontsize=8)
    left.supxlabel("mu")
    left.supylabel("content of the bin / events")
    axes = right.subplots()
    image = axes.pcolormesh(np.log10(measured), cmap="viridis_r")
    axes.set_xticks(np.arange(len(BANDWIDTHS)) + 0.5, [f"{h:g}" for h in BANDWIDTHS])
    axes.set_yticks(np.arange(len(SIZES)) + 0.5, [f"{n}" for n in SIZES])
    axes.set(xlabel="bandwidth h", ylabel="events", title="relative error of the derivative, log10")
    right.colorbar(image, ax=axes)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path())
    options = parser.parse_args()
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    measured, expected = errors(options.seeds)
    text = table(measured, expected)
    print(text, end="")
    (output / "bandwidth_study.md").write_text(text, encoding="utf-8")
    record = {"events": SIZES, "bandwidths": BANDWIDTHS, "seeds": options.seeds}
    values = {"measured": measured.tolist(), "expected": expected.tolist()}
    (output / "bandwidth_study.json").write_text(json.dumps({**record, **values}) + "\n", encoding="utf-8")
    draw(output / "bandwidth_study.png", measured)


if __name__ == "__main__":
    main()
