"""The workspace that templates make, and MINUIT's fit of it against the closed form."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyhf
import pytest
import scipy.optimize
import torch
import yaml
from conftest import Written, build, channel_of, compose, make_measurement, make_templates, prepared

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import DeeperMinimumError, FitFailedError, TemplateError, WorkspaceError
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.histograms.templates import Templates
from inferno_cli.likelihood.expectation import expected_yields, nll
from inferno_cli.likelihood.information import covariance, poi_variance
from inferno_cli.likelihood.readers.pyhf import read_workspace
from inferno_cli.names import morph_name

BINS = 6
QUICK = compose("fit.scan_points=null", "fit.significance=false", "fit.stat_only=false").fit
SETTINGS = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}


def toy(observed: bool = True) -> Templates:
    """Histograms of seeded events: a signal at high score, QCD at low score, a shifted score up and down."""
    rng = np.random.default_rng(4)
    scores = {
        "signal": (rng.beta(4, 2, 20_000), 300),
        "QCD": (rng.beta(1.5, 4, 20_000), 2400),
        "top": (rng.beta(3, 2.5, 20_000), 120),
    }

    def fill(score: np.ndarray, total: float) -> np.ndarray:
        return np.histogram(np.clip(score, 0, 0.999), BINS, (0, 1))[0] * (total / len(score))

    nominal = {name: fill(*item) for name, item in scores.items()}
    varied = {
        ("jes", name): (fill(scores[name][0] * 1.04, 1.05 * total), fill(scores[name][0] * 0.97, 0.96 * total))
        for name, total in (("signal", 300), ("top", 120))
    }
    varied["bend", "QCD"] = (fill(scores["QCD"][0] ** 0.9, 2400), fill(scores["QCD"][0] ** 1.1, 2400))
    data = rng.poisson(sum(nominal.values())).astype(float) if observed else None
    return make_templates(nominal, varied=varied, relative_error=0.03, observed=data)


def measure(**changes) -> Measurement:
    settings = {
        "free": {"QCD_norm": ["QCD"]},
        "normalisation": {"xsec": (["top"], 1.2, 0.85), "lumi": (["signal", "top"], 1.02, 0.98)},
        "shapes": {"jes": True, "bend": False},
    }
    return make_measurement(["signal", "QCD", "top"], **(settings | changes))


def write(folder, measurement: Measurement, templates: Templates | None = None, **changes) -> Written:
    measurement = replace(measurement, bounds=dict.fromkeys(measurement.free, changes.pop("bounds", (0.0, 10.0))))
    measurement, templates = prepared(measurement, templates or toy())
    settings = {"poi_bounds": (-20.0, 20.0), "observed": False, "folder": folder} | changes
    return build(templates, measurement, **settings)


def model_of(workspace: Written):
    return pyhf.Workspace(workspace.spec).model(modifier_settings=SETTINGS)


def parameters(model, channel, theta, gamma=1.0) -> np.ndarray:
    values = np.ones(model.config.npars)
    for name, value in zip(channel.parameters, theta.tolist(), strict=True):
        values[model.config.par_slice(name)] = value
    if "staterror_SR" in model.config.parameters:
        values[model.config.par_slice("staterror_SR")] = gamma
    return values


VARIANTS = {
    "everything": {},
    "no staterror": {"staterror": False},
    "unconstrained shape": {"shapes": {"jes": True, "bend": True}, "unconstrained": ["bend"]},
    "unconstrained signal shape": {"unconstrained": ["jes"]},
    "no normalisation of jes": {"shapes": {"jes": False, "bend": True}},
    "nothing": {"free": {}, "normalisation": {}, "shapes": {}},
}


@pytest.fixture(params=VARIANTS)
def variant(request) -> Measurement:
    """Each kind of measurement."""
    return measure(**VARIANTS[request.param])


# ------------------------------------------------------------------------------------------------ workspace
def test_the_workspace_is_the_likelihood_that_was_trained(variant, tmp_path):
    """pyhf's expected data and log-likelihood of the built workspace equal ours, at random parameters."""
    templates = toy()
    channel, model = channel_of(variant, templates), model_of(write(tmp_path, variant, templates))
    rng = np.random.default_rng(1)
    for _ in range(3):
        spread = np.where((channel.prior.width > 0).numpy(), 0.7, 0.2)
        theta = channel.init + torch.from_numpy(rng.normal(0, spread))
        gamma = rng.normal(1, 0.05, BINS) if variant.staterror else None
        point = parameters(model, channel, theta, 1.0 if gamma is None else gamma)
        ours = None if gamma is None else torch.from_numpy(gamma)
        expected = expected_yields(channel, theta, ours)
        np.testing.assert_allclose(model.expected_actualdata(point), expected, rtol=1e-10)
        data = templates.observed.values()
        reference = -model.logpdf(point, [*data, *model.config.auxdata])[0]
        assert float(nll(channel, theta, torch.from_numpy(data), ours)) == pytest.approx(float(reference), rel=1e-10)


