"""Time of a step of a training beside plain forward and backward passes, and of an epoch beside pytorch_inferno's.

    python scripts/train_speed.py                            # all steps, and an epoch; about two minutes
    python scripts/train_speed.py --pytorch-inferno FOLDER   # where its package lies, with fastcore and fastprogress
    python scripts/train_speed.py --device cuda              # steps on a GPU

No time is printed before its gates have passed. Of a step: the variance of mu against numpy's, with the interpolations
written out, and the slope of the loss in all weights against differences; pytorch_inferno's loss is compared with ours
on the same events and network. Prints Markdown tables: CPU time of one thread; on a GPU, of the clock. What a row
compares takes turns, so that other work on the machine slows all of it alike.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.sample import Events
from inferno_cli.likelihood.information import DeferredCheck, poi_variance
from inferno_cli.likelihood.profile import without_graph
from inferno_cli.testing.test_objectives import NoWaiting
from inferno_cli.training.batches import Batch, StratifiedBatches
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.layers import Linear, Rectifier
from inferno_cli.training.module import Module, forward_together
from inferno_cli.training.trainer import create, train

MAIN = ["+experiment=top11004"]
MIXTURE = ["dataset=synthetic", "model=inferno", "dataset.events.validation=1000", "dataset.events.template=1000"]
STEPS = {
    "main measurement": MAIN,
    "main, nuisance=all": [*MAIN, "nuisance=all"],
    "mixture, no nuisance": [*MIXTURE, "nuisance=none"],
    "mixture, r": [*MIXTURE, "nuisance=r_free"],
    "mixture, r and lambda": [*MIXTURE, "nuisance=r_lambda"],
    "the same, 20 bins": [*MIXTURE, "nuisance=r_lambda", "model.bins=20"],
    "the same, 40 bins": [*MIXTURE, "nuisance=r_lambda", "model.bins=40"],
    "the same, 1000 events": [*MIXTURE, "nuisance=r_lambda", "model.batch_size=1000"],
    "the same, 8000 events": [*MIXTURE, "nuisance=r_lambda", "model.batch_size=8000"],
}
"""Rows of the table of steps: what of the configuration each has."""
EPOCH = 200_000
"""Events of the training split of the epoch, and as many of validation."""
STEP = 1e-6
"""Of the differences, along the gradient of all weights, in units of its length."""


def configured(overrides: list[str]) -> TrainConfig:
    """Return a configuration."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return resolve(TrainConfig, compose("train", overrides=["~job", *overrides]))


# ------------------------------------------------------------------------------------------------------------ steps
@dataclass
class Step:
    """One batch and the networks that are trained on it."""

    module: Module
    batch: Batch

    @classmethod
    def of(cls, config: TrainConfig, events: Events, device: torch.device) -> Step:
        """Take the first batch of a training."""
        likelihoods, model = Likelihoods.from_config(config), config.model
        samples = [sample.only(likelihoods.trained.variations) for sample in events.train]
        likelihood = likelihoods.soft(likelihoods.trained, samples, events)
        torch.manual_seed(config.seed)
        parts = model.network, model.summary, model.objective
        module = create(*parts, likelihood, samples, events.features, config.trainer).to(device)
        batches = StratifiedBatches(samples, config.trainer.batch_size, config.seed, device)
        model.summary.spread(module.networks.only.network, batches.nominal_features(10_000, range(len(samples))))
        return cls(module, next(iter(batches)))

    @property
    def network(self) -> nn.Sequential:
        """The network."""
        return self.module.networks.only.network

    @property
    def n_rows(self) -> int:
        """Rows of features, of all views."""
        return sum(features.shape[0] * features.shape[1] for features, _ in self.batch)

    def loss(self) -> Tensor:
        """Return the loss of the batch."""
        outputs = forward_together(self.network, [features for features, _ in self.batch])
        summaries = [self.module.networks.only.summary] * len(self.batch)
        return self.module.objective.loss(outputs, self.batch, summaries, self.module.likelihood)

    def runs(self) -> dict[str, Callable[[], None]]:
        """Return a step as it is trained, and passes of the same rows, of torch's layers and ours; with optimisers."""
        rows = torch.cat([features.flatten(0, 1) for features, _ in self.batch])
        check = DeferredCheck()

        def stepping(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
            optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, fused=True)

            def stepped() -> None:
                loss().backward()
                optimizer.step()
                optimizer.zero_grad()

            return stepped

        def passing(network: nn.Module) -> Callable[[], None]:
            return stepping(network, lambda: network(rows).square().mean())

        def loss() -> Tensor:
            with check.instead():
                return self.loss()

        return {
            "plain": passing(of_torch(self.network)),
            "passes": passing(self.network),
            "step": stepping(self.network, loss),
        }


