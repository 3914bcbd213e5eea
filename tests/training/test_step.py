"""One step of a training: what it fills and differentiates, what it cannot tell apart, how many operations it takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import compose, load, make_measurement
from torch import Tensor, nn

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import SingularInformationError
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import DIRECTIONS, NOMINAL, Sample, Variation, variations
from inferno_cli.histograms.morph import envelope, floored, sides
from inferno_cli.likelihood.build import ChannelTemplates, build
from inferno_cli.likelihood.expectation import Expectation, expectation
from inferno_cli.likelihood.information import DeferredCheck, poi_covariance, poi_variance
from inferno_cli.testing.test_objectives import NoWaiting
from inferno_cli.training import module as module_file
from inferno_cli.training.batches import Batch, StratifiedBatches, to_tensors
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.frame import TINY_YIELD
from inferno_cli.training.layers import Linear, Rectifier
from inferno_cli.training.module import Module, forward_together
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.trainer import create

N_BINS = 4


# ------------------------------------------------------------------------------- the templates and their gradient
def sample(name: str, channel: str, labels: Sequence[str], view: Sequence[int], seed: int) -> Sample:
    """A sample of 60 events with some variations; its features are the outputs of a network."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 1.5, 60) * rng.uniform(0.9, 1.1, (len(view), 60))
    weights[:, ::7] *= -0.3
    features = rng.normal(0, 1, (1, 60, N_BINS)) + rng.normal(0, 0.3, (max(view) + 1, 60, N_BINS))
    about = name, name == "signal", np.arange(60), variations(labels)
    return Sample(*about, features.astype(np.float32), tuple(view), weights, channel)


def measured() -> Measurement:
    """Every kind of shape: envelope, mirror image, part, size, without a constraint, of one channel."""
    empty = make_measurement(
        ["signal", "first", "second"],
        free={"first_norm": ["first"]},
        normalisation={"lumi": (["signal", "first"], 1.1, 0.9)},
    )
    shapes = {
        "jes": {"signal": Morph(("jes",)), "first": Morph(("jes",)), "second": Morph(("jes",), part="shape")},
        "tune": {"first": Morph(("tune",), scale=0.6), "second": Morph(("tune",), missing="down", mirror=True)},
        "pdf": {"first": Morph(("pdf_0", "pdf_1", "pdf_2"), scale=1.5), "signal": Morph(("pdf_0", "pdf_1", "pdf_2"))},
        "model": {"second": Morph(("model",)), "first": Morph(("model",), part="norm")},
    }
    return replace(
        empty, shapes=shapes, unconstrained=("model",), channels=("A", "B", "C"), only_in={"tune": ("A", "C")}
    )


def filled() -> tuple[Sample, ...]:
    """Samples in two channels, in no order; variations share views, or have their own."""
    pdf = "pdf_0", "pdf_1", "pdf_2"
    return (
        sample("signal", "A", ("jes", *pdf), (0, 1, 2, *[0] * 6), 1),
        sample("first", "B", ("jes", *pdf, "model"), (0, 1, 2, *[0] * 6, 3, 4), 2),
        sample("first", "A", ("jes", "tune", *pdf, "model"), (0, 1, 2, 3, 4, *[0] * 6, 3, 4), 3),
        sample("second", "A", ("jes", "tune", "model"), (0, 1, 2, 3, 0, 2, 1), 4),
    )


def one_by_one(likelihood: SoftLikelihood, batch: Batch, memberships: Sequence[Tensor]) -> Expectation:
    """The likelihood as it is written down: one template after the other, then all of it built."""
    measurement, channels = likelihood.measurement, {}
    for stratum, (_, weights), membership in zip(likelihood.strata, batch, memberships, strict=True):
        templates = {}
        for row, (variation, view) in enumerate(zip(stratum.variations, stratum.view, strict=True)):
            counted = (weights[row][:, None] * membership[view]).sum(dim=0)
            templates[variation] = counted * stratum.yields[row] / weights[row].sum()
        squares = weights[0] ** 2
        variance = (squares[:, None] * membership[0]).sum(dim=0) / squares.sum()
        variance = variance * stratum.yields[0] ** 2 / stratum.effective_events
        varied = {}
        for parameter, by_sample in measurement.within(stratum.channel).shapes.items():
            if (morph := by_sample.get(stratum.name)) is not None:
                pairs = []
                for label in morph.members:
                    up, down = (templates[Variation(label, direction)] for direction in DIRECTIONS)
                    pairs.append(floored(morph, templates[NOMINAL], sides(morph, templates[NOMINAL], up, down)))
                pair = pairs[0] if len(pairs) == 1 else envelope(templates[NOMINAL], pairs)
                varied[parameter, stratum.name] = pair
        channels.setdefault(stratum.channel, []).append((stratum.name, templates[NOMINAL], variance, varied))
    built = []
    for name, rows in channels.items():
        names, nominal, variance, shapes = zip(*rows, strict=True)
        total = torch.stack(nominal)
        has = total.sum(dim=0) > 0
        varied = {}
        for of_sample in shapes:
            for key, pair in of_sample.items():
                varied[key] = tuple(torch.where(has, values, TINY_YIELD) for values in pair)
        total, error = torch.where(has, total, TINY_YIELD), torch.where(has, torch.stack(variance), 0.0)
        built.append(ChannelTemplates(name, names, total, error, varied))
    return expectation(build(measurement, [*built, *likelihood.fixed]))