def test_the_workspace_has_the_parameters_of_the_measurement(variant, tmp_path):
    model = model_of(write(tmp_path, variant))
    assert set(model.config.parameters) - {"staterror_SR"} == set(variant.parameters)
    assert ("staterror_SR" in model.config.parameters) == variant.staterror
    assert model.config.poi_name == "mu"


def test_the_files_of_a_workspace_are_valid_and_say_the_same(tmp_path):
    workspace = write(tmp_path, measure())
    assert workspace.path.parent == tmp_path
    assert json.loads(workspace.path.read_text()) == workspace.spec
    assert read_workspace(workspace.path) == workspace.spec
    assert yaml.safe_load(workspace.config.read_text())["General"]["POI"] == "mu"


def test_building_twice_gives_the_same_file(tmp_path):
    (tmp_path / "two").mkdir()
    one, two = write(tmp_path, measure()), write(tmp_path / "two", measure())
    assert one.path.read_bytes() == two.path.read_bytes()


@pytest.mark.parametrize("observed", [True, False])
def test_the_observation_is_what_the_run_fits(tmp_path, observed):
    templates = toy()
    workspace = write(tmp_path, measure(), templates, observed=observed)
    expected = templates.observed.values() if observed else templates.nominal.sum(axis=0)
    np.testing.assert_allclose(workspace.spec["observations"][0]["data"], expected, rtol=1e-12)


def test_an_unconstrained_shape_is_half_the_difference_on_a_sample_of_its_own(tmp_path):
    templates = toy()
    workspace = write(tmp_path, measure(unconstrained=["bend"], shapes={"jes": True, "bend": True}), templates)
    samples = {item["name"]: item for item in workspace.spec["channels"][0]["samples"]}
    up, down = templates.varied["bend", "QCD"]
    morph = samples[morph_name("QCD", "bend")]
    np.testing.assert_allclose(morph["data"], (up - down) / 2, rtol=1e-12)
    assert {item["name"]: item["type"] for item in morph["modifiers"]} == {
        "bend": "normfactor",
        "QCD_norm": "normfactor",
    }


def test_an_unconstrained_shape_without_normalisation_keeps_the_yield(tmp_path):
    workspace = write(tmp_path, measure(unconstrained=["jes"], shapes={"jes": False}))
    samples = {item["name"]: item for item in workspace.spec["channels"][0]["samples"]}
    assert sum(samples[morph_name("signal", "jes")]["data"]) == pytest.approx(0, abs=1e-9)


def test_bounds_are_those_of_the_configuration(tmp_path):
    workspace = write(tmp_path, measure(), poi_bounds=(-5.0, 10.0), bounds=(0.5, 1.5))
    model = model_of(workspace)
    bounds = {name: model.config.suggested_bounds()[model.config.par_slice(name).start] for name in ("mu", "QCD_norm")}
    assert {name: tuple(pair) for name, pair in bounds.items()} == {"mu": (-5.0, 10.0), "QCD_norm": (0.5, 1.5)}


@pytest.mark.parametrize("free", [[], ["bend"]])
def test_one_bin_cannot_carry_a_shape(tmp_path, free):
    one = toy().grouped([tuple(range(BINS))])
    with pytest.raises(TemplateError, match=r"one bin is left.*jes, bend.*binning\.min_effective_events"):
        write(tmp_path, measure(unconstrained=free), one)


