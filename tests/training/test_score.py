"""The bins of a score: where their edges are placed, and that they stay with the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import load, synthetic, train
from pydantic import ValidationError
from torch import Tensor, nn

from inferno_cli.config.steps import TrainConfig
from inferno_cli.training.observable import SUMMARY, ChannelNetworks, Observable
from inferno_cli.training.pretrained import retaken
from inferno_cli.training.quantiles import quantiles
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.summaries.score import Score

SIGNAL, BALANCED = (Score(bins=4, edges=edges, edge_width=0.1) for edges in ("signal", "balanced"))  # type: ignore[arg-type]


def events(name: str, logits: list[float], weights: list[float] | None = None) -> NominalEvents:
    """Events whose one feature is the output of the network."""
    weight = torch.ones(len(logits)) if weights is None else torch.tensor(weights)
    return NominalEvents(name, "SR", name == "signal", torch.tensor(logits)[:, None], weight.double())


def as_it_is(features: Tensor) -> Tensor:
    return features


def test_quantiles_divide_the_weight_between_events() -> None:
    values, weights = torch.tensor([4.0, 1.0, 3.0, 2.0]), torch.tensor([1.0, 3.0, 1.0, 1.0])

    assert quantiles(values, torch.ones(4), 2) == (2.5,)
    assert quantiles(values, torch.ones(4), 4) == (1.5, 2.5, 3.5)
    assert quantiles(values, weights, 2) == (1.5,)


def test_quantiles_of_negative_weights_are_those_of_what_they_sum_to() -> None:
    """Pairs of +2 and -1 at nearly one place are one event of weight 1 there, in whatever order they come."""
    rng = np.random.default_rng(3)
    places = rng.normal(size=20_000)
    near = rng.normal(scale=1e-3, size=places.size)
    values = torch.from_numpy(np.concatenate([places, places + near]))
    weights = torch.from_numpy(np.concatenate([np.full(places.size, 2.0), np.full(places.size, -1.0)]))
    found = quantiles(values, weights, 5)

    assert found == tuple(sorted(found))
    np.testing.assert_allclose(found, np.quantile(places, [0.2, 0.4, 0.6, 0.8]), atol=0.01)


def test_events_of_one_value_are_in_one_bin() -> None:
    """A network that has learnt nothing says the same of all: bins without events are allowed, a crash is not."""
    placed = SIGNAL.placed([events("signal", [0.3] * 10), events("background", [0.3] * 10)], as_it_is)
    outputs = torch.tensor([[0.3], [-1.0], [2.0]])

    assert placed.edges_at is not None
    assert len(set(placed.hard(outputs[:1].expand(10, 1)).tolist())) == 1
    torch.testing.assert_close(placed.soft(outputs).sum(dim=-1), torch.ones(3, dtype=torch.float64))
    assert bool((placed.soft(outputs) >= 0).all())


def test_bins_have_equal_signal_or_half_of_signal_and_half_of_background() -> None:
    rng = np.random.default_rng(1)
    signal = events("signal", rng.normal(1, 1, 4000).tolist(), rng.uniform(0.5, 1, 4000).tolist())
    parts = [events(name, rng.normal(-1, 1, 3000).tolist(), [w] * 3000) for name, w in (("one", 1.0), ("two", 30.0))]

    def shares(score: Score, *samples: NominalEvents) -> np.ndarray:
        yields = torch.zeros(4, dtype=torch.float64)
        for sample in samples:
            yields.index_add_(0, score.hard(sample.features), sample.weights)
        return (yields / yields.sum()).numpy()

    by_signal, balanced = (score.placed([signal, *parts], as_it_is) for score in (SIGNAL, BALANCED))
    np.testing.assert_allclose(shares(by_signal, signal), 0.25, atol=1e-3)
    halves = (shares(balanced, signal) + shares(balanced, *parts)) / 2
    np.testing.assert_allclose(halves, 0.25, atol=2e-3)
    assert shares(by_signal, *parts)[0] > 0.7


def test_bins_are_the_same_for_any_increasing_function_of_the_score() -> None:
    rng = np.random.default_rng(2)
    samples = [events("signal", rng.normal(1, 1, 500).tolist()), events("background", rng.normal(-1, 1, 500).tolist())]

    def stretched(features: Tensor) -> Tensor:
        return 3 * features + features**3 - 2

    placed, other = BALANCED.placed(samples, as_it_is), BALANCED.placed(samples, stretched)
    outputs = samples[1].features
    assert placed.hard(outputs).tolist() == other.hard(stretched(outputs)).tolist()


def test_soft_bins_are_between_their_edges() -> None:
    score = Score(bins=3, edges="balanced", edges_at=(0.1, 0.9), edge_width=0.01)
    soft = score.soft(torch.logit(torch.tensor([[0.05], [0.5], [0.95]])))

    torch.testing.assert_close(soft, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"edges": "uniform", "edges_at": (0.2, 0.4, 0.6)}, "edges_at has edges at quantiles, and edges is uniform"),
        ({"edges": "signal", "edges_at": (0.2, 0.4)}, "edges_at has the edges of 3 bins, and bins is 4"),
        ({"edges": "signal", "edges_at": (0.2, 0.6, 0.4)}, "edges_at does not rise"),
    ],
)
def test_edges_that_cannot_be_are_an_error(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Score.model_validate({"bins": 4, "edge_width": 0.1, **keys})


def test_bins_that_are_not_placed_yet_are_an_error() -> None:
    with pytest.raises(ValueError, match="no training has placed them yet"):
        SIGNAL.hard(torch.zeros(3, 1))


def configured(*overrides: str) -> TrainConfig:
    return synthetic(
        *("model=bce", "model.hidden=[8]", "trainer.max_epochs=2", "trainer.progress=none", "model.batch_size=200"),
        *("model.bins=5", *overrides),
    )


def test_edges_are_stored_with_the_network_and_taken_from_it(tmp_path: Path) -> None:
    config = configured()
    trained = train(config, load(config), folder=tmp_path / "checkpoints")
    summary = trained.observable.summary
    assert isinstance(summary, Score)
    model, features = config.model, config.dataset.features
    loaded = Observable.load(
        tmp_path / "checkpoints" / "best.ckpt", model.network, model.summary, features, (), trained.best.number
    )

    assert config.model.summary.state == {}
    assert summary.edges_at is not None
    assert loaded.summary == summary
    assert torch.load(trained.checkpoint, weights_only=True)[SUMMARY] == {"edges_at": list(summary.edges_at)}


def test_a_network_is_taken_with_its_edges_unless_others_are_asked_for() -> None:
    rng = np.random.default_rng(4)
    config = configured()
    split = load(config).train
    network = nn.Sequential(nn.Linear(3, 1))
    observable = Observable(network, config.model.summary, ("x", "y", "z"))
    trained = ChannelNetworks.shared(observable).placed([NominalEvents.of(x) for x in split])
    edges = trained.only.summary.state["edges_at"]
    half = [sample.subset(rng.permutation(len(sample.group))[: len(sample.group) // 2]) for sample in split]

    assert retaken(trained, config.model.summary, half).only.summary.state["edges_at"] == edges
    merged = ChannelNetworks.shared(replace(trained.only, groups=((0, 1), (2, 3, 4))))
    fewer = retaken(merged, configured("model.bins=3").model.summary, half).only
    assert (len(fewer.summary.state["edges_at"]), fewer.groups) == (2, ())
    assert retaken(trained, configured("model.edges=uniform").model.summary, half).only.summary.state == {}
