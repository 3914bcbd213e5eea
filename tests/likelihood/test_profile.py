"""Expected p-values with everything profiled: against pyhf, against differences, and against known numbers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyhf
import pytest
import torch
from conftest import channel_of, make_measurement, make_templates, prepared
from hypothesis import HealthCheck, Phase, assume, given, settings
from scipy.optimize import minimize_scalar
from test_likelihood import NOMINAL, VARIED, as_numpy, everything, float64
from test_likelihood_properties import models
from workspaces import model_of, published, workspaces

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import FitFailedError, SingularInformationError
from inferno_cli.histograms.fitted import fitted
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood import profile
from inferno_cli.likelihood.build import ChannelTemplates, build
from inferno_cli.likelihood.expectation import Expectation, expectation, expected_yields
from inferno_cli.likelihood.profile import asimov_significance, log_cls, log_p0, q0, q_of_exclusion
from inferno_cli.likelihood.rates import ExactRates
from inferno_cli.likelihood.readers import pyhf as reader
from inferno_cli.likelihood.spec import Channel, Gaussian, Parameter, Sample, Spec
from inferno_cli.likelihood.writers.pyhf import workspace


def p0(model: Expectation) -> float:
    return math.exp(float(log_p0(q0(model))))


def cls(model: Expectation) -> float:
    return math.exp(float(log_cls(q_of_exclusion(model))))


# --------------------------------------------------------------------------------------------------- against pyhf
@pytest.fixture
def precise() -> Any:
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-10, maxiter=10_000))
    yield
    pyhf.set_backend("numpy")


def of_workspace(content: dict[str, Any]) -> tuple[Any, Expectation]:
    model, _ = model_of(content)
    name = content["measurements"][0]["name"]
    return model, expectation(reader.specification(model, pyhf.Workspace(content).observations, name))


def content_of(measurement: Measurement, templates: Templates) -> dict[str, Any]:
    """Return the workspace that a run writes."""
    measurement, templates = prepared(measurement, templates)
    return workspace(fitted([templates], measurement, poi_bounds=(-10, 10), observed=False))


def starts(model: Any, nominal: np.ndarray) -> list[list[float]]:
    """The nominal parameters, and those with one shape up or down: pyhf stays in the minimum that is nearest."""
    found = [nominal.tolist()]
    for name, parameter in model.config.par_map.items():
        if name in {modifier for modifier, kind in model.config.modifiers if kind == "histosys"}:
            for value in (1.0, -1.0):
                start = nominal.copy()
                start[parameter["slice"]] = value
                found.append(start.tolist())
    return found


def theirs(model: Any) -> tuple[float, float]:
    """Return p0 and CLs of pyhf, each on the Asimov data that it is expected in."""
    nominal = np.array(model.config.suggested_init(), dtype=float)
    bounds = model.config.suggested_bounds()
    bounds[model.config.poi_index] = (0.0, 10.0)
    found = []
    for tested, truth, statistic in ((0.0, 1.0, "q0"), (1.0, 0.0, "qtilde")):
        nominal[model.config.poi_index] = truth
        data = model.expected_data(nominal)
        with warnings.catch_warnings():  # of its optimiser, at limits
            warnings.simplefilter("ignore")
            value = pyhf.infer.hypotest(
                tested, data, model, init_pars=nominal.tolist(), par_bounds=bounds, test_stat=statistic
            )
        found.append(float(value))
    return found[0], found[1]


@pytest.mark.parametrize("staterror", [True, False])
def test_both_are_pyhfs_with_every_kind_of_modifier_of_a_training(staterror, precise):
    measurement, templates = everything(staterror)
    model = channel_of(measurement, templates)
    assert (p0(model), cls(model)) == pytest.approx(theirs(model_of(content_of(measurement, templates))[0]), rel=1e-6)


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=[Phase.generate])
@given(model=models())
def test_pyhf_fits_random_templates_to_the_same_statistic(model, precise):
    """Of several minima pyhf takes the one that is nearest, so it starts on many sides, and where we ended, too."""
    ours = channel_of(model.measurement, model.templates)
    theirs, likelihood = of_workspace(content_of(model.measurement, model.templates))
    index = {label: i for i, label in enumerate(theirs.config.par_names)}
    places = [index[label] for label in (*likelihood.parameters, *likelihood.gamma.labels)]
    nominal = np.array(theirs.config.suggested_init(), dtype=float)
    for tested, truth, statistic in ((0.0, 1.0, q0), (1.0, 0.0, q_of_exclusion)):
        nominal[theirs.config.poi_index] = truth
        data = theirs.expected_data(nominal)
        ended = np.empty(len(places))
        ended[places] = profile.best_fit(likelihood, tested, truth)
        least = math.inf
        for start in [*starts(theirs, nominal), ended.tolist()]:
            fit = pyhf.infer.mle.fixed_poi_fit(tested, data, theirs, init_pars=start, return_fitted_val=True)
            least = min(least, float(fit[1]))
        at_truth = -2 * float(np.squeeze(theirs.logpdf(nominal, data)))
        assert float(statistic(ours)) == pytest.approx(least - at_truth, rel=1e-6, abs=1e-8)


def can_be_fitted(model: Expectation, tested: float) -> bool:
    """Whether the data tell all free parameters apart: a shapefactor does what a free factor of its sample does.

    With the POI held, that is: without signal nothing fixes a free factor by the signal any more.
    """
    held = np.array([*model.fixed, *model.gamma.fixed])
    held[model.poi] = True
    point = np.concatenate([model.init, model.gamma.init])
    point[model.poi] = tested
    jacobian = ExactRates(model).jacobian(point)
    widths = np.concatenate([model.prior.width, model.gamma.prior.width])
    counts = np.concatenate([model.prior.factor, model.gamma.prior.factor])
    prior = np.divide(1, widths**2, out=counts.copy(), where=widths > 0)
    information = (jacobian.T @ jacobian + np.diag(prior))[np.ix_(~held, ~held)]
    if not len(information):
        return True
    scale = np.sqrt(np.diag(information))
    return bool((scale > 0).all() and np.linalg.eigvalsh(information / np.outer(scale, scale))[0] > 1e-9)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(content=workspaces())
def test_pyhf_has_no_better_point_of_a_random_workspace_and_the_same_statistic(content):
    """pyhf's optimiser takes minutes for some of these: its likelihood alone is asked."""
    rng = np.random.default_rng(1)
    model, likelihood = of_workspace(content)
    nominal = np.array(model.config.suggested_init(), dtype=float)
    nominal[model.config.poi_index] = 0.0
    assume((np.asarray(model.expected_actualdata(nominal)) > 0.5).all())
    assume(all(can_be_fitted(likelihood, tested) for tested in (0.0, 1.0)))
    index = {label: i for i, label in enumerate(model.config.par_names)}
    places = [index[label] for label in (*likelihood.parameters, *likelihood.gamma.labels)]
    for tested, truth, statistic in ((0.0, 1.0, q0), (1.0, 0.0, q_of_exclusion)):
        nominal[model.config.poi_index] = truth
        data = model.expected_data(nominal)
        point = np.empty(len(places))
        point[places] = profile.best_fit(likelihood, tested, truth)
        least, at_truth = (-2 * float(np.squeeze(model.logpdf(at, data))) for at in (point, nominal))
        assert float(statistic(likelihood)) == pytest.approx(least - at_truth, rel=1e-6, abs=1e-6)
        low, high = np.transpose(model.config.suggested_bounds())
        free = ~np.array(model.config.suggested_fixed())
        free[model.config.poi_index] = False
        for size in (1e-3, 1e-2, 0.1):
            for step in rng.normal(0, size, (10, len(point))):
                beside = np.clip(point + step * free, np.where(free, low, point), np.where(free, high, point))
                assert -2 * float(np.squeeze(model.logpdf(beside, data))) > least - 1e-8


