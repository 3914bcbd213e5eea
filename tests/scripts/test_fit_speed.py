"""The comparison of fits: its workspaces are what their names say, and no time is shown of a fit that is wrong."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pyhf
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import fit_speed

from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.problem import open_problem


@pytest.fixture(scope="module")
def fitted():
    spec = fit_speed.one_channel(3)
    problem = open_problem(spec, asimov=False, measurement=None, where="small")
    return problem, spec, fit_workspace(spec, fit_speed.settings()[0], where="small")


@pytest.mark.parametrize(
    ("name", "parameters", "bins"),
    [("W17", 39, 20), ("W60", 82, 20), ("W150 fluctuated", 172, 20), ("channels", 201, 200)],
)
def test_the_workspaces_are_as_large_as_the_table_says(name, parameters, bins):
    model = pyhf.Workspace(fit_speed.GENERATED[name]()).model()
    assert (model.config.npars, model.config.nmaindata) == (parameters, bins)


def test_a_right_fit_passes_every_gate(fitted):
    found = fit_speed.gates("small", *fitted)
    assert set(found) >= {"mu", "parameters", "twice_nll", "sigma(mu)", "mu of the data", "closed form"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hesse": 1.00005}, r"sigma\(mu\) is off by 5e-05"),
        ({"bestfit": 1.001}, "mu is off by"),
    ],
)
def test_no_time_of_a_fit_that_is_wrong(fitted, change, said):
    problem, spec, result = fitted
    mu = result.parameters["mu"]
    ((key, factor),) = change.items()
    wrong = replace(mu, **{key: getattr(mu, key) * factor})
    result = result.model_copy(update={"parameters": dict(result.parameters) | {"mu": wrong}})
    with pytest.raises(SystemExit, match=f"no time is shown.*{said}"):
        fit_speed.gates("small", problem, spec, result)


def test_the_table_has_quotients():
    times = {"opening": 0.01, "fit": 0.002, "fit_workspace": 0.012, "with MINOS": 0.015, "cabinetry": 0.2}
    row = fit_speed.Row("W17", 39, 20, "Asimov", {}, times, {})
    header, _, line = fit_speed.markdown([row]).splitlines()
    assert header == "| workspace | parameters | bins | opening | fit | fit_workspace | with MINOS | cabinetry |"
    assert line == "| W17 | 39 | 20 | 0.01 s | 0.002 s | 0.012 s | 0.015 s | 0.2 s (100x) |"
