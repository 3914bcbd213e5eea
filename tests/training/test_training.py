"""Training: batches, summaries, losses and the selection of the epoch, with numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import load, make_measurement, synthetic, train
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import SingularInformationError
from inferno_cli.events.sample import NOMINAL, Events, Sample, Variation, variations
from inferno_cli.histograms.templates import fill
from inferno_cli.training import trainer as trainer_module
from inferno_cli.training.batches import WHOLE, StratifiedBatches, to_tensors
from inferno_cli.training.epochs import Training
from inferno_cli.training.evaluation import Evaluation, Likelihoods, evaluate, judge
from inferno_cli.training.layers import Standardise, last_linear, moments
from inferno_cli.training.module import Module
from inferno_cli.training.objectives.augmented_cross_entropy import AugmentedCrossEntropy
from inferno_cli.training.objectives.cross_entropy import CrossEntropy
from inferno_cli.training.objectives.poi_variance import PoiVariance
from inferno_cli.training.observable import ChannelNetworks
from inferno_cli.training.soft_likelihood import SoftLikelihood, Stratum
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.summaries.score import Score
from inferno_cli.training.summaries.softmax import SPREAD, Softmax
from inferno_cli.training.trainer import create

MODELS = ("bce", "inferno")
SCORE = Score(bins=10, edge_width=0.1)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def configured(*overrides: str) -> TrainConfig:
    return synthetic(
        "trainer.max_epochs=2", "trainer.progress=none", "model.batch_size=200", "model.hidden=[16]", *overrides
    )


@pytest.fixture(scope="module")
def events() -> Events:
    return load(configured())


def made(config: TrainConfig, events: Events) -> Module:
    """The module as ``train`` creates it, its bins placed."""
    torch.manual_seed(config.seed)
    model, measurement = config.model, Measurement.from_config(config, config.nuisance.train)
    likelihood = SoftLikelihood.of(measurement, events.train, events.template)
    parts = model.network, model.summary, model.objective
    module = create(*parts, likelihood, events.train, events.features, config.trainer)
    model.summary.spread(module.network, torch.cat([torch.from_numpy(x.features[0]) for x in events.train]))
    (part,) = module.parts.values()
    part.observable = part.observable.placed([NominalEvents.of(x) for x in events.train])
    return module


def evaluated(module: Module, events: Events, config: TrainConfig) -> Evaluation:
    return evaluate(module.networks, module.likelihood, events.validation, config.binning)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let modules do a step of the training without a trainer, past the warm-up."""
    monkeypatch.setattr(Module, "warming_up", False)
    monkeypatch.setattr(Module, "log", lambda *args, **kwargs: None)


def sample(name: str, weights: Any, *, is_signal: bool = False, features: Any = None) -> Sample:
    """A sample without variations, of one feature."""
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    n = weights.shape[1]
    values = np.zeros((1, n, 1)) if features is None else np.asarray(features).reshape(1, n, 1)
    return Sample(name, is_signal, np.arange(n), (NOMINAL,), values.astype(np.float32), (0,), weights)


def likelihood_of(samples: list[Sample], *, effective: float = 1e300) -> SoftLikelihood:
    """The likelihood of samples written down here: no shapes, and no staterror unless ``effective`` is finite."""
    measurement = make_measurement([x.name for x in samples], signal=tuple(x.name for x in samples if x.is_signal))
    return SoftLikelihood(measurement, tuple(Stratum.of(x, effective) for x in samples))


# --------------------------------------------------------------------------------------------------- noise
@pytest.mark.parametrize("kind", MODELS)
def test_input_noise_moves_all_views_of_an_event_alike(events: Events, kind: str) -> None:
    module = made(configured(f"model={kind}", "model.input_noise=0.2"), events)
    batch = to_tensors(events.train, "cpu")
    blocks = [features for features, _ in batch]
    moved = [smeared - block for smeared, block in zip(module.smeared(blocks), blocks, strict=True)]
    for noise in moved:
        torch.testing.assert_close(noise[1:], noise[:1].expand_as(noise[1:]), rtol=0, atol=1e-5)
    widths = torch.cat([noise[0] for noise in moved]).std(dim=0) / module.deviation
    torch.testing.assert_close(widths, torch.full_like(widths, 0.2), rtol=0.1, atol=0)
    assert made(configured(f"model={kind}"), events).smeared(blocks) is blocks


