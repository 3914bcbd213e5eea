"""The torch likelihood against pyhf, against finite differences, and against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pyhf
import pytest
import torch
from conftest import channel_of, make_measurement, make_templates

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import SingularInformationError
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.build import ChannelTemplates, build
from inferno_cli.likelihood.expectation import (
    Expectation,
    expectation,
    expected_yields,
    nll,
    sample_yields,
    yields_and_jacobian,
)
from inferno_cli.likelihood.information import correlation, covariance, information_matrix, poi_variance
from inferno_cli.likelihood.interpolation import code4, code4p

MODIFIER_SETTINGS = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
ALPHAS = [-2.5, -1.0, -0.999, -0.3, 0.0, 0.2, 0.7, 1.0, 1.001, 3.0]

NOMINAL = {
    "signal": [3.0, 8.0, 14.0, 25.0],
    "other_signal": [1.0, 2.0, 3.0, 4.0],
    "QCD": [250.0, 120.0, 60.0, 30.0],
    "top": [20.0, 30.0, 25.0, 10.0],
}
VARIED = {
    ("jes", "signal"): ([2.0, 8.5, 15.0, 28.0], [4.0, 7.0, 13.5, 21.0]),
    ("jes", "top"): ([18.0, 30.0, 28.0, 11.0], [22.5, 29.0, 24.0, 8.0]),
    ("shape_only", "QCD"): ([270.0, 118.0, 66.0, 29.0], [240.0, 125.0, 50.0, 31.0]),
    ("free_shape", "QCD"): ([260.0, 122.0, 55.0, 31.0], [244.0, 115.0, 66.0, 28.0]),
    ("free_shape", "signal"): ([2.5, 9.0, 13.0, 26.0], [3.4, 7.5, 15.0, 24.5]),
}


def float64(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def everything(staterror: bool = True) -> tuple[Measurement, Templates]:
    """Every kind of modifier, several of each where that makes a difference."""
    measurement = make_measurement(
        NOMINAL,
        signal=("signal", "other_signal"),
        free={"QCD_norm": ["QCD"], "top_norm": ["top", "other_signal"]},
        normalisation={
            "lumi": (["signal", "other_signal", "top"], 1.02, 0.98),
            "xsec": (["QCD", "top"], 1.2, 0.93),
            "falling": (["top"], 0.95, 1.08),
        },
        shapes={"jes": True, "shape_only": False, "free_shape": True},
        unconstrained=["free_shape"],
        staterror=staterror,
    )
    templates = make_templates(NOMINAL, signal=("signal", "other_signal"), varied=VARIED, relative_error=0.05)
    return measurement, templates


def pyhf_model(measurement: Measurement, templates: Templates) -> Any:
    """Write the same measurement as a pyhf specification, from the templates and by hand."""

    def sample(name: str, values: np.ndarray, parent: str) -> dict[str, Any]:
        modifiers: list[dict[str, Any]] = []
        if parent in measurement.signal:
            modifiers.append({"name": "mu", "type": "normfactor", "data": None})
        for factor, touched in measurement.free.items():
            if parent in touched:
                modifiers.append({"name": factor, "type": "normfactor", "data": None})
        for systematic, by_sample in measurement.normalisation.items():
            if parent in by_sample:
                up, down = by_sample[parent]
                modifiers.append({"name": systematic, "type": "normsys", "data": {"hi": up, "lo": down}})
        if name != parent:
            factor = name.partition("@")[2]
            modifiers.append({"name": factor, "type": "normfactor", "data": None})
            return {"name": name, "data": values.tolist(), "modifiers": modifiers}
        for (systematic, touched), (up, down) in templates.varied.items():
            if touched != name or systematic in measurement.unconstrained:
                continue
            total, total_up, total_down = values.sum(), up.sum(), down.sum()
            if measurement.shapes[systematic][touched].part == "both":
                data = {"hi": total_up / total, "lo": total_down / total}
                modifiers.append({"name": systematic, "type": "normsys", "data": data})
            data = {"hi_data": (up * total / total_up).tolist(), "lo_data": (down * total / total_down).tolist()}
            modifiers.append({"name": systematic, "type": "histosys", "data": data})
        if measurement.staterror:
            errors = np.sqrt(templates.variance[templates.samples.index(name)])
            modifiers.append({"name": "mc", "type": "staterror", "data": errors.tolist()})
        return {"name": name, "data": values.tolist(), "modifiers": modifiers}

    samples = [sample(name, templates.values(name), name) for name in measurement.samples]
    for (systematic, touched), (up, down) in templates.varied.items():
        if systematic in measurement.unconstrained:
            samples.append(sample(f"{touched}@{systematic}", (up - down) / 2, touched))
    spec = {"channels": [{"name": "SR", "samples": samples}]}
    return pyhf.Model(spec, poi_name="mu", modifier_settings=MODIFIER_SETTINGS)


def pyhf_parameters(model: Any, channel: Expectation, theta: Any, gamma: Any = None) -> np.ndarray:
    values = np.ones(model.config.npars)
    for name, value in zip(channel.parameters, theta, strict=True):
        values[model.config.par_slice(name)] = value
    if gamma is not None:
        values[model.config.par_slice("mc")] = gamma
    return values


def random_theta(channel: Expectation, rng: np.random.Generator) -> torch.Tensor:
    """Scale factors around 1 and nuisance parameters on both sides of one sigma."""
    scale = np.where(channel.init.numpy() == 1, 0.3, 1.3)
    return channel.init + torch.from_numpy(rng.normal(0, scale))


# -------------------------------------------------------------------------------------------- interpolation
@pytest.mark.parametrize(("up", "down"), [(1.1, 0.9), (1.3, 0.95), (0.8, 1.1), (1.05, 1.02), (2.0, 0.4), (1.0, 1.0)])
def test_code4_agrees_with_pyhf(up, down):
    reference = pyhf.interpolators.code4([[[[down], [1.0], [up]]]])(np.array([ALPHAS]))
    value, _ = code4(float64(ALPHAS), float64(up), float64(down))
    np.testing.assert_allclose(value, np.asarray(reference).ravel(), rtol=1e-12)


@pytest.mark.parametrize(("up", "down"), [(12.0, 8.5), (9.0, 11.5), (12.0, 11.0), (10.0, 10.0)])
def test_code4p_agrees_with_pyhf(up, down):
    nominal = 10.0
    reference = pyhf.interpolators.code4p([[[[down], [nominal], [up]]]])(np.array([ALPHAS]))
    value, _ = code4p(float64(ALPHAS), float64(up - nominal), float64(down - nominal))
    np.testing.assert_allclose(value, np.asarray(reference).ravel(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("interpolation", [code4, code4p])
def test_interpolations_return_their_own_derivative(interpolation):
    alpha = float64(ALPHAS).requires_grad_()
    value, slope = interpolation(alpha, torch.tensor(1.3, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64))
    (expected,) = torch.autograd.grad(value.sum(), alpha)
    torch.testing.assert_close(slope, expected, rtol=1e-12, atol=1e-12)


def test_code4p_has_slope_of_half_the_difference_at_zero():
    _, slope = code4p(float64(0), float64(5), float64(-2))
    assert float(slope) == 3.5


@pytest.mark.parametrize("interpolation", [code4, code4p])
def test_gradients_in_the_templates_are_finite_far_outside_one_sigma(interpolation):
    up, down = float64(1.2).requires_grad_(), float64(0.9).requires_grad_()
    value, slope = interpolation(float64([-40, 40]), up, down)
    gradients = torch.autograd.grad((value + slope).sum(), [up, down])
    assert all(torch.isfinite(gradient) for gradient in gradients)


# ---------------------------------------------------------------------------------------------- against pyhf
@pytest.mark.parametrize("seed", range(6))
def test_expected_yields_agree_with_pyhf_for_random_parameters(seed):
    measurement, templates = everything()
    channel, model = channel_of(measurement, templates), pyhf_model(measurement, templates)
    rng = np.random.default_rng(seed)
    theta, gamma = random_theta(channel, rng), rng.normal(1, 0.1, templates.n_bins)
    reference = model.expected_actualdata(pyhf_parameters(model, channel, theta, gamma))
    np.testing.assert_allclose(expected_yields(channel, theta, torch.from_numpy(gamma)), reference, rtol=1e-10, atol=0)


def test_the_test_model_has_every_kind_of_modifier_and_parameter():
    measurement, templates = everything()
    model, channel = pyhf_model(measurement, templates), channel_of(measurement, templates)
    assert {kind for _, kind in model.config.modifiers} == {"normfactor", "normsys", "histosys", "staterror"}
    assert set(channel.parameters) == set(model.config.parameters) - {"mc"}
    assert {"QCD@free_shape", "signal@free_shape"} <= set(model.config.samples)


def test_sample_yields_agree_with_pyhf_sample_by_sample():
    measurement, templates = everything()
    channel, model = channel_of(measurement, templates), pyhf_model(measurement, templates)
    theta = random_theta(channel, np.random.default_rng(11))
    reference = model.main_model.expected_data(pyhf_parameters(model, channel, theta), return_by_sample=True)
    rows = [model.config.samples.index(name) for name in (*NOMINAL, "signal@free_shape", "QCD@free_shape")]
    np.testing.assert_allclose(sample_yields(channel, theta), reference[rows], rtol=1e-10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("staterror", [True, False])
def test_nll_agrees_with_pyhf_for_random_parameters_and_data(seed, staterror):
    measurement, templates = everything(staterror)
    channel, model = channel_of(measurement, templates), pyhf_model(measurement, templates)
    rng = np.random.default_rng(seed)
    theta = random_theta(channel, rng)
    gamma = rng.normal(1, 0.05, templates.n_bins) if staterror else None
    data = rng.poisson(templates.nominal.sum(axis=0)).astype(float)
    reference = -model.logpdf(pyhf_parameters(model, channel, theta, gamma), [*data, *model.config.auxdata])[0]
    ours = nll(channel, theta, torch.from_numpy(data), None if gamma is None else torch.from_numpy(gamma))
    assert float(ours) == pytest.approx(float(reference), rel=1e-10)


def as_numpy(value: Any) -> Any:
    """The same arrays of numpy, also inside of what holds them."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if is_dataclass(value):
        return replace(value, **{field.name: as_numpy(getattr(value, field.name)) for field in fields(value)})
    return tuple(map(as_numpy, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("seed", range(3))
def test_numpy_and_torch_calculate_the_same(seed):
    channel, rng = channel_of(*everything()), np.random.default_rng(seed)
    theta, gamma = random_theta(channel, rng), torch.from_numpy(rng.normal(1, 0.05, 4))
    data = torch.from_numpy(rng.poisson(200, 4).astype(float))
    other, at = as_numpy(channel), theta.numpy()
    for ours, theirs in [
        (sample_yields(channel, theta, gamma), sample_yields(other, at, gamma.numpy())),
        (nll(channel, theta, data, gamma), nll(other, at, data.numpy(), gamma.numpy())),
        *zip(yields_and_jacobian(channel, theta), yields_and_jacobian(other, at), strict=True),
        (information_matrix(channel, theta), information_matrix(other, at)),
        (covariance(channel, theta), covariance(other, at)),
        (poi_variance(channel, theta), poi_variance(other, at)),
        (correlation(covariance(channel)), correlation(covariance(other))),
    ]:
        assert isinstance(theirs, np.ndarray | np.floating)
        np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------------------- Jacobian and information matrix
@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_jacobian_agrees_with_automatic_differentiation(seed):
    channel = channel_of(*everything())
    theta = channel.init if seed is None else random_theta(channel, np.random.default_rng(seed))
    yields, jacobian = yields_and_jacobian(channel, theta)
    torch.testing.assert_close(yields, sample_yields(channel, theta), rtol=1e-12, atol=0)
    expected = torch.func.jacrev(lambda point: expected_yields(channel, point))(theta)
    torch.testing.assert_close(jacobian, expected, rtol=1e-10, atol=1e-10)


def test_jacobian_is_right_where_a_scale_factor_is_zero():
    channel = channel_of(*everything())
    theta = channel.init.clone()
    theta[channel.parameters.index("mu")] = 0
    theta[channel.parameters.index("QCD_norm")] = 0
    expected = torch.func.jacrev(lambda point: expected_yields(channel, point))(theta)
    torch.testing.assert_close(yields_and_jacobian(channel, theta)[1], expected, rtol=1e-10, atol=1e-10)


def numerical_covariance(model: Any, point: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Inverse of the finite-difference Hessian of pyhf's NLL, all parameters, at its own Asimov data."""
    data = model.expected_data(point)
    n = len(point)

    def value(*shifts: tuple[int, float]) -> float:
        moved = point.copy()
        for i, shift in shifts:
            moved[i] += shift
        return float(-model.logpdf(moved, data)[0])

    hessian = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            signs = [(a, b) for a in (1, -1) for b in (1, -1)]
            second = sum(a * b * value((i, a * step), (j, b * step)) for a, b in signs) / (4 * step**2)
            hessian[i, j] = hessian[j, i] = second
    return np.linalg.inv(hessian)


@pytest.mark.parametrize("staterror", [True, False])
@pytest.mark.parametrize("at_nominal", [True, False])
def test_covariance_agrees_with_the_numerical_hessian_of_pyhf(staterror, at_nominal):
    """Seven parameters and one gamma per bin: pyhf's covariance of all, and ours with the gammas profiled."""
    measurement = make_measurement(
        NOMINAL,
        signal=("signal", "other_signal"),
        free={"QCD_norm": ["QCD"]},
        normalisation={"xsec": (["QCD", "top"], 1.2, 0.93), "lumi": (["signal", "top"], 1.02, 0.98)},
        shapes={"jes": True, "shape_only": False, "free_shape": True},
        unconstrained=["free_shape"],
        staterror=staterror,
    )
    templates = make_templates(NOMINAL, signal=measurement.signal, varied=VARIED, relative_error=0.05)
    channel, model = channel_of(measurement, templates), pyhf_model(measurement, templates)
    theta = channel.init.clone()
    if not at_nominal:
        theta += float64([0.4, 0.1, -0.3, 0.5, 0.6, -0.4, 0.2])
    point = pyhf_parameters(model, channel, theta)
    numerical = numerical_covariance(model, point)
    rows = [model.config.par_slice(name).start for name in channel.parameters]
    expected = numerical[np.ix_(rows, rows)]
    ours = covariance(channel, theta).numpy()
    unit = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(ours / unit, expected / unit, rtol=0, atol=2e-4)
    assert float(poi_variance(channel, theta)) == pytest.approx(expected[0, 0], rel=2e-4)


def test_poi_variance_is_the_first_entry_of_the_covariance():
    channel = channel_of(*everything())
    assert float(poi_variance(channel)) == pytest.approx(float(covariance(channel)[0, 0]), rel=1e-10)


def test_covariance_is_the_inverse_of_the_information():
    channel = channel_of(*everything())
    identity = information_matrix(channel) @ covariance(channel)
    torch.testing.assert_close(identity, torch.eye(len(identity), dtype=torch.float64), rtol=0, atol=1e-8)


def test_correlation_has_a_unit_diagonal_and_the_signs_of_the_covariance():
    matrix = float64([[4.0, -3.0], [-3.0, 9.0]])
    torch.testing.assert_close(correlation(matrix), float64([[1.0, -0.5], [-0.5, 1.0]]))


def test_poi_variance_is_differentiable_in_every_template():
    measurement = make_measurement(
        ["signal", "QCD"],
        free={"QCD_norm": ["QCD"]},
        shapes={"jes": True, "shape_only": False, "free_shape": True},
        unconstrained=["free_shape"],
    )
    keys = [("jes", "signal"), ("shape_only", "QCD"), ("free_shape", "QCD")]

    def variance(nominal, squares, *varied):
        pairs = {key: (varied[2 * i], varied[2 * i + 1]) for i, key in enumerate(keys)}
        channel = ChannelTemplates("SR", ("signal", "QCD"), nominal, squares, pairs)
        return poi_variance(expectation(build(measurement, [channel])))

    nominal = float64([NOMINAL["signal"], NOMINAL["QCD"]])
    inputs = [nominal, (0.05 * nominal) ** 2, *(float64(values) for key in keys for values in VARIED[key])]
    assert torch.autograd.gradcheck(variance, [value.requires_grad_() for value in inputs], rtol=1e-4)


# -------------------------------------------------------------------------------------- worked out by hand
def one_bin(s: float, b: float, relative_error: float = 0.0, **modifiers: Any) -> Expectation:
    measurement = make_measurement(["signal", "background"], staterror=relative_error > 0, **modifiers)
    return channel_of(measurement, make_templates({"signal": [s], "background": [b]}, relative_error=relative_error))


def test_one_bin_without_systematics_has_variance_n_over_s_squared():
    assert float(poi_variance(one_bin(50, 1000))) == pytest.approx(1050 / 2500, rel=1e-12)


def test_staterror_adds_its_variance_to_that_of_poisson():
    # Each template has 3%: sum w^2 = 1.5^2 + 30^2 = 902.25.
    assert float(poi_variance(one_bin(50, 1000, 0.03))) == pytest.approx((1050 + 902.25) / 2500, rel=1e-12)


def test_ten_percent_on_the_background_adds_its_variance():
    # The slope of code4 at 0 for factors 1.1 and 0.9 is 0.1001464 (HistFactory manual, equation 6.4), not 0.1.
    channel = one_bin(50, 1000, normalisation={"b": (["background"], 1.1, 0.9)})
    assert float(poi_variance(channel)) == pytest.approx((1050 + 100.1464**2) / 2500, rel=1e-6)


def test_two_bins_with_a_free_background_solve_two_equations():
    # J = [[s1, b1], [s2, b2]] = [[0, 100], [10, 90]] and nu = 100 in both: mu is (n2 - 0.9 n1) / 10.
    measurement = make_measurement(["signal", "background"], free={"norm": ["background"]}, staterror=False)
    channel = channel_of(measurement, make_templates({"signal": [0.0, 10.0], "background": [100.0, 90.0]}))
    assert float(poi_variance(channel)) == pytest.approx((100 + 0.81 * 100) / 100, rel=1e-12)


def test_a_free_shape_has_half_the_difference_as_its_derivative_and_no_constraint():
    measurement = make_measurement(
        ["signal", "background"], shapes={"tilt": True}, unconstrained=["tilt"], staterror=False
    )
    templates = make_templates(
        {"signal": [0.0, 10.0], "background": [100.0, 90.0]},
        varied={("tilt", "background"): ([120.0, 100.0], [80.0, 60.0])},
    )
    channel = channel_of(measurement, templates)
    _, jacobian = yields_and_jacobian(channel, channel.init)
    torch.testing.assert_close(jacobian, float64([[0.0, 20.0], [10.0, 20.0]]))
    # mu is (n2 - n1) / 10.
    assert float(poi_variance(channel)) == pytest.approx(200 / 100, rel=1e-12)


def test_a_constrained_shape_contributes_one_to_the_diagonal_of_the_information():
    measurement = make_measurement(["signal", "background"], shapes={"tilt": False}, staterror=False)
    templates = make_templates(
        {"signal": [0.0, 10.0], "background": [100.0, 90.0]},
        varied={("tilt", "background"): ([110.0, 80.0], [90.0, 100.0])},
    )
    matrix = information_matrix(channel_of(measurement, templates))
    # J_tilt = (10, -10), nu = (100, 100).
    torch.testing.assert_close(matrix, float64([[1.0, -1.0], [-1.0, 3.0]]))


# ----------------------------------------------------------------------------------------- singular matrices
def test_two_factors_on_the_same_sample_are_named_as_the_flat_direction():
    measurement = make_measurement(
        ["signal", "background"], free={"one": ["background"], "two": ["background"]}, staterror=False
    )
    channel = channel_of(measurement, make_templates({"signal": [1.0, 5.0, 9.0], "background": [90.0, 50.0, 20.0]}))
    with pytest.raises(SingularInformationError, match=r"cannot tell (one and two|two and one) apart") as caught:
        poi_variance(channel)
    assert "mu" not in str(caught.value)


def test_a_parameter_that_does_nothing_is_named():
    measurement = make_measurement(["signal", "background", "empty"], free={"idle": ["empty"]}, staterror=False)
    templates = make_templates({"signal": [1.0, 5.0], "background": [90.0, 50.0], "empty": [0.0, 0.0]})
    with pytest.raises(SingularInformationError, match="does not depend on idle"):
        poi_variance(channel_of(measurement, templates))


def test_more_free_parameters_than_bins_is_an_error():
    channel = one_bin(50, 1000, free={"norm": ["background"]})
    with pytest.raises(SingularInformationError, match="cannot tell") as caught:
        poi_variance(channel)
    assert "mu" in str(caught.value)
    assert "norm" in str(caught.value)
    assert "nuisance.fit" in str(caught.value)


def test_more_free_parameters_than_bins_is_an_error_with_many_bins():
    rng = np.random.default_rng(5)
    names = [f"b{i}" for i in range(6)]
    nominal = {"signal": rng.uniform(1, 10, 6)} | {name: rng.uniform(20, 200, 6) for name in names}
    measurement = make_measurement(nominal, free={f"k{i}": [name] for i, name in enumerate(names)})
    with pytest.raises(SingularInformationError):
        covariance(channel_of(measurement, make_templates(nominal)))


def test_signal_with_the_shape_of_a_free_background_is_an_error_in_any_units():
    """The yields differ by 1e8: what is singular must not depend on the size of a template."""
    shape = np.array([1.0, 2.0, 3.0])
    measurement = make_measurement(["signal", "background"], free={"norm": ["background"]}, staterror=False)
    with pytest.raises(SingularInformationError, match="mu"):
        poi_variance(channel_of(measurement, make_templates({"signal": 1e-4 * shape, "background": 1e4 * shape})))


def test_a_bin_without_expectation_is_an_error_that_says_so():
    measurement = make_measurement(["signal", "background"], staterror=True)
    with pytest.raises(SingularInformationError, match="a bin has no expected events"):
        poi_variance(channel_of(measurement, make_templates({"signal": [0.0, 5.0], "background": [0.0, 50.0]})))


def test_constrained_parameters_may_outnumber_the_bins():
    names = {f"n{i}": (["background"], 1.1, 0.9) for i in range(5)}
    assert float(poi_variance(one_bin(50, 1000, normalisation=names))) == pytest.approx(
        (1050 + 5 * 100.1464**2) / 2500, rel=1e-6
    )