@pytest.mark.slow
def test_both_are_pyhfs_for_a_workspace_as_experiments_publish_them(precise):
    model, likelihood = of_workspace(published())
    assert (p0(likelihood), cls(likelihood)) == pytest.approx(theirs(model), rel=1e-6)


# ------------------------------------------------------------------------------------------- against differences
def two_channels(inputs: list[torch.Tensor]) -> Expectation:
    """Build a likelihood with all kinds of modifiers in two channels from their templates."""
    measurement, _ = everything()
    keys = list(VARIED)
    samples, channels = tuple(NOMINAL), []
    n = 2 + 2 * len(keys)
    for channel, part in (("one", inputs[:n]), ("two", inputs[n:])):
        varied = {key: (part[2 + 2 * i], part[3 + 2 * i]) for i, key in enumerate(keys)}
        channels.append(ChannelTemplates(channel, samples, part[0], part[1], varied))
    return expectation(build(measurement, channels))


def templates_of_two_channels() -> list[torch.Tensor]:
    rng, inputs = np.random.default_rng(3), []
    samples = list(NOMINAL)
    for n_bins in (4, 2):
        # Of each sample by itself, or the free yields and the free shape make up for the signal.
        scale = rng.uniform(0.6, 1.4, (len(samples), n_bins))
        nominal = np.array(list(NOMINAL.values()))[:, :n_bins] * scale
        inputs += [float64(nominal), float64((0.05 * nominal) ** 2)]
        for (_, sample), pair in VARIED.items():
            inputs += [float64(np.array(side)[:n_bins] * scale[samples.index(sample)]) for side in pair]
    return inputs