@pytest.mark.parametrize("kind", MODELS)
def test_a_step_is_made_with_noise_and_an_evaluation_without(
    events: Events, kind: str, monkeypatch: pytest.MonkeyPatch, alone: None
) -> None:
    config = configured(f"model={kind}", "model.input_noise=0.5")
    module, quiet = made(config, events), made(configured(f"model={kind}"), events)
    batch = to_tensors(events.train, "cpu")
    with torch.no_grad():
        assert float(module.training_step(batch, 0)) != float(quiet.training_step(batch, 0))
    found, expected = (evaluated(item, events, config) for item in (module, quiet))
    assert found == expected


# ------------------------------------------------------------------------------------------------- batches
def rows_of(batches: StratifiedBatches, index: int) -> list[list[int]]:
    """The rows of one sample in each batch; the feature tells the row."""
    return [[int(x) for x in batch[index][0][0, :, 0]] for batch in batches]


def numbered(name: str, n: int) -> Sample:
    return sample(name, np.arange(1, n + 1), features=np.arange(n))


def test_every_row_of_a_large_sample_appears_once_in_an_epoch() -> None:
    batches = StratifiedBatches([numbered("a", 6000), numbered("b", 3000)], 1500, 1, "cpu")

    assert len(batches) == 6
    for index, n in enumerate((6000, 3000)):
        rows = rows_of(batches, index)
        assert [len(part) for part in rows] == [n // 6] * 6
        assert sorted(row for part in rows for row in part) == list(range(n))


def test_rows_that_do_not_divide_are_filled_up_with_a_few_again() -> None:
    batches = StratifiedBatches([numbered("a", 6001)], 1000, 1, "cpu")
    (sizes,) = ({len(part) for part in rows_of(batches, 0)},)
    rows = [row for part in rows_of(batches, 0) for row in part]

    assert sizes == {1001}
    assert set(rows) == set(range(6001))
    assert len(rows) - 6001 == 6 * 1001 - 6001


def test_small_samples_are_whole_in_every_batch() -> None:
    batches = StratifiedBatches([numbered("large", 10_000), numbered("small", 30)], 1000, 1, "cpu")

    assert len(batches) == 10
    for rows in rows_of(batches, 1):
        assert sorted(rows) == list(range(30))


def test_a_middling_sample_gives_at_least_so_many_rows_to_a_batch() -> None:
    batches = StratifiedBatches([numbered("large", 20_000), numbered("middling", 2 * WHOLE)], 1000, 1, "cpu")

    for rows in rows_of(batches, 1):
        assert len(rows) == WHOLE
        assert len(set(rows)) == WHOLE


def test_weights_stay_with_their_rows() -> None:
    for batch in StratifiedBatches([numbered("a", 2000)], 500, 3, "cpu"):
        ((features, weights),) = batch
        np.testing.assert_array_equal(weights[0], features[0, :, 0] + 1)


def test_same_seed_same_batches_and_every_epoch_its_own() -> None:
    samples = [numbered("a", 2000)]
    first, second, other = (StratifiedBatches(samples, 500, seed, "cpu") for seed in (1, 1, 2))
    epochs = [rows_of(first, 0), rows_of(first, 0)]

    assert [rows_of(second, 0), rows_of(second, 0)] == epochs
    assert epochs[0] != epochs[1]
    assert rows_of(other, 0) != epochs[0]


# ------------------------------------------------------------------------------------------------- network
def test_standardisation_counts_every_sample_alike_and_keeps_constants() -> None:
    """Means 0 and 2, whatever the sizes: mean 1, E[x^2] = (1 + 5) / 2, variance 2. The second feature is constant."""
    first = torch.tensor([[-1.0, 7.0], [1.0, 7.0]])
    second = torch.tensor([[1.0, 7.0], [3.0, 7.0]]).repeat(50, 1)

    mean, deviation = moments([first, second])

    torch.testing.assert_close(mean, torch.tensor([1.0, 7.0]))
    torch.testing.assert_close(deviation, torch.tensor([math.sqrt(2), 1.0]))
    # The inverse hyperbolic sine shortens the tails.
    standard = Standardise(mean, deviation)(torch.tensor([3.0, 8.0]))
    torch.testing.assert_close(standard, torch.tensor([math.asinh(math.sqrt(2)), math.asinh(1.0)]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_are_compressed_as_by_torch_at_any_size(dtype: torch.dtype) -> None:
    layer = Standardise(torch.zeros(1), torch.ones(1)).to(dtype)
    sizes = torch.cat([torch.zeros(1, dtype=dtype), torch.logspace(-30, 30, 2001, dtype=dtype)])
    values = torch.cat([-sizes, sizes])[:, None].requires_grad_()
    found, exact = layer(values), torch.asinh(values.detach().double())
    found.sum().backward()
    torch.testing.assert_close(found.double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=0)
    assert values.grad is not None
    slope = 1 / torch.hypot(values.detach(), torch.ones((), dtype=dtype))
    torch.testing.assert_close(values.grad, slope, rtol=1e-5, atol=1e-30)


def test_every_bin_of_inferno_begins_with_a_share_of_the_events(events: Events) -> None:
    module = made(configured("model=inferno", "model.temperature=0.01"), events)
    logits = torch.cat([module.networks.only.outputs(torch.from_numpy(x.features[0])) for x in events.train])

    torch.testing.assert_close(logits.mean(dim=0), torch.zeros(10), atol=1e-3, rtol=0)
    torch.testing.assert_close(logits.std(dim=0), torch.full((10,), SPREAD * 0.01), atol=1e-4, rtol=0)
    assert len(module.networks.only.summary.hard(logits).unique()) >= 8


# ----------------------------------------------------------------------------------------------- summaries
def test_hard_bins_of_bce_are_equal_in_the_output() -> None:
    summary = Score(bins=4, edge_width=0.1)
    score = torch.tensor([1e-6, 0.24, 0.26, 0.49, 0.51, 0.76, 1 - 1e-6])

    assert summary.hard(torch.logit(score)[:, None]).tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert summary.hard(torch.tensor([[-1e4], [1e4]])).tolist() == [0, 3]


def test_hard_bins_of_inferno_are_the_largest_output() -> None:
    summary = Softmax(bins=3, temperature=0.1)

    assert summary.hard(torch.tensor([[0.1, 0.3, 0.2], [5.0, -1.0, 4.9], [0.0, 0.0, 1.0]])).tolist() == [1, 0, 2]


def test_soft_templates_become_the_hard_ones_as_the_temperature_falls(events: Events) -> None:
    """With the whole split as one batch, nominal and varied."""
    module = made(configured("model=inferno"), events)
    sharp = Softmax(bins=10, temperature=1e-9)
    logits = [module.networks.only.outputs(torch.from_numpy(x.features)) for x in events.template]
    batch = to_tensors(events.template, "cpu")

    channel = module.likelihood.expectation(batch, [sharp.soft(output) for output in logits])

    hard = fill(events.template, module.networks.only.assign(events.template), 10)
    np.testing.assert_allclose(channel.nominal, hard.nominal, rtol=1e-9)
    total = hard.nominal.sum(axis=0)
    np.testing.assert_allclose(channel.relative_error, np.sqrt(hard.variance.sum(axis=0)) / total, rtol=1e-9)
    for name in ("r", "lambda"):
        parameter, row = channel.parameters.index(name), 1
        up, down = hard.varied[name, "background"]
        for direction, values in enumerate((up, down)):
            factor = channel.normsys[direction, parameter, row]
            change = channel.histosys[direction, parameter, row]
            np.testing.assert_allclose(factor * (channel.nominal[row] + change), values, rtol=1e-9)


def test_soft_templates_are_scaled_to_the_expected_yields(events: Events) -> None:
    """A batch of any size; each sample, each variation."""
    module = made(configured("model=inferno"), events)
    batch = [(features[:, :37], weights[:, :37]) for features, weights in to_tensors(events.train, "cpu")]
    summary, outputs = module.networks.only.summary, module.networks.only.outputs
    memberships = [summary.soft(outputs(features)) for features, _ in batch]

    channel = module.likelihood.expectation(batch, memberships)

    np.testing.assert_allclose(channel.nominal.sum(dim=1), [50.0, 1000.0], rtol=1e-12)


def test_staterror_of_a_batch_is_that_of_the_template_split() -> None:
    """Relative error of a bin: sqrt(sum_p y_p^2 / n_p * share of sum w^2) / nu, with n_p of the template split."""
    samples = [sample("signal", np.full(4, 2.5), is_signal=True), sample("background", [10.0, 20.0, 30.0, 40.0])]
    memberships = [torch.tensor([[[1.0, 0], [1, 0], [1, 0], [0, 1]]], dtype=torch.float64)] * 2

    channel = likelihood_of(samples, effective=100.0).expectation(to_tensors(samples, "cpu"), memberships)

    np.testing.assert_allclose(channel.nominal, [[7.5, 2.5], [60.0, 40.0]])
    # Signal: yield 10, shares 3/4 and 1/4. Background: yield 100, shares 14/30 and 16/30 of sum w^2 = 3000.
    variance = np.array([10**2 / 100 * 3 / 4 + 100**2 / 100 * 14 / 30, 10**2 / 100 / 4 + 100**2 / 100 * 16 / 30])
    np.testing.assert_allclose(channel.relative_error, np.sqrt(variance) / [67.5, 42.5])


# -------------------------------------------------------------------------------------------------- losses
def test_loss_of_bce_by_hand() -> None:
    """Signal: softplus(-z) weighted 1, 3; background over two samples at their yields; half and half."""
    signal = sample("signal", [1.0, 3.0], is_signal=True)
    first, second = sample("first", [2.0]), sample("second", [1.0, 1.0])
    samples = [signal, first, second]
    logits = [torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[2.0]]]), torch.tensor([[[-1.0], [0.5]]])]

    loss = CrossEntropy().loss(logits, to_tensors(samples, "cpu"), [SCORE] * 3, likelihood_of(samples))

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    positive = (1 * softplus(0.0) + 3 * softplus(-1.0)) / 4
    negative = (2 * softplus(2.0) + softplus(-1.0) + softplus(0.5)) / 4
    assert float(loss) == pytest.approx(0.5 * (positive + negative), rel=1e-12)


