"""Bins that are empty in the nominal and filled in a variation make information out of noise.

A prototype "constrained" the jet energy scale to 0.03 this way, and the selection of the checkpoint loved it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import train

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.schema import Binning
from inferno_cli.events.sample import Sample
from inferno_cli.histograms.templates import Templates, fill
from inferno_cli.likelihood.information import covariance
from inferno_cli.training import trainer
from inferno_cli.training.evaluation import Evaluation, Likelihoods
from inferno_cli.training.evaluation import evaluate as evaluate_observable
from inferno_cli.training.final_templates import final_templates
from inferno_cli.training.observables import Observables
from inferno_cli.training.recipe import template_channels
from regression.conftest import Told, configured, events_of, placed, told

PLACES = range(4)
LAST = 3
IDENTITY = (0, 1, 2, 3)
BAD = (0, 0, 2, 3)
"""The planted bin, and two of the honest ones thrown together."""


def honest() -> tuple[np.ndarray, np.ndarray]:
    """Places of 4000 signal and 20 000 background events, three bins."""
    signal = np.repeat([0, 1, 2], [400, 1200, 2400])
    background = np.repeat([0, 1, 2], [12_000, 6000, 2000])
    return signal, background


def shifted(background: np.ndarray, step: int) -> np.ndarray:
    """Every 25th event moves to the next bin, or to the one before."""
    moved = background.copy()
    moved[::25] = np.clip(moved[::25] + step, 0, 2)
    return moved


def planted(kind: str) -> list[Sample]:
    """Signal and background in three good bins; in a fourth there is only noise of the variation."""
    signal, background = honest()
    up, down = shifted(background, 1), shifted(background, -1)
    signal_weights, weights = np.full(len(signal), 0.025), np.full(len(background), 0.05)
    up[[10, 20, 30]] = LAST  # 0.15 expected events, where the nominal has (next to) none
    weights[[10, 20, 30]] = 0.5
    if kind == "tiny":  # one event of a small weight
        background[7] = up[7] = down[7] = LAST
        weights[7] = 1e-3
    elif kind == "signal only":  # supported by signal, not by background
        signal[:20] = LAST
    elif kind == "populated":  # enough events of both for the first rule; two heavy events come in
        signal[:20] = LAST
        rows = slice(100, 130)
        background[rows] = up[rows] = down[rows] = LAST
        weights[[10, 20]], weights[30] = 2.0, 0.05
        up[30] = 0
    return [
        placed("signal", signal, signal_weights),
        placed("background", background, weights, up=up, down=down),
    ]


WITHOUT = {
    "empty": (0, 1, 2, 0),
    "tiny": (0, 1, 2, 0),
    "signal only": (0, 1, 2, 2),
    "populated": (0, 1, 2, 1),
}
"""As if the planted bin were part of another: of the nearest in signal-to-background where it has too few events, else
of the one with which mu is known best, as it is without the planted events."""
KINDS = tuple(WITHOUT)
CONFIG = configured("nuisance=r_lambda", "nuisance.fit=[r]", epochs=2)
MEASUREMENT = Measurement.from_config(CONFIG, CONFIG.nuisance.fit)


def evaluate(module: Told, samples: list[Sample], rule: Binning) -> Evaluation:
    """Evaluate a module in training."""
    return evaluate_observable(module.networks, module.likelihood, samples, rule)


def unmerged(samples: list[Sample]) -> Templates:
    """The templates with the planted bin in them."""
    return fill(samples, told(CONFIG, samples, IDENTITY).networks.only.assign(samples), 4)


def truth(kind: str) -> dict[str, float]:
    """Standard deviations when the planted bin is part of its neighbour from the start."""
    samples = planted(kind)
    found = evaluate(told(CONFIG, samples, WITHOUT[kind]), samples, CONFIG.binning)
    assert found.n_bins == 3
    return found.deviations


def test_the_planted_events_change_nothing() -> None:
    """What the honest events are worth is known: those of ``populated`` without the planted ones."""
    signal, background = honest()
    clean = [
        placed("signal", signal, np.full(len(signal), 0.025)),
        placed(
            "background",
            background,
            np.full(len(background), 0.05),
            up=shifted(background, 1),
            down=shifted(background, -1),
        ),
    ]
    right = evaluate(told(CONFIG, clean, IDENTITY), clean, CONFIG.binning)
    samples = planted("populated")
    found = evaluate(told(CONFIG, samples, IDENTITY), samples, CONFIG.binning)
    assert math.sqrt(right.hard) == pytest.approx(0.230, abs=5e-4)
    assert found.hard == pytest.approx(right.hard, rel=0.01)
    assert found.honest == pytest.approx(right.honest, rel=0.01)


@pytest.mark.parametrize("kind", ["tiny", "signal only", "populated"])
def test_the_planted_bin_is_a_trap(kind: str) -> None:
    """With it in the likelihood the shape is constrained by far better than in truth: these tests can fail."""
    samples = planted(kind)
    trapped = covariance(template_channels(MEASUREMENT, [unmerged(samples)])).diagonal().sqrt().tolist()

    assert trapped[1] < 0.85 * truth(kind)["r"]


def test_the_empty_bin_is_empty_in_the_nominal_and_filled_in_the_variation() -> None:
    templates = unmerged(planted("empty"))

    assert templates.nominal[:, LAST].tolist() == [0, 0]
    assert templates.varied["r", "background"][0][LAST] == pytest.approx(1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_does_not_count_it(kind: str) -> None:
    samples = planted(kind)

    found = evaluate(told(CONFIG, samples, IDENTITY), samples, CONFIG.binning)

    expected = truth(kind)
    assert found.n_bins == 3
    assert found.deviations["r"] == pytest.approx(expected["r"], rel=0.03)
    assert math.sqrt(found.hard) == pytest.approx(expected["mu"], rel=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_the_final_templates_do_not_report_it(kind: str) -> None:
    samples = planted(kind)

    networks, likelihoods = told(CONFIG, samples, IDENTITY).networks, Likelihoods.from_config(CONFIG)
    summary = final_templates(Observables((networks,)), likelihoods, events_of(samples), symmetrise=0.05, seed=1)

    expected = truth(kind)
    (templates,) = summary.channels
    assert templates.n_bins == 3
    assert not any(group == (LAST,) for group in templates.groups)
    assert math.sqrt(summary.poi_variance) == pytest.approx(expected["mu"], rel=0.03)
    assert summary.noise_shares["r"] <= CONFIG.binning.max_noise_information
    assert math.sqrt(summary.honest_variance) == pytest.approx(expected["mu"], rel=0.03)
    for name in ("mu", "r"):
        assert summary.stability[name] == pytest.approx((expected[name], expected[name]), rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_the_selection_does_not_love_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoch 0 has three honest bins; epoch 1 has thrown two of them together, and makes the planted one."""
    samples = planted(kind)
    module = told(CONFIG, samples, WITHOUT[kind], BAD)
    monkeypatch.setattr(trainer, "create", lambda *arguments: module)

    trained = train(CONFIG, events_of(samples), tmp_path)

    assert len(trained.epochs) == 2
    assert trained.best.number == 0
    assert int(trained.observable.network[0].epoch) == 0
    assert trained.epochs[1].evaluation.honest > trained.best.evaluation.honest


