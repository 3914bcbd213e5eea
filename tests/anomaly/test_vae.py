"""The autoencoder: its divergence, its loss, its export, and what it is trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from inferno_cli.anomaly.background import Background
from inferno_cli.anomaly.observable import EqualBins
from inferno_cli.anomaly.outputs.clipped_lognormal import ClippedLognormal
from inferno_cli.anomaly.outputs.gaussian import Gaussian
from inferno_cli.anomaly.outputs.truncated_discrete_gaussian import TruncatedDiscreteGaussian
from inferno_cli.anomaly.prior import Prior
from inferno_cli.anomaly.score import Score
from inferno_cli.anomaly.settings import Vae
from inferno_cli.anomaly.vae import Autoencoder
from inferno_cli.errors import DatasetError
from inferno_cli.events.sample import NOMINAL, Sample


def events(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    momentum = rng.lognormal(4.0, 0.5, n) * (rng.uniform(size=n) > 0.1)
    return np.stack([rng.normal(size=n), momentum, rng.poisson(3.0, n)], axis=1).astype(np.float32)


def autoencoder(prior: str = "learned") -> Autoencoder:
    settings = Vae(
        latent=2, hidden=(8, 6), activation="silu", beta=0.7, prior=prior, outputs={}, other_outputs=Gaussian()
    )
    outputs = (Gaussian(), ClippedLognormal(), TruncatedDiscreteGaussian())
    columns = events(2000).astype(np.float64).T
    weights = np.ones(2000)
    fitted = [output.fitted(x, weights) for output, x in zip(outputs, columns, strict=True)]
    torch.manual_seed(3)
    network = Autoencoder(settings, outputs, fitted, (torch.tensor([0.0, 60.0, 3.0]), torch.tensor([1.0, 30.0, 2.0])))
    for parameter in network.parameters():  # away from where it begins
        parameter.data += 0.3 * torch.randn_like(parameter)
    return network.double().eval()


def test_the_divergence_is_that_of_torch():
    torch.manual_seed(1)
    prior, mean, log_width = Prior(5, is_learned=True).double(), torch.randn(7, 5).double(), torch.randn(7, 5).double()
    prior.mean.data.normal_()
    prior.log_width.data.normal_()
    posterior = Independent(Normal(mean, log_width.exp()), 1)
    wanted = kl_divergence(posterior, Independent(Normal(prior.mean, prior.log_width.exp()), 1))

    torch.testing.assert_close(prior.divergence(mean, log_width), wanted)


@pytest.mark.parametrize(("kind", "n_trained"), [("learned", 4), ("standard", 0)])
def test_the_prior_is_trained_where_it_is_learned(kind, n_trained):
    prior = autoencoder(kind).prior

    assert sum(x.numel() for x in prior.parameters() if x.requires_grad) == n_trained


def test_the_loss_is_a_bound_of_the_probability_of_an_event():
    """-ln p(x) from many draws of the posterior is below the loss with beta = 1."""
    network, x = autoencoder(), torch.from_numpy(events(6)).double()
    torch.manual_seed(2)
    mean, log_width = network.posterior(x)
    n = 4000
    z = mean + log_width.exp() * torch.randn(n, *mean.shape).double()
    ratio = Normal(network.prior.mean, network.prior.log_width.exp()).log_prob(z) - Normal(
        mean, log_width.exp()
    ).log_prob(z)
    given = torch.stack([network.log_prob(x, draw) for draw in z])
    log_probability = (given + ratio.sum(-1)).logsumexp(0) - np.log(n)
    divergence = network.prior.divergence(mean, log_width)
    negative_elbo = -given.mean(0) + divergence

    assert (negative_elbo > -log_probability).all()


def test_the_score_rises_with_the_loss_and_is_between_0_and_1():
    score = Score(autoencoder(), 0.7, median=10.0, width=2.0)
    found = score.of(events(500))
    order = np.argsort(found.loss)

    assert (np.diff(found.score[order]) >= 0).all()
    assert found.score.min() > 0
    assert found.score.max() < 1
    assert found.loss == pytest.approx(found.reconstruction + 0.7 * found.divergence)
    assert found.score[found.loss < 10].max() < 0.5 < found.score[found.loss > 10].min()


def test_the_exported_score_is_the_trained_one(tmp_path):
    import onnxruntime

    score, x = Score(autoencoder(), 0.7, median=10.0, width=2.0), events(800, seed=5)
    x[0] = (-9.0, 1e6, 60.0)  # far from all others
    score.export(tmp_path / "score.onnx", ("a", "b", "c"), x[:50])
    session = onnxruntime.InferenceSession(tmp_path / "score.onnx")
    (found,) = session.run(["score"], {"features": x})

    assert found.shape == (800, 1)
    assert found[:, 0] == pytest.approx(score.of(x).score, abs=2e-6)


def test_the_bins_of_the_score_are_equal():
    outputs = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.24, 1.0, 1.0, 1.0], [0.26, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    summary = EqualBins(bins=4)

    assert summary.hard(outputs).tolist() == [0, 0, 1, 3]
    assert summary.soft(outputs).sum(dim=-1).tolist() == [1, 1, 1, 1]


# ------------------------------------------------------------------------------------------- what it is trained on
def sample(name: str, features: list[list[float]], weights: list[float], *, is_signal: bool = False) -> Sample:
    n = len(weights)
    table = np.array([features], dtype=np.float32)
    return Sample(name, is_signal, np.arange(n), (NOMINAL,), table, (0,), np.array([weights]))


def test_the_backgrounds_are_taken_and_the_signal_is_left_out():
    signal = sample("signal", [[100.0], [101.0]], [1.0, 1.0], is_signal=True)
    samples = (signal, sample("a", [[1.0], [2.0], [3.0]], [1.0, 0.0, 3.0]), sample("b", [[4.0]], [2.0]))
    found = Background.of(samples)

    assert found.features[:, 0].tolist() == [1, 3, 4]  # an event without weight is none
    assert found.weights == pytest.approx([0.5, 1.5, 1.0])
    assert found.negative == 0
    with pytest.raises(DatasetError, match="no background"):
        Background.of((signal,))


def test_a_negative_weight_counts_with_its_size_and_is_told():
    found = Background.of((sample("a", [[1.0], [2.0], [3.0]], [3.0, -1.0, 2.0]),))

    assert found.weights == pytest.approx([1.5, 0.5, 1.0])
    assert found.negative == pytest.approx(1 / 6)