def test_one_bin_without_shapes_can_be_fitted(tmp_path):
    one = toy().grouped([tuple(range(BINS))])
    measurement = measure(shapes={}, free={})
    workspace = write(tmp_path, measurement, one)
    result = fit_workspace(workspace.spec, QUICK, where="here")
    expected = float(poi_variance(channel_of(measurement, one))) ** 0.5
    assert result.parameters["mu"].hesse == pytest.approx(expected, rel=5e-3)


def test_an_empty_bin_is_refused_before_anything_is_written(tmp_path):
    templates = make_templates({"signal": [1.0, 0.0], "QCD": [9.0, 0.0], "top": [1.0, 0.0]})
    with pytest.raises(TemplateError, match="bin 1 expects 0 events"):
        write(tmp_path, measure(shapes={}), templates)
    assert list(tmp_path.iterdir()) == []


def test_observed_data_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(TemplateError, match="no observed events"):
        write(tmp_path, measure(), toy(observed=False), observed=True)


# -------------------------------------------------------------------------------------- the fit: Asimov data
def test_hesse_of_mu_is_the_square_root_of_poi_variance(variant, tmp_path):
    result = fit_workspace(write(tmp_path, variant).spec, QUICK, where="here")
    expected = float(poi_variance(channel_of(variant, toy()))) ** 0.5
    assert result.parameters["mu"].hesse == pytest.approx(expected, rel=5e-3)


def test_every_error_and_correlation_is_that_of_the_closed_form(tmp_path):
    result = fit_workspace(write(tmp_path, measure()).spec, QUICK, where="here")
    channel = channel_of(measure(), toy())
    matrix = covariance(channel).numpy()
    deviation = np.sqrt(np.diag(matrix))
    rows = [list(result.parameters).index(name) for name in channel.parameters]
    np.testing.assert_allclose([result.parameters[name].hesse for name in channel.parameters], deviation, rtol=0.01)
    found = np.array([list(row.values()) for row in result.correlation.values()])[np.ix_(rows, rows)]
    np.testing.assert_allclose(found, matrix / np.outer(deviation, deviation), atol=0.02)


def test_the_asimov_fit_finds_the_nominal_parameters(variant, tmp_path):
    result = fit_workspace(write(tmp_path, variant).spec, QUICK, where="here")
    assert result.data == "asimov"
    assert result.poi == "mu"
    for name, estimate in result.parameters.items():
        nominal = 1.0 if name in ("mu", *variant.free) or name.startswith("staterror") else 0.0
        assert estimate.bestfit == pytest.approx(nominal, abs=0.01 * estimate.hesse), name


def profiled(model, data, mu: float) -> float:
    """Twice the NLL with everything but mu fitted, by scipy through pyhf."""
    return float(pyhf.infer.mle.fixed_poi_fit(mu, data, model, return_fitted_val=True)[1])


@pytest.mark.parametrize("observed", [False, True])
def test_minos_brackets_the_best_fit_where_the_profile_rises_by_one(tmp_path, observed):
    workspace = write(tmp_path, measure(), observed=observed)
    settings = QUICK.model_copy(update={"data": "observed" if observed else "asimov"})
    result = fit_workspace(workspace.spec, settings, where="here")
    mu = result.parameters["mu"]
    down, up = mu.minos
    assert down < 0 < up
    assert -down == pytest.approx(mu.hesse, rel=0.3)
    assert up == pytest.approx(mu.hesse, rel=0.3)
    model = model_of(workspace)
    data = [*workspace.spec["observations"][0]["data"], *model.config.auxdata]
    best = result.twice_nll
    for end in (mu.bestfit + down, mu.bestfit + up):
        assert profiled(model, data, end) - best == pytest.approx(1, abs=0.02)


def test_only_the_parameters_that_were_asked_for_have_minos(tmp_path):
    settings = QUICK.model_copy(update={"minos": ("mu", "jes")})
    result = fit_workspace(write(tmp_path, measure()).spec, settings, where="here")
    assert {name for name, item in result.parameters.items() if item.minos is not None} == {"mu", "jes"}


