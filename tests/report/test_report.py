"""The table of a run on the terminal, and its plots."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hist
import numpy as np
import pytest
from rich.console import Console

from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.fit.estimates import parameters, recorded_names
from inferno_cli.fit.minimum import Minimum
from inferno_cli.fit.problem import Problem
from inferno_cli.fit.pyhf_rates import PyhfRates
from inferno_cli.fit.quantities.breakdown import Breakdown, GroupImpact
from inferno_cli.fit.quantities.goodness_of_fit import GoodnessOfFit
from inferno_cli.fit.quantities.limit import Limit
from inferno_cli.fit.quantities.ranking import Impact
from inferno_cli.fit.quantities.scans import Scan
from inferno_cli.fit.quantities.scans_2d import Scan2D
from inferno_cli.fit.quantities.significance import Significance
from inferno_cli.fit.quantities.yields import yields
from inferno_cli.fit.result import Estimate, FitResult, Outcome, Parameter
from inferno_cli.histograms.templates import Templates
from inferno_cli.report.run.figures import draw
from inferno_cli.report.run.summary import show, summary, write_tables
from inferno_cli.runs.record import BinRecord, PoiVarianceRecord, Results, TrainingRecord

LABEL = "simulated stand-in, not CMS data"
SIGNAL = np.array([2.0, 5.0, 12.0, 20.0, 30.0])
QCD = np.array([300.0, 180.0, 90.0, 40.0, 15.0])
TOP = np.array([20.0, 18.0, 15.0, 9.0, 5.0])
JES_UP, JES_DOWN = np.array([0.9, 0.95, 1.0, 1.04, 1.1]), np.array([1.08, 1.06, 1.0, 0.97, 0.92])
BEND = np.array([8.0, -9.0, -7.0, 4.0, 3.0])
OBSERVED = [318.0, 195.0, 109.0, 78.0, 56.0]


def workspace(channels: tuple[str, ...] = ("SR",)) -> dict[str, Any]:
    """Signal and two backgrounds with every kind of modifier, and a free shape of QCD."""

    def channel(name: str) -> dict[str, Any]:
        def sample(label: str, values: np.ndarray, *modifiers: dict[str, Any]) -> dict[str, Any]:
            error = {"name": f"staterror_{name}", "type": "staterror", "data": list(0.04 * np.abs(values))}
            return {"name": label, "data": list(values), "modifiers": [*modifiers, error]}

        jes = {
            "name": "jes",
            "type": "histosys",
            "data": {"hi_data": list(SIGNAL * JES_UP), "lo_data": list(SIGNAL * JES_DOWN)},
        }
        free = {"name": "shape", "type": "normfactor", "data": None}
        return {
            "name": name,
            "samples": [
                sample("ttbar", SIGNAL, {"name": "mu", "type": "normfactor", "data": None}, jes),
                sample("QCD", QCD, {"name": "QCD_norm", "type": "normfactor", "data": None}),
                {"name": "QCD@shape", "data": list(BEND), "modifiers": [free]},
                sample("top", TOP, {"name": "xsec", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}),
            ],
        }

    parameters = [
        {"name": "mu", "inits": [1.0], "bounds": [[-5.0, 10.0]]},
        {"name": "QCD_norm", "inits": [1.0], "bounds": [[0.5, 1.5]]},
        {"name": "shape", "inits": [0.0], "bounds": [[-5.0, 5.0]]},
    ]
    return {
        "channels": [channel(name) for name in channels],
        "observations": [{"name": name, "data": OBSERVED} for name in channels],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


def fitted(spec: dict[str, Any], data: str) -> FitResult:
    import cabinetry

    model, values = cabinetry.model_utils.model_and_data(spec, asimov=data == "asimov")
    found = cabinetry.fit.fit(model, values, minos="mu")
    where = Problem(
        model, tuple(values), data == "asimov", "here", tuple(model.config.suggested_bounds()), PyhfRates(model)
    )
    covariance = found.corr_mat * np.outer(found.uncertainty, found.uncertainty)
    labels, minos = tuple(found.labels), dict(found.minos_uncertainty)
    minimum = Minimum(labels, found.bestfit, 0.0, found.uncertainty, covariance, minos=minos)
    estimates = parameters(where, minimum)
    mu = estimates["mu"]
    points = np.linspace(mu.bestfit - 2 * mu.hesse, mu.bestfit + 2 * mu.hesse, 9)
    fit = FitResult(
        data=data,
        poi="mu",
        parameters=estimates,
        correlation={a: dict(zip(labels, row, strict=True)) for a, row in zip(labels, found.corr_mat, strict=True)},
        twice_nll=found.best_twice_nll,
    )
    return having(
        fit,
        stat_only={"mu": Estimate(mu.bestfit, 0.1432, (-0.14, 0.15))},
        significance=Significance(6.123, 5.871, 4.6e-10, 2.2e-9),
        scans={"mu": Scan("mu", tuple(points), tuple(((points - mu.bestfit) / mu.hesse) ** 2))},
        yields=yields(where, minimum),
    )


def having(fit: FitResult, **values: Any) -> FitResult:
    """Return a fit with other values of quantities; None takes one away."""
    found = {name: Outcome(name, value) for name, value in values.items() if value is not None}
    kept = {name: outcome for name, outcome in fit.quantities.items() if name not in values}
    return fit.model_copy(update={"quantities": {**kept, **found}})


def record(fit: FitResult, **changes: Any) -> Results:
    known = {"dataset": "workspace", "label": "", "dataset_checksum": "", "code_version": "", "workspace": ""}
    return Results.of(fit, **known, timing={"fit": 0.1}).model_copy(update=changes)


def full_record(fit: FitResult) -> Results:
    """What a training gives."""
    return record(
        fit,
        model="inferno",
        model_title="INFERNO",
        dataset="top11004",
        label=LABEL,
        poi_variance=PoiVarianceRecord(validation_soft=0.0225, validation_hard=None, templates=0.04),
        stability={"mu": (0.1991, 0.2042), "jes": (0.71, 0.79)},
        sigma_s=16.17,
        cramer_rao_bound_s=15.53,
        bins=tuple(
            BinRecord(merged_from=group, signal=1, background=1, effective_events=1, relative_staterror=0.04)
            for group in ((0,), (1, 2), (3, 4, 5), (6,), (7,))
        ),
        training=TrainingRecord(
            best_epoch=2,
            loss=(0.9, 0.5, 0.3, 0.25, 0.24),
            sigma_mu_soft=(0.9, 0.4, 0.25, 0.22, 0.21),
            sigma_mu_hard=(None, 0.45, 0.24, 0.26, 0.25),
            nuisance=("jes",),
            history=(),
        ),
    )


def templates() -> Templates:
    def histogram(values: np.ndarray) -> hist.Hist:
        result = hist.Hist(hist.axis.Integer(0, 5, flow=False), storage=hist.storage.Weight())
        result[...] = np.stack([values, (0.04 * values) ** 2], axis=-1)
        return result

    histograms = {
        ("ttbar", NOMINAL): histogram(SIGNAL),
        ("ttbar", Variation("jes", "up")): histogram(SIGNAL * JES_UP),
        ("ttbar", Variation("jes", "down")): histogram(SIGNAL * JES_DOWN),
        ("QCD", NOMINAL): histogram(QCD),
        ("QCD", Variation("shape", "up")): histogram(QCD + BEND),
        ("QCD", Variation("shape", "down")): histogram(QCD - BEND),
        ("top", NOMINAL): histogram(TOP),
    }
    return Templates(("ttbar", "QCD", "top"), ("ttbar",), histograms, {}, None, tuple((i,) for i in range(5)))


@pytest.fixture(scope="module", params=["asimov", "observed"])
def fit(request: pytest.FixtureRequest) -> FitResult:
    return fitted(workspace(), request.param)


def test_table(fit: FitResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    results = full_record(fit)
    show(results)
    text = capsys.readouterr().out
    lines = text.splitlines()
    data = "Asimov data" if fit.data == "asimov" else "observed data"
    assert lines[0] == f"INFERNO on top11004, {data}"
    assert LABEL in lines[1]
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in text
    mu = fit.parameters["mu"]
    assert mu.minos is not None
    row = next(line.split() for line in lines if line.startswith("mu "))
    assert [float(cell.lstrip("±")) for cell in row[1:]] == pytest.approx([mu.bestfit, mu.hesse, *mu.minos], abs=1e-3)
    assert row[2].startswith("±")
    assert row[3].startswith("-")
    assert row[4].startswith("+")
    assert "staterror (5 bins)" in text
    assert "staterror_SR[" not in text
    for expected in (
        "±0.1432",
        "6.12 sigma",
        "16.17",
        "15.53",
        "0.2000",
        "0.1500",
        "singular",
        "merged from 8",
        "0.199 | 0.204",
    ):
        assert expected in text
    assert ("5.87 sigma" in text) == (fit.data == "observed")
    (line,) = (line for line in lines if line.startswith("not in the training"))
    assert line.split("training")[1].strip() == "QCD_norm, shape, xsec (in the fit alone)"


def test_bins_of_several_channels_are_counted_in_each(fit: FitResult, capsys: pytest.CaptureFixture[str]) -> None:
    results = full_record(fit)
    assert results.bins is not None
    bins = [item.model_copy(update={"channel": "SR" if i < 2 else "top"}) for i, item in enumerate(results.bins)]
    show(results.model_copy(update={"bins": tuple(bins)}))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("bins"))
    assert line.split(maxsplit=1)[1].strip() == "5, merged from 8: SR 2, top 3"


def test_nothing_is_said_of_the_training_when_it_knew_all_parameters(fit: FitResult) -> None:
    results = full_record(fit)
    assert results.training is not None
    known = results.training.model_copy(update={"nuisance": ("jes", "shape", "xsec", "QCD_norm")})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary(results.model_copy(update={"training": known})))
    assert "not in the training" not in console.export_text()


def test_a_significance_beyond_double_precision_can_be_stored_and_read(fit: FitResult, tmp_path: Path) -> None:
    results = record(having(fit, significance=Significance(math.inf, math.inf, 0.0, 0.0)))
    results.save(tmp_path / "results.json")
    read = Results.load(tmp_path / "results.json")
    assert (read["significance"].expected, read["significance"].expected_p_value) == (None, 0.0)
    assert "significance/expected" not in read.metrics()
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(read))
    assert "above 37 sigma" in console.export_text()


def test_table_of_a_fit_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def parameter(kind: str, **values: Any) -> Parameter:
        return Parameter(**values, kind=kind, is_constrained=kind != "poi")

    many = {f"np[a]{i}": parameter("nuisance", bestfit=0.0, hesse=1.0) for i in range(40)}
    mu = parameter("poi", bestfit=-1e-9, hesse=0.5)
    result = FitResult(data="asimov", poi="mu_sig", parameters={"mu": mu, **many}, correlation={})
    show(record(result))
    text = capsys.readouterr().out
    assert "mu (mu_sig)" in text
    assert "-0.0" not in text
    assert "np[a]0" in text
    assert "32 more in results.json" in text
    assert "***" not in text


def extras(fit: FitResult) -> FitResult:
    """Add what ``fit=full`` computes, in made-up numbers."""
    axis = (0.5, 1.0, 1.5)
    return having(
        fit,
        goodness_of_fit=GoodnessOfFit(0.4321, 3) if fit.data == "observed" else None,
        scans={**fit["scans"], "jes": replace(fit["scans"]["mu"], parameter="jes")},
        scans_2d=(Scan2D("mu", "jes", axis, (-1.0, 0.0, 1.0), ((9.0, 4.0, 9.0), (4.0, 0.0, 4.0), (9.0, 4.0, 9.0))),),
        ranking=(Impact("jes", (-0.2, None), (-0.123, 0.151)), Impact("xsec", (0.0, 0.0), (0.01, -0.02))),
        breakdown=Breakdown(
            total=0.5,
            statistical=0.4,
            statistical_minos=(-0.39, 0.41),
            groups=(GroupImpact("jets", ("jes",), 0.31, 0.3, (-0.29, 0.31)),),
            closure=0.0121,
            cumulative_closure=0.0,
        ),
        limit=Limit(
            confidence_level=0.9,
            observed=1.31,
            expected=(0.2, 0.3, 0.42, 0.6, 0.8),
            a_priori=(0.25, 0.35, 0.47, 0.65, 0.85) if fit.data == "asimov" else None,
            bracket=(0.1, 10.0),
            tolerance=0.01,
            poi_values=(0.1, 0.5, 1.5),
            observed_cls=(0.9, 0.5, float("nan")),
            expected_cls=((0.5, 0.6, 0.7, 0.8, 0.9), (0.02, 0.03, 0.04, 0.1, 0.2), (0.0, 0.0, 0.0, 0.0, 0.01)),
        ),
    ).model_copy(update={"notes": ("something has no meaning",)})


def test_table_of_a_full_fit(fit: FitResult, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show(record(extras(fit)))
    text = capsys.readouterr().out
    observed = fit.data == "observed"
    limit = "observed 1.31, expected 0.42, 68% within 0.3 and 0.6" if observed else "expected 0.47, 68% within 0.35 and"
    for expected in (
        f"90% CL: {limit}",
        "jets 0.3, statistical 0.4 (fixed in this order)",
        "jes -0.12/+0.15, xsec +0.01/-0.02",
        "something has no meaning",
    ):
        assert expected in text
    assert ("p = 0.432, 3 degrees of freedom" in text) == observed
    assert ("1.31" in text) == observed


def test_a_parameter_at_its_limit_has_no_error_in_the_table_nor_in_the_metrics(
    fit: FitResult, capsys: pytest.CaptureFixture[str]
) -> None:
    at_limit = replace(fit.parameters["mu"], bestfit=0.0, hesse=7.97, minos=None, at_limit=0.0)
    results = record(fit.model_copy(update={"parameters": {**fit.parameters, "mu": at_limit}}))
    show(results)
    text = capsys.readouterr().out
    assert "at its limit" in text
    assert "7.97" not in text
    assert "mu/hesse" not in results.metrics()
    assert results.parameters["mu"].at_limit == 0


def test_the_record_of_a_full_fit_reads_back(fit: FitResult, tmp_path: Path) -> None:
    results = record(extras(fit))
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json").model_dump_json() == results.model_dump_json()
    metrics = results.metrics()
    expected = {"limit/observed": 1.31, "limit/expected": 0.42, "error/jets": 0.31, "error_cumulative/jets": 0.3}
    assert {name: metrics[name] for name in expected} == expected
    assert ("goodness_of_fit/p_value" in metrics) == (fit.data == "observed")
    assert ("limit/a_priori" in metrics) == (fit.data == "asimov")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("mu", "QCD_norm"), ("mu (not the POI)", "mu")),
        (("mu", "mu (not the POI)", "QCD_norm"), (None, "mu (not the POI)", "mu")),
    ],
    ids=["called mu", "called as that is called then"],
)
def test_a_nuisance_parameter_called_mu_does_not_hide_the_parameter_of_interest(labels: Any, expected: Any) -> None:
    names = recorded_names(SimpleNamespace(labels=labels, poi_name="QCD_norm"))
    assert len(set(names.values())) == len(labels)
    for label, name in zip(labels, expected, strict=True):
        assert name in (None, names[label])


def test_yields_file(fit: FitResult, tmp_path: Path) -> None:
    (path,) = write_tables(record(fit, label=LABEL), tmp_path)
    lines = path.read_text().splitlines()
    assert lines[0] == f"**{LABEL}**"
    before, after = fit["yields"]
    numbers = next(line.split("|")[2:6] for line in lines if line.startswith("| QCD |"))
    assert [float(x) for x in numbers] == pytest.approx([*before.sums["QCD"], *after.sums["QCD"]], abs=0.006)
    assert any(line.startswith(f"| {'Asimov' if fit.data == 'asimov' else 'observed'} data |") for line in lines)
    assert len([line for line in lines if line.startswith("| ")]) == 1 + 4 + 2


ODD_CHANNELS = ("../../x", "a b", "a-b", "a/b", "A_b", "x" * 400, "[b]", "$a", "<i>|", "new\nline")


@pytest.mark.slow
def test_channels_of_any_name_have_plots_and_tables_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = workspace()
    found = fitted(spec, "observed")
    before, after = found["yields"]
    entries = [
        replace(x, channel=name, when=w) for w, x in (("pre-fit", before), ("post-fit", after)) for name in ODD_CHANNELS
    ]
    odd = having(found, yields=tuple(entries))
    results = record(odd)
    folder = tmp_path / "run" / "plots"
    paths = draw(results, folder=folder, formats=["png"])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len({path.name.casefold() for path in folder.iterdir()}) == len(paths)
    assert sum(path.name.startswith(("prefit_", "postfit_")) for path in paths) == 2 * len(ODD_CHANNELS)
    (table,) = write_tables(results, tmp_path / "run")
    headings = [line for line in table.read_text().splitlines() if line.startswith("## ")]
    assert len(headings) == len(ODD_CHANNELS)
    assert {r"## &lt;i&gt;\|", r"## new\\nline"} <= set(headings)
    show(results)
    assert "staterror" in capsys.readouterr().out


def test_no_yields_no_file(fit: FitResult, tmp_path: Path) -> None:
    assert write_tables(record(having(fit, yields=None)), tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_open_figures() -> Any:
    import matplotlib

    style = dict(matplotlib.rcParams)
    yield
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == style


def test_the_training_curve_has_what_chose_the_epoch_where_that_is_not_the_variance_of_mu(fit: FitResult) -> None:
    results = full_record(fit)
    assert results.training is not None

    def curve(merits: list[float | None]) -> Any:
        honest = [None, 0.5, 0.3]
        pairs = zip(merits, honest, strict=True)
        history = tuple({"validation/figure_of_merit": a, "validation/sigma_mu_honest": b} for a, b in pairs)
        assert results.training is not None
        return results.training.model_copy(update={"history": history}).other_merits

    assert curve([None, 0.2, 0.1]) == (None, 0.2, 0.1)
    assert curve([None, 0.5, 0.3]) is None
    assert results.training.other_merits is None  # of an earlier version


def test_the_foremost_metrics_are_in_the_summary(fit: FitResult) -> None:
    values = {"p0": 1.5e-7, "cls": None, "z_asimov": 6.0, "of_a_package": 1.0}
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(summary(full_record(fit).model_copy(update={"metric_values": values})))
    (line,) = (line for line in console.export_text().splitlines() if line.startswith("metrics"))
    assert line.split() == ["metrics", "p0", "1.50e-07"]


@pytest.mark.usefixtures("no_open_figures")
def test_plots_of_a_training(fit: FitResult, tmp_path: Path) -> None:
    paths = draw(
        full_record(fit),
        folder=tmp_path / "plots",
        formats=["png", "svg"],
        templates={"SR": templates()},
    )
    stems = {"training", "templates", "prefit", "postfit", "pulls", "correlation", "scan"}
    assert {path.name for path in paths} == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}
    assert set(paths) == set((tmp_path / "plots").iterdir())
    data = "Asimov data" if fit.data == "asimov" else "observed data"
    for path in paths:
        if path.suffix == ".svg":
            assert LABEL in path.read_text()
            assert f"INFERNO on top11004, {data}" in path.read_text()
        else:
            assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("no_open_figures")
def test_plots_of_a_fit_alone(tmp_path: Path) -> None:
    spec = workspace(("A", "B"))
    fit = fitted(spec, "observed")
    paths = draw(record(fit), folder=tmp_path, formats=["png"])
    assert {path.stem for path in paths} == {
        "prefit",
        "postfit",
        "prefit_A",
        "prefit_B",
        "postfit_A",
        "postfit_B",
        "pulls",
        "correlation",
        "scan",
    }


@pytest.mark.usefixtures("no_open_figures")
def test_plots_of_a_full_fit(fit: FitResult, tmp_path: Path) -> None:
    full = extras(fit)
    paths = draw(record(full), folder=tmp_path, formats=["png"])
    assert {path.stem for path in paths} == {
        "prefit",
        "postfit",
        "pulls",
        "correlation",
        "scan",
        "scan_jes",
        "scan_2d_mu_jes",
        "ranking",
        "limit",
    }


def test_no_pulls_without_constrained_parameters(tmp_path: Path) -> None:
    spec = workspace()
    for sample in spec["channels"][0]["samples"]:
        sample["modifiers"] = [entry for entry in sample["modifiers"] if entry["type"] == "normfactor"]
    fit = fitted(spec, "asimov")
    paths = draw(record(fit), folder=tmp_path, formats=["png"])
    assert {path.stem for path in paths} == {"prefit", "postfit", "correlation", "scan"}


def test_a_folder_that_cannot_be_written(fit: FitResult, tmp_path: Path) -> None:
    from inferno_cli.errors import OutputError

    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/pulls\.png"):
        draw(record(fit), folder=tmp_path / "file", formats=["png"])


def test_import_is_light() -> None:
    code = (
        "import sys, inferno_cli.report\n"
        "print(*{'matplotlib', 'cabinetry', 'pyhf', 'torch', 'iminuit'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
