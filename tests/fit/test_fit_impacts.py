"""Where the error of mu comes from, scans in two parameters, and the names of parameters."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from conftest import channel_of, compose
from test_workspace_fit import measure, toy, write

from inferno_cli.config.fit import Fit
from inferno_cli.errors import ConfigError, FitFailedError, WorkspaceError
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.minuit import Fitter
from inferno_cli.fit.problem import open_problem
from inferno_cli.likelihood.information import covariance, poi_variance
from inferno_cli.progress import progress

QUICK = compose(
    "fit.scan_points=null", "fit.significance=false", "fit.stat_only=false", "fit.yields=false", "fit.progress=none"
).fit.model_copy(update={"breakdown": False})


def settings(**changes) -> Fit:
    return QUICK.model_copy(update=changes)


# ------------------------------------------------------------------------------------------------------- groups
def errors(measurement) -> float:
    return float(poi_variance(channel_of(measurement, toy()))) ** 0.5


def test_the_breakdown_is_that_of_the_closed_form(tmp_path):
    """Fixing a parameter at its best fit is leaving it out of the model."""
    spec = write(tmp_path, measure()).spec
    result = fit_workspace(spec, settings(breakdown=True, stat_only=True), where="here")
    split = result["breakdown"]
    assert [group.name for group in split.groups] == ["systematics", "MC statistics", "normalisation factors"]
    assert split.groups[0].parameters == tuple(
        name for name in result.parameters if name in ("jes", "bend", "xsec", "lumi")
    )
    total = errors(measure())
    without_systematics = {"normalisation": {}, "shapes": {}}
    alone = [
        errors(measure(**without_systematics)),
        errors(measure(staterror=False)),
        errors(measure(free={})),
    ]
    ordered = [
        total,
        alone[0],
        errors(measure(**without_systematics, staterror=False)),
        errors(measure(**without_systematics, staterror=False, free={})),
    ]
    assert split.total == result.parameters["mu"].hesse == pytest.approx(total, rel=2e-3)
    for group, reduced, before, after in zip(split.groups, alone, ordered[:-1], ordered[1:], strict=True):
        assert group.impact == pytest.approx((total**2 - reduced**2) ** 0.5, rel=0.02, abs=2e-3 * total)
        assert group.cumulative == pytest.approx((before**2 - after**2) ** 0.5, rel=0.02, abs=2e-3 * total)
    assert split.statistical == pytest.approx(ordered[-1], rel=2e-3)
    assert split.statistical == pytest.approx(result["stat_only"]["mu"].hesse, rel=2e-3)
    assert split.statistical_minos == pytest.approx(result["stat_only"]["mu"].minos, rel=1e-3)


def test_cumulative_impacts_add_up_and_those_alone_do_not(tmp_path):
    split = fit_workspace(write(tmp_path, measure()).spec, settings(breakdown=True), where="here")["breakdown"]
    parts = [split.statistical, *(group.cumulative for group in split.groups)]
    assert np.sqrt(np.sum(np.square(parts))) == pytest.approx(split.total, rel=1e-3)
    assert abs(split.cumulative_closure) < 1e-3
    parts = [split.statistical, *(group.impact for group in split.groups)]
    assert np.sqrt(np.sum(np.square(parts))) / split.total - 1 == pytest.approx(split.closure)
    assert abs(split.closure) > 5e-3


def test_minos_adds_up_on_either_side(tmp_path):
    result = fit_workspace(write(tmp_path, measure()).spec, settings(breakdown=True), where="here")
    split = result["breakdown"]
    for side in (0, 1):
        parts = [split.statistical_minos[side], *(group.cumulative_minos[side] for group in split.groups)]
        total = abs(result.parameters["mu"].minos[side])
        assert np.sqrt(np.sum(np.square(parts))) == pytest.approx(total, rel=1e-3)
    assert all(down <= 0 <= up for down, up in (group.cumulative_minos for group in split.groups))


def test_refits_from_a_best_fit_have_the_errors_of_the_closed_form(tmp_path):
    spec = write(tmp_path, measure()).spec
    problem = open_problem(spec, asimov=True, measurement=None, where="here")
    fitter = Fitter(problem, settings())
    refit = fitter.fit(frozen=["QCD_norm"], best=fitter.fit())
    channel = channel_of(measure(free={}), toy())
    expected = dict(zip(channel.parameters, np.sqrt(np.diag(covariance(channel).numpy())), strict=True))
    for name, error in expected.items():
        assert refit.hesse[refit.labels.index(name)] == pytest.approx(error, rel=1e-4), name


def test_groups_are_the_users_and_the_rest_is_by_kind(tmp_path):
    groups = {"jets": ("jes", "b*"), "first bin": ("staterror_SR[0]",), "MC statistics": ("staterror_SR[1]",)}
    spec = write(tmp_path, measure()).spec
    split = fit_workspace(spec, settings(breakdown=True, groups=groups), where="here")["breakdown"]
    found = {group.name: set(group.parameters) for group in split.groups}
    assert list(found) == ["jets", "first bin", "MC statistics", "systematics", "normalisation factors"]
    assert found["jets"] == {"jes", "bend"}
    assert found["first bin"] == {"staterror_SR[0]"}
    assert found["MC statistics"] == {f"staterror_SR[{i}]" for i in range(1, 6)}
    assert found["systematics"] == {"xsec", "lumi"}
    assert found["normalisation factors"] == {"QCD_norm"}


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"a": ("jes",), "b": ("je*",)}, ConfigError, r"fit\.groups: jes is in 'a' and in 'b'"),
        ({"a": ("mu",)}, ConfigError, r"fit\.groups\.a: mu is the parameter of interest"),
        ({"a": ("jess",)}, WorkspaceError, r"fit\.groups\.a: here has no parameter 'jess'; closest: 'jes'"),
    ],
)
def test_groups_that_make_no_sense(tmp_path, groups, error, message):
    with pytest.raises(error, match=message):
        fit_workspace(write(tmp_path, measure()).spec, settings(groups=groups), where="here")


# ------------------------------------------------------------------------------------------------------ ranking
def test_a_shift_out_of_bounds_has_no_impact(tmp_path):
    spec = write(tmp_path, measure()).spec
    for sample in spec["channels"][0]["samples"]:
        for modifier in sample["modifiers"]:
            if modifier["type"] == "staterror":
                modifier["data"][0] = 1.5 * sample["data"][0]
    (impact,) = fit_workspace(spec, settings(ranking=("staterror_SR[0]",)), where="here")["ranking"]
    assert impact.prefit[0] is not None
    assert impact.prefit[1] is None


def test_a_fit_that_fails_in_the_ranking_is_named(tmp_path):
    with pytest.raises(FitFailedError, match=r"the fit with jes = .* did not converge: EDM .*call limit"):
        fitter_of(tmp_path, max_calls=1).minimum("the fit with jes = 1", {0: 1.0})


def test_a_ranking_without_refits_is_the_straight_line(tmp_path):
    """By hand: what a profile moves mu by for a small move of the parameter, per move, times its error."""
    fitter = fitter_of(tmp_path)
    spec = write(tmp_path, measure()).spec
    result = fit_workspace(spec, settings(ranking=("jes", "xsec")), where="here")
    best = fitter.fit()
    for impact in result["ranking"]:
        index = best.labels.index(impact.parameter)
        up, down = (fitter.minimum("", {index: best.values[index] + step}, best).values for step in (1e-3, -1e-3))
        slope = (up - down)[fitter.problem.poi] / 2e-3
        assert impact.covariance == pytest.approx(slope * best.hesse[index], rel=1e-4)


# ---------------------------------------------------------------------------------------------- global impacts
def test_global_impacts_add_up_to_the_error(tmp_path):
    spec = write(tmp_path, measure()).spec
    groups = {"jets": ("jes",)}
    split = fit_workspace(spec, settings(global_impacts=True, groups=groups), where="here")["global_impacts"]
    parts = [split.statistical, *(item.impact for item in split.impacts)]
    assert np.linalg.norm(parts) == pytest.approx(split.total, rel=1e-9)
    assert abs(split.closure) < 1e-9
    assert set(split.groups) == {"jets", "systematics", "MC statistics"}
    assert np.linalg.norm([split.statistical, *split.groups.values()]) == pytest.approx(split.total, rel=1e-9)


@pytest.mark.parametrize("kind", ["staterror", "shapesys"])
def test_a_global_impact_is_that_of_a_moved_measurement(tmp_path, kind):
    """Each auxiliary measurement moved by a hundredth of its error, and the fit repeated, with pyhf's order of data."""
    spec = write(tmp_path, measure()).spec
    if kind == "shapesys":
        background = spec["channels"][0]["samples"][1]
        size = [0.1 * value for value in background["data"]]
        background["modifiers"].append({"name": "uncorrelated", "type": "shapesys", "data": size})
    result = fit_workspace(spec, settings(global_impacts=True, global_refits=("all",)), where="here")
    problem = open_problem(spec, asimov=True, measurement=None, where="here")
    fitter, config = Fitter(problem, settings()), problem.model.config
    best = fitter.fit()
    entry = config.nmaindata
    impacts = {item.parameter: item for item in result["global_impacts"].impacts}
    for name in config.auxdata_order:
        parameter = config.param_set(name)
        for label in problem.labels[config.par_slice(name)]:
            sigma = problem.data[entry] ** 0.5
            if parameter.pdf_type == "normal":
                sigma = parameter.width()[problem.labels.index(label) - config.par_slice(name).start]
            moved = []
            for sign in (1, -1):
                data = list(problem.data)
                data[entry] += sign * 0.01 * sigma
                moved.append(fitter.on(data).minimum("", best=best).values[problem.poi])
            assert impacts[label].impact == pytest.approx((moved[0] - moved[1]) / 0.02, rel=1e-3, abs=1e-6)
            up, down = impacts[label].refitted
            assert (up - down) / 2 == pytest.approx(impacts[label].impact, rel=0.1, abs=1e-3)
            entry += 1