def test_loss_of_the_augmented_bce_by_hand() -> None:
    """Three variations of the background, a third of its yield each, in two blocks of features: one is a weight's."""
    signal = sample("signal", [1.0, 3.0], is_signal=True)
    labels = (NOMINAL, Variation("jes", "up"), Variation("btag", "up"))
    features, weights = np.zeros((2, 2, 1), dtype=np.float32), np.array([[1.0, 1.0], [1.0, 3.0], [3.0, 1.0]])
    background = Sample("background", False, np.arange(2), labels, features, (0, 1, 0), weights)
    samples = [signal, background]
    logits = [torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[2.0], [-1.0]], [[0.5], [0.0]]])]

    likelihood, batch = likelihood_of(samples), to_tensors(samples, "cpu")
    loss = AugmentedCrossEntropy().loss(logits, batch, [SCORE] * 3, likelihood)

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    positive = (1 * softplus(0.0) + 3 * softplus(-1.0)) / 4
    nominal, jes = (softplus(2.0) + softplus(-1.0)) / 2, (softplus(0.5) + 3 * softplus(0.0)) / 4
    btag = (3 * softplus(2.0) + softplus(-1.0)) / 4
    # Each at its own yield: 2, 4, 4.
    negative = (2 * nominal + 4 * jes + 4 * btag) / 10
    assert float(loss) == pytest.approx(0.5 * (positive + negative), rel=1e-12)