def fixed_channel() -> ChannelTemplates:
    """A channel of six bins, more than the others have."""
    nominal = torch.linspace(3, 9, 6, dtype=torch.float64)
    varied = {("tune", "first"): (1.1 * nominal, nominal.flip(0))}
    return ChannelTemplates("C", ("first",), nominal[None], 0.1 * nominal[None], varied)


@pytest.mark.parametrize("with_fixed", [False, True])
@pytest.mark.parametrize("empty_bin", [False, True])
@pytest.mark.parametrize("staterror", [False, True])
def test_value_and_gradient_are_those_of_templates_that_are_filled_one_by_one(
    with_fixed: bool, empty_bin: bool, staterror: bool
) -> None:
    samples, measurement = filled(), replace(measured(), staterror=staterror)
    likelihood = SoftLikelihood.of(measurement, samples, samples)
    likelihood = replace(likelihood, fixed=(fixed_channel(),) if with_fixed else ())
    batch = to_tensors(samples, "cpu")
    found = []
    for of_memberships in (likelihood.expectation, lambda *args: one_by_one(likelihood, *args)):
        outputs = [features.double().requires_grad_() for features, _ in batch]
        memberships = [(output / 0.5).softmax(dim=-1) for output in outputs]
        if empty_bin:
            kept = torch.tensor([1.0, 1.0, 0.0, 1.0])
            memberships = [kept * membership for membership in memberships]
        model = of_memberships(batch, memberships)
        # Where a fit starts there is a closed form; at parameters that are given, the interpolations.
        theta = None if of_memberships == likelihood.expectation else model.init
        cost = poi_covariance(model, model.parameters, theta).diagonal().log().mean()
        cost.backward()
        found.append((model, cost.detach(), [output.grad for output in outputs]))
    (ours, cost, gradients), (theirs, expected, expected_gradients) = found

    for name in ("nominal", "normsys", "histosys", "relative_error", "init", "norm_factor", "in_staterror"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.gamma.prior.width, theirs.gamma.prior.width, rtol=1e-12, atol=0)
    assert (ours.parameters, ours.channels, ours.gamma.labels) == (
        theirs.parameters,
        theirs.channels,
        theirs.gamma.labels,
    )
    torch.testing.assert_close(cost, expected, rtol=1e-11, atol=0)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-12 * float(other.abs().max()))


# ------------------------------------------------------------------------------------------------------ the checks
def test_what_cannot_be_told_apart_is_told_once_asked() -> None:
    """The first such matrix of an epoch is described, whatever comes after it."""
    samples, measurement = filled(), measured()
    likelihood, batch = SoftLikelihood.of(measurement, samples, samples), to_tensors(samples, "cpu")
    sound = [(2 * features.double()).softmax(dim=-1) for features, _ in batch]
    alike = [torch.full_like(membership, 1 / N_BINS) for membership in sound]
    model = likelihood.expectation(batch, alike)
    with pytest.raises(SingularInformationError) as at_once:
        poi_variance(model)

    check = DeferredCheck()
    with check.instead():
        for memberships in (sound, alike, sound, [torch.nan * membership for membership in sound]):
            poi_variance(likelihood.expectation(batch, memberships))
    with pytest.raises(SingularInformationError) as later:
        check.require()
    assert str(later.value) == str(at_once.value)
    check.require()

    with check.instead():
        assert float(poi_variance(likelihood.expectation(batch, sound))) > 0
    check.require()
    with pytest.raises(SingularInformationError):
        poi_variance(model)


