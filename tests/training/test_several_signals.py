"""Several POIs: what objectives make of their covariance, and how the epoch and the bins are chosen by it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import changed, load, make_measurement, make_templates, ntuples, rows, train, write

from inferno_cli.config.measurement import Measurement
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError
from inferno_cli.histograms.binning import LinearFit, merge
from inferno_cli.likelihood.information import covariance, poi_covariance, poi_variance
from inferno_cli.training.evaluation import Likelihoods, evaluate
from inferno_cli.training.objectives import FigureOfMerit, FitObjective
from inferno_cli.training.objectives.generalised_variance import GeneralisedVariance, root_of_determinant
from inferno_cli.training.objectives.log_variances import LogVariances, geometric_mean
from inferno_cli.training.objectives.poi_variance import PoiVariance
from inferno_cli.training.recipe import linear_fit, template_channels
from inferno_cli.training.soft_likelihood import SoftLikelihood

POIS = ("mu", "mu_b")
NOMINAL = {"a": [10.0, 4.0, 1.0], "b": [2.0, 5.0, 9.0], "bkg": [100.0, 60.0, 30.0]}


def two_signals(**changes: object) -> Measurement:
    """A measurement of the signals a and b, and of a rate uncertainty of the background."""
    measurement = make_measurement(
        NOMINAL, signal=("a",), free={"mu_b": ("b",)}, normalisation={"norm": (("bkg",), 1.1, 1 / 1.1)}, staterror=False
    )
    return replace(measurement, pois=POIS, **changes)


def by_hand() -> np.ndarray:
    """Covariance of mu, mu_b and norm: J^T diag(1 / nu) J, and 1 for the constraint of norm; its slope is log(1.1)."""
    a, b, bkg = (np.array(values) for values in NOMINAL.values())
    jacobian = np.stack([a, b, bkg * np.log(1.1)], axis=1)
    return np.linalg.inv(jacobian.T @ (jacobian / (a + b + bkg)[:, None]) + np.diag([0.0, 0.0, 1.0]))


def templates(**changes):
    return make_templates(NOMINAL, signal=("a", "b"), **changes)


def test_the_covariance_of_the_pois_is_that_block_of_the_whole():
    channel = template_channels(two_signals(), [templates()])
    block = poi_covariance(channel, POIS)
    np.testing.assert_allclose(block, by_hand()[:2, :2], rtol=1e-4)  # code4 is nearly a power of 1.1
    np.testing.assert_allclose(block, covariance(channel)[:2, :2], rtol=1e-12)
    np.testing.assert_allclose(poi_covariance(channel, POIS[::-1]), block.flip(0, 1), rtol=1e-12)
    assert float(poi_variance(channel)) == pytest.approx(float(block[0, 0]), rel=1e-14)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (PoiVariance(warm_up=0), lambda c: c[0, 0]),
        (PoiVariance(warm_up=0, poi="mu_b"), lambda c: c[1, 1]),
        (LogVariances(warm_up=0), lambda c: np.sqrt(c[0, 0] * c[1, 1])),
        (LogVariances(warm_up=0, pois=("mu_b",)), lambda c: c[1, 1]),
        (GeneralisedVariance(warm_up=0, nuisance=False), lambda c: np.sqrt(c[0, 0] * c[1, 1] - c[0, 1] ** 2)),
        (GeneralisedVariance(warm_up=0, nuisance=False, pois=("mu",)), lambda c: c[0, 0]),
    ],
    ids=lambda item: getattr(item, "kind", ""),
)
def test_every_objective_says_what_it_makes_of_the_errors(objective: FitObjective, expected):
    channel = template_channels(two_signals(), [templates()])
    value = float(objective.value(channel, POIS))
    assert value == pytest.approx(expected(covariance(channel).numpy()), rel=1e-12)
    measurement = two_signals(merit=objective.merit(POIS))
    # Without variations there is no noise: what chooses the bins is the same number.
    assert linear_fit(measurement, [templates()]).honest_merit() == pytest.approx(value, rel=1e-9)


def test_the_generalised_variance_is_that_of_all_parameters_but_those_pois_that_are_not_asked_for():
    channel, matrix = template_channels(two_signals(), [templates()]), by_hand()
    every, one = (GeneralisedVariance(warm_up=0, pois=pois) for pois in (None, ("mu_b",)))
    assert float(every.value(channel, POIS)) == pytest.approx(np.linalg.det(matrix) ** (1 / 3), rel=1e-3)
    # ln det I is what it minimises, in units of the number of parameters.
    information = np.linalg.inv(matrix)
    assert float(every.cost(channel, POIS)) == pytest.approx(-np.log(np.linalg.det(information)) / 3, rel=1e-3)
    assert float(one.value(channel, POIS)) == pytest.approx(np.linalg.det(matrix[1:, 1:]) ** (1 / 2), rel=1e-3)
    merit = every.merit(POIS)
    assert merit.exact is not None
    assert float(merit.exact(channel, POIS)) == float(every.value(channel, POIS))
    # Bins are merged for the POIs.
    block = covariance(channel).numpy()
    expected = np.sqrt(np.linalg.det(block[:2, :2]))
    assert float(merit.of(block, channel.parameters)) == pytest.approx(expected, rel=1e-9)


def test_no_objective_but_that_of_one_poi_depends_on_the_order_or_size_of_another():
    matrix = np.array([[4.0, 1.0], [1.0, 9.0]])
    for combined in (geometric_mean, root_of_determinant):
        assert combined(matrix[::-1, ::-1]) == pytest.approx(combined(matrix))
        assert combined(matrix * 4) == pytest.approx(4 * combined(matrix))
        assert combined(torch.tensor(matrix)).item() == pytest.approx(combined(matrix))
    assert geometric_mean(matrix) == pytest.approx(6.0)
    assert root_of_determinant(matrix) == pytest.approx(np.sqrt(35))


def test_the_honest_variance_of_any_combination_of_parameters_has_the_noise_of_the_variations():
    rng = np.random.default_rng(1)
    fit = LinearFit(
        jacobian=rng.normal(size=(6, 4)),
        prior=np.array([0.0, 0.0, 1.0, 1.0]),
        variance=rng.uniform(1, 3, 6),
        noise=rng.uniform(0, 0.2, (6, 4)) * [0, 0, 1, 1],
        merit=partial(FigureOfMerit(POIS, root_of_determinant).of, parameters=(*POIS, "x", "y")),
    )
    matrix, honest = fit.covariance(), fit.honest_covariance()
    for direction in (*np.eye(4), *rng.normal(size=(3, 4))):
        row = matrix @ direction
        expected = row @ direction
        for b, j in np.ndindex(fit.noise.shape):
            weight = fit.jacobian[b] @ row / fit.variance[b]
            expected += fit.noise[b, j] * (2 * row[j] ** 2 / fit.variance[b] + weight**2)
        assert direction @ honest @ direction == pytest.approx(expected, rel=1e-12)
    assert fit.honest_variance() == honest[0, 0] > matrix[0, 0]
    assert fit.honest_merit() == pytest.approx(np.sqrt(np.linalg.det(honest[:2, :2])))
    assert fit.grouped([(0, 1, 2, 3, 4, 5)]).honest_merit() == np.inf


def test_bins_are_merged_for_every_poi_that_is_measured():
    # Noise of x where b is, and a is not: mu alone does not need the last two bins apart, mu_b does.
    nominal = {"a": [30.0, 1.0, 1.0], "b": [1.0, 3.0, 30.0], "bkg": [100.0, 100.0, 100.0]}
    bkg = np.array(nominal["bkg"])
    pair = (bkg * [1.01, 1.1, 1.1], bkg * [0.99, 0.9, 0.9])
    filled = make_templates(
        nominal,
        signal=("a", "b"),
        varied={("x", "bkg"): pair},
        noise={("x", "bkg"): [0.0, 30.0, 30.0]},
        relative_error=0.01,
    )
    measurement = replace(
        make_measurement(nominal, signal=("a",), free={"mu_b": ("b",)}, shapes={"x": True}), pois=POIS
    )
    rule = ntuples("files").binning
    left = {}
    for pois in (("mu",), ("mu_b",), POIS):
        chosen = replace(measurement, merit=FigureOfMerit(pois, geometric_mean))
        left[pois] = merge([filled], rule, linear_fit(chosen, [filled]))[0].n_bins
    assert left == {("mu",): 2, ("mu_b",): 3, POIS: 3}


def test_a_bin_without_support_does_not_hide_one_signal_in_another():
    # By signal-to-background the last bin, full of b, is next to that of a; the first one has b, too.
    nominal = {"a": [1.0, 30.0, 0.5], "b": [6.0, 1.0, 8.0], "bkg": [100.0, 90.0, 10.0]}
    filled = replace(make_templates(nominal, signal=("a", "b")), ordered=False)
    measurement = make_measurement(nominal, signal=("a",), free={"mu_b": ("b",)})
    rule = ntuples("files").binning.model_copy(update={"min_yield": 30.0})
    found = {}
    for pois in (("mu",), POIS):
        fit = linear_fit(replace(measurement, pois=pois), (filled,))
        (merged,) = merge((filled,), rule, fit)
        found[pois] = [sorted(group) for group in merged.groups]
    assert found == {("mu",): [[0], [1, 2]], POIS: [[0, 2], [1]]}


def analysis(folder: Path, objective: dict[str, object]) -> TrainConfig:
    """Ntuples of two signals, on both sides of a background, and a shape."""
    rng = np.random.default_rng(3)
    trees = {}
    for name, centre, n in (("a", -1.5, 300), ("b", 1.5, 300), ("bkg", 0.0, 600)):
        x = rng.normal(centre, 1, n).astype(np.float32)
        y = rng.normal(0, 1, n).astype(np.float32)
        table = rows(np.arange(n)) | {"x": x, "y": y, "w": np.full(n, 0.3)}
        trees[name] = table
        if name == "bkg":
            trees |= {f"bkg_jes_{side}": table | {"x": x + step} for side, step in (("up", 0.1), ("down", -0.1))}
    write(folder / "events.root", trees)
    config = ntuples(
        folder,
        fit=["jes"],
        samples={"a": {"role": "signal"}, "b": {"role": "signal", "poi": "mu_b"}, "bkg": {"role": "background"}},
        systematics={"jes": {"kind": "shape", "samples": ["bkg"]}},
    )
    settings = config.model_dump(mode="json", by_alias=True)
    model = settings["model"] | {"objective": objective}
    return changed(config, model=model, trainer=settings["trainer"] | {"max_epochs": 3})


OF_THE_POIS = {
    "poi_variance": {"kind": "poi_variance", "warm_up": 0.0},
    "log_variances": {"kind": "log_variances", "warm_up": 0.0},
    "generalised_variance": {"kind": "generalised_variance", "warm_up": 0.0, "nuisance": False},
}


@pytest.mark.parametrize("kind", OF_THE_POIS)
def test_the_epoch_is_selected_by_what_the_objective_minimises(kind, tmp_path):
    config = analysis(tmp_path, OF_THE_POIS[kind])
    events = load(config)
    trained = train(config, events, tmp_path)
    merits = [epoch.evaluation.merit for epoch in trained.epochs]
    assert trained.best.number == int(np.argmin(merits))
    likelihoods = Likelihoods.from_config(config)
    likelihood = SoftLikelihood.of(likelihoods.fitted, events.validation, events.template)
    found = {}
    for name, objective in OF_THE_POIS.items():
        other = Measurement.from_config(analysis(tmp_path, objective), ("jes",))
        found[name] = evaluate(
            trained.networks, replace(likelihood, measurement=other), events.validation, config.binning
        )
    assert found[kind].merit == pytest.approx(trained.best.evaluation.merit)
    assert found["poi_variance"].merit == found["poi_variance"].honest
    # Hadamard: the determinant is at most the product of the variances.
    assert found["generalised_variance"].merit <= found["log_variances"].merit
    assert set(trained.best.evaluation.deviations) == {"mu", "mu_b", "jes"}


def test_an_objective_of_an_unknown_poi_is_an_error(tmp_path):
    with pytest.raises((ConfigError, ValueError), match=r"model\.objective: 'mu_c' is no POI .*closest: 'mu_b'"):
        analysis(tmp_path, {"kind": "log_variances", "warm_up": 0.0, "pois": ["mu", "mu_c"]})