@pytest.mark.parametrize("kind", ["tiny", "populated"])
def test_without_merging_the_selection_would_love_it(kind: str) -> None:
    """With its bins as they are, the epoch that must not be selected has the smaller variance of mu."""
    samples = planted(kind)
    templates = fill(samples, told(CONFIG, samples, BAD).networks.only.assign(samples), 4).grouped([(0, 1), (2,), (3,)])

    trapped = float(covariance(template_channels(MEASUREMENT, [templates]))[0, 0].sqrt())

    assert trapped < 0.97 * truth(kind)["mu"]


# ------------------------------------------------------------------------------------------- collapsed networks
FREE = (
    "+dataset.systematics.b_free={kind: free, samples: [background]}",
    "+dataset.systematics.s_b_free={kind: free, samples: [signal, background]}",
)


def simple() -> list[Sample]:
    signal, background = honest()
    return [
        placed("signal", signal, np.full(len(signal), 0.025)),
        placed("background", background, np.full(len(background), 0.05)),
    ]


@pytest.mark.parametrize(
    ("nuisances", "table"),
    [
        (("b_free",), (0, 0, 0, 0)),
        (("b_free",), (2, 2, 2, 2)),
        (("b_free", "s_b_free"), (0, 0, 1, 1)),
    ],
)
def test_fewer_bins_than_free_parameters_are_worth_nothing(nuisances: tuple[str, ...], table: tuple[int, ...]) -> None:
    """Where a clamped inverse would report a wonderfully small variance."""
    config = configured(*FREE, f"nuisance.fit=[{','.join(nuisances)}]")
    samples = simple()

    found = evaluate(told(config, samples, table), samples, config.binning)

    assert found.hard == math.inf
    assert found.deviations == found.correlations == {}
    assert found.n_bins == len(set(table))


