"""Bins that are trained on the fit: kernel density, the gradient of Gaussians, learnt edges, cuts."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from conftest import load, synthetic, train
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import ConfigError
from inferno_cli.events.sample import NOMINAL, Sample
from inferno_cli.testing.parts import normal
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.networks.features import Features
from inferno_cli.training.objectives.poi_variance import PoiVariance
from inferno_cli.training.observable import Observable
from inferno_cli.training.onnx import export
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries import NominalEvents, Summary
from inferno_cli.training.summaries.cuts import Cuts
from inferno_cli.training.summaries.gaussian_gradient import GaussianGradient
from inferno_cli.training.summaries.kde import Kde
from inferno_cli.training.summaries.softmax import HALVES, Softmax

AnySummary = TypeVar("AnySummary", bound=Summary)
EDGES = (0.05, 0.3, 0.5, 0.9)
YIELDS = {"signal": 50.0, "background": 1000.0}
SIZE = 0.1
"""Uncertainty on the background of the toy."""
MEASUREMENT = Measurement(
    samples=("signal", "background"),
    signal=("signal",),
    free={},
    bounds={},
    normalisation={"b": {"background": (1 + SIZE, 1 - SIZE)}},
    shapes={},
    unconstrained=(),
    staterror=False,
)


def histogram(summary: Kde | GaussianGradient, outputs: Tensor, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill a histogram of the score with numpy."""
    inner = np.linspace(0, 1, summary.bins + 1)[1:-1] if summary.edges_at is None else summary.edges_at
    score = 1 / (1 + np.exp(-outputs[:, 0].double().numpy()))
    return np.histogram(score, [0, *inner, 1], weights=weights)[0]


@pytest.mark.parametrize("edges", [{}, {"edges": "balanced", "edges_at": EDGES}])
def test_a_gaussian_gradient_fills_a_histogram(edges: dict[str, object]) -> None:
    summary = GaussianGradient.model_validate({"bins": 5, "width": 0.5, **edges})
    outputs, weights = 2 * normal(5000, 1), np.random.default_rng(1).integers(-1, 5, 5000).astype(float)
    filled = torch.from_numpy(weights) @ summary.soft(outputs)

    assert filled.tolist() == histogram(summary, outputs, weights).tolist()


def test_its_gradient_is_that_of_gaussians() -> None:
    """By hand, with equal bins of width 1/4: d/dx exp(-(x - c)^2 / (2 sigma^2)), where sigma is 1/8."""
    score = torch.tensor([[0.1], [0.4], [0.55], [0.99]], dtype=torch.float64)
    outputs = torch.logit(score).requires_grad_()
    GaussianGradient(bins=4, width=0.5).soft(outputs)[:, 2].sum().backward()  # type: ignore[no-untyped-call]
    away = score - 0.625
    expected = -away * 64 * torch.exp(-(away**2) * 32) * score * (1 - score)

    torch.testing.assert_close(outputs.grad, expected)


def test_normalised_gaussians_move_no_event_out_of_the_histogram() -> None:
    outputs = normal(100, 1).requires_grad_()
    summary = GaussianGradient(bins=4, width=0.5, normalised=True)
    soft = summary.soft(outputs)
    (gradient,) = torch.autograd.grad(soft.sum(), outputs)

    assert soft.tolist() == nn.functional.one_hot(summary.hard(outputs), 4).double().tolist()
    assert float(gradient.abs().max()) < 1e-12


@pytest.mark.parametrize("edges", [{}, {"edges": "learnt", "edges_at": EDGES}])
def test_a_kernel_without_width_fills_a_histogram(edges: dict[str, object]) -> None:
    summary = Kde.model_validate({"bins": 5, "bandwidth": 1e-12, "closed": True, **edges})
    outputs, weights = 2 * normal(5000, 1), np.random.default_rng(1).integers(-1, 5, 5000).astype(float)
    filled = torch.from_numpy(weights) @ summary.soft(outputs)

    assert filled.tolist() == histogram(summary, outputs, weights).tolist()


def test_a_kernel_is_shared_by_bins() -> None:
    """In the middle of four bins, with half a bin as bandwidth, as tables of the normal distribution have it."""
    outputs = torch.zeros(1, 1)
    closed, opened = (Kde(bins=4, bandwidth=0.5, closed=closed).soft(outputs)[0].tolist() for closed in (True, False))

    assert closed == pytest.approx([0.02275, 0.47725, 0.47725, 0.02275], abs=1e-5)
    assert opened == pytest.approx([0.02275 - 3.2e-5, 0.47725, 0.47725, 0.02275 - 3.2e-5], abs=1e-5)