def of_torch(network: nn.Sequential) -> nn.Sequential:
    """Return a copy of a network with torch's own layers where ours are faster."""
    copied = copy.deepcopy(network)
    for layer in copied.modules():
        for own, plain in ((Linear, nn.Linear), (Rectifier, nn.ReLU)):
            if type(layer) is own:
                layer.__class__ = plain
    return copied


def gates(name: str, step: Step) -> None:
    """Compare value and slope of a loss with others; no time is shown of one that is wrong."""
    step = Step(copy.deepcopy(step.module).double(), [(x.double(), weights) for x, weights in step.batch])
    loss = step.loss()
    loss.backward()
    outputs = forward_together(step.network, [features for features, _ in step.batch])
    memberships = [step.module.networks.only.summary.soft(output) for output in outputs]
    templates = without_graph(step.module.likelihood.expectation(step.batch, memberships))
    # At parameters that are given the interpolations are evaluated; without, their closed form.
    expected = math.log(float(poi_variance(templates, templates.init)))
    require(name, "the loss", loss.item(), expected, 1e-9 * max(1, abs(expected)))
    parameters = [parameter for parameter in step.network.parameters() if parameter.grad is not None]
    length = math.sqrt(sum(float((parameter.grad**2).sum()) for parameter in parameters))
    found = []
    with torch.no_grad():
        for side in (STEP, -2 * STEP, STEP):
            found.append(step.loss().item())
            for parameter in parameters:
                parameter += side / length * parameter.grad
    require(name, "the slope", length, (found[1] - found[2]) / (2 * STEP), 1e-4 * length)


def require(name: str, what: str, value: float, expected: float, allowed: float) -> None:
    """Leave where a number is off by more than is allowed."""
    if not abs(value - expected) <= allowed:
        raise SystemExit(f"{name}: {what} is {value:.9g}, expected {expected:.9g}: no time is shown")


