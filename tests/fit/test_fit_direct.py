"""What the fit reports of a written workspace is what a script gets that calls cabinetry and pyhf on it.

Their minima and limits are those of MINUIT, within its tolerance; errors are compared with differences of pyhf's
likelihood, as MINUIT's HESSE is only good to a percent.
"""

from __future__ import annotations

from dataclasses import replace

import cabinetry
import numpy as np
import pytest
from cabinetry.fit import FitResults
from conftest import compose, covariance_by_differences, make_templates
from test_workspace_fit import measure, write

from inferno_cli.errors import FitFailedError
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.problem import nominal, open_problem
from inferno_cli.fit.quantities.yields import yields
from inferno_cli.fit.result import FitResult
from inferno_cli.histograms.templates import Templates

pytestmark = pytest.mark.slow

FULL = compose(
    "fit=full", "fit.scan=[mu]", "fit.scan_points=5", "dataset=top11004", "nuisance=jes_qcd_norm", "fit.progress=none"
).fit
EXACT = {"rel": 1e-6, "abs": 1e-9}
CLOSE = {"rel": 2e-4, "abs": 1e-6}
"""What MINUIT at 1e-3 of its usual tolerance is good to."""


def weak() -> Templates:
    """A signal of which the limit is of order 1, as cabinetry's search for it assumes."""
    nominal = {"signal": [2.0, 6.0, 12.0, 20.0], "QCD": [400.0, 300.0, 150.0, 60.0], "top": [20.0, 22.0, 18.0, 15.0]}
    tilt = np.array([0.9, 0.96, 1.03, 1.1])
    varied = {("jes", name): (nominal[name] * tilt, nominal[name] / tilt) for name in ("signal", "top")}
    return make_templates(nominal, varied=varied, relative_error=0.03, observed=[431.0, 322.0, 188.0, 104.0])


@pytest.fixture(scope="module", params=["asimov", "observed"])
def fitted(request, tmp_path_factory) -> tuple[dict, FitResult]:
    """A workspace with every kind of modifier that we write, and its fit."""
    folder = tmp_path_factory.mktemp(request.param)
    measurement = measure(normalisation={"xsec": (["top"], 1.2, 0.85)}, shapes={"jes": True})
    spec = write(folder, measurement, weak(), observed=request.param == "observed", poi_bounds=(-5.0, 10.0)).spec
    settings = FULL.model_copy(update={"data": request.param})
    return spec, fit_workspace(spec, settings, where="here")


@pytest.fixture(scope="module")
def direct(fitted):
    """cabinetry's model and data of that workspace, which holds what was fitted, and its fit."""
    model, data = cabinetry.model_utils.model_and_data(fitted[0])
    found = cabinetry.fit.fit(
        model, data, minos=model.config.par_names, goodness_of_fit=True, tolerance=1e-4, strategy=2
    )
    return model, data, found


def matrix(result: FitResult) -> list[list[float]]:
    return [list(row.values()) for row in result.correlation.values()]


def test_estimates(fitted, direct):
    result, (model, data, found) = fitted[1], direct
    assert list(result.parameters) == found.labels
    values = np.array([result.parameters[name].bestfit for name in found.labels])
    covariance = covariance_by_differences(model, data, values, 0.05 * found.uncertainty)
    errors = np.sqrt(np.diag(covariance))
    for i, name in enumerate(found.labels):
        estimate = result.parameters[name]
        assert estimate.bestfit == pytest.approx(found.bestfit[i], abs=1e-3 * errors[i])
        assert estimate.hesse == pytest.approx(errors[i], rel=1e-4)
        assert estimate.minos == pytest.approx(found.minos_uncertainty[name], abs=2e-3 * errors[i])
    np.testing.assert_allclose(matrix(result), covariance / np.outer(errors, errors), atol=1e-4)
    assert result.twice_nll <= found.best_twice_nll + 1e-9
    assert result.twice_nll == pytest.approx(found.best_twice_nll, abs=1e-5)