def test_without_systematics_the_statistical_error_is_the_whole_error(tmp_path):
    settings = QUICK.model_copy(update={"stat_only": True})
    measurement = measure(free={}, normalisation={}, shapes={}, staterror=False)
    result = fit_workspace(write(tmp_path, measurement).spec, settings, where="here")
    assert result["stat_only"]["mu"].hesse == pytest.approx(result.parameters["mu"].hesse, rel=1e-3)


def test_the_statistical_error_is_that_of_the_poi_alone(tmp_path):
    settings = QUICK.model_copy(update={"stat_only": True})
    result = fit_workspace(write(tmp_path, measure()).spec, settings, where="here")
    alone = make_measurement(["signal", "QCD", "top"], staterror=False)
    expected = float(poi_variance(channel_of(alone, toy()))) ** 0.5
    assert result["stat_only"]["mu"].hesse == pytest.approx(expected, rel=5e-3)
    assert result["stat_only"]["mu"].hesse < result.parameters["mu"].hesse
    assert result["stat_only"]["mu"].minos[0] < 0 < result["stat_only"]["mu"].minos[1]


def test_the_scan_has_its_minimum_at_the_best_fit(tmp_path):
    settings = QUICK.model_copy(update={"scan_points": 5})
    result = fit_workspace(write(tmp_path, measure()).spec, settings, where="here")
    hesse = result.parameters["mu"].hesse
    assert result["scans"]["mu"].parameter == "mu"
    np.testing.assert_allclose(result["scans"]["mu"].values, 1 + hesse * np.linspace(-2.5, 2.5, 5), rtol=1e-4)
    assert result["scans"]["mu"].delta_twice_nll[2] == pytest.approx(0, abs=1e-4)
    # A parabola up to the asymmetry of the Poisson likelihood.
    np.testing.assert_allclose(
        np.array(result["scans"]["mu"].delta_twice_nll)[[0, 1, 3, 4]], [6.25, 1.5625, 1.5625, 6.25], rtol=0.3
    )


def counting() -> Templates:
    """One bin with s = 30 on b = 100; Z = sqrt(2 ((s + b) ln(1 + s / b) - s)) = 2.8661."""
    return make_templates({"signal": [30.0], "QCD": [60.0], "top": [40.0]})


def test_the_significance_is_that_of_a_counting_experiment(tmp_path):
    settings = QUICK.model_copy(update={"significance": True})
    # A parameter that hardly does anything: see the next test for none at all.
    measurement = measure(free={}, normalisation={"n": (["top"], 1.0001, 0.9999)}, shapes={}, staterror=False)
    found = fit_workspace(write(tmp_path, measurement, counting()).spec, settings, where="here")["significance"]
    by_hand = (2 * (130 * np.log(1.3) - 30)) ** 0.5
    assert by_hand == pytest.approx(2.8661, abs=1e-4)
    assert found.expected == pytest.approx(by_hand, rel=1e-4)
    assert found.observed == pytest.approx(by_hand, rel=1e-4)
    # The tail of a Gaussian above 2.8661.
    assert found.expected_p_value == pytest.approx(0.002078, abs=2e-6)


def test_the_fit_without_signal_starts_again_where_the_curvature_is_nearly_zero():
    # Migrad's first step in lambda leads from here to negative rates, from which it does not come back.
    path = Path(__file__).parents[1] / "data" / "curvature_near_zero.json"
    workspace = json.loads(path.read_text())
    settings = QUICK.model_copy(update={"significance": True})
    found = fit_workspace(workspace, settings, where="here")["significance"]
    model = pyhf.Workspace(workspace).model(
        modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    )
    data = model.expected_data(model.config.suggested_init())
    names = model.config.par_names
    free = [i for i, name in enumerate(names) if name != "mu"]

    def rise(values):
        parameters = np.asarray(model.config.suggested_init(), dtype=float)
        parameters[free], parameters[names.index("mu")] = values, 0.0
        return -2 * float(model.logpdf(parameters, data)[0] - best)

    best = model.logpdf(model.config.suggested_init(), data)[0]
    start = [-1.0 if names[i] == "lambda" else 0.0 if names[i] == "r" else 1.0 for i in free]
    q0 = scipy.optimize.minimize(rise, start, method="SLSQP").fun
    assert found.expected == pytest.approx(np.sqrt(q0), rel=1e-3)


