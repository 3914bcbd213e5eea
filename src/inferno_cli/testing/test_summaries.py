"""What every summary has to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inferno_cli.testing.parts import completed, each, normal, samples
from inferno_cli.training.layers import ACTIVATIONS
from inferno_cli.training.observable import Observable
from inferno_cli.training.onnx import export
from inferno_cli.training.summaries import NominalEvents, Summary

every_summary = pytest.mark.parametrize(
    "summary", [completed(summary) for summary in each("summary")], ids=lambda summary: summary.kind
)


@every_summary
def test_memberships_are_shares_in_double_precision(summary: Summary) -> None:
    soft = summary.soft(5 * normal(2, 50, summary.n_outputs))

    assert (soft.shape, soft.dtype) == ((2, 50, summary.n_bins), torch.float64)
    assert bool((soft >= 0).all())
    torch.testing.assert_close(soft.sum(dim=-1), torch.ones(2, 50, dtype=torch.float64), rtol=0, atol=1e-12)


@every_summary
def test_soft_bins_become_the_hard_ones_as_their_smoothing_falls(summary: Summary) -> None:
    outputs = 2 * normal(200, summary.n_outputs)
    hard = nn.functional.one_hot(summary.hard(outputs), summary.n_bins)
    differences = []
    for factor in (1, 0.1, 1e-9):
        sharper = summary.model_copy(update={summary.smoothing: factor * getattr(summary, summary.smoothing)})
        differences.append(float((sharper.soft(outputs) - hard).abs().mean()))

    if summary.hard_forward:
        assert differences == [0, 0, 0]
    else:
        assert differences[0] > differences[1] > differences[2]
    assert differences[2] < 1e-12


@every_summary
def test_an_event_is_moved_by_no_less_than_its_margin(summary: Summary) -> None:
    outputs = normal(500, summary.n_outputs).double()
    margin = summary.margin(outputs)
    nearer = outputs + 0.1 * margin[:, None] * torch.sign(normal(500, summary.n_outputs))

    assert bool((margin >= 0).all())
    torch.testing.assert_close(summary.hard(nearer), summary.hard(outputs))


@every_summary
def test_events_in_another_order_are_in_the_same_bins(summary: Summary) -> None:
    outputs, order = normal(100, summary.n_outputs), torch.randperm(100)

    torch.testing.assert_close(summary.soft(outputs[order]), summary.soft(outputs)[order])
    torch.testing.assert_close(summary.hard(outputs[order]), summary.hard(outputs)[order])


@every_summary
def test_every_output_has_a_gradient(summary: Summary) -> None:
    outputs = normal(100, summary.n_outputs).requires_grad_()
    (summary.soft(outputs) ** 2).sum().backward()  # type: ignore[no-untyped-call]

    assert outputs.grad is not None
    assert bool(torch.isfinite(outputs.grad).all())
    assert bool((outputs.grad.abs().sum(dim=0) > 0).all())


@every_summary
def test_what_is_trained_of_it_has_a_gradient_and_stays(summary: Summary) -> None:
    outputs = normal(200, summary.n_outputs)
    numbers = (0.1 * normal(summary.n_trained)).requires_grad_()
    trained = summary.at(numbers)
    if summary.n_trained:
        (trained.soft(outputs) ** 2).sum().backward()  # type: ignore[no-untyped-call]
        assert numbers.grad is not None
        assert bool((numbers.grad.abs() > 0).all())
        assert bool(torch.isfinite(numbers.grad).all())
    events = [NominalEvents.of(sample) for sample in samples()]
    kept = trained.placed(events, lambda features: normal(len(features), summary.n_outputs))

    torch.testing.assert_close(kept.soft(outputs), trained.soft(outputs).detach())
    assert type(summary).model_validate_json(kept.model_dump_json()) == kept


@every_summary
def test_responses_have_names(summary: Summary) -> None:
    response = summary.response(normal(2, 50, summary.n_outputs))

    assert (response.shape, response.dtype) == ((2, 50, len(summary.response_names)), torch.float64)
    assert len(set(summary.response_names)) == len(summary.response_names)


@every_summary
def test_nothing_is_left_on_the_cpu(summary: Summary) -> None:
    outputs = torch.empty(7, summary.n_outputs, device="meta")

    assert all(x.is_meta for x in (summary.soft(outputs), summary.hard(outputs), summary.response(outputs)))


@every_summary
def test_bins_that_are_spread_have_events(summary: Summary) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(3, 20), ACTIVATIONS["relu"](), nn.Linear(20, summary.n_outputs))
    summary.spread(network, normal(1000, 3))

    with torch.no_grad():
        assert len(set(summary.hard(network(normal(1000, 3))).tolist())) > 1


@every_summary
def test_bins_with_events_are_not_revived(summary: Summary) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(3, 20), ACTIVATIONS["relu"](), nn.Linear(20, summary.n_outputs))
    events = [NominalEvents.of(sample) for sample in samples()]
    summary.spread(network, torch.cat([sample.features for sample in events]))
    before = {name: value.clone() for name, value in network.state_dict().items()}

    assert summary.revive(network, events, passed=0.1) == {}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@every_summary
def test_the_onnx_file_agrees(summary: Summary, tmp_path: Path) -> None:
    groups = (tuple(range(1, summary.n_bins)), (0,))
    observable = Observable(nn.Sequential(nn.Linear(3, summary.n_outputs)), summary, ("x", "y", "z"), groups)

    assert export(observable, tmp_path / "model.onnx", normal(500, 3).numpy()) < 1e-6
    assert set(np.unique(observable.apply(normal(500, 3).numpy()).bin)) <= {0, 1}


@every_summary
def test_it_is_read_back_as_it_was_written(summary: Summary) -> None:
    assert type(summary).model_validate_json(summary.model_dump_json()) == summary
    assert {*summary.fixed, *summary.learnt} <= set(type(summary).model_fields)


@every_summary
def test_what_it_learnt_makes_it_whole_again(summary: Summary, tmp_path: Path) -> None:
    forgotten = type(summary).model_validate(summary.model_dump(exclude=set(summary.learnt)))
    torch.save(summary.state, tmp_path / "state.ckpt")

    assert forgotten.restored(torch.load(tmp_path / "state.ckpt", weights_only=True)) == summary
    assert summary.restored({}) == summary
