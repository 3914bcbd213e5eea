"""What must hold for the likelihood of any templates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyhf
import pytest
import torch
from conftest import channel_of, make_measurement, make_templates
from hypothesis import assume, given
from hypothesis import strategies as st
from workspaces import model_of, random_point, workspaces

from inferno_cli.config.measurement import Measurement
from inferno_cli.events.modifiers import Morph
from inferno_cli.events.sample import NOMINAL
from inferno_cli.fit.auxiliary import constraint_terms
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.data import Likelihood
from inferno_cli.likelihood.expectation import expectation, expected_yields, nll, sample_yields
from inferno_cli.likelihood.information import information_matrix, poi_variance
from inferno_cli.likelihood.rates import ExactRates
from inferno_cli.likelihood.readers import pyhf as reader

SAMPLES = ("signal", "QCD", "top")


@dataclass(frozen=True)
class Model:
    """Templates with a shape on two samples, a yield uncertainty, and a free yield if that can be fitted."""

    measurement: Measurement
    templates: Templates

    def variance(self) -> float:
        return float(poi_variance(channel_of(self.measurement, self.templates)))

    def grouped(self, groups) -> Model:
        return replace(self, templates=self.templates.grouped(groups))


EITHER = st.booleans()


def shapes_of(**kept: bool) -> dict[str, dict[str, Morph]]:
    return dict(make_measurement(SAMPLES, shapes=kept).shapes)


@st.composite
def models(draw, staterror=EITHER, shapes=EITHER, minimum=3) -> Model:
    n_bins = draw(st.integers(minimum, 6))

    def row(low, high):
        return np.array(draw(st.lists(st.floats(low, high), min_size=n_bins, max_size=n_bins)))

    nominal = {"signal": row(0.5, 40), "QCD": row(5, 400), "top": row(1, 80)}
    varied = {}
    if draw(shapes):
        for sample in ("signal", "top"):
            varied["jes", sample] = (nominal[sample] * row(0.6, 1.5), nominal[sample] * row(0.6, 1.5))
        # Never zero: where it is free, the data must depend on it.
        tilt = draw(st.floats(0.1, 0.4)) * np.linspace(-1, 1, n_bins)
        varied["bend", "QCD"] = (nominal["QCD"] * (1 + tilt), nominal["QCD"] * (1 - tilt))
    measurement = make_measurement(
        SAMPLES,
        normalisation={"xsec": (("QCD", "top"), draw(st.floats(1.01, 1.5)), draw(st.floats(0.6, 0.99)))},
        shapes={"jes": True, "bend": draw(st.booleans())} if varied else {},
        unconstrained=("bend",) if varied and draw(st.booleans()) else (),
        staterror=draw(staterror),
    )
    return Model(measurement, make_templates(nominal, varied=varied, relative_error=draw(st.floats(0.01, 0.2))))


constrained = models().filter(lambda model: not model.measurement.unconstrained)


@given(models())
def test_theta_zero_gives_the_nominal(model):
    channel = channel_of(model.measurement, model.templates)
    np.testing.assert_allclose(
        expected_yields(channel, channel.init).numpy(), model.templates.nominal.sum(axis=0), rtol=1e-13
    )


@given(models(shapes=st.just(True)), st.sampled_from([("up", 1.0), ("down", -1.0)]))
def test_one_sigma_of_a_shape_gives_its_template_exactly(model, case):
    direction, sign = case
    channel = channel_of(model.measurement, model.templates)
    theta = channel.init.clone()
    theta[channel.parameters.index("jes")] = sign
    yields = sample_yields(channel, theta).numpy()
    for sample in ("signal", "top"):
        up, down = model.templates.varied["jes", sample]
        expected = up if direction == "up" else down
        np.testing.assert_allclose(yields[SAMPLES.index(sample)], expected, rtol=1e-12)
    np.testing.assert_allclose(yields[SAMPLES.index("QCD")], model.templates.values("QCD", NOMINAL), rtol=1e-12)


@given(models(shapes=st.just(True)), st.sampled_from([0, 1]))
def test_one_sigma_without_normalisation_keeps_the_yield_and_takes_the_shape(model, side):
    measurement = replace(model.measurement, shapes=shapes_of(jes=False, bend=True), unconstrained=())
    channel = channel_of(measurement, model.templates)
    theta = channel.init.clone()
    theta[channel.parameters.index("jes")] = (1.0, -1.0)[side]
    yields = sample_yields(channel, theta).numpy()[0]
    varied, nominal = model.templates.varied["jes", "signal"][side], model.templates.values("signal")
    np.testing.assert_allclose(yields, varied * nominal.sum() / varied.sum(), rtol=1e-12)


@given(models(), st.sampled_from([("up", 1.0), ("down", -1.0)]))
def test_one_sigma_of_a_yield_uncertainty_gives_its_factor_exactly(model, case):
    direction, sign = case
    channel = channel_of(model.measurement, model.templates)
    theta = channel.init.clone()
    theta[channel.parameters.index("xsec")] = sign
    factors = model.measurement.normalisation["xsec"]
    side = 0 if direction == "up" else 1
    expected = [model.templates.values(name) * factors.get(name, (1.0, 1.0))[side] for name in SAMPLES]
    np.testing.assert_allclose(sample_yields(channel, theta).numpy()[:3], expected, rtol=1e-12)


@given(models(), st.data())
def test_permuting_the_bins_keeps_poi_variance(model, data):
    order = data.draw(st.permutations(range(model.templates.n_bins)))
    assert model.grouped([(i,) for i in order]).variance() == pytest.approx(model.variance(), rel=1e-8)


@given(constrained, st.floats(0.01, 0.9), st.sampled_from(SAMPLES))
def test_another_constrained_nuisance_never_decreases_poi_variance(model, size, sample):
    extra = {"extra": {sample: (1 + size, 1 - size)}}
    larger = replace(model.measurement, normalisation={**model.measurement.normalisation, **extra})
    assert replace(model, measurement=larger).variance() >= model.variance() * (1 - 1e-10)


@given(constrained, st.floats(0.05, 0.5))
def test_another_free_shape_never_decreases_poi_variance(model, size):
    tilt = np.linspace(-size, size, model.templates.n_bins)
    top = model.templates.values("top")
    varied = model.templates.varied | {("free", "top"): (top * (1 + tilt), top * (1 - tilt))}
    shapes = {**model.measurement.shapes, **shapes_of(free=True)}
    nominal = {name: model.templates.values(name) for name in SAMPLES}
    larger = Model(
        replace(model.measurement, shapes=shapes, unconstrained=("free",)), make_templates(nominal, varied=varied)
    )
    fewer = replace(model, templates=make_templates(nominal, varied=model.templates.varied))
    assert larger.variance() >= fewer.variance() * (1 - 1e-10)


@given(models(staterror=st.just(False), shapes=st.just(False)), st.floats(0.05, 20))
def test_without_systematics_variance_scales_as_one_over_the_luminosity(model, luminosity):
    measurement = replace(model.measurement, normalisation={}, free={})
    scaled = make_templates({name: luminosity * model.templates.values(name) for name in SAMPLES})
    alone = Model(measurement, model.templates).variance()
    assert Model(measurement, scaled).variance() == pytest.approx(alone / luminosity, rel=1e-10)


@given(models(minimum=4), st.data())
def test_merging_bins_never_decreases_poi_variance(model, data):
    i = data.draw(st.integers(0, model.templates.n_bins - 2))
    groups = [(j,) for j in range(model.templates.n_bins) if j != i + 1]
    groups[i] = (i, i + 1)
    assert model.grouped(groups).variance() >= model.variance() * (1 - 1e-10)


@given(models(staterror=st.just(True)))
def test_staterror_never_decreases_poi_variance(model):
    without = replace(model, measurement=replace(model.measurement, staterror=False))
    assert model.variance() >= without.variance() * (1 - 1e-10)


@given(models())
def test_the_information_matrix_is_symmetric_and_positive(model):
    matrix = information_matrix(channel_of(model.measurement, model.templates))
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-12, atol=1e-12)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-9 * float(matrix.diagonal().max())


# ------------------------------------------------------------------------------------------ any pyhf workspace
@given(workspaces(), st.integers(0, 2**32 - 1))
def test_the_likelihood_of_any_workspace_is_pyhfs(content, seed):
    model, data = model_of(content)
    observations = pyhf.Workspace(content).observations
    spec = reader.specification(model, observations, "m")
    likelihood, point = expectation(spec), random_point(model, np.random.default_rng(seed))
    reference = np.asarray(model.expected_actualdata(point))
    assume((reference > 0).all())
    index = {label: i for i, label in enumerate(model.config.par_names)}
    theta, gamma = (
        point[[index[name] for name in names]] for names in (likelihood.parameters, likelihood.gamma.labels)
    )
    np.testing.assert_allclose(expected_yields(likelihood, theta, gamma), reference, rtol=1e-11)
    events = np.array(data[: model.config.nmaindata])
    theirs = -float(np.squeeze(model.logpdf(point, data)))
    assert float(nll(likelihood, theta, events, gamma)) == pytest.approx(theirs, rel=1e-11, abs=1e-9)


@given(workspaces(), st.integers(0, 2**32 - 1))
def test_the_derivatives_of_any_workspace_are_those_of_pyhfs_likelihood(content, seed):
    """The gradient against differences of pyhf's, the Hessian against differences of that gradient."""
    model, data = model_of(content)
    spec = reader.specification(model, pyhf.Workspace(content).observations, "m")
    start = np.array(model.config.suggested_init(), dtype=float)
    likelihood = Likelihood(ExactRates(expectation(spec), spec.labels), constraint_terms(model.config), data, start)
    point = random_point(model, np.random.default_rng(seed))
    # Well above the floor below which the likelihood of a bin with events is continued.
    assume((np.asarray(model.expected_actualdata(point)) > 0.1).all())

    def theirs(moved: np.ndarray) -> float:
        return -float(np.squeeze(model.logpdf(moved, data)))

    assert likelihood.nll(point) == pytest.approx(theirs(point), rel=1e-11, abs=1e-9)
    gradient, hessian = likelihood.gradient(point), likelihood.hessian(point)
    size, steps = np.abs(gradient).max(), np.diag(1e-4 * np.maximum(1, np.abs(point)))
    for i, step in enumerate(steps):
        near, far = ((theirs(point + n * step) - theirs(point - n * step)) / (2 * n * step[i]) for n in (1, 2))
        assert gradient[i] == pytest.approx((4 * near - far) / 3, rel=1e-6, abs=1e-6 * (1 + size))
        column = (likelihood.gradient(point + step) - likelihood.gradient(point - step)) / (2 * step[i])
        np.testing.assert_allclose(hessian[:, i], column, rtol=1e-5, atol=1e-5 * (1 + np.abs(hessian[i, i])))