def test_loss_of_bce_does_not_depend_on_the_rows_of_a_sample_in_the_batch() -> None:
    """Twice the rows of one background with the same outputs: its yield counts, not its share of the batch."""
    samples = [sample("signal", [1.0], is_signal=True), sample("first", [2.0]), sample("second", [1.0, 1.0])]
    likelihood = likelihood_of(samples)
    logits = [torch.tensor([[[0.3]]]), torch.tensor([[[2.0]]]), torch.tensor([[[-1.0], [0.5]]])]
    batch = to_tensors(samples, "cpu")
    doubled = [batch[0], (batch[1][0].repeat(1, 2, 1), batch[1][1].repeat(1, 2)), batch[2]]

    once = CrossEntropy().loss(logits, batch, [SCORE] * 3, likelihood)
    twice = CrossEntropy().loss([logits[0], logits[1].repeat(1, 2, 1), logits[2]], doubled, [SCORE] * 3, likelihood)

    assert float(twice) == pytest.approx(float(once), rel=1e-12)


def test_loss_of_inferno_by_hand() -> None:
    """Without nuisance parameters 1 / variance = sum_b s_b^2 / (nu_b + v_b), v the variance of the simulation."""
    samples = [sample("signal", [6.0, 4.0], is_signal=True), sample("background", [10.0, 30.0, 60.0])]
    likelihood, summary = likelihood_of(samples, effective=50.0), Softmax(bins=2, temperature=0.5)
    logits = [torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.0, 0.0], [0.0, 0.5]]])]

    loss = PoiVariance(warm_up=0.4).loss(logits, to_tensors(samples, "cpu"), [summary] * len(samples), likelihood)

    def first_bin(difference: float) -> float:
        return 1 / (1 + math.exp(-difference / 0.5))

    s, b = np.zeros(2), np.zeros(2)
    v = np.zeros(2)
    for weights, differences, target, total in (
        ([6, 4], [0, 1], s, 10),
        ([10, 30, 60], [-1, 0, -0.5], b, 100),
    ):
        squares = sum(w**2 for w in weights)
        for weight, difference in zip(weights, differences, strict=True):
            share = np.array([first_bin(difference), 1 - first_bin(difference)])
            target += weight * share
            v += total**2 / 50 * weight**2 / squares * share
    assert float(loss) == pytest.approx(-math.log((s**2 / (s + b + v)).sum()), rel=1e-12)


