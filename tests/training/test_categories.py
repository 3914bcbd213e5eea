"""The multi-class classifier: one category a sample, its loss by hand, and its bins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import load, synthetic, train
from torch import Tensor

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError
from inferno_cli.testing.parts import MEASUREMENT, samples
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.objectives.categorical_cross_entropy import CategoricalCrossEntropy
from inferno_cli.training.observable import Observable
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.summaries.categories import Categories

FIVE = {"signal": True, "one": False, "two": False, "three": False, "four": False}


def summary(bins: int, known: dict[str, bool]) -> Categories:
    return Categories(bins=bins, edge_width=0.1).for_samples(known)


@pytest.mark.parametrize(
    ("bins", "known", "expected"),
    [
        (10, FIVE, (5, 2, 1, 1, 1)),
        (10, {"background": False, "signal": True}, (5, 5)),
        (7, {"signal": True, "background": False}, (4, 3)),
        (6, {"ggH": True, "one": False, "VBF": True, "two": False}, (2, 2, 1, 1)),
        (5, FIVE, (1, 1, 1, 1, 1)),
    ],
)
def test_half_of_the_bins_are_the_signals(bins: int, known: dict[str, bool], expected: tuple[int, ...]) -> None:
    found = summary(bins, known)

    assert found.bins_of_each == expected
    assert (sum(expected), found.n_outputs) == (bins, len(known))


def test_fewer_bins_than_samples_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"model\.bins is 4, and 5 samples have at least one bin each \(signal, one"):
        summary(4, FIVE)


def test_an_event_is_in_the_category_of_its_largest_output_and_the_bin_of_its_score() -> None:
    """Of three categories with 3, 2 and 1 bins; the scores by hand."""
    known = summary(6, {"signal": True, "one": False, "two": False})
    placed = known.model_copy(update={"edges_at": ((0.5, 0.8), (0.6,), ())})
    scores = torch.tensor(
        [
            [0.4, 0.3, 0.3],
            [0.5, 0.3, 0.2],
            [0.9, 0.05, 0.05],
            [0.2, 0.55, 0.25],
            [0.1, 0.8, 0.1],
            [0.1, 0.3, 0.6],
        ],
        dtype=torch.float64,
    )

    assert placed.bins_of_each == (3, 2, 1)
    assert placed.hard(scores.log() + 3).tolist() == [0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(placed.response(scores.log() - 1), scores)
    torch.testing.assert_close(placed.margin(scores.log())[1:3], torch.tensor([0.0, 0.1], dtype=torch.float64))


def test_every_bin_of_a_category_has_its_share_of_the_events_in_it() -> None:
    rng = np.random.default_rng(5)
    outputs = {name: torch.from_numpy(rng.normal(0, 1, (9000, 3)) + 2 * np.eye(3)[i]) for i, name in enumerate("sab")}
    known = summary(8, {"s": True, "a": False, "b": False})
    weights = {"s": 0.1, "a": 1.0, "b": 50.0}
    events = [
        NominalEvents(name, "SR", name == "s", outputs[name], torch.full((9000,), weights[name]).double())
        for name in "sab"
    ]
    placed = known.placed(events, lambda features: features)

    # Every sample has the same weight, as in the training; the second category has two bins of four, and so the third.
    counts = sum(torch.bincount(placed.hard(item), minlength=8) for item in outputs.values())
    assert isinstance(counts, Tensor)
    for own in (slice(0, 4), slice(4, 6), slice(6, 8)):
        np.testing.assert_allclose(counts[own] / counts[own].sum(), 1 / len(counts[own]), atol=1e-3)


def test_the_loss_is_the_mean_over_the_categories() -> None:
    likelihood, batch = SoftLikelihood.of(MEASUREMENT, samples(), samples()), to_tensors(samples(), "cpu")
    outputs = [
        torch.zeros(1, weights.shape[1], 2) + torch.tensor([math.log(3.0), 0.0]) for _, weights in batch
    ]  # 3/4 and 1/4 for all
    loss = CategoricalCrossEntropy().loss(
        outputs, batch, [summary(4, {"a": True, "b": False})] * len(batch), likelihood
    )

    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2, rel=1e-6)


def configured(*overrides: str) -> TrainConfig:
    few = ("model.hidden=[8]", "trainer.max_epochs=2", "trainer.progress=none", "model.batch_size=200", "model.bins=4")
    return synthetic("model=multiclass", *few, *overrides)


def test_a_trained_one_is_loaded_with_its_samples_and_edges(tmp_path: Path) -> None:
    config = configured()
    events = load(config)
    trained = train(config, events, folder=tmp_path / "checkpoints")
    model, features = config.model, config.dataset.features
    loaded = Observable.load(trained.checkpoint, model.network, model.summary, features, (), trained.best.number)

    assert isinstance(loaded.summary, Categories)
    assert loaded.summary == trained.observable.summary
    assert loaded.summary.samples == {"signal": True, "background": False}
    x = events.template[0].features[0]
    np.testing.assert_array_equal(loaded.apply(x).bin, trained.observable.apply(x).bin)


def test_an_objective_of_categories_with_the_score_of_a_classifier_is_an_error() -> None:
    with pytest.raises(ConfigError, match="choose model/summary=categories"):
        configured("model/summary=score")