STATISTICS: dict[str, Callable[[Expectation], Any]] = {
    "p0": lambda model: log_p0(q0(model)),
    "cls": lambda model: log_cls(q_of_exclusion(model)),
    "z_asimov": asimov_significance,
}


@pytest.mark.parametrize("name", ["p0", "cls"])
def test_the_gradient_in_all_templates_is_that_of_differences(name):
    inputs = [values.requires_grad_() for values in templates_of_two_channels()]
    value = STATISTICS[name](two_channels(inputs))
    assert value.item() < math.log(0.4)
    gradients = torch.autograd.grad(value, inputs, allow_unused=True)
    largest = 0.0
    for values, gradient in zip(inputs, gradients, strict=True):
        if gradient is not None:
            largest = max(largest, float((values.detach() * gradient).abs().max()))
    inputs = [values.detach() for values in inputs]
    for number, gradient in enumerate(gradients):
        for entry in np.ndindex(*inputs[number].shape):
            at = float(inputs[number][entry])
            step, ends = 2e-4 * at, []
            for distance in (-2, -1, 1, 2):
                moved = list(inputs)
                moved[number] = inputs[number].clone()
                moved[number][entry] = at + distance * step
                ends.append(float(STATISTICS[name](two_channels(moved))))
            slope = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
            ours = 0.0 if gradient is None else float(gradient[entry])
            assert at * ours == pytest.approx(at * slope, rel=0, abs=1e-6 * largest)


def test_numpy_and_torch_calculate_the_same():
    model = channel_of(*everything())
    for statistic in STATISTICS.values():
        assert float(statistic(as_numpy(model))) == pytest.approx(float(statistic(model)), rel=1e-10)


# ---------------------------------------------------------------------------------------------- of known numbers
def of_counts(signal: list[float], background: list[float], **known: Any) -> Expectation:
    measurement = make_measurement(["signal", "background"], staterror=False, **known)
    return channel_of(measurement, make_templates({"signal": signal, "background": background}))


def test_without_uncertainties_the_statistics_have_a_closed_form():
    s, b = np.array([5.0, 11.0]), np.array([50.0, 40.0])
    model = of_counts(s.tolist(), b.tolist())
    discovery = 2 * ((s + b) * np.log(1 + s / b) - s).sum()
    exclusion = 2 * (s - b * np.log(1 + s / b)).sum()
    assert float(q0(model)) == pytest.approx(discovery, rel=1e-12)
    assert float(q_of_exclusion(model)) == pytest.approx(exclusion, rel=1e-12)
    assert float(asimov_significance(model)) == pytest.approx(math.sqrt(discovery), rel=1e-12)


def test_uncertainties_are_not_in_the_asimov_significance():
    plain = float(asimov_significance(of_counts([5.0, 11.0], [50.0, 40.0])))
    model = channel_of(*everything())
    signal = np.array(NOMINAL["signal"]) + np.array(NOMINAL["other_signal"])
    background = np.array(NOMINAL["QCD"]) + np.array(NOMINAL["top"])
    alone = float(asimov_significance(of_counts(signal.tolist(), background.tolist())))
    assert float(asimov_significance(model)) == pytest.approx(alone, rel=1e-12)
    assert plain == pytest.approx(
        float(
            asimov_significance(of_counts([5.0, 11.0], [50.0, 40.0], normalisation={"b": (["background"], 1.5, 0.5)}))
        ),
        rel=1e-12,
    )