@pytest.mark.usefixtures("alone")
def test_bce_does_not_look_at_the_variations(events: Events) -> None:
    module = made(configured("model=bce"), events).requires_grad_(False)
    batch = to_tensors(events.train, "cpu")
    spoilt = [(torch.cat([features[:1], features[1:] * math.nan]), weights) for features, weights in batch]

    assert float(module.training_step(spoilt, 0)) == float(module.training_step(batch, 0))


class OnOneDevice(TorchDispatchMode):
    """Fail when an operation on tensors of the meta device also takes an array from the CPU, or makes one."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        if any(x.is_meta for x in given):
            self.operations += 1
            for tensor in (*given, *made):
                assert tensor.is_meta or tensor.dim() == 0, f"{function} has a tensor on {tensor.device}"
        return result


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("model", "warming_up"), [("bce", False), ("inferno", False), ("inferno", True)])
def test_a_step_on_the_meta_device_leaves_nothing_on_the_cpu(
    model: str, warming_up: bool, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Module, "warming_up", warming_up)
    config = configured(f"model={model}", "nuisance=r_lambda_b", "model.input_noise=0.1")
    module = made(config, events).to("meta")
    channels = []
    build = SoftLikelihood.expectation
    monkeypatch.setattr(SoftLikelihood, "expectation", lambda *args: channels.append(build(*args)) or channels[-1])
    batch = [(features.to("meta"), weights.to("meta")) for features, weights in to_tensors(events.train, "cpu")]

    with OnOneDevice() as watch:
        loss = module.training_step(batch, 0)
        loss.backward()

    assert loss.is_meta
    assert watch.operations > 20
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    assert {name for name, tensor in tensors.items() if not tensor.is_meta} == set()
    assert {"network.0.mean", "network.0.deviation"} <= set(tensors)
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert len(gradients) == 4
    assert all(gradient.is_meta for gradient in gradients)
    assert len(channels) == (1 if model == "inferno" and not warming_up else 0)
    for channel in channels:
        left = [name for name, x in vars(channel).items() if isinstance(x, Tensor) and not x.is_meta]
        assert left == []


# --------------------------------------------------------------------------------------------- evaluation
def test_outputs_in_chunks_are_the_same(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    module = made(configured(), events)
    features = torch.from_numpy(events.template[1].features)
    whole = module.networks.only.outputs(features)
    monkeypatch.setattr("inferno_cli.training.observable.CHUNK", 7)

    assert whole.shape == (*features.shape[:-1], 10)
    torch.testing.assert_close(module.networks.only.outputs(features), whole)


@pytest.mark.parametrize("model", ["bce", "inferno"])
def test_a_network_that_has_diverged_is_worth_nothing(model: str, events: Events) -> None:
    """Every output is NaN: infinite variance, not a number and not an error."""
    config = configured(f"model={model}", "nuisance=r_free")
    module = made(config, events)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(math.nan)

    found = evaluated(module, events, config)

    assert found.soft == math.inf
    assert found.hard == math.inf
    assert found.deviations == {}


# ------------------------------------------------------------------------------------------------ training
@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
@pytest.mark.parametrize("model", MODELS)
def test_one_epoch(model: str, accelerator: str, events: Events, tmp_path: Path) -> None:
    config = configured(f"model={model}", f"trainer={accelerator}", "trainer.max_epochs=1", "trainer.progress=none")

    trained = train(config, events, tmp_path)

    (epoch,) = trained.epochs
    assert trained.best is epoch
    assert trained.validation is epoch.evaluation
    assert math.isfinite(epoch.loss)
    assert 0 < epoch.evaluation.hard < math.inf
    assert 0 < epoch.evaluation.soft < math.inf
    names = {"mu", "r", "lambda"}
    assert set(epoch.evaluation.deviations) == names
    assert epoch.evaluation.deviations["mu"] == pytest.approx(math.sqrt(epoch.evaluation.hard))
    assert all(-1 <= rho <= 1 for rho in epoch.evaluation.correlations.values())
    assert set(epoch.metrics()) >= {"loss", "validation/sigma_mu_soft", "validation/sigma_mu_hard", "validation/bins"}
    assert trained.checkpoint.is_file()


@pytest.mark.parametrize("model", [*MODELS, "optimal"])
def test_the_validation_that_is_recorded_is_of_the_likelihood_that_is_fitted(
    model: str, events: Events, tmp_path: Path
) -> None:
    """What the training leaves out selects no epoch, and still widens the error that is reported."""
    config = configured(f"model={model}", "model.hidden=[16]", "trainer.max_epochs=1", "nuisance.train=[]")
    trained = train(config, events, tmp_path)

    assert set(trained.best.evaluation.deviations) == {"mu"}
    assert set(trained.validation.deviations) == {"mu", "r", "lambda"}
    assert trained.validation.hard >= trained.best.evaluation.hard  # equal where so few events leave one bin
    assert trained.validation.soft > trained.best.evaluation.soft
    assert judge(trained.networks, Likelihoods.from_config(config), events) == trained.validation


@pytest.mark.parametrize("model", MODELS)
def test_training_lowers_the_loss(model: str, events: Events, tmp_path: Path) -> None:
    trained = train(configured(f"model={model}", "trainer.max_epochs=3", "model.learning_rate=0.01"), events, tmp_path)

    losses = [epoch.loss for epoch in trained.epochs]
    assert losses[-1] < losses[0] - (0.05 if model == "inferno" else 0.01)


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> list[dict[str, Tensor]]:
    """Let the validation say ``values``; return the weights of the network at each epoch as they come."""
    states: list[dict[str, Tensor]] = []

    def said(networks: ChannelNetworks, *_: Any) -> Evaluation:
        states.append({name: value.clone() for name, value in networks.only.network.state_dict().items()})
        value = values[len(states) - 1]
        return Evaluation(soft=0.01, hard=value, honest=value, merit=value, n_bins=3, deviations={}, correlations={})

    monkeypatch.setattr(trainer_module, "evaluate", said)
    return states


def same(trained: Training, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in trained.observable.network.state_dict().items())


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([0.4, 0.2, 0.3], 1),
        ([0.4, 0.3, 0.2], 2),
        ([0.1, 0.3, 0.2], 0),
        ([math.inf, math.inf, 0.2], 2),
        ([math.inf, 0.2, math.inf], 1),
        ([0.2, 0.2, 0.2], 0),
    ],
)
def test_the_epoch_with_the_smallest_hard_value_is_kept(
    values: list[float], best: int, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = scripted(monkeypatch, values)

    trained = train(configured("trainer.max_epochs=3", "model.warm_up=0"), events, tmp_path)

    assert trained.best.number == best
    assert [same(trained, state) for state in states] == [epoch == best for epoch in range(3)]
    stored = torch.load(trained.checkpoint, weights_only=True)["state_dict"]
    assert same(trained, {name.removeprefix("network."): value for name, value in stored.items()})


def test_a_long_training_selects_by_a_running_mean(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of forty epochs: sigma 0.1 beside 0.5 and 0.4 is luck; epochs 3 and 4 have the smallest mean, 0.2."""
    sigmas = [0.5, 0.1, 0.4, 0.2, 0.2, *[0.3] * 35]
    states = scripted(monkeypatch, [sigma**2 for sigma in sigmas])

    trained = train(configured("trainer.max_epochs=40", "model.warm_up=0"), events, tmp_path)

    assert trained.best.number == 4
    assert same(trained, states[4])


