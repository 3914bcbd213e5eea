"""What is kept of a training, and of several: epochs, members, and their mean, by the templates that chose nothing.

    python scripts/selection_study.py OUT +experiment=top11004 dataset.seed=1          # 10 seeds, 5 members
    python scripts/selection_study.py OUT --seeds 2 +experiment=top11004 model=bce dataset.seed=1
    python scripts/selection_study.py OUT --members 3 --config-dir my dataset=mine

Words that are no options are those behind ``inferno train``. Every member is trained once, and the weights of each
epoch are kept in OUT (some megabytes a training), as are the values of its templates: the same command goes on where it
was stopped. Then every rule is applied to the same trainings:

- which epoch: by a value of the validation split (hard bins, with the noise of the variations, soft bins, the mean of
  both on a logarithmic scale), its mean over the last epochs; the same with early stopping; the last epoch; and, out of
  reach, the best by the templates;
- of several members: one of them, the best by the same value, and their mean, of the selected epochs alone and with
  late epochs of each; and the same mean of a single training.

Prints a Markdown table: sigma(mu) of the templates, and the same with the noise of their variations, mean and spread
over members or seeds; how much larger that is than the validation value of what was kept (optimism); how many epochs
were trained. Below it stands by how much sigma(mu) of the mean differs between halves of the templates: their noise.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

import inferno_cli as inferno
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import SingularInformationError
from inferno_cli.events.channels import Channels
from inferno_cli.events.sample import Events
from inferno_cli.training import trainer
from inferno_cli.training.average import averaged
from inferno_cli.training.epochs import Epoch, Training
from inferno_cli.training.evaluation import Evaluation, Likelihoods
from inferno_cli.training.final_templates import final_templates
from inferno_cli.training.members import best
from inferno_cli.training.module import Module
from inferno_cli.training.observables import Observables
from inferno_cli.training.snapshots import window

EVERY = 4
"""Epochs of which the templates are filled: each of so many."""
Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Kept:
    """What a rule keeps: roots of variances.

    Attributes:
        sigma: sigma(mu) of the templates, in closed form.
        honest: The same with the noise of their variations.
        validation: That on the validation split.
        n_bins: Bins of the networks that are fitted.
        halves: sigma of one half of the templates over that of the other.
        epochs: How many were trained.
    """

    sigma: float
    honest: float
    validation: float
    n_bins: int
    halves: float = 1.0
    epochs: int = 0


class KeepAll(trainer.Validation):
    """The validation of a training, which keeps the weights of every epoch."""

    kept: dict[int, dict[str, Any]]

    def on_train_epoch_end(self, lightning: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate, and keep the weights."""
        super().on_train_epoch_end(lightning, pl_module)
        assert isinstance(pl_module, Module)
        if not pl_module.warming_up:
            state: dict[str, Any] = {"epoch": lightning.current_epoch}
            state["state_dict"] = {name: value.clone() for name, value in pl_module.state_dict().items()}
            pl_module.on_save_checkpoint(state)
            KeepAll.kept[lightning.current_epoch] = state