def test_pulls_and_constraints(fitted, direct):
    model, _, found = direct
    centres, widths = cabinetry.model_utils.asimov_parameters(model), cabinetry.model_utils.prefit_uncertainties(model)
    for i, name in enumerate(found.labels):
        estimate = fitted[1].parameters[name]
        if name in ("mu", "QCD_norm"):
            assert (estimate.pull, estimate.constraint) == (None, None)
        else:
            assert estimate.pull == pytest.approx((found.bestfit[i] - centres[i]) / widths[i], abs=1e-3)
            assert estimate.constraint == pytest.approx(estimate.hesse / widths[i])


def test_yields(fitted, direct):
    model, data, found = direct
    before, after = fitted[1]["yields"]
    for entry, point, when in ((before, None, "pre-fit"), (after, found, "post-fit")):
        if point is not None:
            ours = [fitted[1].parameters[name] for name in found.labels]
            point = found._replace(
                bestfit=np.array([item.bestfit for item in ours]),
                uncertainty=np.array([item.hesse for item in ours]),
                corr_mat=np.array(matrix(fitted[1])),
            )
        expected = cabinetry.model_utils.prediction(model, fit_results=point)
        assert (entry.channel, entry.when) == ("SR", when)
        samples = model.config.samples  # in the order of the alphabet
        assert list(entry.samples) == ["signal", "QCD", "top"]
        events = [entry.samples[name] for name in samples]
        np.testing.assert_allclose(events, expected.model_yields[0], rtol=1e-6)
        errors = [*(entry.errors[name] for name in samples), entry.total_error]
        np.testing.assert_allclose(errors, expected.total_stdev_model_bins[0], rtol=1e-6)
        sums = [*(entry.sums[name] for name in samples), entry.total]
        np.testing.assert_allclose([error for _, error in sums], expected.total_stdev_model_channels[0], rtol=1e-6)
        np.testing.assert_allclose([value for value, _ in sums[:-1]], np.sum(expected.model_yields[0], axis=1))
        assert entry.total[0] == pytest.approx(np.sum(expected.model_yields[0]))
        np.testing.assert_allclose(entry.data, data[: len(entry.data)])
    assert after.total[1] != pytest.approx(before.total[1], rel=1e-3)


@pytest.fixture(scope="module")
def compensating():
    """Three systematics that move one sample by 10%, 20% and 30%, and a best fit where they compensate each other."""
    modifiers = [{"name": f"n{i}", "type": "normsys", "data": {"hi": 1 + i / 10, "lo": 1 - i / 10}} for i in (1, 2, 3)]
    values = np.linspace(1, 100, 60).tolist()
    samples = [
        {"name": "signal", "data": values, "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "top", "data": values, "modifiers": modifiers},
    ]
    spec = {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [2 * value for value in values]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    problem = open_problem(spec, asimov=True, measurement=None, where="here")
    signs = np.array([{"mu": 0, "n1": 1, "n2": 1, "n3": -1}[name] for name in problem.labels])
    correlation = np.outer(signs, signs) + np.diag(signs == 0)
    errors = np.abs(signs).astype(float)
    return problem, Minimum(problem.labels, nominal(problem), 0.0, errors, correlation * np.outer(errors, errors))


def test_an_error_of_which_rounding_leaves_a_negative_square_is_zero(compensating):
    problem, best = compensating
    found = FitResults(
        best.values, best.errors, list(best.labels), best.correlation + np.diag(best.errors == 0), best.rise
    )
    with np.errstate(invalid="ignore"):
        raw = np.array(cabinetry.model_utils.prediction(problem.model, fit_results=found).total_stdev_model_bins[0])
    after = yields(problem, best)[1]
    assert 0 < np.isnan(raw[1]).sum() < 60
    assert max(after.errors["top"]) < 1e-6
    assert (np.array(after.errors["top"])[np.isnan(raw[1])] < 1e-12).all()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda matrix: np.where(matrix == 0, np.nan, matrix), "nan"),
        (lambda matrix: 2 * np.diag(np.diag(matrix)) - np.abs(matrix), "nan"),  # no matrix of correlations
        (lambda matrix: 1e300 * matrix, "nan"),
        (lambda matrix: np.where(np.diag(np.diag(matrix) == 0), 1e306, 0.0), "inf"),
    ],
    ids=["no correlations", "a negative eigenvalue", "changes that are not finite", "an infinite square"],
)
def test_any_other_error_that_is_not_finite_is_a_failure(compensating, change, found):
    problem, best = compensating
    with np.errstate(all="ignore"), pytest.raises(FitFailedError, match="post-fit, channel 'SR' of here") as caught:
        yields(problem, replace(best, covariance=change(best.covariance)))
    assert found in str(caught.value)
    assert "fit.yields=false" in str(caught.value)


