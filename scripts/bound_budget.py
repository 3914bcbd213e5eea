"""How far from the Cramer-Rao bound bins are, and where a trained network loses the rest: exact, on a grid.

    python scripts/bound_budget.py                          # benchmarks 0 to 4: what the number of bins costs
    python scripts/bound_budget.py outputs/runs/*/*         # finished runs on the synthetic mixture

The exact densities know the best summary of one event for mu, its efficient score: the derivative of ln of the density
in s, less those in the nuisance parameters as far as they explain it,

    t = [C u]_s / C_ss,   u_i = d ln nu / d theta_i,   C = (integral of nu u u^T + constraints)^-1.

One number holds all that can be known of s. Its variance within bins is what they lose. Prints Markdown tables of
sigma(s) above the bound, for events without end:

- of t in K bins, the best ones (that variance is smallest) and balanced ones (``model.edges=balanced``);
- of t in K of the best bins where the derivatives are those of the templates, (up - down) / 2 of their steps;
- of each run: of the last hidden layer (the linear combination that is closest to t, in many bins), of the score in
  many balanced bins (of a network with one output), of the bins as trained, as merged, and what the fit of its finite
  templates says.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray

import inferno_cli
from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.sources.synthetic import (
    BACKGROUND_VARIANCE,
    ExactYields,
    SyntheticDataset,
    exact_yields,
    log_density,
)
from inferno_cli.events.systematics.transform import TransformSystematic
from inferno_cli.training.observable import Observable

BINS = (5, 10, 20, 40)
MANY = 160
ROUNDS = 300
"""Steps of Lloyd's algorithm."""
CHUNK = 200_000
Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]


def composed(experiment: str) -> TrainConfig:
    """Return the configuration of an experiment."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return resolve(TrainConfig, compose("train", overrides=["~job", f"+experiment={experiment}"]))


def exact_of(config: TrainConfig) -> ExactYields:
    """Return the exact densities of a configuration."""
    assert isinstance(config.dataset, SyntheticDataset)
    exact = exact_yields(config.dataset, config.nuisance.fit, config.nuisance.unconstrained)
    assert exact is not None
    return exact


def with_steps(exact: ExactYields, config: TrainConfig) -> ExactYields:
    """Return the densities with derivatives as the templates have them: half the difference of a step up and down."""
    dataset = config.dataset
    assert isinstance(dataset, SyntheticDataset)
    (r, _), rate = dataset.background_mean, dataset.nominal.rate
    background = exact.expected - dataset.expected[0] * exact.derivatives[0]
    nominal = log_density(exact.points, (r, 0.0), BACKGROUND_VARIANCE, rate)
    derivatives = exact.derivatives.copy()
    for row, name in enumerate(config.nuisance.fit, start=1):
        systematic = dataset.systematics[name]
        if not isinstance(systematic, TransformSystematic):
            continue
        ratios = []
        for step in (systematic.moved, -systematic.moved):
            mean, moved_rate = (r + step, rate) if systematic.parameter == "r" else (r, rate + step)
            moved = log_density(exact.points, (mean, 0.0), BACKGROUND_VARIANCE, moved_rate)
            ratios.append(np.exp(moved - nominal))
        change = background * (ratios[0] - ratios[1]) / 2
        derivatives[row] = change * systematic.width / systematic.moved
    return replace(exact, derivatives=derivatives)


# ------------------------------------------------------------------------------------------------------ the bins
def efficient_score(exact: ExactYields) -> Floats:
    """Return t at each point, shape (n,)."""
    covariance = exact.covariance
    return np.asarray(covariance[0] @ (exact.derivatives / exact.expected) / covariance[0, 0])


def sigma(exact: ExactYields, bins: Numbers) -> float:
    """Return the standard deviation of s in the fit of bins, one number for each point, shape (n,)."""
    expected = np.bincount(bins, exact.expected).astype(np.float64)
    derivatives = np.stack([np.bincount(bins, row) for row in exact.derivatives]).astype(np.float64)
    filled = expected > 0
    found = replace(exact, expected=expected[filled], derivatives=derivatives[:, filled])
    return float(np.sqrt(found.covariance[0, 0]))


def best_edges(values: Floats, weights: Floats, n_bins: int) -> Floats:
    """Return edges with the smallest variance of the values within bins (Lloyd's algorithm), shape (n_bins - 1,)."""
    order = np.argsort(values)
    values, total = values[order], np.cumsum(weights[order])
    moment = np.cumsum(weights[order] * values)
    edges = np.interp(np.arange(1, n_bins) / n_bins * total[-1], total, values)
    for _ in range(ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(values, edges), [len(values)]])
        weight = np.diff(np.append(0.0, total)[ends])
        centres = np.diff(np.append(0.0, moment)[ends]) / np.where(weight > 0, weight, 1.0)
        edges = (centres[1:] + centres[:-1]) / 2
    return np.asarray(edges)


