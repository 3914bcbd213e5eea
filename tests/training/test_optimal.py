"""The optimal classifier of the synthetic mixture: its densities, its bins, its file, and the published numbers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, load, synthetic, train

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError
from inferno_cli.events.sample import Events
from inferno_cli.events.sources.synthetic import BACKGROUND_MEAN, BACKGROUND_VARIANCE, SIGNAL_RATE, log_density
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.final_templates import final_templates
from inferno_cli.training.observable import Observable
from inferno_cli.training.observables import Observables
from inferno_cli.training.onnx import export, export_sample
from inferno_cli.training.soft_likelihood import SoftLikelihood

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from optimal_spread import Benchmark

EVENTS = "dataset.events={train: 4000, validation: 100000, template: 400000}"


def variance(config: TrainConfig, events: Events, folder: Path) -> float:
    """The variance of mu from its templates."""
    networks, likelihoods = train(config, events, folder).networks, Likelihoods.from_config(config)
    return final_templates(Observables((networks,)), likelihoods, events, symmetrise=0.05, seed=1).poi_variance


@pytest.mark.parametrize("overrides", [(), ("dataset.signal_mean=[1.0,0.5]", "dataset.nominal={r: 0.3, lambda: 2.5}")])
def test_the_ratio_is_that_of_the_densities(overrides: tuple[str, ...]) -> None:
    dataset = synthetic(*overrides).dataset
    x = np.random.default_rng(1).normal(0, 3, (100, 3)) ** 2
    exact = dataset.exact_classifier()
    square, linear, constant = exact.square, exact.linear, exact.constant

    mean = (BACKGROUND_MEAN[0] + dataset.nominal.r, BACKGROUND_MEAN[1])  # type: ignore[union-attr]
    signal = log_density(x, dataset.signal_mean, (1, 1), SIGNAL_RATE)  # type: ignore[union-attr]
    background = log_density(x, mean, BACKGROUND_VARIANCE, dataset.nominal.rate)  # type: ignore[union-attr]
    np.testing.assert_allclose(x**2 @ square + x @ linear + constant, signal - background, rtol=1e-12, atol=1e-12)


def test_the_ratio_at_a_point_worked_out_by_hand() -> None:
    """At (0, 0, 0): 2 / (2 pi) for the signal, 3 exp(-4 / 10) / (2 pi sqrt(45)) for the background."""
    constant = synthetic().dataset.exact_classifier().constant
    assert constant == pytest.approx(np.log(2) - np.log(3 * np.exp(-0.4) / 45**0.5))


def test_score_is_the_share_of_the_signal_and_the_file_says_the_same(tmp_path: Path) -> None:
    config = compose(
        "+experiment=synthetic", "model=optimal", "dataset.events={train: 400, validation: 40000, template: 4000}"
    )
    events = load(config)
    trained = train(config, events, tmp_path)

    x = np.array([[0.0, 0.0, 0.0], [5.0, 1.0, 0.1], [-1.0, 2.0, 3.0]], dtype=np.float32)
    exact = config.dataset.exact_classifier()
    square, linear, constant = exact.square, exact.linear, exact.constant
    expected = 1 / (1 + np.exp(-(x.astype(float) ** 2 @ square + x.astype(float) @ linear + constant)))
    groups = tuple((i,) for i in range(10))
    observable = replace(trained.observable, groups=groups)
    found = observable.apply(x)
    np.testing.assert_allclose(found.response[:, 0], expected, rtol=1e-12)
    assert found.bin.tolist() == (expected * 10).astype(int).tolist()
    assert export(observable, tmp_path / "model.onnx", export_sample(events.template)) < 1e-6


def test_it_can_be_loaded_again(tmp_path: Path) -> None:
    config = compose(
        "+experiment=synthetic", "model=optimal", "dataset.events={train: 400, validation: 40000, template: 4000}"
    )
    events = load(config)
    trained = train(config, events, tmp_path / "checkpoints")
    groups = tuple((i,) for i in range(10))
    x = events.template[0].features[0]

    model, number = config.model, trained.best.number
    path = tmp_path / "checkpoints" / "best.ckpt"
    loaded = Observable.load(path, model.network, model.summary, events.features, groups, number)

    assert torch.equal(loaded.logits(x), trained.observable.logits(x))


def test_no_other_polynomial_has_a_smaller_cross_entropy(tmp_path: Path) -> None:
    """It is the minimum: every coefficient that is changed makes the loss larger."""
    from inferno_cli.training.batches import to_tensors

    config = compose(
        "+experiment=benchmark0", "model=optimal", "dataset.events={train: 400, validation: 60000, template: 4000}"
    )
    events = load(config)
    trained = train(config, events, tmp_path)
    layer, batch = trained.observable.network[0], to_tensors(events.validation, "cpu")
    likelihood = SoftLikelihood.of(Likelihoods.from_config(config).trained, events.validation, events.template)

    def loss() -> float:
        outputs = [trained.observable.outputs(x) for x, _ in batch]
        return float(config.model.objective.loss(outputs, batch, [config.model.summary] * len(batch), likelihood))

    best = loss()
    assert best == pytest.approx(trained.best.loss)
    for buffer in (layer.square, layer.linear, layer.constant):
        for i in range(len(buffer)):
            for sign in (1, -1):
                buffer[i] += 0.1 * sign
                assert loss() > best
                buffer[i] -= 0.1 * sign


# arXiv:1806.04743, table 1, optimal classifier. What is left is the noise of the templates.
@pytest.mark.parametrize(("benchmark", "published"), [(0, 14.97), (3, 22.13)])
def test_its_templates_give_the_published_error(benchmark: int, published: float, tmp_path: Path) -> None:
    config = compose(f"+experiment=benchmark{benchmark}", "model=optimal", EVENTS, "likelihood.staterror=false")
    events = load(config)

    assert 50 * variance(config, events, tmp_path) ** 0.5 == pytest.approx(published, rel=0.015)


def test_it_needs_exact_densities() -> None:
    with pytest.raises(ConfigError, match="'exact', which needs exact densities; dataset 'top11004' is made of events"):
        compose("+experiment=top11004", "model=optimal", "model.activation=relu")


@pytest.mark.parametrize("experiment", ["benchmark1", "benchmark4"])
def test_histograms_and_a_matrix_in_numpy_give_the_same(experiment: str, tmp_path: Path) -> None:
    bins = ("likelihood.staterror=false", "binning.merge_noise=false")
    config = compose(f"+experiment={experiment}", "model=optimal", EVENTS, *bins)
    events = load(config)
    signal, background = events.template
    benchmark = Benchmark(experiment)

    theirs = benchmark.sigma(np.stack([benchmark.histogram(x) for x in (signal.features[0], *background.features)]))

    ours = 50 * variance(config, events, tmp_path) ** 0.5
    # HistFactory's interpolation of the factors 0.9 and 1.1 of b has a slope that is 0.3% larger than 0.1.
    assert ours == pytest.approx(theirs, rel=1e-5 if experiment == "benchmark1" else 3e-4)
