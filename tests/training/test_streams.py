"""A training on events in files, chunk by chunk: the weights, the validation and the templates of one in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from channel_ntuples import configured
from conftest import load, train

from inferno_cli.events import arrays
from inferno_cli.events.channels import Channels
from inferno_cli.training import observable
from inferno_cli.training.batches import StratifiedBatches, _picked
from inferno_cli.training.evaluation import Likelihoods, judge
from inferno_cli.training.final_templates import final_templates
from inferno_cli.training.observables import Observables

TRAINER = {"max_epochs": 2, "progress": "none", "batch_size": 200}


def trained(folder, name):
    """Train, and return all numbers of the training and of its templates."""
    config = configured(folder)
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update=TRAINER)})
    events = load(config)
    training = train(config, events, folder / name)
    observables = Observables((training.networks,), Channels(config.channels))
    likelihoods = Likelihoods.from_config(config)
    final = final_templates(observables, likelihoods, events, symmetrise=None, seed=1)
    return training, final, judge(training.networks, likelihoods, events)


def weights_of(training):
    return [values for one in training.networks.by_name.values() for values in one.network.state_dict().values()]


def test_a_training_on_events_in_files_is_that_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK", 50)
    expected, templates, judged = trained(tmp_path, "memory")
    monkeypatch.setattr(arrays, "LARGE", 0)
    found, streamed, again = trained(tmp_path, "files")
    assert [epoch.evaluation for epoch in found.epochs] == [epoch.evaluation for epoch in expected.epochs]
    assert [epoch.loss for epoch in found.epochs] == [epoch.loss for epoch in expected.epochs]
    assert all(map(torch.equal, weights_of(found), weights_of(expected)))
    assert again == judged
    for one, other in zip(streamed.channels, templates.channels, strict=True):
        assert one.groups == other.groups
        for key, histogram in one.histograms.items():
            np.testing.assert_array_equal(histogram.view(flow=True), other.histograms[key].view(flow=True))
    assert streamed.stability == templates.stability


def test_a_validation_is_the_sum_of_its_chunks(tmp_path, monkeypatch):
    config = configured(tmp_path)
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update=TRAINER)})
    events, likelihoods = load(config), Likelihoods.from_config(config)
    networks = train(config, events, tmp_path).networks
    at_once = judge(networks, likelihoods, events)
    monkeypatch.setattr(arrays, "CHUNK", 13)
    by_chunk = judge(networks, likelihoods, events)
    assert by_chunk.soft == pytest.approx(at_once.soft, rel=1e-6)
    assert by_chunk.soft != at_once.soft  # another order of the sums
    assert (by_chunk.hard, by_chunk.n_bins) == (pytest.approx(at_once.hard, rel=1e-12), at_once.n_bins)


def test_bins_do_not_depend_on_how_many_events_are_taken_together(tmp_path, monkeypatch):
    config = configured(tmp_path)
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update=TRAINER)})
    events = load(config)
    one = train(config, events, tmp_path).networks.only
    (sample, *_) = events.template
    at_once = one.network_bins(sample.features)
    monkeypatch.setattr(observable, "TOGETHER", 17)
    np.testing.assert_array_equal(one.network_bins(sample.features), at_once)
    np.testing.assert_array_equal(one.network_bins(sample.features[1]), at_once[1])
    assert one.network_bins(sample.features[0, :0]).shape == (0,)


def test_a_batch_is_gathered_when_it_is_wanted(tmp_path):
    samples = load(configured(tmp_path)).train
    batches = StratifiedBatches(samples, 100, 3, "cpu")
    seen = [[] for _ in samples]
    for batch in batches:
        for rows, (features, weights) in zip(seen, batch, strict=True):
            assert features.untyped_storage().nbytes() == features.nbytes
            rows.append(weights[0])
    assert len(seen[0]) == len(batches) > 1


@pytest.mark.parametrize("is_by_row", [False, True])
def test_a_batch_is_gathered_as_the_table_lies_in_memory(is_by_row: bool) -> None:
    """Along the second axis of a table with the events first, index_select goes through all of it for each of them."""
    table = torch.arange(5 * 40 * 3, dtype=torch.float32).reshape(5, 40, 3)
    if is_by_row:
        table = table.movedim(0, 1).contiguous().movedim(1, 0)
    rows, calls = torch.tensor([7, 3, 39]), []
    with pytest.MonkeyPatch.context() as patch:
        select = torch.Tensor.index_select
        patch.setattr(torch.Tensor, "index_select", lambda *given: calls.append(1) or select(*given))
        found = _picked(table, rows)
    assert torch.equal(found, torch.stack([table[:, 7], table[:, 3], table[:, 39]], dim=1))
    assert found.is_contiguous()
    assert bool(calls) is not is_by_row