# -------------------------------------------------------------------------------------------------- the whole step
@pytest.mark.parametrize("layer", [nn.Tanh(), nn.BatchNorm1d(5)])
def test_rows_pass_a_network_in_parts_unless_it_normalises_over_them(
    layer: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 5), layer, nn.Linear(5, 2)).double()
    blocks = [torch.randn(2, 7, 3, dtype=torch.float64), 1 + torch.randn(1, 9, 3, dtype=torch.float64)]
    found = []
    for rows in (4, 10**9):
        monkeypatch.setattr(module_file, "ROWS", rows)
        network.zero_grad()
        outputs = forward_together(network, blocks)
        sum(output.square().sum() for output in outputs).backward()  # type: ignore[union-attr]
        found.append([*outputs, *(parameter.grad for parameter in network.parameters())])
    assert [tuple(output.shape) for output in found[0][:2]] == [(2, 7, 2), (1, 9, 2)]
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_a_rectifier_in_place_has_the_values_and_gradients_of_torchs() -> None:
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    own = nn.Sequential(plain[0], Rectifier(), plain[2], Rectifier(), plain[4])
    x, found = torch.randn(50, 4), []
    for network in (plain, own):
        outputs = network(x)
        gradients = torch.autograd.grad(outputs.square().sum(), list(plain.parameters()))
        found.append((outputs, *gradients))
    assert all(torch.equal(expected, value) for expected, value in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_layer_has_the_values_and_gradients_of_torchs(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(3, 40), nn.SiLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 5)).to(dtype)
    own = nn.Sequential(Linear(3, 40), nn.SiLU(), Linear(40, 40), Rectifier(), Linear(40, 5)).to(dtype)
    own.load_state_dict(plain.state_dict())
    for shape in ((3,), (1, 3), (70, 3), (2, 35, 3)):
        x, found = torch.randn(shape, dtype=dtype), []
        for network in (plain, own):
            given = x.clone().requires_grad_()
            outputs = network(given)
            gradients = torch.autograd.grad(outputs.square().sum(), [given, *network.parameters()])
            found.append((outputs, *gradients))
        for expected, value in zip(*found, strict=True):
            torch.testing.assert_close(value, expected, rtol=2e-5, atol=1e-5 * float(expected.detach().abs().max()))
    assert own(torch.empty(0, 3, dtype=dtype)).shape == (0, 5)
    without = Linear(3, 4, bias=False, dtype=dtype)
    torch.testing.assert_close(without(x), x @ without.weight.T)


def test_the_gradient_of_a_layer_is_differentiated_as_that_of_torchs() -> None:
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 1))
    own = nn.Sequential(Linear(4, 7), nn.Tanh(), Linear(7, 7), Rectifier(), Linear(7, 1))
    own.load_state_dict(plain.state_dict())
    x, found = torch.randn(11, 4), []
    for network in (plain, own):
        given = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(given).sum(), given, create_graph=True)
        penalised = network(given).square().sum() + slope.square().sum()
        by_weight = torch.autograd.grad(penalised, [*network.parameters()])
        curvature = torch.autograd.functional.hessian(lambda x, own=network: own(x).square().sum(), x)  # type: ignore[no-untyped-call]
        found.append((*by_weight, curvature))
    for expected, value in zip(*found, strict=True):
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_a_linear_layer_refuses_what_torchs_does_in_its_words() -> None:
    layer = Linear(4, 2)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        layer(torch.zeros(3, 5))
    with pytest.raises(RuntimeError, match="dtype"):
        layer(torch.zeros(3, 4, dtype=torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.zeros(3, 4)).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match="meta"):
        layer.to("meta")(torch.zeros(3, 4))


def test_operations_of_a_step_of_the_main_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward; mere views are not counted. Each is a kernel where there is a GPU."""
    monkeypatch.setattr(Module, "warming_up", False)
    config = compose("+experiment=top11004")
    events, likelihoods, model = load(config), Likelihoods.from_config(config), config.model
    samples = [sample.only(likelihoods.trained.variations) for sample in events.train]
    likelihood = likelihoods.soft(likelihoods.trained, samples, events)
    parts = model.network, model.summary, model.objective
    module = create(*parts, likelihood, samples, events.features, config.trainer).to("meta")  # no processor
    for watch, batch in zip((nullcontext(), NoWaiting()), StratifiedBatches(samples, 1000, 1, "meta"), strict=False):
        with watch:
            module.training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
        module.zero_grad()

    assert 100 < watch.kernels.total() <= 210
