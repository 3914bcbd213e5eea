"""What every objective has to do."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from inferno_cli.histograms.morph import scaled
from inferno_cli.histograms.templates import fill
from inferno_cli.likelihood.information import DeferredCheck
from inferno_cli.testing.parts import MEASUREMENT, each, samples
from inferno_cli.training.batches import Batch, to_tensors
from inferno_cli.training.module import forward_together
from inferno_cli.training.objectives import Objective
from inferno_cli.training.recipe import template_channels
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries import Summary
from inferno_cli.training.summaries.score import Score
from inferno_cli.training.summaries.softmax import Softmax

LIKELIHOOD = SoftLikelihood.of(MEASUREMENT, samples(), samples())
every_objective = pytest.mark.parametrize("objective", each("objective"), ids=lambda objective: objective.kind)


def summary_for(objective: Objective, smoothing: float = 0.5) -> Summary:
    """Return a summary of outputs that an objective can have."""
    if objective.only_outputs == 1:
        return Score(bins=4, edge_width=smoothing)
    bins = len(samples()) if objective.one_output_a_sample else objective.only_outputs or 4
    return Softmax(bins=bins, temperature=smoothing)


def network_for(objective: Objective) -> nn.Sequential:
    """Return a network with these outputs."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, summary_for(objective).n_outputs))


def begun(objective: Objective, device: torch.device) -> tuple[Objective, nn.Module | None]:
    """Return an objective at the beginning of a training, and what of it is trained beside the network."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made, beside = objective.begun(LIKELIHOOD)
    return made, None if beside is None else beside.to(device)


def loss(objective: Objective, network: nn.Module, batch: Batch) -> Tensor:
    """Return the loss of a network in a training that begins."""
    blocks = [features[:1] if objective.nominal_only else features for features, _ in batch]
    objective, _ = begun(objective, batch[0][1].device)
    return objective.loss(forward_together(network, blocks), batch, [summary_for(objective)] * len(batch), LIKELIHOOD)


@every_objective
def test_the_loss_is_finite_and_moves_every_weight(objective: Objective) -> None:
    network = network_for(objective)
    value = loss(objective, network, to_tensors(samples(), "cpu"))
    value.backward()  # type: ignore[no-untyped-call]

    assert (value.shape, value.dtype) == ((), torch.float64)
    assert math.isfinite(value.item())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().sum()) > 0, name


@every_objective
def test_a_few_steps_lower_the_loss(objective: Objective) -> None:
    network, batch = network_for(objective), to_tensors(samples(), "cpu")
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=0.03), []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(objective, network, batch)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(value.item())

    assert losses[-1] < losses[0]


@every_objective
def test_what_is_trained_beside_the_network_has_gradients(objective: Objective) -> None:
    made, beside = begun(objective, torch.device("cpu"))
    batch, summary = to_tensors(samples(), "cpu"), summary_for(objective)
    blocks = [features[:1] if objective.nominal_only else features for features, _ in batch]
    outputs = forward_together(network_for(objective), blocks)
    made.loss(outputs, batch, [summary] * len(batch), LIKELIHOOD).backward()  # type: ignore[no-untyped-call]

    for name, parameter in () if beside is None else beside.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().sum()) > 0, name


@every_objective
def test_the_order_of_the_events_does_not_matter(objective: Objective) -> None:
    network, batch = network_for(objective), to_tensors(samples(), "cpu")
    shuffled = []
    for features, weights in batch:
        order = torch.randperm(weights.shape[1])
        shuffled.append((features[:, order], weights[:, order]))

    torch.testing.assert_close(loss(objective, network, shuffled), loss(objective, network, batch))


@every_objective
def test_the_value_of_soft_templates_becomes_that_of_hard_ones(objective: Objective) -> None:
    summary, network = summary_for(objective, smoothing=1e-9), network_for(objective)
    batch, split = to_tensors(samples(), "cpu"), samples()
    with torch.no_grad():
        outputs = forward_together(network, [features for features, _ in batch])
        every = torch.cat([x[0] for x in outputs])  # every bin is to have events
        outputs = [2 * (x - every.mean(dim=0)) / every.std(dim=0) for x in outputs]
    soft = LIKELIHOOD.expectation(batch, [summary.soft(x) for x in outputs])
    bins = [summary.hard(x).numpy() for x in outputs]
    hard = template_channels(MEASUREMENT, [scaled(fill(split, bins, summary.n_bins), MEASUREMENT)])

    torch.testing.assert_close(objective.value(soft), objective.value(hard), rtol=1e-8, atol=0)


@every_objective
def test_the_warm_up_is_a_part_of_the_training_with_a_loss_of_its_own(objective: Objective) -> None:
    epochs, network, batch = objective.warm_up_epochs(100), network_for(objective), to_tensors(samples(), "cpu")
    assert 0 <= epochs < 100
    if not epochs:
        return
    head = objective.warm_up_head(network, len(batch))
    assert head is not None
    outputs = forward_together(nn.Sequential(network[:-1], head), [features[:1] for features, _ in batch])
    value = objective.warm_up_loss(outputs, batch, LIKELIHOOD)
    value.backward()  # type: ignore[no-untyped-call]

    assert math.isfinite(value.item())
    assert all(parameter.grad is not None for parameter in network[:-1].parameters())


@every_objective
def test_nothing_is_left_on_the_cpu(objective: Objective) -> None:
    batch: Any = [(x.to("meta"), weights.to("meta")) for x, weights in to_tensors(samples(), "cpu")]
    value = loss(objective, network_for(objective).to("meta"), batch)
    value.backward()  # type: ignore[no-untyped-call]

    assert value.is_meta


class NoWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fail where an operation takes a number, or an array whose size it decides, from the device: it waits for it.

    Attributes:
        kernels: How often each operation ran that calculates something: no view, no memory.
    """

    WAITING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "lift_fresh")
    IDLE = ("new_empty", "empty", "_record_function_enter_new", "_record_function_exit")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        assert name not in self.WAITING, f"the step waits for the device in {function}"
        result = function(*args, **(kwargs or {}))
        if not function.is_view and name not in self.IDLE:
            self.kernels[name] += 1
        return result


@every_objective
def test_a_step_does_not_wait_for_the_device(objective: Objective) -> None:
    network, batch = network_for(objective), to_tensors(samples(), "cpu")
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    if objective.fits_templates:
        with pytest.raises(AssertionError, match="waits for the device"), NoWaiting(), DeferredCheck().instead():
            loss(objective, network, batch)
        return
    for mode in (nullcontext(), NoWaiting()):  # the first step makes the constants
        with mode, DeferredCheck().instead():
            loss(objective, network, batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()


@every_objective
def test_it_is_read_back_as_it_was_written(objective: Objective) -> None:
    assert type(objective).model_validate_json(objective.model_dump_json()) == objective