@dataclass(frozen=True)
class Study:
    """The trainings of one configuration with one seed of its data."""

    config: TrainConfig
    events: Events
    folder: Path

    @property
    def likelihoods(self) -> Likelihoods:
        """What is trained for, and fitted."""
        return Likelihoods.from_config(self.config)

    def trained(self, member: int) -> tuple[Training, dict[int, dict[str, Any]]]:
        """Return a training and the weights of its epochs, trained now or before."""
        model, path = self.config.model, self.folder / f"seed{self.config.seed}_member{member}.pt"
        if not path.exists():
            KeepAll.kept = {}
            parts = model.network, model.summary, model.objective, self.likelihoods, self.events, self.config.trainer
            found = trainer.train(*parts, seed=self.config.seed_of(0, member), folder=self.folder, name="training.ckpt")
            curves = [(epoch.number, epoch.loss, vars(epoch.evaluation)) for epoch in found.epochs]
            about = {"epochs": curves, "best": found.best.number, "seconds": found.seconds, "states": KeepAll.kept}
            torch.save(about, path)
        about = torch.load(path, weights_only=True)
        epochs = []
        for number, loss, values in about["epochs"]:
            epochs.append(Epoch(number, loss, Evaluation(**values)))
        states: dict[int, dict[str, Any]] = about["states"]
        return self.at(about["best"], tuple(epochs), states, about["seconds"]), states

    def at(self, epoch: int, epochs: tuple[Epoch, ...], states: dict[int, dict[str, Any]], seconds: float) -> Training:
        """Return a training as if it had kept an epoch."""
        model, samples = self.config.model, self.events.train
        path = self.folder / "training.ckpt"
        torch.save(states[epoch], path)
        summary = model.summary.for_samples({sample.name: sample.is_signal for sample in samples})
        networks = {}
        channels = self.likelihoods.channels.networks
        for name in channels or (trainer.SHARED,):
            about = model.network, summary, self.events.features, (), epoch
            networks[name] = trainer.Observable.load(path, *about, name)
        every = trainer.ChannelNetworks.by_channels(networks, channels)
        return Training(every, epochs, epochs[epoch], epochs[epoch].evaluation, path, seconds)

    def with_snapshots(self, training: Training, states: dict[int, dict[str, Any]]) -> Training:
        """Return a training with its late epochs, as many as a member has in a mean."""
        late = [number for number in states if (number + 1) % window(self.config.trainer.max_epochs) == 0]
        found = []
        for number in late[-self.config.trainer.n_snapshots :]:
            found.append(self.at(number, training.epochs, states, training.seconds).networks)
        return replace(training, snapshots=tuple(found))

    def mean(self, trainings: Sequence[Training]) -> Kept:
        """Return what the mean of trainings is worth."""
        mean = averaged(trainings, self.likelihoods, self.events, self.folder / "average.ckpt")
        return self.kept(mean)

    def templates(self, member: int, training: Training, states: dict[int, dict[str, Any]]) -> dict[int, Kept]:
        """Return what some epochs of a training are worth, found now or before."""
        path = self.folder / f"seed{self.config.seed}_member{member}.json"
        if path.exists():
            return {int(number): Kept(**values) for number, values in json.loads(path.read_text()).items()}
        found = {}
        for number in states:
            if number % EVERY == 0 or number in (training.best.number, max(states)):
                found[number] = self.kept(self.at(number, training.epochs, states, training.seconds))
        path.write_text(json.dumps({number: vars(item) for number, item in found.items()}))
        return found

    def kept(self, training: Training) -> Kept:
        """Return what a training is worth."""
        final = final_templates(
            Observables((training.networks,), Channels(self.config.channels)),
            self.likelihoods,
            self.events,
            symmetrise=self.config.likelihood.symmetrise,
            prune=self.config.likelihood.prune,
            keep=self.config.named_in_fit,
            seed=self.config.data_seed,
        )
        roots = math.sqrt(final.poi_variance), math.sqrt(final.honest_variance)
        n_bins = sum(channel.n_bins for channel in final.channels if channel.is_trained)
        first, second = next(iter(final.stability.values()))
        validation = math.sqrt(training.validation.honest)
        return Kept(*roots, validation, n_bins, first / second, len(training.epochs))


def mean_of_last(values: Curve, n: int) -> Curve:
    """Return the mean over the last epochs, infinite before there are as many finite ones."""
    found = np.full(len(values), np.inf)
    for end in range(n, len(values) + 1):
        found[end - 1] = values[end - n : end].mean()
    return found


def stopped(values: Curve, patience: int) -> Curve:
    """Return a curve, infinite behind the epoch after which early stopping ends the training."""
    smallest, waited = math.inf, 0
    for number, value in enumerate(values):
        if value < smallest:
            smallest, waited = value, 0
        elif math.isfinite(smallest):
            waited += 1
        if waited == patience:
            return np.where(np.arange(len(values)) <= number, values, np.inf)
    return values


def curve(name: str, training: Training) -> Curve:
    """Return a value of the validation split in each epoch."""
    hard, soft = (
        np.array([math.sqrt(getattr(epoch.evaluation, key)) for epoch in training.epochs]) for key in ("merit", "soft")
    )
    return {"hard": hard, "soft": soft, "both": np.sqrt(hard * soft)}[name]