def test_a_p_value_below_the_smallest_number_has_a_logarithm():
    model = of_counts([3000.0], [100.0])
    assert p0(model) == 0
    assert float(log_p0(q0(model))) == pytest.approx(-float(q0(model)) / 2, rel=1e-2)


def landscape(up: float, down: float) -> Expectation:
    """Two bins, whose background moves by ``up`` and ``down`` from one to the other."""
    measurement = make_measurement(["signal", "background"], shapes={"shape": True}, staterror=False)
    varied = {("shape", "background"): ([50.0 + up, 50.0 - up], [50.0 + down, 50.0 - down])}
    return channel_of(measurement, make_templates({"signal": [5.0, 11.0], "background": [50.0, 50.0]}, varied=varied))


@pytest.mark.parametrize(
    ("size", "discovery", "exclusion"),
    [
        (-10, 0.05465, 0.10796),
        (-5, 0.05134, 0.10796),
        (0, 0.04881, 0.10796),
        (5, 0.04881, 0.11030),
        (10, 0.04881, 0.11671),
    ],
)
def test_a_variation_to_one_side_is_seen_although_its_slope_is_zero(size, discovery, exclusion):
    """The numbers are of a fit by itself; Newton's method alone stays at the saddle in the middle."""
    model = landscape(size, size)
    assert (p0(model), cls(model)) == pytest.approx((discovery, exclusion), abs=6e-6)


def test_the_sum_of_both_is_a_bowl_around_no_variation():
    sums = {}
    for size in range(-4, 5):
        model = landscape(size, size)
        sums[size] = p0(model) + cls(model)
    least = min(sums.values())
    assert [size for size, value in sums.items() if value < least + 1e-9] == [-2, -1, 0, 1, 2]
    assert min(p0(landscape(u, d)) + cls(landscape(u, d)) for u, d in ((3, -3), (2, 0), (-2, 2), (5, -10))) > least