@pytest.mark.parametrize("update", [{"significance": True}, {"scan_points": 3}])
def test_mu_may_be_the_only_parameter(tmp_path, update):
    measurement = measure(free={}, normalisation={}, shapes={}, staterror=False)
    spec = write(tmp_path, measurement, counting()).spec
    result = fit_workspace(spec, QUICK.model_copy(update=update), where="here")
    assert result["scans"] or result["significance"].expected == pytest.approx(2.8661, abs=1e-3)


def test_nothing_is_computed_that_was_not_asked_for(tmp_path):
    settings = QUICK.model_copy(update={"minos": ()})
    result = fit_workspace(write(tmp_path, measure()).spec, settings, where="here")
    assert result.quantities.keys() == {"breakdown", "global_impacts", "yields"}
    assert (result["significance"], result["stat_only"]) == (None, None)
    assert (result["scans"], result["scans_2d"], result["ranking"]) == ({}, (), ())
    assert all(item.minos is None for item in result.parameters.values())


# ------------------------------------------------------------------------------------ the fit: observed data
def test_the_fit_of_observed_data_says_so_and_moves(tmp_path):
    settings = QUICK.model_copy(update={"data": "observed"})
    workspace = write(tmp_path, measure(), observed=True)
    result = fit_workspace(workspace.spec, settings, where="here")
    assert result.data == "observed"
    mu = result.parameters["mu"]
    assert 0 < abs(mu.bestfit - 1) < 4 * mu.hesse
    model = model_of(workspace)
    data = [*workspace.spec["observations"][0]["data"], *model.config.auxdata]
    assert result.twice_nll == pytest.approx(profiled(model, data, mu.bestfit), abs=1e-3)


def test_asimov_data_of_a_workspace_with_observed_data_is_not_the_observation(tmp_path):
    result = fit_workspace(write(tmp_path, measure(), observed=True).spec, QUICK, where="here")
    assert result.data == "asimov"
    assert result.parameters["mu"].bestfit == pytest.approx(1, abs=1e-3)


def test_asimov_data_in_place_of_the_observation_is_called_what_it_is(tmp_path):
    settings = QUICK.model_copy(update={"data": "observed"})
    assert fit_workspace(write(tmp_path, measure()).spec, settings, where="here").data == "asimov"


def test_a_fit_does_not_change_the_workspace(tmp_path):
    workspace = write(tmp_path, measure())
    fit_workspace(workspace.spec, QUICK, where="here")
    assert workspace.spec == json.loads(workspace.path.read_text())


# ------------------------------------------------------------------------------------------- fits that fail
@pytest.fixture
def pyhf_state():
    """Give pyhf settings of its own, and put back what was there."""
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(maxiter=77))
    yield pyhf.get_backend()
    pyhf.set_backend(*before)


def unchanged(state) -> bool:
    backend, optimizer = pyhf.get_backend()
    kept = pyhf.optimize.minuit_optimizer.__name__ == "minuit_optimizer"
    return backend is state[0] and optimizer is state[1] and optimizer.maxiter == 77 and kept


def test_a_fit_that_does_not_converge_says_how_far_it_is(tmp_path, pyhf_state):
    spec = write(tmp_path, measure(), observed=True).spec
    settings = QUICK.model_copy(update={"max_calls": 1, "data": "observed"})
    with pytest.raises(FitFailedError, match=r"workspace X did not converge: EDM .*goal.*call limit.*fit\.max_calls"):
        fit_workspace(spec, settings, where="workspace X")
    assert unchanged(pyhf_state)


def test_a_quantity_that_cannot_be_had_is_a_note_and_the_fit_stays(tmp_path, pyhf_state, monkeypatch):
    def fail(*_args, **_kwargs):
        raise FitFailedError("no")

    for name in (
        "fitted.Fitted.scan",
        "quantities.significance.SignificanceQuantity.compute",
        "quantities.limit.LimitQuantity.compute",
    ):
        monkeypatch.setattr(f"inferno_cli.fit.{name}", fail)
    settings = QUICK.model_copy(update={"scan_points": 5, "significance": True, "limit": True})
    result = fit_workspace(write(tmp_path, measure()).spec, settings, where="workspace X")
    assert (result["scans"], result["significance"], result["limit"]) == ({}, None, None)
    assert result.notes == ("no significance: no", "no upper limit: no", "no scan of mu: no")
    assert result.parameters["mu"].minos is not None
    assert unchanged(pyhf_state)


