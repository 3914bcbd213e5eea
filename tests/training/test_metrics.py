"""Metrics of hard templates: against numbers worked out otherwise, and as what chooses the epoch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import changed, channel_of, compose, load, make_measurement, make_templates, prepared, synthetic, train
from pydantic import ValidationError
from scipy.optimize import minimize

from inferno_cli.errors import ConfigError, FitFailedError
from inferno_cli.histograms.symmetry import parts
from inferno_cli.likelihood.asimov import AsimovFit
from inferno_cli.likelihood.expectation import Expectation, expected_yields, nll
from inferno_cli.likelihood.information import covariance, poi_variance
from inferno_cli.likelihood.profile import q0, q_of_exclusion, without_graph
from inferno_cli.runs.training_record import even_notes
from inferno_cli.training.metrics import measured, metrics
from inferno_cli.training.metrics.gaussianity import ProfiledRise
from inferno_cli.training.objectives import FigureOfMerit
from inferno_cli.training.objectives.constraint_deviation import ConstraintDeviation
from inferno_cli.training.objectives.generalised_variance import GeneralisedVariance

YIELDS = {"signal": [3.0, 8.0, 14.0, 25.0], "QCD": [250.0, 120.0, 60.0, 30.0], "top": [20.0, 30.0, 25.0, 10.0]}
VARIED = {
    ("jes", "signal"): ([2.0, 8.5, 15.0, 28.0], [4.0, 7.0, 13.5, 21.0]),
    ("jes", "top"): ([18.0, 30.0, 28.0, 11.0], [22.5, 29.0, 24.0, 8.0]),
}
MEASUREMENT = make_measurement(
    YIELDS,
    free={"QCD_norm": ["QCD"]},
    normalisation={"lumi": (["signal", "top"], 1.02, 0.98), "xsec": (["top"], 1.2, 0.9)},
    shapes={"jes": True},
)
MODEL = channel_of(MEASUREMENT, make_templates(YIELDS, varied=VARIED, relative_error=0.05))
VALUES, MISSING = measured(MODEL)


# ------------------------------------------------------------------------------------------------------ their values
def test_every_metric_can_be_had_and_all_but_one_are_quick():
    assert set(VALUES) == set(metrics())
    assert MISSING == {}
    assert all(map(math.isfinite, VALUES.values()))
    of_an_epoch, _ = measured(MODEL, of_an_epoch=True)
    assert of_an_epoch == {kind: value for kind, value in VALUES.items() if kind != "gaussianity"}


def test_errors_and_p_values_are_those_of_the_likelihood():
    assert VALUES["sigma_mu"] == pytest.approx(math.sqrt(float(poi_variance(MODEL))), rel=1e-12)
    significance, exclusion = math.sqrt(float(q0(MODEL))), math.sqrt(float(q_of_exclusion(MODEL)))
    assert VALUES["sigma_mu_asimov"] == pytest.approx(1 / significance, rel=1e-9)
    assert VALUES["p0"] == pytest.approx(math.erfc(significance / math.sqrt(2)) / 2, rel=1e-9)
    assert VALUES["cls"] == pytest.approx(math.erfc(exclusion / math.sqrt(2)), rel=1e-9)
    signal, background = np.array(YIELDS["signal"]), np.array(YIELDS["QCD"]) + YIELDS["top"]
    log = (signal + background) * np.log1p(signal / background)
    assert VALUES["z_asimov"] == pytest.approx(math.sqrt(2 * (log - signal).sum()), rel=1e-9)


def test_the_generalised_variance_is_that_of_the_whole_matrix_with_the_constraints():
    matrix = covariance(MODEL).numpy()
    assert matrix.shape == (5, 5)
    assert VALUES["generalised_variance"] == pytest.approx(-math.log(np.linalg.det(np.linalg.inv(matrix))), rel=1e-9)
    objective = GeneralisedVariance(warm_up=0.0)
    assert VALUES["generalised_variance"] == pytest.approx(5 * float(objective.cost(MODEL)), rel=1e-9)


def test_the_deviation_of_constraints_is_that_of_the_objective():
    assert VALUES["constraint_deviation"] == pytest.approx(float(ConstraintDeviation(warm_up=0.0).value(MODEL)))
    alone = make_measurement({"signal": [5.0], "QCD": [50.0]})
    values, _ = measured(channel_of(alone, make_templates({"signal": [5.0], "QCD": [50.0]})))
    assert (values["constraint_deviation"], values["even_part"]) == (0.0, 0.0)


def test_one_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch):
    def failing(_: object, __: object) -> float:
        raise FitFailedError("the fit does not converge")

    monkeypatch.setattr(type(metrics()["p0"]), "value", failing)
    values, missing = measured(MODEL)
    assert missing == {"p0": "the fit does not converge"}
    assert {*values, "p0"} == set(metrics())


# ------------------------------------------------------------------------------------------------------- the even part
def test_a_variation_that_is_the_same_up_and_down_is_even_and_is_told():
    """Row C27: sum A^2 / nu is above sum S^2 / nu, and the training and HESSE see nothing."""
    yields = {"signal": [5.0, 11.0], "QCD": [50.0, 50.0]}
    hidden = ([58.0, 42.0], [58.0, 42.0])
    measurement = make_measurement(yields, shapes={"jes": True}, staterror=False)
    templates = make_templates(yields, varied={("jes", "QCD"): hidden})
    values, _ = measured(channel_of(measurement, templates))
    assert values["even_part"] == pytest.approx(math.sqrt(8**2 / 55 + 8**2 / 61))
    _, (templates,) = measurement, (prepared(measurement, templates)[1],)
    found = parts([templates], [templates], measurement)
    assert found["jes"].odd == 0
    (note,) = even_notes(found, ["0", "1"])
    assert note.startswith("up and down of jes move the templates to the same side by")
    apart = make_templates(yields, varied={("jes", "QCD"): ([58.0, 42.0], [42.0, 58.0])})
    values, _ = measured(channel_of(measurement, apart))
    assert values["even_part"] == pytest.approx(0.0, abs=1e-12)


def test_the_even_part_is_that_of_the_record():
    measurement = replace(MEASUREMENT, normalisation={})
    templates = prepared(measurement, make_templates(YIELDS, varied=VARIED, relative_error=0.05))[1]
    values, _ = measured(channel_of(measurement, templates))
    assert values["even_part"] == pytest.approx(parts([templates], [templates], measurement)["jes"].even, rel=1e-9)


# -------------------------------------------------------------------------------------------------------- Gaussianity
def rise_by_minimising(model: Expectation, theta: np.ndarray) -> float:
    """Return -ln L above its minimum with the gammas fitted by scipy, from the likelihood that pyhf referees."""
    data = np.asarray(expected_yields(model, model.init, model.gamma.init))
    best = nll(model, model.init, data, model.gamma.init)
    found = minimize(
        lambda gamma: nll(model, theta, data, gamma) - best, model.gamma.init, method="L-BFGS-B", tol=1e-14
    )
    return float(found.fun)


@pytest.mark.parametrize("staterror", ["all", "QCD"])
def test_the_likelihood_is_profiled_over_the_statistical_errors(staterror: str):
    model = without_graph(MODEL)
    if staterror == "QCD":
        rows = np.array([False, True, False])
        model = replace(model, in_staterror=rows)
        layers = np.where(rows[None, :, None], model.gamma.layers, len(model.gamma.init))
        model = replace(model, gamma=replace(model.gamma, layers=layers))
    fit = AsimovFit(model)
    rng = np.random.default_rng(1)
    for _ in range(5):
        theta = model.init + np.linalg.cholesky(fit.covariance) @ rng.normal(size=len(model.parameters))
        rise = ProfiledRise(model)(theta)
        assert rise == pytest.approx(rise_by_minimising(model, theta), rel=1e-5, abs=1e-7)


def gaussianity(yields: dict[str, list[float]], varied: object = None, **measurement: object) -> float:
    made = make_measurement(yields, **measurement)  # type: ignore[arg-type]
    pairs = {} if varied is None else {("jes", "QCD"): varied}
    return measured(channel_of(made, make_templates(yields, varied=pairs)))[0]["gaussianity"]


def test_it_vanishes_as_the_likelihood_becomes_gaussian():
    """Of Poisson counts the third derivatives fall as the square root of the events: the number as their inverse."""
    few = {"signal": [50.0, 110.0], "QCD": [500.0, 500.0]}
    many = {name: [100 * value for value in values] for name, values in few.items()}
    one, hundred = (gaussianity(yields, staterror=False) for yields in (few, many))
    assert 0 < hundred < 1e-4
    assert one / hundred == pytest.approx(100, rel=0.05)


def test_a_parameter_that_changes_nothing_does_not_count():
    yields = {"signal": [50.0, 110.0], "QCD": [500.0, 500.0]}
    same = (yields["QCD"], yields["QCD"])
    alone, beside = (
        gaussianity(yields, staterror=False),
        gaussianity(yields, same, shapes={"jes": True}, staterror=False),
    )
    assert beside == pytest.approx(alone, rel=1e-6)


def test_it_sees_a_hidden_variation_that_the_error_does_not():
    """Row C26: along up = down sigma(mu) is constant, exactly, and the likelihood ever less Gaussian."""
    yields = {"signal": [5.0, 11.0], "QCD": [50.0, 50.0]}
    found = []
    for u in (0.0, 5.0, 10.0):
        measurement = make_measurement(yields, shapes={"jes": True}, staterror=False)
        pair = ([50 + u, 50 - u], [50 + u, 50 - u])
        values, _ = measured(channel_of(measurement, make_templates(yields, varied={("jes", "QCD"): pair})))
        found.append(values)
    assert [item["sigma_mu"] for item in found] == pytest.approx([0.64043] * 3, abs=1e-5)
    assert found[0]["gaussianity"] < found[1]["gaussianity"] < found[2]["gaussianity"]


# ----------------------------------------------------------------------------------------------- what chooses the epoch
def test_a_merit_is_of_what_the_metric_says():
    values = {kind: item.merit(AsimovFit.of(MODEL)) for kind, item in metrics().items()}
    assert values["sigma_mu"] == pytest.approx(VALUES["sigma_mu"] ** 2)
    assert values["p0"] == values["sigma_mu_asimov"] == pytest.approx(1 / float(q0(MODEL)))
    assert values["cls"] == pytest.approx(1 / float(q_of_exclusion(MODEL)))
    assert values["z_asimov"] == pytest.approx(1 / VALUES["z_asimov"] ** 2)
    assert values["generalised_variance"] == pytest.approx(float(GeneralisedVariance(warm_up=0.0).value(MODEL)))
    chosen = metrics()["cls"].choosing(FigureOfMerit())
    assert chosen.exact is not None
    assert chosen.exact(MODEL, ("mu",)) == values["cls"]
    # Two measurements of one configuration are equal.
    assert chosen == metrics()["cls"].choosing(FigureOfMerit())


@pytest.mark.parametrize(("model", "select"), [("bce", "p0"), ("inferno", "generalised_variance")])
def test_the_epoch_is_that_with_the_best_metric(model: str, select: str, tmp_path: Path):
    names = ("model.hidden=[8]", "model.warm_up=0", "model.batch_size=200", "trainer.progress=none")
    config = synthetic(f"model={model}", "trainer.max_epochs=6", f"trainer.select={select}", *names)
    events = load(config)
    trained = train(config, events, tmp_path)
    merits = [epoch.evaluation.merit for epoch in trained.epochs]
    assert trained.best.number == int(np.argmin(merits))
    for epoch in trained.epochs:
        value, evaluation = epoch.evaluation.metrics[select], epoch.evaluation
        fit = measured_merit(select, value, len(evaluation.deviations))
        # With the noise of the variations in it, as in the variance.
        assert evaluation.merit == pytest.approx(fit * evaluation.honest / evaluation.hard, rel=1e-9)
        assert epoch.metrics()[f"validation/metrics/{select}"] == value
        assert value == pytest.approx(epoch.metrics()[f"validation/metrics/{select}"])
    own = changed(config, trainer=config.trainer.model_dump(mode="json") | {"select": None})
    again = train(own, events, tmp_path / "own")
    # The training is the same, and only the choice is another one.
    assert [epoch.loss for epoch in again.epochs] == [epoch.loss for epoch in trained.epochs]
    assert again.best.evaluation.merit == min(epoch.evaluation.honest for epoch in again.epochs)


def measured_merit(select: str, value: float, n_parameters: int) -> float:
    """Return what chooses the epoch, from the metric itself."""
    if select == "generalised_variance":
        return math.exp(value / n_parameters)
    from scipy.stats import norm

    return float(1 / norm.isf(value) ** 2)


def test_a_name_that_is_none_is_told_with_the_closest():
    with pytest.raises((ConfigError, ValidationError), match=r"trainer\.select: 'clss' is no metric; closest: 'cls'"):
        compose("dataset=synthetic", "trainer.select=clss")
    assert compose("dataset=synthetic").trainer.select is None