def fitter_of(tmp_path, **changes) -> Fitter:
    spec = write(tmp_path, measure()).spec
    return Fitter(open_problem(spec, asimov=True, measurement=None, where="here"), settings(**changes))


# -------------------------------------------------------------------------------------------------------- scans
def test_a_scan_in_two_parameters_is_an_ellipse(tmp_path):
    spec = write(tmp_path, measure(normalisation={}, shapes={})).spec
    result = fit_workspace(spec, settings(scan_2d=(("mu", "QCD_norm"),), scan_2d_points=5), where="here")
    (scan,) = result["scans_2d"]
    assert (scan.x, scan.y) == ("mu", "QCD_norm")
    x, y = (
        (np.array(values) - result.parameters[name].bestfit) / result.parameters[name].hesse
        for name, values in ((scan.x, scan.x_values), (scan.y, scan.y_values))
    )
    np.testing.assert_allclose(x, np.linspace(-3, 3, 5), atol=1e-6)
    rho = result.correlation["mu"]["QCD_norm"]
    assert abs(rho) > 0.1
    form = (x[None, :] ** 2 - 2 * rho * x[None, :] * y[:, None] + y[:, None] ** 2) / (1 - rho**2)
    np.testing.assert_allclose(scan.delta_twice_nll, form, rtol=0.25, atol=1e-3)
    # Rows are values of y. An ellipse in units of the errors is the same with x and y exchanged; Poisson is not.
    problem = open_problem(spec, asimov=True, measurement=None, where="here")
    held = {
        list(result.parameters).index("mu"): scan.x_values[4],
        list(result.parameters).index("QCD_norm"): scan.y_values[2],
    }
    fitter = Fitter(problem, settings())
    right = fitter.minimum("one point", held).rise - fitter.fit().rise
    assert scan.delta_twice_nll[2][4] == pytest.approx(right, abs=1e-3)
    assert scan.delta_twice_nll[4][2] != pytest.approx(right, abs=1e-2)