def test_ranking(fitted, direct):
    model, data, _ = direct
    found = cabinetry.fit.ranking(model, data, fit_results=direct[2], tolerance=1e-4)
    ours = {impact.parameter: impact for impact in fitted[1]["ranking"]}
    assert set(ours) == set(found.labels)
    for i, name in enumerate(found.labels):
        assert ours[name].prefit == pytest.approx((found.prefit_up[i], found.prefit_down[i]), abs=1e-3)
        assert ours[name].postfit == pytest.approx((found.postfit_up[i], found.postfit_down[i]), rel=5e-3, abs=1e-3)
    sizes = [max(map(abs, impact.postfit)) for impact in fitted[1]["ranking"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.01


def test_significance(fitted, direct):
    found, ours = cabinetry.fit.significance(*direct[:2], tolerance=1e-4), fitted[1]["significance"]
    assert ours.expected == pytest.approx(found.expected_significance, **CLOSE)
    assert ours.observed == pytest.approx(found.observed_significance, **CLOSE)
    assert ours.observed_p_value == pytest.approx(found.observed_p_value, rel=1e-3)


def test_the_significance_before_any_data_is_that_of_nominal_parameters(fitted, direct):
    ours = fitted[1]["significance"]
    if fitted[1].data == "asimov":
        assert (ours.a_priori, ours.a_priori_p_value) == (None, None)
        return
    nominal_data = cabinetry.model_utils.asimov_data(direct[0])
    found = cabinetry.fit.significance(direct[0], nominal_data, tolerance=1e-4)
    assert ours.a_priori == pytest.approx(found.observed_significance, **CLOSE)
    assert ours.a_priori_p_value == pytest.approx(found.observed_p_value, rel=1e-3)
    assert ours.a_priori != pytest.approx(ours.expected, rel=5e-3)


def test_limit(fitted, direct):
    ours = fitted[1]["limit"]
    found = cabinetry.fit.limit(*direct[:2], bracket=(0.1, 10), poi_tolerance=1e-4, tolerance=1e-4)
    assert ours.confidence_level == 0.95
    assert ours.observed == pytest.approx(found.observed_limit, abs=ours.tolerance)
    np.testing.assert_allclose(ours.expected, found.expected_limit, atol=ours.tolerance)


def test_the_limit_before_any_data_is_that_of_nominal_parameters_without_signal(fitted, direct):
    model, ours = direct[0], fitted[1]["limit"]
    if fitted[1].data == "observed":
        assert ours.a_priori is None
        return
    background = cabinetry.model_utils.asimov_data(model, poi_value=0.0)
    found = cabinetry.fit.limit(model, background, bracket=(0.1, 10), poi_tolerance=1e-4, tolerance=1e-4)
    np.testing.assert_allclose(ours.a_priori, found.expected_limit, atol=ours.tolerance)
    # The curves that are drawn are those of the same data.
    for number, limit in enumerate(ours.a_priori):
        cls = [row[number] for row in ours.expected_cls]
        assert np.interp(limit, ours.poi_values, cls) == pytest.approx(0.05, abs=0.01)


def test_goodness_of_fit(fitted, direct):
    found = direct[2]
    ours = fitted[1]["goodness_of_fit"]
    if fitted[1].data == "asimov":
        assert ours is None
        return
    assert ours.p_value == pytest.approx(found.goodness_of_fit, rel=1e-4)
    assert 0 < ours.p_value < 1
    # Four bins; mu and QCD_norm are free.
    assert ours.degrees_of_freedom == 2


def test_scan(fitted, direct):
    scan = fitted[1]["scans"]["mu"]
    ends = (scan.values[0], scan.values[-1])
    found = cabinetry.fit.scan(*direct[:2], "mu", par_range=ends, n_steps=5, tolerance=1e-4)
    np.testing.assert_allclose(scan.values, found.parameter_values, rtol=1e-6)
    np.testing.assert_allclose(scan.delta_twice_nll, found.delta_nlls, rtol=1e-4, atol=1e-4)
