"""Objectives that are more than the variance of a POI: what they are made of, and what is an error."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from conftest import channel_of, compose, make_measurement, make_templates
from pydantic import ValidationError

from inferno_cli.errors import ConfigError
from inferno_cli.likelihood.information import covariance
from inferno_cli.likelihood.profile import q0, q_of_exclusion
from inferno_cli.training.objectives.cls import ExclusionCls
from inferno_cli.training.objectives.constraint_deviation import ConstraintDeviation
from inferno_cli.training.objectives.p0 import DiscoveryPValue
from inferno_cli.training.objectives.poi_variance import PoiVariance
from inferno_cli.training.objectives.weighted_sum import WeightedSum

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


def total(**terms: object) -> WeightedSum:
    return WeightedSum.model_validate({"terms": terms, "warm_up": 0.0})


def test_a_p_value_chooses_the_epoch_by_the_variance_that_its_statistic_stands_for():
    for objective, statistic in ((DiscoveryPValue(warm_up=0.0), q0), (ExclusionCls(warm_up=0.0), q_of_exclusion)):
        merit = objective.merit(("mu",))
        assert merit.exact is not None
        assert float(merit.exact(MODEL, ("mu",))) == pytest.approx(1 / float(statistic(MODEL)))
        assert float(objective.cost(MODEL)) == pytest.approx(-math.log(float(statistic(MODEL))))
        tail = math.erfc((float(statistic(MODEL)) / 2) ** 0.5) / 2
        assert float(objective.value(MODEL)) == pytest.approx(tail * (2 if objective.kind == "cls" else 1))


def test_a_lucky_batch_does_not_decide():
    """Without background in a bin q0 has no limit, and neither has a mean of ln p over batches: of -ln q it has."""
    lucky = replace(MODEL, nominal=MODEL.nominal * torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1e-9], [1, 1, 1, 1e-9]]))
    objective = DiscoveryPValue(warm_up=0.0)
    assert float(q0(lucky)) > 5 * float(q0(MODEL))

    def gradient(model) -> float:
        nominal = model.nominal.clone().requires_grad_()
        (found,) = torch.autograd.grad(objective.cost(replace(model, nominal=nominal)), nominal)
        return float(found[0, 0].abs())  # of the signal in a bin that is the same in both

    assert gradient(lucky) < gradient(MODEL)


def test_templates_without_signal_have_a_cost():
    empty = replace(MODEL, nominal=MODEL.nominal * torch.tensor([[0.0], [1.0], [1.0]]))
    for objective in (DiscoveryPValue(warm_up=0.0), ExclusionCls(warm_up=0.0)):
        assert math.isfinite(float(objective.cost(empty)))


def test_a_sum_is_of_what_its_terms_minimise():
    objective = total(cls=1, p0=2, poi_variance={"weight": 0.5, "poi": "QCD_norm"})
    parts = ExclusionCls(warm_up=0.0), DiscoveryPValue(warm_up=0.0), PoiVariance(warm_up=0.0, poi="QCD_norm")
    cls, p0, variance = (float(part.cost(MODEL)) for part in parts)
    assert float(objective.cost(MODEL)) == pytest.approx(cls + 2 * p0 + 0.5 * variance, rel=1e-12)
    merit = objective.merit(("mu",))
    assert merit.pois == ("mu", "QCD_norm")
    assert merit.exact is not None
    assert float(merit.exact(MODEL, ("mu",))) == pytest.approx(math.exp((cls + 2 * p0 + 0.5 * variance) / 3.5))
    assert float(objective.value(MODEL)) == pytest.approx(math.exp((cls + 2 * p0 + 0.5 * variance) / 3.5))
    matrix = covariance(MODEL)
    of_mu, of_qcd = float(matrix[0, 0]), float(matrix[1, 1])
    assert float(merit.of(matrix, MODEL.parameters)) == pytest.approx((of_mu**3 * of_qcd**0.5) ** (1 / 3.5))


def test_the_gradient_of_a_sum_is_the_weighted_sum():
    def gradient(objective) -> torch.Tensor:
        nominal = MODEL.nominal.clone().requires_grad_()
        (found,) = torch.autograd.grad(objective.cost(replace(MODEL, nominal=nominal)), nominal)
        return found

    parts = gradient(ExclusionCls(warm_up=0.0)), gradient(DiscoveryPValue(warm_up=0.0))
    torch.testing.assert_close(gradient(total(cls=1, p0=2)), parts[0] + 2 * parts[1])


def test_a_term_of_weight_zero_is_none():
    assert float(total(cls=1, p0=0).cost(MODEL)) == float(ExclusionCls(warm_up=0.0).cost(MODEL))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"clss": 1}, "'clss' is no objective of the fit; closest: 'cls'"),
        ({"cross_entropy": 1}, "'cross_entropy' is no objective of the fit"),
        ({"weighted_sum": 1}, "'weighted_sum' is no objective of the fit"),
        ({"cls": 0}, "no term has a weight above 0"),
        ({"poi_variance": {"poi": "mu"}}, "poi_variance.weight is None; expected a number that is not negative"),
        ({"p0": {"weight": 1, "pois": "mu"}}, "pois"),
        ({}, "at least 1 item"),
    ],
)
def test_terms_that_make_no_sense_are_named(terms, message):
    with pytest.raises(ValidationError, match=message):
        total(**terms)


def test_the_deviation_of_constraints_is_that_of_the_errors_from_one():
    errors = covariance(MODEL).diagonal().sqrt()
    index = {name: number for number, name in enumerate(MODEL.parameters)}
    free = {"mu", "QCD_norm"}
    every = sum(float((1 - errors[number]) ** 2) for name, number in index.items() if name not in free)
    assert float(ConstraintDeviation(warm_up=0.0).value(MODEL)) == pytest.approx(every, rel=1e-9)
    one = ConstraintDeviation(warm_up=0.0, parameters={"jes": 0.1})
    assert float(one.value(MODEL)) == pytest.approx(0.1 * float((1 - errors[index["jes"]]) ** 2), rel=1e-9)


def test_a_parameter_without_a_constraint_has_no_deviation():
    with pytest.raises(ConfigError, match=r"model\.objective\.parameters: 'jess' is no constrained parameter.*'jes'"):
        ConstraintDeviation(warm_up=0.0, parameters={"jess": 1.0}).value(MODEL)


def test_the_keys_of_the_command_line():
    config = compose("dataset=synthetic", "model/objective=weighted_sum", "model.objective.terms.p0=2")
    objective = config.model.objective
    assert isinstance(objective, WeightedSum)
    assert objective.terms == {"cls": 1, "p0": 2}
    assert objective.warm_up == config.model.warm_up
    assert compose("dataset=synthetic", "model/objective=p0").model.objective.kind == "p0"
    augmented = compose("+experiment=blobs", "model/objective=cross_entropy_augmented").model.objective
    assert augmented == compose("+experiment=blobs", "model/objective=augmented_cross_entropy").model.objective
