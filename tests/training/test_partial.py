"""A training that was interrupted: after any epoch it goes on to the very bits of one that was not."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import load, synthetic

from inferno_cli.config.steps import TrainConfig
from inferno_cli.events.sample import Events
from inferno_cli.training import partial
from inferno_cli.training import trainer as trainer_module
from inferno_cli.training.epochs import Training
from inferno_cli.training.evaluation import Evaluation, Likelihoods
from inferno_cli.training.partial import Partial
from inferno_cli.training.trainer import train

N_EPOCHS = 4


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every epoch, however short."""
    monkeypatch.setattr(partial, "SHARE", math.inf)


class Killed(BaseException):
    """What ends a training at once."""


def configured(*overrides: str) -> TrainConfig:
    return synthetic(
        *(f"trainer.max_epochs={N_EPOCHS}", "trainer.threads=1", "trainer.input_noise=0.1", "model.warm_up=0"),
        *("trainer.progress=none", "model.batch_size=200", "model.hidden=[16]", *overrides),
    )


@pytest.fixture(scope="module")
def events() -> Events:
    return load(configured())


def trained(config: TrainConfig, events: Events, folder: Path, decides: str = "", kill: int = N_EPOCHS) -> Training:
    """Train in a folder, where what is unfinished is kept; ``kill`` is the epoch before whose end the process dies."""

    def watch(epoch: int, value: float) -> None:
        if epoch == kill:
            raise Killed

    return train(
        config.model.network,
        config.model.summary,
        config.model.objective,
        Likelihoods.from_config(config),
        events,
        config.trainer,
        seed=config.seed,
        folder=folder / "checkpoints",
        watch=watch,
        partial=Partial.of_training(folder / "partial", "best.ckpt", (decides, events.checksum)),
    )


def killed(config: TrainConfig, events: Events, folder: Path, kill: int) -> None:
    with pytest.raises(Killed):
        trained(config, events, folder, kill=kill)
    (folder / "checkpoints" / "best.ckpt").unlink(missing_ok=True)  # a run that begins removes it


def require_same(one: Training, two: Training) -> None:
    """Check every bit of what a training leaves, but for its seconds."""
    assert one.checkpoint.read_bytes() == two.checkpoint.read_bytes()
    assert [repr(epoch) for epoch in one.epochs] == [repr(epoch) for epoch in two.epochs]
    assert (repr(one.best), repr(one.validation)) == (repr(two.best), repr(two.validation))
    assert one.observable.summary == two.observable.summary
    assert one.observable.summary.state == two.observable.summary.state
    assert len(one.snapshots) == len(two.snapshots)
    pairs = zip((one.networks, *one.snapshots), (two.networks, *two.snapshots), strict=True)
    for ours, theirs in pairs:
        weights, others = ours.only.network.state_dict(), theirs.only.network.state_dict()
        assert all(torch.equal(value, others[name]) for name, value in weights.items())