def turns(runs: Mapping[str, Callable[[], None]], repeats: int, device: torch.device) -> dict[str, float]:
    """Return the median time of each of some runs, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for _ in range(repeats + 3):
        for name, run in runs.items():
            start = clock()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(clock() - start)
    return {name: float(np.median(values[3:])) for name, values in times.items()}


def steps(repeats: int, device: torch.device) -> None:
    """Print the table of steps."""
    print("| batch | rows | bins | parameters | plain passes | our passes | step | by plain | operations |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, overrides in STEPS.items():
        config = configured(overrides)
        step = Step.of(config, config.dataset.load(config.request), device)
        gates(name, step)
        runs = step.runs()
        times = turns(runs, repeats, device)
        n_parameters = len(step.module.likelihood.measurement.parameters)
        plain, passes, ours = (1000 * times[key] for key in ("plain", "passes", "step"))
        cells = f"{name} | {step.n_rows} | {config.model.summary.n_bins} | {n_parameters} | {plain:.2f} ms"
        cells += f" | {passes:.2f} ms"
        print(f"| {cells} | {ours:.2f} ms | {ours / plain:.2f}x | {operations(step)} |", flush=True)


def operations(step: Step) -> int:
    """Return how many operations forward and backward passes have where there is no processor: kernels on a GPU."""
    nowhere = torch.device("meta")
    module = copy.deepcopy(step.module).to(nowhere)
    own = Step(module, [(features.to(nowhere), weights.to(nowhere)) for features, weights in step.batch])
    for watch in (contextlib.nullcontext(), NoWaiting()):  # the first makes the constants
        with watch, DeferredCheck().instead():
            own.loss().backward()
        module.zero_grad()
    return watch.kernels.total()


# ----------------------------------------------------------------------------------------------------------- epochs
def epochs(overrides: list[str], number: int = 3) -> list[float]:
    """Return CPU seconds of each epoch of a training but the first, its validation included."""
    config = configured(["trainer.progress=none", f"trainer.max_epochs={number + 1}", *overrides])
    events, model, ends = config.dataset.load(config.request), config.model, list[float]()
    with tempfile.TemporaryDirectory() as folder:
        train(
            *(model.network, model.summary, model.objective),
            *(Likelihoods.from_config(config), events, config.trainer),
            seed=config.seed,
            folder=Path(folder),
            watch=lambda *_: ends.append(time.process_time()),
        )
    return list(np.diff(ends))


class Peer:
    """pytorch_inferno on the same mixture, with the same network, bins, temperature, batches and numbers of events."""

    def __init__(self, temperature: float) -> None:
        from pytorch_inferno import callback, data, inferno, model_wrapper

        self.inferno, self.wrapper, self.tracker = inferno, model_wrapper.ModelWrapper, callback.LossTracker
        np.random.seed(1)  # noqa: NPY002 (what it draws from)
        self.data, self.softmax = data.get_paper_data(EPOCH, bs=2000), inferno.VariableSoftmax(temperature)

    def loss(self, step: Step) -> float:
        """Return its loss for the nominal events of a batch, of a network of ours, with r as the one parameter."""
        made = self.wrapper(nn.Sequential(copy.deepcopy(step.network), self.softmax), device=torch.device("cpu"))
        normal = torch.distributions.Normal(0.0, 1.0)
        made.cbs = [self.inferno.ApproxPaperInferno(r_mods=(-0.2, 0.2), l_mods=None, shape_aux=[normal])]
        made.state = "valid"
        for item in made.cbs:
            item.set_wrapper(made)
            item.on_train_begin()
        parts = zip(step.batch, step.module.likelihood.strata, strict=True)
        nominal = [(features[0], float(stratum.is_signal)) for (features, _), stratum in parts]
        labels = torch.cat([torch.full((len(rows), 1), label) for rows, label in nominal])
        made._fit_batch(torch.cat([rows for rows, _ in nominal]), labels, None)
        # Its signal strength is a number of events, 50 of them nominal.
        return math.log(made.loss_val.item() / 50**2)

    def epoch(self) -> float:
        """Return CPU seconds of an epoch, its validation included."""
        layers = [nn.Linear(3, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)]
        made = self.wrapper(nn.Sequential(*layers, self.softmax), device=torch.device("cpu"))
        loss = self.inferno.PaperInferno(float_r=True, float_l=True)
        start = time.process_time()
        made.fit(1, self.data, lambda weights: torch.optim.SGD(weights, lr=1e-6), None, [loss, self.tracker()])
        return time.process_time() - start


def mixture(repeats: int, folder: Path | None) -> None:
    """Print the table of epochs."""
    sizes = {"train": EPOCH, "validation": EPOCH, "template": 10_000}
    overrides = ["dataset=synthetic", "model=inferno", "nuisance=r_lambda", "model.warm_up=0"]
    overrides += [f"dataset.events.{split}={size}" for split, size in sizes.items()]
    config, cpu = configured(overrides), torch.device("cpu")
    step = Step.of(config, config.dataset.load(config.request), cpu)
    gates("epoch", step)
    plain = turns({"plain": step.runs()["plain"]}, 20, cpu)["plain"] * EPOCH / config.trainer.batch_size
    theirs, peer = list[float](), None
    if folder is not None:
        sys.path.insert(0, str(folder))
        peer = Peer(config.model.summary.temperature)
        small = configured([*STEPS["mixture, r"], "likelihood.staterror=false", "nuisance.unconstrained=[]"])
        step = Step.of(small, small.dataset.load(small.request), cpu)
        # It adds 1e-7 events to each bin, in float32.
        require("pytorch_inferno", "its loss", peer.loss(step), step.loss().item(), 1e-3)
    ours: list[float] = []
    for _ in range(repeats):
        ours += epochs(overrides)
        theirs += [] if peer is None else [peer.epoch()]
    own, other = float(np.median(ours)), float(np.median(theirs or 0))
    print("\n| epoch | CPU | |\n|---|---|---|")
    print(f"| ours, with validation | {own:.2f} s | 1 |")
    print(f"| plain passes of the same rows, without validation | {plain:.2f} s | {plain / own:.2f}x |")
    if theirs:
        print(f"| pytorch_inferno, with validation | {other:.2f} s | {other / own:.1f}x |")


def main(arguments: Any = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pytorch-inferno", type=Path, metavar="FOLDER", help="where the package pytorch_inferno lies")
    parser.add_argument("--device", default="cpu", help="of the steps: cpu or cuda")
    parser.add_argument("--repeats", type=int, default=40, help="of each step; an epoch is repeated a tenth as often")
    chosen = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    steps(chosen.repeats, torch.device(chosen.device))
    mixture(max(1, chosen.repeats // 10), chosen.pytorch_inferno)


if __name__ == "__main__":
    main()