def test_a_deeper_minimum_is_a_failed_fit(tmp_path, monkeypatch):
    def deeper(*_args, **_kwargs):
        raise DeeperMinimumError("deeper")

    monkeypatch.setattr("inferno_cli.fit.fitted.Fitted.scan", deeper)
    with pytest.raises(FitFailedError, match="deeper"):
        fit_workspace(write(tmp_path, measure()).spec, QUICK.model_copy(update={"scan_points": 5}), where="here")


def test_a_fit_leaves_pyhf_as_it_was(tmp_path, pyhf_state):
    fit_workspace(write(tmp_path, measure()).spec, QUICK, where="here")
    assert unchanged(pyhf_state)


def test_a_failed_fit_logs_no_traceback(tmp_path, caplog):
    settings = QUICK.model_copy(update={"max_calls": 1})
    with caplog.at_level(logging.INFO), pytest.raises(FitFailedError):
        fit_workspace(write(tmp_path, measure()).spec, settings, where="here")
    assert [record.message for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("failing", [True, False])
def test_a_fit_leaves_the_loggers_as_they_were(tmp_path, failing):
    loggers = [logging.getLogger(name) for name in ("pyhf", "cabinetry")]
    before = [logger.level for logger in loggers]
    settings = QUICK.model_copy(update={"max_calls": 1 if failing else 100000})
    spec = write(tmp_path, measure()).spec
    if failing:
        with pytest.raises(FitFailedError):
            fit_workspace(spec, settings, where="here")
    else:
        fit_workspace(spec, settings, where="here")
    assert [logger.level for logger in loggers] == before


@pytest.mark.parametrize(
    ("bounds", "poi_bounds", "name"), [((0.95, 1.05), (-20, 20), "QCD_norm"), ((0, 10), (0.9, 1.1), "mu")]
)
def test_a_parameter_at_its_limit_is_a_failed_fit_that_names_it(tmp_path, bounds, poi_bounds, name):
    templates = toy()
    data = 1.6 * templates.nominal[0] + 1.3 * templates.nominal[1] + templates.nominal[2]
    pulled = replace(templates, observed=templates.observed)
    pulled.observed[...] = np.stack([data, data], axis=-1)
    settings = QUICK.model_copy(update={"data": "observed"})
    spec = write(tmp_path, measure(), pulled, observed=True, bounds=bounds, poi_bounds=poi_bounds).spec
    with pytest.raises(FitFailedError, match=rf"{name} is at its limit .*fit\.bounds=\{{{name}: "):
        fit_workspace(spec, settings, where="here")


def test_an_unknown_minos_parameter_is_named(tmp_path):
    settings = QUICK.model_copy(update={"minos": ("jess",)})
    with pytest.raises(WorkspaceError, match=r"fit\.minos: workspace X has no parameter 'jess'; closest: 'jes'"):
        fit_workspace(write(tmp_path, measure()).spec, settings, where="workspace X")


def test_an_unknown_measurement_is_named(tmp_path):
    spec = write(tmp_path, measure()).spec
    with pytest.raises(WorkspaceError, match=r"no measurement 'infreno'; closest: 'inferno'"):
        fit_workspace(spec, QUICK, measurement="infreno", where="workspace X")


def _short_sample(spec):
    spec["channels"][0]["samples"][0]["data"].pop()


def _short_variation(spec):
    shapes = [x for sample in spec["channels"][0]["samples"] for x in sample["modifiers"] if x["type"] == "histosys"]
    shapes[0]["data"]["hi_data"].pop()


def _other_poi(spec):
    spec["measurements"][0]["config"]["poi"] = "nobody"


def _no_observation(spec):
    spec["observations"][0]["name"] = "other"


def _negative_observation(spec):
    spec["observations"][0]["data"][1] = -3.0


def _nothing_in_a_bin(spec):
    spec["channels"][0]["samples"][0]["data"][1] = float("nan")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_short_sample, "measurement 'inferno' of workspace X is no model"),
        (_short_variation, "measurement 'inferno' of workspace X is no model"),
        (_other_poi, "measurement 'inferno' of workspace X is no model .*nobody"),
        (_no_observation, "workspace X has no observation of channel"),
        (
            _negative_observation,
            r"workspace X: the observed events of 1 of \d+ bins are -3.0, first bin 1 of channel 'SR'; expected finite",
        ),
        (
            _nothing_in_a_bin,
            r"workspace X: the expected events of 1 of \d+ bins are nan, first bin 1 of channel 'SR'; expected finite",
        ),
    ],
)
def test_a_workspace_that_is_no_model_is_one_message(tmp_path, spoil, says):
    spec = copy.deepcopy(write(tmp_path, measure()).spec)
    spoil(spec)
    with pytest.raises(WorkspaceError, match=says):
        fit_workspace(spec, QUICK.model_copy(update={"data": "observed"}), where="workspace X")


