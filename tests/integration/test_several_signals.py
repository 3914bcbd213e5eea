"""Two signals from the command line to the workspace, the card and the comparison."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyhf
import pytest
from conftest import covariance_by_differences

from inferno_cli.section import POI
from integration.conftest import FIT_ONLY_MU, QUICK, Outcome, inferno, succeed

SIGNALS = (
    "nuisance=none",
    "dataset.samples.WZJets.role=signal",
    "dataset.samples.WZJets.poi=mu_W",
    "fit.scan_2d_points=3",
)
TRIAL = (
    "+experiment=top11004",
    "model=inferno",
    *QUICK,
    *FIT_ONLY_MU,
    *SIGNALS,
    "nuisance=none",
    "fit.scan_2d_points=3",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("signals")
    return succeed("train", *TRIAL, "model/objective=log_variances", f"output_dir={folder}", "export=true")


def test_the_record_has_both_pois(trained: Outcome) -> None:
    results = trained.results
    assert results.pois == ("mu_W",)
    assert results.parameters["mu_W"].minos is not None
    assert [(scan.x, scan.y) for scan in results["scans_2d"]] == [(POI, "mu_W")]
    assert {entry.signal for entry in results["yields"]} == {("TTJets_signal", "WZJets")}
    assert "not in the training" not in trained.out
    rows = [line.split()[0] for line in trained.out.splitlines() if line.strip()]
    assert rows.index("mu_W") == rows.index(POI) + 1


def test_what_selected_the_epoch_is_what_was_minimised(trained: Outcome) -> None:
    results = trained.results
    assert results.training is not None
    history = [line["validation/figure_of_merit"] for line in results.training.history]
    known = [value for value in history if value is not None]
    assert history[results.training.best_epoch] == min(known)
    assert results.figure_of_merit == pytest.approx(min(known))
    assert "figure of merit" in trained.out


def test_the_workspace_has_one_poi_and_plain_pyhf_finds_the_errors_of_both(trained: Outcome) -> None:
    results = trained.results
    spec = json.loads(Path(results.workspace).read_text())
    (measurement,) = spec["measurements"]
    assert measurement["config"]["poi"] == POI
    bounds = {entry["name"]: entry.get("bounds") for entry in measurement["config"]["parameters"]}
    assert bounds["mu_W"] == bounds[POI]
    codes = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    model = pyhf.Workspace(spec).model(modifier_settings=codes)
    data = pyhf.Workspace(spec).data(model)
    found = pyhf.infer.mle.fit(data, model)
    steps = np.full(len(found), 0.01)
    covariance = covariance_by_differences(model, data, found, steps)
    errors = dict(zip(model.config.par_names, np.sqrt(np.diag(covariance)).tolist(), strict=True))
    for poi in (POI, "mu_W"):
        assert results.parameters[poi].hesse == pytest.approx(errors[poi], rel=2e-3)


def test_the_workspace_alone_is_fitted_with_both_when_asked(trained: Outcome, tmp_path: Path) -> None:
    workspace = trained.results.workspace
    alone = succeed("fit", f"workspace={workspace}", "fit.pois=[mu_W]", "tracking=none", f"output_dir={tmp_path}")
    assert alone.results.pois == ("mu_W",)
    for poi in (POI, "mu_W"):
        assert alone.results.parameters[poi] == trained.results.parameters[poi]


def test_a_comparison_has_the_errors_of_both(trained: Outcome, tmp_path: Path) -> None:
    succeed("compare", f"runs={trained.path.parent}", f"output={tmp_path}", "tracking=none")
    (line,) = csv.DictReader((tmp_path / "compare.csv").read_text().splitlines())
    results = trained.results
    assert float(line["sigma_mu_W"]) == pytest.approx(results.parameters["mu_W"].hesse)
    assert float(line["correlation_mu_mu_W"]) == pytest.approx(results.correlation[POI]["mu_W"])
    main = next(text for text in (tmp_path / "compare.md").read_text().splitlines() if text.startswith("|"))
    assert "sigma(mu_W)" in main


def test_a_poi_that_is_none_is_one_message() -> None:
    failed = inferno("train", *TRIAL, "model/objective=log_variances", "model.objective.pois=[mu,mu_s]")
    assert failed.code == 2
    assert "model.objective: 'mu_s' is no POI of the samples of the likelihood; closest: 'mu_W'" in failed.err


def test_a_network_keeps_what_it_was_trained_for(trained: Outcome) -> None:
    taken = ("model/objective=log_variances", "model.objective.pois=[mu_W]", f"trained_in={trained.path.parent}")
    failed = inferno("train", *TRIAL, *taken)
    assert failed.code == 2
    assert "model.objective.pois is ['mu_W'], and the network of" in failed.err