def test_scans_of_any_parameter(tmp_path):
    changes = {"scan": ("mu", "jes", "staterror_SR[1]"), "scan_points": 3}
    result = fit_workspace(write(tmp_path, measure()).spec, settings(**changes), where="here")
    assert list(result["scans"]) == ["mu", "jes", "staterror_SR[1]"]
    for name, scan in result["scans"].items():
        half = 2.5 * result.parameters[name].hesse
        np.testing.assert_allclose(
            scan.values, result.parameters[name].bestfit + half * np.array([-1, 0, 1]), atol=1e-12
        )
        assert min(scan.delta_twice_nll[0], scan.delta_twice_nll[2]) > 3


# ------------------------------------------------------------------------------------------- names of parameters
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mu"], ["mu"]),
        (["jes", "mu", "jes"], ["jes", "mu"]),
        (["staterror_SR[2]"], ["staterror_SR[2]"]),
        (["staterror_SR"], [f"staterror_SR[{i}]" for i in range(6)]),
        (["staterror*[1]"], ["staterror_SR[1]"]),
        (["*e*s", "lumi"], ["jes", "lumi"]),
    ],
)
def test_parameters_by_name(tmp_path, names, expected):
    assert list(fitter_of(tmp_path).problem.parameters(names, "fit.minos")) == expected


