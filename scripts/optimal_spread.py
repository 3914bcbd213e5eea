"""How well a sample of simulated events knows the optimal classifier's sigma(s): the paper's row is of one such sample.

    python scripts/optimal_spread.py            # benchmarks 0 to 4, 100 samples of a million events; some minutes

Prints, for each benchmark, sigma(s) of all samples together, and the standard deviation over single samples: with
shifted templates of the same events, as in this package and the published code, and of other events for every
template. Independent of the package's likelihood: histograms and a matrix in numpy.
"""

from __future__ import annotations

import argparse

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.published import Reference
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.sources.synthetic import SyntheticDataset, draw_background, draw_signal, transform
from inferno_cli.events.systematics.normalisation import NormalisationSystematic
from inferno_cli.events.systematics.transform import TransformSystematic

EDGES = np.linspace(0, 1, 11)
Array = np.ndarray


def published() -> dict[str, float]:
    """Numbers of the paper, by benchmark."""
    reference = resolve(Reference, OmegaConf.load(config_folder() / "reference" / "benchmarks.yaml"))
    rows = [row for row in reference.rows if (row.model, row.label) == ("optimal", "paper")]
    return {row.at["experiment"]: row.ranges["sigma_s"][0] for row in rows}


class Benchmark:
    """The templates of one benchmark, and sigma(s) from them."""

    def __init__(self, experiment: str) -> None:
        """Compose the experiment."""
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            self.config = resolve(TrainConfig, compose("train", overrides=["~job", f"+experiment={experiment}"]))
        assert isinstance(self.config.dataset, SyntheticDataset)
        self.dataset = self.config.dataset
        systematics = {name: self.dataset.systematics[name] for name in self.config.nuisance.fit}
        self.shifts = {name: x for name, x in systematics.items() if isinstance(x, TransformSystematic)}
        self.yield_errors = [x.size for x in systematics.values() if isinstance(x, NormalisationSystematic)]

    def histogram(self, events: Array) -> Array:
        """Shares of events in ten equal bins of f_s / (f_s + f_b)."""
        exact = self.dataset.exact_classifier()
        x = events.astype(np.float64)
        score = 1 / (1 + np.exp(-(x**2 @ exact.square + x @ exact.linear + exact.constant)))
        return np.histogram(score, EDGES)[0] / len(events)

    def templates(self, rng: np.random.Generator, n: int, *, paired: bool) -> Array:
        """Signal, background, and background up and down for each parameter, shape (2 + 2 P, bins)."""
        nominal = self.dataset.nominal
        background = draw_background(rng, n, nominal.r, nominal.rate)
        found = [self.histogram(draw_signal(rng, n, self.dataset.signal_mean)), self.histogram(background)]
        for item in self.shifts.values():
            for sign in (1, -1):
                events = background if paired else draw_background(rng, n, nominal.r, nominal.rate)
                found.append(self.histogram(transform(events, item.parameter, sign * item.moved, nominal.rate)))
        return np.stack(found)

    def sigma(self, templates: Array) -> float:
        """Standard deviation of the signal yield in the Asimov data, nuisance parameters profiled."""
        signal, background, *shifted = templates
        yields = self.dataset.yields
        columns, constraints = [signal], [0.0]
        pairs = zip(shifted[::2], shifted[1::2], strict=True)
        for (name, item), (up, down) in zip(self.shifts.items(), pairs, strict=True):
            columns.append(yields.background * (up - down) / (2 * item.moved))
            constraints.append(0.0 if name in self.config.nuisance.unconstrained else item.width**-2)
        for size in self.yield_errors:
            assert isinstance(size, float)
            columns.append(size * yields.background * background)
            constraints.append(1.0)
        expected = yields.signal * signal + yields.background * background
        filled = expected > 0
        slopes = np.stack(columns, axis=1)[filled]
        information = slopes.T @ (slopes / expected[filled, None]) + np.diag(constraints)
        return float(np.sqrt(np.linalg.inv(information)[0, 0]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--events", type=int, default=1_000_000, help="of one sample, half of them signal")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| benchmark | published | all samples | deviation | spread, same events | spread, other events |")
    print("|---|---|---|---|---|---|", flush=True)
    for experiment, paper in published().items():
        benchmark = Benchmark(experiment)
        rng = np.random.default_rng(options.seed)
        same, other = (
            [benchmark.templates(rng, options.events // 2, paired=paired) for _ in range(options.samples)]
            for paired in (True, False)
        )
        together = benchmark.sigma(np.mean(same, axis=0))
        spreads = " | ".join(f"{np.std([benchmark.sigma(item) for item in found]):.2f}" for found in (same, other))
        deviation = f"{paper / together - 1:+.1%}"
        print(f"| {experiment} | {paper} | {together:.2f} | {deviation} | {spreads} |", flush=True)


if __name__ == "__main__":
    main()