def test_open_edges_lose_what_the_kernel_carries_out() -> None:
    outputs = torch.tensor([[-50.0], [0.0], [50.0]])
    soft = Kde(bins=10, bandwidth=0.3, closed=False).soft(outputs)

    torch.testing.assert_close(soft.sum(dim=-1), torch.tensor([0.5, 1.0, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("seed", range(5))
def test_learnt_edges_rise_by_construction(seed: int) -> None:
    numbers = 3 * torch.randn(20, generator=torch.Generator().manual_seed(seed))
    kde = Kde(bins=20, edges="learnt", bandwidth=0.3, closed=True).at(numbers).placed([], lambda x: x)

    assert kde.edges_at is not None
    assert all(0 <= low <= high <= 1 for low, high in itertools.pairwise(kde.edges_at))
    assert Kde.model_validate_json(kde.model_dump_json()) == kde


def test_learnt_edges_begin_equal() -> None:
    kde = Kde(bins=5, edges="learnt", bandwidth=0.3, closed=True).at(torch.zeros(5)).placed([], lambda x: x)

    assert kde.edges_at == pytest.approx((0.2, 0.4, 0.6, 0.8))


def test_a_score_begins_as_the_classifier_of_the_warm_up() -> None:
    """With one signal and one background the difference of their outputs is the logarithm of the odds."""
    network, head = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), nn.Linear(4, 2)
    events, kde = normal(500, 3), Kde(bins=5, bandwidth=0.3, closed=True)
    kde.take_over(network, head, [True, False])
    kde.spread(network, events)
    with torch.no_grad():
        logits = head(network[:-1](events))
        score, odds = network(events)[:, 0], logits[:, 0] - logits[:, 1]

    torch.testing.assert_close(score, 1.5 * (odds - odds.mean()) / odds.std(), atol=1e-5, rtol=0)


def test_learnt_edges_agree_in_onnx(tmp_path: Path) -> None:
    kde = Kde(bins=5, edges="learnt", bandwidth=0.3, closed=True).at(normal(5) / 10).placed([], lambda x: x)
    observable = Observable(nn.Sequential(nn.Linear(3, 1)), kde, ("x", "y", "z"))

    assert export(observable, tmp_path / "model.onnx", normal(500, 3).numpy()) < 1e-6
    assert set(observable.apply(normal(500, 3).numpy()).bin) >= {1, 2, 3}


def test_edges_that_nothing_can_learn_are_an_error() -> None:
    kde = Kde(bins=5, edges="learnt", bandwidth=0.3, closed=True)
    with pytest.raises(ConfigError, match="the edges of the 5 bins are learnt in a training"):
        kde.placed([], lambda x: x)


@pytest.mark.parametrize("override", ["model/summary=kde model.edges=learnt", "model/summary=cuts model.cuts=1"])
def test_a_classifier_does_not_learn_bins(override: str) -> None:
    with pytest.raises(ConfigError, match="are learnt, and 'cross_entropy' does not depend on them"):
        synthetic("model=bce", *override.split())


def toy(n_features: int) -> tuple[Sample, ...]:
    """Two samples of normal features, of which the signal has more above in the first and more below in the others."""
    rng = np.random.default_rng(1)
    made = []
    for name, total in YIELDS.items():
        is_signal = name == "signal"
        features = rng.normal([1.0, -0.8][:n_features] if is_signal else [0.0] * n_features, 1, (1, 10_000, n_features))
        weights = np.full((1, 10_000), total / 10_000)
        made.append(Sample(name, is_signal, np.arange(10_000), (NOMINAL,), features.astype(np.float32), (0,), weights))
    return tuple(made)


def variance(signal: NDArray[np.float64], background: NDArray[np.float64]) -> float:
    """Variance of mu, by hand: bins with mu and a background that is known to ``SIZE``."""
    jacobian = np.stack([signal, SIZE * background])
    information = jacobian @ (jacobian / (signal + background)).T + np.diag([0.0, 1.0])
    return float(np.linalg.inv(information)[0, 0])


def hard_variance(summary: Summary, samples: tuple[Sample, ...]) -> float:
    yields = []
    for sample in samples:
        bins = summary.hard(torch.from_numpy(sample.features[0])).numpy()
        yields.append(np.bincount(bins, weights=sample.weights[0], minlength=summary.n_bins))
    return variance(*yields)


def trained(summary: AnySummary, samples: tuple[Sample, ...]) -> AnySummary:
    """Train what a summary has of its own, on features in the place of outputs."""
    likelihood, batch = SoftLikelihood.of(MEASUREMENT, samples, samples), to_tensors(samples, "cpu")
    events = [NominalEvents.of(sample) for sample in samples]
    numbers = torch.zeros(summary.n_trained, requires_grad=True)
    summary = summary.at(numbers).placed(events, lambda x: x)
    optimizer, objective = torch.optim.Adam([numbers], lr=0.08), PoiVariance(warm_up=0.0)
    for _ in range(60):
        optimizer.zero_grad()
        objective.loss([x for x, _ in batch], batch, [summary.at(numbers)] * len(batch), likelihood).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return summary.at(numbers).placed(events, lambda x: x)


def scan(samples: tuple[Sample, ...]) -> float:
    """Smallest variance of all cuts on a grid, above in the first feature and below in the second."""
    best = np.inf
    grid = np.linspace(-3, 3, 61)
    for cuts in itertools.product(*[grid] * samples[0].features.shape[-1]):
        yields = []
        for sample in samples:
            x = sample.features[0]
            passes = (x[:, 0] > cuts[0]) & ((x[:, 1] < cuts[1]) if len(cuts) > 1 else True)
            part = sample.weights[0][passes].sum()
            yields.append(np.array([sample.weights[0].sum() - part, part]))
        best = min(best, variance(*yields))
    return best


@pytest.mark.parametrize("n_features", [1, 2])
def test_cuts_are_as_good_as_the_best_of_a_scan(n_features: int) -> None:
    samples = toy(n_features)
    cuts = trained(Cuts(cuts=n_features, width=0.1), samples)

    assert np.sqrt(hard_variance(cuts, samples) / scan(samples)) < 1.01
    assert cuts.scales is not None
    assert [scale > 0 for scale in cuts.scales] == [True, False][:n_features]


def test_a_learnt_edge_is_as_good_as_the_best_of_a_scan() -> None:
    samples = toy(1)
    equal = Kde(bins=2, bandwidth=0.1, closed=True)
    learnt = trained(equal.model_copy(update={"edges": "learnt"}), samples)

    assert np.sqrt(hard_variance(learnt, samples) / scan(samples)) < 1.01
    assert hard_variance(learnt, samples) < 0.95 * hard_variance(equal, samples)


def test_learnt_edges_are_better_than_equal_ones() -> None:
    samples, equal = toy(1), Kde(bins=4, bandwidth=0.3, closed=True)
    learnt = trained(equal.model_copy(update={"edges": "learnt"}), samples)

    assert hard_variance(learnt, samples) < hard_variance(equal, samples)


def test_a_gaussian_gradient_learns_no_edges() -> None:
    with pytest.raises(ValidationError, match="the gradient of Gaussians cannot move edges"):
        GaussianGradient(bins=4, width=0.5, edges="learnt")


def test_an_empty_bin_of_a_batch_says_nothing() -> None:
    samples = toy(1)
    likelihood, batch = SoftLikelihood.of(MEASUREMENT, samples, samples), to_tensors(samples, "cpu")
    scores = [torch.logit(x.sigmoid().clamp_max(0.699)).requires_grad_() for x, _ in batch]
    losses = []
    for bins in (10, 7):  # of the same width below 0.7, with events in the first seven alone
        edges = tuple((np.arange(1, bins) / 10).tolist())
        summary = GaussianGradient(bins=bins, width=0.5, edges="balanced", edges_at=edges)
        losses.append(PoiVariance(warm_up=0.0).loss(scores, batch, [summary] * len(batch), likelihood))
    losses[0].backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
    assert all(bool(torch.isfinite(score.grad).all()) for score in scores if score.grad is not None)


def along_quantiles(scores: Tensor, numbers: Tensor) -> Kde:
    """Bins of the scores of a signal and a background, half of them each, with edges at numbers."""
    half = len(scores) // 2
    events = []
    for name, part in (("signal", scores[:half]), ("background", scores[half:])):
        events.append(NominalEvents(name, "SR", name == "signal", part[:, None], torch.ones(half).double()))
    kde = Kde(bins=5, edges="learnt", learnt_along="balanced", output="score", bandwidth=0.3, closed=True)
    return kde.at(torch.zeros(5)).placed(events, lambda x: x).at(numbers)


def test_learnt_edges_begin_at_quantiles_and_move_along_them() -> None:
    scores = normal(4000).sigmoid() ** 8  # most of them are near 0
    placed = along_quantiles(scores, torch.zeros(5)).placed([], lambda x: x)

    assert placed.edges_at == pytest.approx(
        scores.double().quantile(torch.tensor([0.2, 0.4, 0.6, 0.8]).double()).tolist(), rel=0.02
    )
    assert np.bincount(placed.hard(scores[:, None]), minlength=5) == pytest.approx(np.full(5, 800), abs=3)
    moved = along_quantiles(scores, 0.1 * normal(5)).placed([], lambda x: x)
    assert list(moved.edges_at or ()) == sorted(moved.edges_at or ())
    # Any increasing function of the score has the same bins, as at quantiles.
    root = along_quantiles(scores.sqrt(), 0.1 * normal(5)).placed([], lambda x: x)
    assert (root.hard(scores.sqrt()[:, None]) != moved.hard(scores[:, None])).double().mean() < 0.005


def test_many_events_of_one_score_leave_the_gradient_finite() -> None:
    scores = torch.cat([torch.ones(1500), normal(1000).sigmoid(), torch.zeros(1500)])[torch.randperm(4000)]
    numbers = torch.zeros(5, requires_grad=True)
    shares = along_quantiles(scores, numbers).soft(scores[:, None])
    (1e3 * shares * normal(4000, 5)).sum().backward()  # type: ignore[no-untyped-call]

    assert numbers.grad is not None
    assert bool(torch.isfinite(numbers.grad).all())


def test_named_cuts_have_the_side_that_is_asked_for() -> None:
    samples = toy(2)
    summary = Cuts(cuts={"b": "below", "a": "above"}, width=0.1)
    placed = summary.placed([NominalEvents.of(x) for x in samples], lambda x: x)
    assert placed.cuts_at is not None
    first, second = placed.cuts_at
    outputs = torch.tensor([[first - 1, second + 1], [first + 1, second + 1], [first - 1, second - 1]])

    assert placed.hard(outputs).tolist() == [1, 0, 0]
    assert placed.response_names == ("b", "a")
    assert (first, second) == pytest.approx((0.5, -0.4), abs=0.03)


def test_features_are_taken_by_name() -> None:
    network = Features(features=("z", "x")).for_features(("x", "y", "z"))
    with torch.no_grad():
        taken = network.build(torch.zeros(3), torch.ones(3), 2)(torch.tensor([[1.0, 2.0, 3.0]]))

    assert taken.tolist() == [[3.0, 1.0]]
    with pytest.raises(ConfigError, match=r"takes 'w', and dataset\.features has not got it"):
        Features(features=("w",)).for_features(("x", "y"))
    with pytest.raises(ConfigError, match=r"takes 3 features, and dataset\.features has 2"):
        Features(features=3).for_features(("x", "y"))


def test_fine_bins_stay_balanced_where_an_experiment_has_equal_ones() -> None:
    config = synthetic("+experiment=benchmark2", "model=kde_fine")
    summary = config.model.summary
    assert isinstance(summary, Kde)
    assert (summary.bins, summary.edges, summary.bandwidth) == (40, "balanced", 1.5)
    assert (config.trainer.batch_size, config.trainer.learning_rate) == (8000, 0.003)


SMALL = ("trainer.max_epochs=2", "trainer.progress=none", "model.batch_size=200", "nuisance=none")


@pytest.mark.parametrize(
    ("overrides", "learnt"),
    [
        (("model=kde", "model.edges=learnt", "model.hidden=[8]", "model.bins=4"), {"edges_at"}),
        (("model=gaussian_gradient", "model.edges=balanced", "model.hidden=[8]", "model.bins=4"), {"edges_at"}),
        (("model=cuts", "model.cuts={x2: below, x0: above}"), {"starts", "scales", "cuts_at"}),
        (
            ("model=external", "model.features=[x1]", "model.summary.output=logit", "model.edges=learnt"),
            {"quantiles_at", "edges_at"},
        ),
    ],
    ids=lambda overrides: overrides[0] if isinstance(overrides, tuple) else "",
)
def test_what_a_training_leaves_is_read_back(overrides: tuple[str, ...], learnt: set[str], tmp_path: Path) -> None:
    config = synthetic(*overrides, *SMALL)
    trained = train(config, load(config), folder=tmp_path / "checkpoints")
    model, features = config.model, config.dataset.features
    path = tmp_path / "checkpoints" / "best.ckpt"
    loaded = Observable.load(path, model.network, model.summary, features, (), trained.best.number)
    events = normal(200, 3).numpy()

    assert config.model.summary.state == {}
    assert loaded.summary == trained.observable.summary
    assert loaded.apply(events).bin.tolist() == trained.observable.apply(events).bin.tolist()
    assert set(loaded.summary.state) == learnt <= set(loaded.summary.learnt)


# ------------------------------------------------------------------------------------------- bins without events
REVIVING = Softmax(bins=3, temperature=0.1, revive_below=0.1)


def with_an_empty_bin() -> tuple[nn.Sequential, list[NominalEvents]]:
    """Bin 0 has the signal, above 0 in the second feature, bin 1 the background; bin 2 has nothing.

    The signal differs most in the first feature.
    """
    rng = np.random.default_rng(1)
    signal = np.stack([rng.normal(0, 2, 2000), rng.normal(1, 0.2, 2000)], axis=1)
    background = np.stack([rng.normal(0, 2, 2000), rng.normal(-1, 0.2, 2000)], axis=1)
    last = nn.Linear(2, 3)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, -1.0], [0.0, 0.0]]))
        last.bias.copy_(torch.tensor([0.0, 0.0, -50.0]))
    events = []
    for name, values in (("signal", signal), ("background", background)):
        features = torch.from_numpy(values.astype(np.float32))
        events.append(NominalEvents(name, "SR", name == "signal", features, torch.ones(2000, dtype=torch.float64)))
    return nn.Sequential(nn.Identity(), last), events


