"""Several parameters of interest in one fit: errors, contours and correlations beside those of mu."""

from __future__ import annotations

from typing import Any

import pyhf
import pytest
from conftest import compose

from inferno_cli.config.fit import Fit
from inferno_cli.drawing.style import Canvas
from inferno_cli.errors import WorkspaceError
from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.blinding import blinded
from inferno_cli.fit.quantities.scans_2d import Scans2DQuantity
from inferno_cli.fit.result import FitResult
from inferno_cli.report.run.summary import headline, show
from inferno_cli.runs.record import Results

QUICK = compose("fit.scan_points=null", "fit.scan_2d_points=3", "fit.stat_only=false", "fit.progress=none").fit


def settings(**changes: Any) -> Fit:
    return QUICK.model_copy(update={"breakdown": False, "global_impacts": False, **changes})


def workspace(poi: str = "mu") -> dict[str, Any]:
    """Two signals with a NormFactor each, in three bins that tell them apart, and a background with a shape."""

    def sample(name: str, data: list[float], *modifiers: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "data": data, "modifiers": list(modifiers)}

    def factor(name: str) -> dict[str, Any]:
        return {"name": name, "type": "normfactor", "data": None}

    shape = {"hi_data": [52.0, 40.0, 19.0], "lo_data": [48.0, 40.0, 21.0]}
    background = sample("bkg", [50.0, 40.0, 20.0], {"name": "jes", "type": "histosys", "data": shape})
    samples = [sample("ggH", [5.0, 12, 9], factor("mu")), sample("VBF", [1.0, 4, 11], factor("mu_VBF")), background]
    bounds = [{"name": name, "inits": [1.0], "bounds": [[-5.0, 10.0]]} for name in ("mu", "mu_VBF")]
    return {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [55.0, 58.0, 44.0]}],
        "measurements": [{"name": "fit", "config": {"poi": poi, "parameters": bounds}}],
        "version": "1.0.0",
    }


def two(**changes: Any) -> FitResult:
    return fit_workspace(workspace(), settings(pois=("mu_VBF",), **changes), where="here")


def test_the_other_pois_have_what_mu_has():
    result, other = two(), fit_workspace(workspace("mu_VBF"), settings(), where="here")
    assert (result.poi, result.pois) == ("mu", ("mu_VBF",))
    assert result.parameters["mu_VBF"].minos == pytest.approx(other.mu.minos, rel=1e-5)
    assert result.parameters["mu_VBF"].hesse == pytest.approx(other.mu.hesse, rel=1e-9)
    assert {entry.signal for entry in result["yields"]} == {("ggH", "VBF")}
    correlation = result.correlation["mu"]["mu_VBF"]
    assert result.metrics()["correlation/mu/mu_VBF"] == correlation < 0
    assert result.metrics()["mu_VBF/minos_width"] == pytest.approx(2 * result.parameters["mu_VBF"].hesse, rel=0.1)


def test_the_errors_are_those_of_plain_pyhf():
    backend = pyhf.get_backend()
    try:
        pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4, errordef=1))
        codes = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
        model = pyhf.Workspace(workspace()).model(modifier_settings=codes)
        data = model.expected_data(model.config.suggested_init())
        # MINUIT's HESSE is too small where a bound is near: pyhf has 5 standard deviations.
        bounds = [(-50.0, 50.0)] * model.config.npars
        found = pyhf.infer.mle.fit(data, model, par_bounds=bounds, return_uncertainties=True)
    finally:
        pyhf.set_backend(*backend)
    result = two()
    for name, (value, error) in zip(model.config.par_names, found.tolist(), strict=True):
        assert result.parameters[name].bestfit == pytest.approx(value, abs=1e-3)
        assert result.parameters[name].hesse == pytest.approx(error, rel=5e-3)


def test_contours_of_two_pois_are_drawn_unless_a_list_says_otherwise():
    result = two()
    (scan,) = result["scans_2d"]
    assert (scan.x, scan.y) == ("mu", "mu_VBF")
    assert scan.delta_twice_nll[1][1] == pytest.approx(0, abs=1e-6)
    canvas = Canvas("", "")
    assert [name for name, _ in Scans2DQuantity.figures("scans_2d", (scan,), result, canvas)] == ["scan_2d_mu_mu_VBF"]
    assert [(item.x, item.y) for item in two(scan_2d=(("mu", "jes"),))["scans_2d"]] == [("mu", "jes")]
    assert two(scan_2d=())["scans_2d"] == ()


def test_a_workspace_by_itself_has_the_poi_that_it_says():
    result = fit_workspace(workspace(), settings(), where="here")
    assert (result.pois, result["scans_2d"], result.parameters["mu_VBF"].minos) == ((), (), None)
    assert {entry.signal for entry in result["yields"]} == {("ggH",)}
    # mu is the POI of the workspace: named again, it is not another one.
    assert fit_workspace(workspace(), settings(pois=("mu",)), where="here").pois == ()
    with pytest.raises(WorkspaceError, match=r"fit\.pois: here has no parameter 'mu_VFB'; closest: 'mu_VBF'"):
        fit_workspace(workspace(), settings(pois=("mu_VFB",)), where="here")


def test_no_minos_is_asked_for_without_that_of_mu():
    result = two(minos=())
    assert result.mu.minos is result.parameters["mu_VBF"].minos is None


def test_every_poi_of_a_blinded_fit_is_hidden():
    hidden, fit = blinded(two(data="observed"), "key"), two(data="observed")
    assert hidden.hidden[:2] == ("mu", "mu_VBF")
    assert hidden.pois == ("mu_VBF",)
    for name in ("mu", "mu_VBF"):
        assert abs(hidden.parameters[name].bestfit - fit.parameters[name].bestfit) > 1e-6
        assert hidden.parameters[name].hesse == fit.parameters[name].hesse


def test_the_table_has_every_poi_first_and_their_correlation(capsys):
    names = {"dataset": "htt", "label": "", "dataset_checksum": "0", "code_version": "0", "workspace": "w"}
    results = Results.of(two(), timing={}, **names)
    show(results)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["mu", "mu_VBF", "jes"]
    assert lines[3].split()[3:] == [f"{side:+.3f}" for side in results.parameters["mu_VBF"].minos]
    (row,) = (line for line in lines if line.startswith("correlation"))
    assert row.split() == ["correlation", f"{results.correlation['mu']['mu_VBF']:+.2f}", "of", "mu", "and", "mu_VBF"]
    assert "mu_VBF = 1.000**" in headline(results).replace("\\", "")
    assert Results.model_validate_json(results.model_dump_json(by_alias=True)) == results
