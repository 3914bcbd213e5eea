"""The comparison of trainings: no time is shown of a step whose loss or gradient is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import train_speed


@pytest.fixture
def step():
    config = train_speed.configured(
        [*train_speed.STEPS["mixture, r and lambda"], "dataset.events.train=4000", "model.batch_size=500"]
    )
    return train_speed.Step.of(config, config.dataset.load(config.request), torch.device("cpu"))


def test_a_right_step_passes_the_gates_and_has_a_time(step):
    train_speed.gates("small", step)
    assert step.n_rows == 500 + 5 * 500  # a batch has at least so many events of a sample
    times = train_speed.turns(step.runs(), 1, torch.device("cpu"))
    assert set(times) == {"plain", "passes", "step"}
    assert {type(layer) for layer in train_speed.of_torch(step.network)[1:]} == {nn.Linear, nn.ReLU}
    assert min(times.values()) > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda loss: loss + 1e-6, "the loss is"),
        (lambda loss: loss.detach() + 1.001 * (loss - loss.detach()), "the slope is"),
    ],
)
def test_no_time_of_a_step_that_is_wrong(step, change, said, monkeypatch):
    loss = train_speed.Step.loss
    monkeypatch.setattr(train_speed.Step, "loss", lambda self: change(loss(self)))
    with pytest.raises(SystemExit, match=f"small: {said}.*no time is shown"):
        train_speed.gates("small", step)