def test_one_bin_without_a_free_parameter_is_a_counting_experiment() -> None:
    """Variance (nu + v) / s^2 with s = 100, nu = 1100, v = sum w^2 = 4000 * 0.025^2 + 20000 * 0.05^2."""
    config = configured("nuisance=none")
    samples = simple()

    found = evaluate(told(config, samples, (0, 0, 0, 0)), samples, config.binning)

    assert found.hard == pytest.approx((1100 + 2.5 + 50) / 100**2)
    assert found.n_bins == 1


def test_as_many_bins_as_free_parameters_are_enough() -> None:
    """Two bins, mu and a free background: var mu = (V^-1 form) of a 2 x 2 system, solved by hand."""
    config = configured(*FREE, "nuisance.fit=[b_free]", "likelihood.staterror=false")
    samples = simple()

    found = evaluate(told(config, samples, (0, 0, 1, 1)), samples, config.binning)

    s, b = np.array([40.0, 60.0]), np.array([900.0, 100.0])
    jacobian = np.stack([s, b], axis=1)
    information = jacobian.T @ (jacobian / (s + b)[:, None])
    assert found.hard == pytest.approx(np.linalg.inv(information)[0, 0])


def test_a_collapsed_network_never_wins_the_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(*FREE, "nuisance.fit=[b_free]", epochs=3)
    samples = simple()
    module = told(config, samples, (0, 0, 0, 0), (0, 1, 2, 2), (3, 3, 3, 3))
    monkeypatch.setattr(trainer, "create", lambda *arguments: module)

    trained = train(config, events_of(samples), tmp_path)

    assert [math.isfinite(epoch.evaluation.hard) for epoch in trained.epochs] == [False, True, False]
    assert trained.best.number == 1
    assert int(trained.observable.network[0].epoch) == 1
    assert trained.epochs[0].metrics()["validation/sigma_mu_hard"] is None


def test_a_shape_that_only_noise_constrains_stays_at_its_prior() -> None:
    """Up and down are the nominal up to a few events that change bins at random: r must stay near 1."""
    signal, background = honest()
    random = np.random.default_rng(0)
    views = []
    for _ in range(2):
        view = background.copy()
        rows = random.choice(len(view), 60, replace=False)
        view[rows] = random.choice([0, 1, 2], 60)
        views.append(view)
    samples = [
        placed("signal", signal, np.full(len(signal), 0.025)),
        placed("background", background, np.full(len(background), 0.05), up=views[0], down=views[1]),
    ]

    found = evaluate(told(CONFIG, samples, IDENTITY), samples, CONFIG.binning)

    assert 0.95 < found.deviations["r"] <= 1


def test_noise_is_estimated_from_the_events_themselves() -> None:
    """Two independent shifts of a sample that has none: the information they make is noise, and is told as such."""
    signal, background = honest()
    random = np.random.default_rng(1)
    up, down = (random.permutation(background) for _ in range(2))
    samples = [
        placed("signal", signal, np.full(len(signal), 0.025)),
        placed("background", background, np.full(len(background), 0.05), up=up, down=down),
    ]
    templates = fill(samples, told(CONFIG, samples, IDENTITY).networks.only.assign(samples), 4)

    noise, _ = templates.noise["r", "background"]

    # Permuted, each bin keeps its number of events; of 12 000 in the first 60% stay, 4800 leave and 4800 come.
    share = np.array([0.6, 0.3, 0.1])
    expected = 2 * 20_000 * share * (1 - share) * 0.05**2 / 4
    np.testing.assert_allclose(noise[:3], expected, rtol=0.03)
    assert noise[3] == 0
    assert torch.get_num_threads() == 1