def test_all_parameters(tmp_path):
    problem = fitter_of(tmp_path).problem
    assert problem.parameters(["all"], "fit.minos") == problem.labels


def test_names_are_looked_up_before_the_first_fit(tmp_path):
    spec = write(tmp_path, measure()).spec
    for changes in ({"scan": ("nope",), "scan_points": 3}, {"scan_2d": (("mu", "nope"),)}, {"ranking": ("nope",)}):
        with pytest.raises(WorkspaceError, match="has no parameter 'nope'"):
            fit_workspace(spec, settings(max_calls=1, **changes), where="here")
    with pytest.raises(WorkspaceError, match=r"fit\.scan_2d: \[mu, staterror_SR\] is 7 parameters of here, not two"):
        fit_workspace(spec, settings(max_calls=1, scan_2d=(("mu", "staterror_SR"),)), where="here")


# ----------------------------------------------------------------------------------------------------- the limit
def test_a_limit_outside_of_its_bracket_is_a_note(tmp_path):
    spec = write(tmp_path, measure(shapes={}, staterror=False), poi_bounds=(-5.0, 10.0)).spec
    result = fit_workspace(spec, settings(limit=True, limit_bracket=(5.0, 6.0)), where="here")
    assert result["limit"] is None
    (note,) = result.notes
    assert note.startswith("no upper limit: an upper limit on mu of here")
    assert note.endswith("is not found between 5 and 6. Set fit.limit_bracket around all of them")


# ------------------------------------------------------------------------------------------------------- progress
def test_progress_in_a_log_is_a_line_now_and_then(caplog, monkeypatch):
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr("inferno_cli.progress.time.monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO), progress("lines", "fit: ranking", 8) as tick:
        for _ in range(6):
            tick()
    assert [record.message for record in caplog.records] == ["fit: ranking, 3 of 8", "fit: ranking, 6 of 8"]


def test_progress_can_be_silent_and_can_be_a_bar(caplog, capsys):
    with caplog.at_level(logging.INFO):
        for mode in ("none", "bar"):
            with progress(mode, "ranking", None) as tick:
                tick()
    assert caplog.records == []
    assert "ranking" in capsys.readouterr().err