def counting(phi: Any, constraint: str) -> Expectation:
    """One bin with s = 15 + phi, and b = 45 - 2 phi to 0.5 + 0.1 phi^2."""
    signal, background, error = 15 + phi, 45 - 2 * phi, 0.5 + 0.1 * phi**2
    if constraint == "gaussian":
        change = mod.HistoSys("b", (background + error)[None], (background - error)[None])
        samples = (
            Sample("signal", signal[None], (mod.NormFactor("mu"),)),
            Sample("background", background[None], (change,)),
        )
        parameters = (
            Parameter("mu", (1.0,), ((0.0, 10.0),)),
            Parameter("b", (0.0,), ((-10.0, 10.0),), constraint=Gaussian((0.0,), (1.0,))),
        )
        return expectation(Spec((Channel("SR", samples),), parameters, "mu", "m"))
    mu = {"name": "mu", "type": "normfactor", "data": None}
    shapesys = {"name": "b", "type": "shapesys", "data": [float(error)]}
    rows = [
        {"name": "signal", "data": [float(signal)], "modifiers": [mu]},
        {"name": "background", "data": [float(background)], "modifiers": [shapesys]},
    ]
    content = {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": rows}],
        "observations": [{"name": "SR", "data": [60.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }
    return of_workspace(content)[1]


@pytest.mark.parametrize(
    ("constraint", "optimum", "least", "at_ten"),
    [("gaussian", 4.84, 0.00293, 0.0225), ("poisson", 4.64, 0.00308, 0.0433)],
)
def test_the_simple_analysis_has_its_best_point_where_the_uncertainty_is_small(constraint, optimum, least, at_ten):
    found = minimize_scalar(
        lambda phi: p0(counting(float64(phi), constraint)), bounds=(0, 10), method="bounded", options={"xatol": 1e-4}
    )
    assert found.x == pytest.approx(optimum, abs=0.005)
    assert found.fun == pytest.approx(least, abs=6e-6)
    assert p0(counting(float64(0.0), constraint)) == pytest.approx(0.0170, abs=6e-5)
    assert p0(counting(float64(10.0), constraint)) == pytest.approx(at_ten, abs=6e-5)


def test_the_significance_without_the_uncertainty_prefers_the_worst_point():
    values = [float(asimov_significance(counting(float64(phi), "gaussian"))) for phi in range(11)]
    assert values == sorted(values)


def test_the_gradient_descends_to_the_best_point_of_the_simple_analysis():
    phi = float64(1.0).requires_grad_()
    optimizer = torch.optim.Adam([phi], lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        log_p0(q0(counting(phi, "gaussian"))).backward()
        optimizer.step()
    assert phi.item() == pytest.approx(4.84, abs=0.05)


# ------------------------------------------------------------------------------------------------------- errors
def test_parameters_that_the_data_cannot_tell_apart_are_named():
    model = of_counts([1.0, 5.0, 9.0], [90.0, 50.0, 20.0], free={"one": ["background"], "two": ["background"]})
    broken = replace(model, histosys=model.histosys * math.nan)
    with pytest.raises(SingularInformationError, match="not finite"):
        q0(broken)


def test_a_fit_that_does_not_converge_is_an_error(monkeypatch):
    monkeypatch.setattr(
        profile, "newton", lambda likelihood, bounds, values, varied: (values, varied & False, math.inf)
    )
    with pytest.raises(FitFailedError, match="the fit of the templates with mu = 0 does not converge"):
        q0(channel_of(*everything()))


# ------------------------------------------------------------------------------------------------------- two minima
def one_sided(seed: int) -> Expectation:
    """A likelihood of three bins whose background is larger both up and down, each way by something else."""
    rng = np.random.default_rng(seed)
    signal, background = rng.uniform(2, 8, 3), rng.uniform(5, 30, 3)
    up, down = (background * rng.uniform(1.0, 2.5, 3) for _ in range(2))
    varied = {("jes", "background"): (up, down)}
    templates = make_templates({"signal": signal, "background": background}, varied=varied)
    measurement = make_measurement(("signal", "background"), shapes={"jes": True}, staterror=False)
    return channel_of(measurement, templates)


@pytest.mark.parametrize("seed", range(15))
def test_of_two_minima_the_deeper_one_is_taken(seed: int) -> None:
    model = as_numpy(one_sided(seed))
    jes = model.parameters.index("jes")
    for tested, truth, statistic in ((0.0, 1.0, q0), (1.0, 0.0, q_of_exclusion)):
        point = np.array(model.init, dtype=float)
        point[model.poi] = truth
        events = np.asarray(expected_yields(model, point))
        least = math.inf
        for value in np.linspace(-4, 4, 1601):
            point[model.poi], point[jes] = tested, value
            expected = np.asarray(expected_yields(model, point))
            if (expected > 0).all():
                rise = 2 * float((expected - events - events * np.log(expected / events)).sum()) + value**2
                least = min(least, rise)
        assert float(statistic(model)) == pytest.approx(least, rel=1e-3, abs=1e-6)


def uneven(seed: int) -> Expectation:
    """A likelihood of four bins whose background two parameters move more to one side than to the other."""
    rng = np.random.default_rng(seed)
    signal, background = rng.uniform(2, 10, 4), rng.uniform(5, 30, 4)
    up, down = (background * rng.uniform(0.6, 2.2, 4) for _ in range(2))
    measurement = make_measurement(
        ("signal", "background"),
        normalisation={"xsec": (["background"], 1.01, 0.7)},
        shapes={"jes": True},
        staterror=False,
    )
    varied = {("jes", "background"): (up, down)}
    return channel_of(measurement, make_templates({"signal": signal, "background": background}, varied=varied))


@pytest.mark.parametrize("seed", [153, 172, 179, 227])
def test_of_two_minima_in_parameters_that_move_the_templates_unevenly_too(seed: int) -> None:
    model = as_numpy(uneven(seed))
    jes, xsec = model.parameters.index("jes"), model.parameters.index("xsec")
    point = np.array(model.init, dtype=float)
    point[model.poi] = 1.0
    events = np.asarray(expected_yields(model, point))
    point[model.poi] = 0.0

    def rise(value: float) -> float:
        point[xsec] = value
        expected = np.asarray(expected_yields(model, point))
        if not (expected > 0).all():
            return 1e9
        terms = expected - events - events * np.log(expected / events)
        return 2 * float(terms.sum()) + point[xsec] ** 2 + point[jes] ** 2

    least = math.inf
    for shift in np.linspace(-2, 2, 201):
        point[jes] = shift
        for sides in ((-2, 0), (0, 2)):
            least = min(least, minimize_scalar(rise, bounds=sides, method="bounded").fun)
    assert float(q0(model)) == pytest.approx(least, rel=1e-3)
