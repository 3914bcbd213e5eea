"""``fit.engine=pyhf``, pyhf's likelihood with numerical derivatives, has the numbers of the exact one in fit=full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import compose

from inferno_cli.fit.analysis import fit_workspace
from inferno_cli.fit.result import FitResult

pytestmark = pytest.mark.slow

FULL = compose("fit=full", "fit.data=observed", "fit.progress=none", "fit.scan_points=5").fit.model_copy(
    update={"scan_2d": (("mu", "jes"),), "scan_2d_points": 3, "limit_tolerance": 1e-4}
)
ERROR, TWICE_NLL = 1e-4, 1e-6
"""Largest differences: of anything in units of the error of its parameter, or relative; of -2 ln L."""


def workspace() -> dict[str, Any]:
    """A signal and a control region with every kind of modifier; 8 parameters."""

    def sample(name: str, data: list[float], *modifiers: tuple[str, str, Any]) -> dict[str, Any]:
        entries = [{"type": kind, "name": label, "data": size} for kind, label, size in modifiers]
        return {"name": name, "data": data, "modifiers": entries}

    jes = {"hi_data": [52.0, 32.0], "lo_data": [47.5, 27.0]}
    signal = [
        sample("signal", [6.0, 14.0], ("normfactor", "mu", None), ("lumi", "lumi", None)),
        sample(
            "top",
            [50.0, 30.0],
            ("histosys", "jes", jes),
            ("normsys", "xsec", {"hi": 1.15, "lo": 0.9}),
            ("staterror", "mc", [3.0, 2.0]),
        ),
        sample("fakes", [10.0, 8.0], ("shapefactor", "fakes", None)),
    ]
    control = [
        sample("fakes", [100.0, 90.0], ("shapefactor", "fakes", None)),
        sample("top", [20.0, 0.0], ("normsys", "xsec", {"hi": 1.1, "lo": 0.92}), ("shapesys", "other", [4.0, 0.0])),
    ]
    lumi = {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "inits": [1.0], "bounds": [[0.8, 1.2]]}
    parameters = [lumi, {"name": "mu", "bounds": [[0.0, 10.0]]}]
    return {
        "version": "1.0.0",
        "channels": [{"name": "signal", "samples": signal}, {"name": "control", "samples": control}],
        "observations": [{"name": "signal", "data": [73, 57]}, {"name": "control", "data": [123, 86]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
    }


@pytest.fixture(scope="module")
def both() -> tuple[FitResult, FitResult]:
    exact, pyhf = (
        fit_workspace(workspace(), FULL.model_copy(update={"engine": engine}), where="both")
        for engine in ("exact", "pyhf")
    )
    return exact, pyhf


def numbers(record: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a record with its place."""
    if isinstance(record, dict):
        for key, value in record.items():
            yield from numbers(value, f"{path}.{key}")
    elif isinstance(record, list):
        for index, value in enumerate(record):
            yield from numbers(value, f"{path}[{index}]")
    else:
        yield path, record


def test_the_estimates_are_equal(both):
    exact, pyhf = both
    assert exact.twice_nll == pytest.approx(pyhf.twice_nll, abs=TWICE_NLL)
    assert exact.parameters.keys() == pyhf.parameters.keys()
    for name, estimate in exact.parameters.items():
        room = ERROR * estimate.hesse
        other = pyhf.parameters[name]
        assert estimate.bestfit == pytest.approx(other.bestfit, abs=room), name
        assert estimate.hesse == pytest.approx(other.hesse, abs=room), name
        assert estimate.minos == pytest.approx(other.minos, abs=room), name


def test_every_quantity_is_equal(both):
    """In what is not a number, too; relative to the number, or to the error of mu where it is small."""
    exact, pyhf = (dict(numbers(result.model_dump(mode="json"))) for result in both)
    # Where limits are looked for depends on the last digits; the limits themselves are compared.
    searched = [path for path in exact if "poi_values" in path or "_cls" in path]
    assert len(exact) - len(searched) > 300
    for path in searched:
        del exact[path]
    small = ERROR * both[0].parameters["mu"].hesse
    for path, value in exact.items():
        if isinstance(value, float):
            assert value == pytest.approx(pyhf[path], rel=ERROR, abs=small), path
        else:
            assert value == pyhf[path], path


def test_there_is_every_quantity(both):
    exact, pyhf = (result.model_dump(mode="json") for result in both)
    kinds = {
        "significance",
        "limit",
        "scans",
        "scans_2d",
        "ranking",
        "breakdown",
        "stat_only",
        "goodness_of_fit",
        "yields",
    }
    assert kinds <= {key for key, value in exact.items() if value}
    assert exact.keys() == pyhf.keys()