def test_an_empty_bin_gets_a_half_of_the_one_with_most_signal() -> None:
    network, (signal, background) = with_an_empty_bin()
    with torch.no_grad():
        before = network(signal.features)[:, 0]

    assert REVIVING.revive(network, [signal, background], passed=0.1) == {2: 0}
    with torch.no_grad():
        outputs = network(signal.features)
        bins = REVIVING.hard(outputs)
        assert set(REVIVING.hard(network(background.features)).tolist()) == {1}
    assert set(bins.tolist()) == {0, 2}
    assert abs(float((bins == 2).double().mean()) - 0.5) < 0.05
    moved = outputs[:, [0, 2]] - before[:, None]
    torch.testing.assert_close(moved.sum(dim=1), torch.zeros(2000), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.std(dim=0), torch.full((2,), HALVES * 0.1), rtol=0.01, atol=0)
    # They are divided by the feature in which the events of the bin differ most.
    divided = torch.corrcoef(torch.stack([moved[:, 0], signal.features[:, 0]]))[0, 1]
    assert abs(float(divided)) > 0.99
    assert REVIVING.revive(network, [signal, background], passed=0.1) == {}


def test_bins_are_revived_if_asked_for_and_not_to_the_end() -> None:
    network, events = with_an_empty_bin()
    before = network[1].weight.detach().clone()

    assert REVIVING.revive(network, events, passed=0.71) == {}
    assert REVIVING.model_copy(update={"revive_below": 0.0}).revive(network, events, passed=0.1) == {}
    assert torch.equal(network[1].weight, before)


def test_several_empty_bins_are_all_different_afterwards() -> None:
    network, events = with_an_empty_bin()
    wider = nn.Linear(2, 6)
    with torch.no_grad():
        wider.weight.zero_()
        wider.bias.fill_(-50.0)
        wider.weight[:3], wider.bias[:3] = network[1].weight, network[1].bias
    summary = REVIVING.model_copy(update={"bins": 6})

    copies = summary.revive(nn.Sequential(network[0], wider), events, passed=0.1)
    assert list(copies) == [2, 3, 4, 5]
    assert set(copies.values()) <= {0, 2, 3, 4}
    assert len({tuple(row) for row in wider.weight.tolist()}) == 6


@pytest.mark.parametrize(("weight", "empty"), [(-1.0, [2]), (0.0, [1, 2])])
def test_negative_weights_are_events_and_zero_is_none(weight: float, empty: list[int]) -> None:
    network, (signal, background) = with_an_empty_bin()
    background.weights.fill_(weight)

    assert list(REVIVING.revive(network, [signal, background], passed=0.1)) == empty
    assert bool(torch.isfinite(network[1].weight).all())
