"""The mean of several trainings: its scores, its bins, and the layers that they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from inferno_cli import compose, load_events
from inferno_cli.likelihood.expectation import yields_and_jacobian
from inferno_cli.likelihood.information import covariance
from inferno_cli.training.average import efficient_scores
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.centres import best_centres
from inferno_cli.training.evaluation import Likelihoods
from inferno_cli.training.layers import first_member
from inferno_cli.training.observable import ChannelNetworks, Observable
from inferno_cli.training.summaries import NominalEvents
from inferno_cli.training.summaries.score import Score
from inferno_cli.training.summaries.softmax import Softmax


def test_centres_of_a_uniform_density_are_evenly_spaced() -> None:
    points = torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None]
    centres = best_centres(points, torch.ones(4001, dtype=torch.float64), 4)
    np.testing.assert_allclose(centres[:, 0], [0.125, 0.375, 0.625, 0.875], atol=1e-3)


def test_centres_of_a_gaussian_are_the_known_quantiser() -> None:
    """Max (1960): the best four levels of a standard normal distribution are at +-0.4528 and +-1.510."""
    points = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    centres = best_centres(points[:, None], torch.exp(-(points**2) / 2), 4)
    np.testing.assert_allclose(centres[:, 0], [-1.510, -0.4528, 0.4528, 1.510], atol=2e-3)


def test_centres_in_two_dimensions_find_the_clusters_whatever_their_order() -> None:
    generator = torch.Generator().manual_seed(1)
    means = torch.tensor([[0.0, 0.0], [5.0, 1.0], [1.0, 6.0]], dtype=torch.float64)
    blobs = (means[:, None] + 0.1 * torch.randn(3, 200, 2, generator=generator, dtype=torch.float64)).flatten(0, 1)
    order = torch.randperm(600, generator=generator)
    centres = best_centres(blobs[order], torch.ones(600, dtype=torch.float64), 3)
    distance = torch.cdist(means, centres)
    assert sorted(distance.argmin(dim=1).tolist()) == [0, 1, 2]
    assert distance.amin(dim=1).max() < 0.05


def test_events_of_negative_weight_move_no_centre_and_few_points_repeat() -> None:
    points = torch.tensor([[0.0], [1.0], [9.0]], dtype=torch.float64)
    centres = best_centres(points, torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64), 2)
    assert centres[:, 0].tolist() == [0.0, 1.0]
    assert torch.isfinite(best_centres(points, torch.ones(3, dtype=torch.float64), 5)).all()


def members(n: int, n_outputs: int) -> list[nn.Sequential]:
    torch.manual_seed(1)
    return [nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, n_outputs)) for _ in range(n)]


def test_the_mean_of_scores_is_the_mean_of_the_outputs() -> None:
    networks, features = members(3, 1), torch.randn(7, 2)
    mean = Score(bins=4, edge_width=0.1).average(networks, 0)
    torch.testing.assert_close(mean(features), sum(network(features) for network in networks) / 3)
    assert first_member(mean) is networks[0]
    assert first_member(networks[1]) is networks[1]


def test_the_bins_of_a_mean_are_the_cells_of_the_mean_efficient_score() -> None:
    summary, networks = Softmax(bins=3, temperature=0.5), members(2, 3)
    scores = [torch.tensor([[-1.0], [0.0], [2.0]]), torch.tensor([[1.0], [-2.0], [0.5]])]
    mean = summary.average(networks, 1)
    features = torch.randn(4000, 2)
    weights = torch.rand(4000, dtype=torch.float64)
    summary.settle(mean, scores, [NominalEvents("signal", "region", True, features, weights)])
    with torch.no_grad():
        expected = torch.zeros(4000, 1)
        for network, values in zip(networks, scores, strict=True):
            expected += (network(features) / 0.5).softmax(dim=-1) @ values / 2
        torch.testing.assert_close(mean[0](features), expected)
        bins = summary.hard(mean(features))
    centres = best_centres(expected.double(), weights, 3)
    nearest = (expected.double() - centres.T).abs().argmin(dim=1)
    assert (bins == nearest).double().mean() > 0.999  # single precision may decide an event between two
    # The same members in another order, and with their outputs in another order, are the same bins.
    turned = nn.Sequential(*networks[0][:-1], nn.Linear(5, 3))
    with torch.no_grad():
        turned[-1].weight.copy_(networks[0][-1].weight.flip(0))
        turned[-1].bias.copy_(networks[0][-1].bias.flip(0))
    other = summary.average([networks[1], turned], 1)
    summary.settle(other, [scores[1], scores[0].flip(0)], [NominalEvents("signal", "region", True, features, weights)])
    with torch.no_grad():
        assert (summary.hard(other(features)) == bins).double().mean() > 0.999
    assert first_member(mean) is networks[0]


@pytest.mark.parametrize("nuisance", ["none", "r_lambda"])
def test_the_efficient_score_says_what_the_fit_knows_of_mu_and_nothing_of_the_rest(nuisance: str) -> None:
    """The sum over bins of score and derivative is the information on mu; in a nuisance parameter it is its prior's.

    With I = J^T J / V + P and C its inverse, sum_b s_b J_b = (1 - P C)_mu / C_mumu: no score moves a free parameter.
    """
    events = "dataset.events={train: 2000, validation: 2000, template: 2000}"
    config = compose("+experiment=synthetic", f"nuisance={nuisance}", events)
    samples, likelihoods = load_events(config).fold(0), Likelihoods.from_config(config)
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(len(samples.features), 10), nn.Tanh(), nn.Linear(10, 4))
    networks = ChannelNetworks.shared(Observable(network, Softmax(bins=4, temperature=0.3), samples.features))
    own = [sample.only(likelihoods.trained.variations) for sample in samples.train]
    likelihood = likelihoods.soft(likelihoods.trained, own, samples)
    with torch.no_grad():
        scores = efficient_scores(networks, likelihood, own)
        soft = [networks.first.summary.soft(networks.outputs(sample)) for sample in own]
        model = likelihood.expectation(to_tensors(own, "cpu"), soft)
        _, jacobian = yields_and_jacobian(model, model.init)
        matrix = covariance(model)
    prior = torch.tensor([float(name != "mu") for name in model.parameters], dtype=torch.float64)
    unit = torch.tensor([float(name == "mu") for name in model.parameters], dtype=torch.float64)
    (of_bins,) = scores.by_name.values()
    expected = (unit - prior * matrix[:, 0]) / matrix[0, 0]
    torch.testing.assert_close(jacobian.T @ of_bins[:, 0], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(scores.covariance, matrix[:1, :1])