def balanced_edges(values: Floats, exact: ExactYields, s: float, n_bins: int) -> Floats:
    """Return edges at quantiles of signal (of s events) and background, half each, shape (n_bins - 1,)."""
    signal = exact.derivatives[0]
    background = exact.expected - s * signal
    order = np.argsort(values)
    shares = np.cumsum((signal / signal.sum() + background / background.sum())[order])
    return np.asarray(np.interp(np.arange(1, n_bins) / n_bins * shares[-1], shares, values[order]))


def excess(exact: ExactYields, values: Floats, edges: Floats) -> str:
    """Return how far sigma(s) of bins of values, shape (n,), is above the bound."""
    return f"{sigma(exact, np.searchsorted(edges, values)) / bound(exact) - 1:+.2%}"


def bound(exact: ExactYields) -> float:
    """Return the smallest possible standard deviation of s."""
    return float(np.sqrt(exact.covariance[0, 0]))


def of_the_bins() -> None:
    """Print what the number of bins costs."""
    kinds = ("best", "balanced", "best, steps")
    print("| benchmark | bound |" + "".join(f" {n} {kind} |" for n in BINS for kind in kinds))
    print("|---" * (2 + len(BINS) * len(kinds)) + "|", flush=True)
    for number in range(5):
        config = composed(f"benchmark{number}")
        exact = exact_of(config)
        stepped, score = with_steps(exact, config), efficient_score(exact)
        cells = []
        for n_bins in BINS:
            best = best_edges(score, exact.expected, n_bins)
            balanced = balanced_edges(score, exact, config.dataset.quoted_signal() or 0.0, n_bins)
            found = sigma(stepped, np.searchsorted(best, score)) / bound(exact) - 1
            cells += [excess(exact, score, best), excess(exact, score, balanced), f"{found:+.2%}"]
        print(f"| {number} | {bound(exact):.3f} | {' | '.join(cells)} |", flush=True)


# ------------------------------------------------------------------------------------------------------ the runs
def of_a_run(folder: Path) -> str:
    """Return where a run loses, as cells of a table."""
    run = inferno_cli.open_run(folder)
    config, results = run.config, run.results
    exact, observable = exact_of(config), run.observable
    outputs, hidden = _passed(observable, exact.points.astype(np.float32))
    limit, many = bound(exact), ""
    if outputs.shape[1] == 1:
        values = outputs[:, 0].astype(np.float64)
        many = excess(exact, values, balanced_edges(values, exact, config.dataset.quoted_signal() or 0.0, MANY))
    closest = hidden @ _closest(hidden, efficient_score(exact), exact.expected)
    of_hidden = excess(exact, closest, best_edges(closest, exact.expected, MANY))
    bins = observable.summary.hard(torch.from_numpy(outputs)).numpy()
    trained, merged = (f"{sigma(exact, found) / limit - 1:+.2%}" for found in (bins, observable.final[bins]))
    assert results.sigma_s is not None
    n_bins = f"{observable.summary.n_bins}, {len(np.unique(observable.final))} left"
    name = f"{config.model.title}, seed {config.seed}"
    cells = [folder.name, name, n_bins, of_hidden, many, trained, merged, f"{results.sigma_s / limit - 1:+.2%}"]
    return " | ".join(cells)


@torch.no_grad()
def _passed(observable: Observable, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], Floats]:
    """Return the outputs of a network, shape (n, n_outputs), and of its last hidden layer with a 1, (n, units + 1)."""
    outputs, hidden = [], []
    for start in range(0, len(features), CHUNK):
        layer = observable.network[:-1](torch.from_numpy(features[start : start + CHUNK]))
        outputs.append(observable.network[-1](layer).numpy())
        hidden.append(np.column_stack([layer.numpy(), np.ones(len(layer))]))
    return np.concatenate(outputs), np.concatenate(hidden)


def _closest(hidden: Floats, score: Floats, weights: Floats) -> Floats:
    """Return the coefficients of the linear combination of columns (n, units) that is closest to a score (n,)."""
    matrix = hidden.T @ (hidden * weights[:, None])
    matrix += np.eye(len(matrix)) * 1e-12 * np.trace(matrix)
    return np.asarray(np.linalg.solve(matrix, hidden.T @ (weights * score)), dtype=np.float64)


def of_the_runs(folders: Sequence[Path]) -> None:
    """Print where runs lose."""
    print("| run | model | bins | hidden layer | score, many bins | bins as trained | as merged | fit |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for folder in folders:
        print(f"| {of_a_run(folder)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs")
    folders = parser.parse_args().runs
    torch.set_num_threads(1)
    if folders:
        of_the_runs(folders)
    else:
        of_the_bins()


if __name__ == "__main__":
    main()