def rules(n_epochs: int) -> dict[str, Callable[[Training], Curve]]:
    """Return what chooses an epoch, and a member: the smallest is kept."""
    found: dict[str, Callable[[Training], Curve]] = {}
    for name in ("hard", "soft", "both"):
        for share in (0, 0.05, 0.1, 0.2):
            n = max(1, round(share * n_epochs))
            text = f"{name} bins" if name != "both" else "hard and soft bins"
            text += f", mean of {n} epochs" if n > 1 else ", one epoch"
            found[text] = lambda training, name=name, n=n: mean_of_last(curve(name, training), n)  # type: ignore[misc]
    for patience in (10, 20):
        n = max(1, n_epochs // 20)
        text = f"hard bins, mean of {n} epochs, early_stopping={patience}"
        found[text] = lambda training, n=n, patience=patience: stopped(  # type: ignore[misc]
            mean_of_last(curve("hard", training), n), patience
        )
    found["the last epoch"] = lambda training: np.arange(len(training.epochs), 0, -1) + curve("both", training) / 1e3
    return found


def chosen(rule: Callable[[Training], Curve], training: Training, templates: dict[int, Kept]) -> tuple[float, Kept]:
    """Return what a rule chooses among the epochs with templates, behind its value."""
    values = rule(training)
    epoch = min(templates, key=lambda number: values[number])
    return float(values[epoch]), replace(templates[epoch], epochs=int(np.flatnonzero(np.isfinite(values))[-1]) + 1)


def line(name: str, what: str, kept: Sequence[Kept]) -> str:
    """Return a line of the table."""
    sigma, honest = np.array([item.sigma for item in kept]), np.array([item.honest for item in kept])
    optimism = np.log(honest / [item.validation for item in kept])

    def spread(values: Curve) -> str:
        return f"{values.std(ddof=1) / values.mean():.1%}" if len(values) > 1 else ""

    n_bins, epochs = np.mean([item.n_bins for item in kept]), np.mean([item.epochs for item in kept])
    text = f"| {name} | {what} | {len(kept)} | {sigma.mean():.4f} | {spread(sigma)} | {honest.mean():.4f} | "
    return text + f"{spread(honest)} | {np.expm1(optimism.mean()):+.1%} | {n_bins:.1f} | {epochs:.0f} |"


def studies(arguments: argparse.Namespace) -> Iterator[Study]:
    """Yield the study of each seed, whose events are read when they are others than those before."""
    before: tuple[int, Events] | None = None
    for seed in range(1, arguments.seeds + 1):
        words = *arguments.words, f"seed={seed}", f"trainer.members={arguments.members}", "trainer.progress=none"
        config = inferno.compose(*words, config_dir=arguments.config_dir)
        if before is None or before[0] != config.data_seed:
            before = config.data_seed, inferno.load_events(config).fold(0)
        yield Study(config, before[1], arguments.output)


def measured(arguments: argparse.Namespace) -> list[str]:
    """Train what is missing, and return the lines of the table."""
    of_members: dict[str, list[Kept]] = {}
    of_best: dict[str, list[Kept]] = {}
    means: list[Kept] = []
    late: dict[str, list[Kept]] = {"one": [], f"mean of {arguments.members}": []}
    for study in studies(arguments):
        values: dict[str, list[tuple[float, Kept]]] = {}
        trainings, with_late = [], []
        for member in range(arguments.members):
            try:
                training, states = study.trained(member)
            except SingularInformationError as error:
                print(f"seed {study.config.seed}: member {member} failed, as it does in a run: {error}", flush=True)
                continue
            trainings.append(training)
            with_late.append(study.with_snapshots(training, states))
            late["one"].append(study.mean(with_late[-1:]))
            templates = study.templates(member, training, states)
            for name, rule in rules(len(training.epochs)).items():
                values.setdefault(name, []).append(chosen(rule, training, templates))
            out_of_reach = min(templates.values(), key=lambda item: item.honest)
            values.setdefault("the best by the templates", []).append((out_of_reach.honest, out_of_reach))
            values.setdefault("as trained", []).append((training.validation.merit, templates[training.best.number]))
        for name, found in values.items():
            of_members.setdefault(name, []).extend(kept for _, kept in found)
            of_best.setdefault(name, []).append(min(found, key=lambda pair: pair[0])[1])
        means.append(study.mean(trainings))
        late[f"mean of {arguments.members}"].append(study.mean(with_late))
        print(f"seed {study.config.seed}: member {best(trainings).best.number}, {means[-1]}", flush=True)
    lines = []
    for name in of_members:
        lines.append(line(name, "one", of_members[name]))
        lines.append(line(name, f"best of {arguments.members}", of_best[name]))
    lines.append(line("as trained", f"mean of {arguments.members}", means))
    for name, kept in late.items():
        lines.append(line("as trained, and late epochs", name, kept))
    fitted = late[f"mean of {arguments.members}"]
    noise = np.sqrt(np.mean(np.log([item.halves for item in fitted]) ** 2)) / 2
    return [*lines, "", f"Noise of the templates in sigma(mu), from their halves: {noise:.1%}."]


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--config-dir")
    arguments, words = parser.parse_known_args()
    arguments.words = words
    arguments.output.mkdir(parents=True, exist_ok=True)
    trainer.Validation = KeepAll  # type: ignore[misc]
    torch.set_num_threads(1)
    lines = measured(arguments)
    print("| epoch | members | n | sigma(mu) | spread | with noise | spread | optimism | bins | epochs |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