def test_early_stopping_with_less_patience_than_the_running_mean_has_epochs(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty epochs, means of three, six of warm-up: the first mean is that of epochs 6 to 8."""
    sigmas = [0.5, 0.4, 0.3, 0.2, 0.1, *[0.3] * 60]
    scripted(monkeypatch, [sigma**2 for sigma in sigmas])
    patience = ("trainer.max_epochs=60", "model.warm_up=0.1", "trainer.early_stopping=2")

    trained = train(configured(*patience), events, tmp_path)

    assert trained.best.number == 10
    assert len(trained.epochs) == 13


def test_the_record_and_the_checkpoint_are_of_the_same_epoch(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning compares the values in single precision, where these two are the same."""
    states = scripted(monkeypatch, [0.2 + 1e-10, 0.2, 0.3])

    trained = train(configured("trainer.max_epochs=3", "model.warm_up=0"), events, tmp_path)

    assert trained.best.number in (0, 1)
    assert same(trained, states[trained.best.number])


def test_no_epoch_that_can_be_used_is_an_error(events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [math.inf, math.inf])

    with pytest.raises(SingularInformationError, match=r"after none of 2 epochs .* mu, r, lambda"):
        train(configured(), events, tmp_path)


def test_early_stopping_stops(events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Better at epoch 1, then twice not: epochs 0 to 3 of 20."""
    scripted(monkeypatch, [0.4, 0.3, 0.35, 0.31, 0.2])

    patience = ("trainer.max_epochs=20", "trainer.early_stopping=2", "model.warm_up=0")
    trained = train(configured(*patience), events, tmp_path)

    assert [epoch.number for epoch in trained.epochs] == [0, 1, 2, 3]
    assert trained.best.number == 1


def test_early_stopping_waits_while_the_information_is_singular(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [math.inf, 0.3, 0.2, 0.25, 0.22])

    patience = ("trainer.max_epochs=5", "trainer.early_stopping=2", "model.warm_up=0")
    trained = train(configured(*patience), events, tmp_path)

    assert trained.best.number == 2
    assert len(trained.epochs) == 5


def test_early_stopping_waits_for_the_warm_up(events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs 0 to 3 prepare the hidden layers."""
    scripted(monkeypatch, [0.3, 0.2, 0.25, 0.22])

    trained = train(
        configured("trainer.max_epochs=8", "trainer.early_stopping=2", "model.warm_up=0.5"), events, tmp_path
    )

    assert trained.best.number == 5
    assert len(trained.epochs) == 8


def test_warm_up_prepares_the_hidden_layers_and_is_never_selected(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four epochs; then the bins are placed, once, and only then are epochs compared."""
    spread: list[int] = []
    original = Module.on_train_epoch_start
    monkeypatch.setattr(Softmax, "spread", lambda *_: spread.append(epochs[-1]))
    epochs: list[int] = []

    def starting(module: Module) -> None:
        epochs.append(module.current_epoch)
        original(module)

    monkeypatch.setattr(Module, "on_train_epoch_start", starting)
    trained = train(configured("trainer.max_epochs=4", "model.warm_up=0.5"), events, tmp_path)

    assert spread == [2]
    assert [epoch.evaluation.hard == math.inf for epoch in trained.epochs[:3]] == [True, True, False]
    assert trained.best.number >= 2
    assert trained.epochs[0].metrics()["validation/sigma_mu_hard"] is None
    # Cross-entropy of two samples at 50 and 1000 events: from about log 2 towards that of the shares, 0.19.
    assert 0 < trained.epochs[1].loss < trained.epochs[0].loss < 1


def test_without_early_stopping_every_epoch_runs(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.1, 0.2, 0.3, 0.4])

    assert len(train(configured("trainer.max_epochs=4"), events, tmp_path).epochs) == 4


@pytest.mark.parametrize(("configured_value", "given"), [("0.0", None), ("0.5", 0.5)])
def test_gradient_clipping_is_handed_to_lightning(
    configured_value: str, given: float | None, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = []
    original = pl.Trainer

    def recorded(**arguments: Any) -> pl.Trainer:
        trainers.append(original(**arguments))
        return trainers[-1]

    monkeypatch.setattr(trainer_module.pl, "Trainer", recorded)
    train(configured(f"trainer.gradient_clip={configured_value}", "trainer.max_epochs=1"), events, tmp_path)

    assert trainers[0].gradient_clip_val == given


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_schedule_of_the_learning_rate(
    schedule: str, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate of each of the 6 steps of 3 epochs."""
    rates = []
    step = Module.training_step

    def recorded(module: Module, *arguments: Any) -> Tensor:
        rates.append(module.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        return step(module, *arguments)

    monkeypatch.setattr(Module, "training_step", recorded)
    train(configured(f"trainer.schedule={schedule}", "trainer.max_epochs=3", "model.warm_up=0"), events, tmp_path)

    peak = configured().trainer.learning_rate
    assert len(rates) == 6
    if schedule == "constant":
        assert rates == [peak] * 6
    elif schedule == "cosine":
        assert rates == pytest.approx([peak * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)])
    else:
        assert rates[0] == pytest.approx(peak / 25)
        assert max(rates) > 0.9 * peak
        assert rates[-1] < 1e-4 * peak


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_process_is_changed(
    fails: bool, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random state, number of threads, warning filters: what leaks would reach the next point of a sweep."""
    import warnings

    if fails:
        scripted(monkeypatch, [math.inf, math.inf])
    torch.set_num_threads(2)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), list(warnings.filters)  # noqa: NPY002
    try:
        if fails:
            with pytest.raises(SingularInformationError):
                train(configured("trainer.threads=1"), events, tmp_path)
        else:
            train(configured("trainer.threads=1"), events, tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)

    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert warnings.filters == before[2]
    assert torch.get_default_dtype() == torch.float32


def test_same_seed_same_network_whatever_the_global_random_state(events: Events, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = train(configured(), events, tmp_path / "first")
    torch.manual_seed(2)
    second = train(configured(), events, tmp_path / "second")
    other = train(configured("seed=2"), events, tmp_path / "other")

    assert same(second, first.observable.network.state_dict())
    assert not same(other, first.observable.network.state_dict())
    assert [epoch.metrics() for epoch in second.epochs] == [epoch.metrics() for epoch in first.epochs]


def test_a_revived_bin_has_the_moments_of_the_one_that_it_was_a_part_of(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every bin has events, so that without a revived bin the key changes nothing."""
    config = configured("model=inferno", "model.bins=4", "model.summary.revive_below=1e-9")
    settings = configured("model=inferno", "model.bins=4", "model.summary.revive_below=0")
    trained = train(config, events, tmp_path / "1")
    assert same(trained, train(settings, events, tmp_path / "2").observable.network.state_dict())

    def copied(summary: Softmax, network: Any, samples: list[NominalEvents], passed: float) -> dict[int, int]:
        assert 0 < passed < 1
        assert [sample.name for sample in samples] == [sample.name for sample in events.train]
        return {3: 1}

    revive = Module.revive_bins
    seen = []

    def revived(module: Module) -> None:
        revive(module)
        optimizer = module.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        for parameter in last_linear(module.networks.only.network).parameters():
            for name in ("exp_avg", "exp_avg_sq"):
                moment = optimizer.state[parameter][name]
                seen.append((torch.equal(moment[3], moment[1]), torch.equal(moment[0], moment[1])))

    monkeypatch.setattr(Softmax, "revive", copied)
    monkeypatch.setattr(Module, "revive_bins", revived)
    train(config, events, tmp_path / "3")
    assert seen == [(True, False)] * 4


@pytest.mark.usefixtures("alone")
def test_variations_of_the_synthetic_events_are_in_the_loss(events: Events) -> None:
    """The network sees nominal, up and down of both parameters in one pass."""
    assert [x.variations for x in events.train] == [(NOMINAL,), variations(("r", "lambda"))]
    module = made(configured("model=inferno"), events)
    rows = []
    module.network.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))

    module.training_step(to_tensors(events.train, "cpu"), 0)

    assert rows == [200 + 5 * 200]