def test_a_workspace_without_a_parameter_of_interest_is_an_error(tmp_path):
    spec = write(tmp_path, measure()).spec
    spec["measurements"][0]["config"]["poi"] = ""
    with pytest.raises(WorkspaceError, match="no parameter of interest"):
        fit_workspace(spec, QUICK, where="workspace X")


# ------------------------------------------------------------------------------------------------ reading
def test_a_missing_workspace_is_named(tmp_path):
    with pytest.raises(WorkspaceError, match=r"nowhere\.json cannot be read: No such file"):
        read_workspace(tmp_path / "nowhere.json")


def test_a_workspace_that_is_not_json_is_named(tmp_path):
    (tmp_path / "w.json").write_text("channels:\n")
    with pytest.raises(WorkspaceError, match=r"w\.json is not JSON"):
        read_workspace(tmp_path / "w.json")


@pytest.mark.parametrize("content", ["{}", '{"channels": [], "version": "1.0.0"}', "3"])
def test_a_workspace_that_breaks_the_schema_is_named(tmp_path, content):
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(WorkspaceError, match=r"w\.json is not valid"):
        read_workspace(tmp_path / "w.json")


# ------------------------------------------------------------------------------------------ a foreign workspace
def test_a_workspace_of_someone_else_is_fitted_with_its_own_names():
    spec = {
        "channels": [
            {
                "name": "A",
                "samples": [
                    {"name": "s", "data": [30.0], "modifiers": [{"name": "xs", "type": "normfactor", "data": None}]},
                    {"name": "b", "data": [100.0], "modifiers": []},
                ],
            }
        ],
        "observations": [{"name": "A", "data": [145.0]}],
        "measurements": [{"name": "other", "config": {"poi": "xs", "parameters": []}}],
        "version": "1.0.0",
    }
    result = fit_workspace(spec, QUICK.model_copy(update={"data": "observed"}), where="here")
    assert result.poi == "xs"
    assert result.parameters["mu"].bestfit == pytest.approx(1.5, abs=1e-3)
    # sqrt(145) / 30
    assert result.parameters["mu"].hesse == pytest.approx(145**0.5 / 30, rel=1e-2)


# ----------------------------------------------------------------------------------------------- no torch
def test_a_fit_does_not_import_torch(tmp_path):
    workspace = write(tmp_path, measure(shapes={}))
    code = f"""
import json, pathlib, sys
from inferno_cli.fit import analysis
from inferno_cli.likelihood.readers.pyhf import read_workspace
at_import = [name for name in ("cabinetry", "pyhf", "iminuit", "torch") if name in sys.modules]
from inferno_cli.config.fit import Fit
spec = read_workspace(pathlib.Path({str(workspace.path)!r}))
settings = Fit.model_validate_json({QUICK.model_dump_json()!r})
result = analysis.fit_workspace(spec, settings, where="here")
after = [name for name in ("torch", "lightning", "mlflow") if name in sys.modules]
print(json.dumps([at_import, round(result.parameters["mu"].bestfit, 3), after]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], 1.0, []]