SETTINGS = {
    "bce": ("model=bce",),
    "inferno": ("model=inferno", "trainer.schedule=cosine"),
    "warm-up": ("model=inferno", "model.warm_up=0.5"),
    "score": ("model=inferno", "model/summary=score"),
    "kde": ("model=inferno", "model/summary=kde"),
    "gaussian_gradient": ("model=inferno", "model/summary=gaussian_gradient"),
    "multiclass": ("model=multiclass",),
    "one_cycle": ("model=inferno", "trainer.schedule=one_cycle", "trainer.gradient_clip=1", "trainer.early_stopping=9"),
    "snapshots": ("model=inferno", "trainer.snapshots=2"),
    "constant": ("model=inferno", "trainer.schedule=constant"),
}


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_it_goes_on_to_the_same_bits(settings: str, events: Events, tmp_path: Path) -> None:
    """Killed in the second epoch, in the last but one once more, and once the training has ended."""
    config = configured(*SETTINGS[settings])
    expected = trained(config, events, tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    for epoch in (1, N_EPOCHS - 2, N_EPOCHS - 1):
        killed(config, events, folder, epoch)
    require_same(trained(config, events, folder), expected)
    (folder / "checkpoints" / "best.ckpt").unlink()
    require_same(trained(config, events, folder, kill=0), expected)  # nothing is trained any more


def scripted(monkeypatch: pytest.MonkeyPatch, values: dict[int, float]) -> list[int]:
    """Let the validation say ``values``, by epoch; return the epochs as they come."""
    epochs: list[int] = []
    original = trainer_module.Validation.on_train_epoch_end

    def said(*_: Any) -> Evaluation:
        value = values[epochs[-1]]
        return Evaluation(soft=0.01, hard=value, honest=value, merit=value, n_bins=3, deviations={}, correlations={})

    def ending(validation: Any, trainer: Any, module: Any) -> None:
        epochs.append(trainer.current_epoch)
        original(validation, trainer, module)

    monkeypatch.setattr(trainer_module, "evaluate", said)
    monkeypatch.setattr(trainer_module.Validation, "on_train_epoch_end", ending)
    return epochs


@pytest.mark.parametrize("kill", [2, 3, 4, 5])
def test_early_stopping_and_the_selected_epoch_are_remembered(
    kill: int, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch 1 is the best one, and with a patience of 4 the training ends with epoch 5."""
    values = dict(enumerate([math.inf, 0.1, 0.3, 0.2, 0.3, 0.3, 0.05, 0.05]))
    epochs = scripted(monkeypatch, values)
    config = configured("trainer.max_epochs=8", "trainer.early_stopping=4")
    expected = trained(config, events, tmp_path / "undisturbed", kill=9)
    assert (expected.best.number, epochs) == (1, [0, 1, 2, 3, 4, 5])
    killed(config, events, tmp_path / "killed", kill)
    epochs.clear()
    require_same(trained(config, events, tmp_path / "killed", kill=9), expected)
    assert epochs == list(range(kill, 6))
    epochs.clear()
    require_same(trained(config, events, tmp_path / "killed", kill=9), expected)
    assert epochs == []  # it had ended early, and is not trained on


def test_another_training_begins_anew(events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configured("model=inferno")
    killed(config, events, tmp_path, 2)
    expected = trained(config, events, tmp_path / "undisturbed", "other")
    with caplog.at_level(logging.INFO, "inferno_cli"):
        require_same(trained(config, events, tmp_path, "other"), expected)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"training: begins anew, as {tmp_path}/partial/best.ckpt is of another configuration")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "bits"])
def test_a_damaged_file_is_said_and_the_training_begins_anew(
    damage: str, events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured("model=inferno")
    killed(config, events, tmp_path, 2)
    path = tmp_path / "partial" / "best.ckpt"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = bytes([byte ^ 255 for byte in content[middle : middle + 100]])
    path.write_bytes(
        {
            "cut": content[:middle],
            "empty": b"",
            "text": b"no checkpoint",
            "bits": content[:middle] + flipped + content[middle + 100 :],
        }[damage]
    )
    expected = trained(config, events, tmp_path / "undisturbed")
    with caplog.at_level(logging.INFO, "inferno_cli"):
        require_same(trained(config, events, tmp_path), expected)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"training: begins anew, as {path} is damaged (")
    assert "\n" not in line


def test_it_says_behind_which_epoch_it_goes_on(
    events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured()
    killed(config, events, tmp_path, 3)
    with caplog.at_level(logging.INFO, "inferno_cli"):
        trained(config, events, tmp_path)
        trained(config, events, tmp_path)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "training: goes on behind epoch 3",
        "training: had ended before the run was interrupted, after epoch 4",
    ]


def test_writing_takes_at_most_a_hundredth_of_the_time(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which an epoch takes a second, and the file 0.025 s: every third epoch is kept, and the last."""
    monkeypatch.setattr(partial, "SHARE", 0.01)
    now, kept = [0.0], list[float]()

    original = pl.Trainer.save_checkpoint

    def save(trainer: pl.Trainer, path: Path, *rest: Any) -> None:
        if rest:  # of the weights alone
            original(trainer, path, *rest)
            return
        kept.append(now[0])
        now[0] += 0.025
        Path(path).touch()

    def watch(validation: Any, *_: Any) -> float:
        now[0] = len(validation.epochs)
        return 1.0

    monkeypatch.setattr("lightning.pytorch.Trainer.save_checkpoint", save)
    monkeypatch.setattr(trainer_module.Validation, "_smoothed", watch)
    monkeypatch.setattr(partial.time, "perf_counter", lambda: now[0])
    trained(configured("trainer.max_epochs=8"), events, tmp_path, kill=9)
    assert kept == [1, 4, 7, 8]
