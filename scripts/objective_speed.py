"""Time of one step of a training with each objective of the fit, beside that of the variance of mu.

    python scripts/objective_speed.py                          # the embedded sample, two sets of nuisance parameters
    python scripts/objective_speed.py --repeats 100

A step is the forward pass of a batch, the loss, and the gradient in all weights. Objectives take turns on one batch, so
that other work on the machine slows them alike. Prints a Markdown table of CPU milliseconds of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.training.batches import StratifiedBatches
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.module import forward_together
from inferno_cli.training.trainer import create

OBJECTIVES = ("poi_variance", "generalised_variance", "z_asimov", "constraint_deviation", "p0", "cls", "weighted_sum")
NUISANCES = ("jes_qcd_norm", "all")


def step_of(objective: str, nuisance: str) -> Callable[[], None]:
    """Return one step of a training of the main measurement."""
    groups = ["~job", "+experiment=top11004", f"nuisance={nuisance}", "model=inferno", f"model/objective={objective}"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = resolve(TrainConfig, compose("train", overrides=groups))
    events, likelihoods, model = config.dataset.load(config.request), Likelihoods.from_config(config), config.model
    samples = [sample.only(likelihoods.trained.variations) for sample in events.train]
    likelihood = likelihoods.soft(likelihoods.trained, samples, events)
    torch.manual_seed(1)
    parts = model.network, model.summary, model.objective
    module = create(*parts, likelihood, samples, events.features, config.trainer)
    networks = module.networks
    batch = next(iter(StratifiedBatches(samples, config.trainer.batch_size, 1, torch.device("cpu"))))

    def step() -> None:
        outputs = forward_together(networks.only.network, [features for features, _ in batch])
        module.objective.loss(outputs, batch, [networks.only.summary] * len(batch), likelihood).backward()
        module.zero_grad()

    return step


def milliseconds(nuisance: str, repeats: int) -> dict[str, float]:
    """Return the median CPU time of a step of each objective."""
    steps = {objective: step_of(objective, nuisance) for objective in OBJECTIVES}
    times: dict[str, list[float]] = {objective: [] for objective in OBJECTIVES}
    for _ in range(repeats):
        for objective, step in steps.items():
            start = time.process_time()
            step()
            times[objective].append(time.process_time() - start)
    return {objective: 1000 * float(np.median(values)) for objective, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    columns = {nuisance: milliseconds(nuisance, repeats) for nuisance in NUISANCES}
    print("| objective | " + " | ".join(f"nuisance={name}" for name in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for objective in OBJECTIVES:
        cells = []
        for column in columns.values():
            cells.append(f"{column[objective]:.1f} ms ({column[objective] / column[OBJECTIVES[0]]:.2f}x)")
        print(f"| {objective} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
