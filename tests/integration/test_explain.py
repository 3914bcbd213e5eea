"""What the networks of finished runs learnt: a record, plots, and one clear error where there is no network."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from inferno_cli.events.sample import NOMINAL
from inferno_cli.histograms.templates import Templates
from inferno_cli.runs.explanation import Explanation
from inferno_cli.runs.folder import Status
from integration.conftest import LABEL, Runs, inferno, succeed

MODELS = ("bce", "inferno", "optimal")


def explained(run: Path, folder: Path, *overrides: str) -> tuple[Explanation, str]:
    """Explain a run with one shuffle; return the record and what was printed."""
    outcome = succeed("explain", f"run={run}", f"output={folder}", "repeats=1", *overrides)
    return Explanation.model_validate(json.loads(outcome.path.read_text())), outcome.out


def test_a_run_on_ntuples(runs: Runs, tmp_path: Path) -> None:
    run = runs("top11004", "inferno")
    folder = run.path.parent
    found, said = explained(folder, tmp_path, "pairs=2")

    results, templates = run.results, Templates.load(folder / "templates.root")
    assert results.poi_variance is not None
    assert found.sigma_mu == pytest.approx(math.sqrt(results.poi_variance.templates), rel=1e-9)
    assert [entry.merged_from for entry in found.bins] == [entry.merged_from for entry in results.bins or ()]
    for number, entry in enumerate(found.bins):
        for row, sample in enumerate(templates.samples):
            assert entry.samples[sample][0] == pytest.approx(templates.nominal[row, number], rel=1e-9, abs=1e-12)
    (signal,) = [x for x in found.responses if (x.parameter, x.sample) == ("jes", "TTJets_signal")]
    nominal, (up, _) = templates.values("TTJets_signal", NOMINAL), templates.varied["jes", "TTJets_signal"]
    np.testing.assert_allclose(np.array(signal.up, dtype=float), 100 * (up / nominal - 1), rtol=1e-9)
    assert [x.step for x in found.responses if x.parameter == "QCD_norm"] == [
        pytest.approx(results.parameters["QCD_norm"].hesse, rel=0.02)
    ] * 2
    assert {item.feature for item in found.importance} == {
        *("aplanarity", "chargeEta", "MET_met", "deltaPhiTauMet", "mt", "mTauJet", "ht", "sphericity")
    }
    first, second = (item.feature for item in found.importance[:2])
    names = {path.name for path in tmp_path.iterdir()}
    assert {"explain.json", "importance.png", "composition.png", "responses.png", "response_jes.png"} < names
    assert f"bins_{first}_{second}.png" in names
    assert len([name for name in names if name.startswith("bins_")]) == 2
    assert "response_QCD_norm.png" not in names  # the same in every bin
    assert found.label == LABEL
    assert f"*** {LABEL} ***" in said
    assert f"\n{first} " in said


@pytest.mark.parametrize("model", MODELS)
def test_a_run_on_the_synthetic_mixture(model: str, runs: Runs, tmp_path: Path) -> None:
    run = runs("synthetic", model)
    found, said = explained(run.path.parent, tmp_path)

    assert run.results.poi_variance is not None
    assert found.sigma_mu == pytest.approx(math.sqrt(run.results.poi_variance.templates), rel=1e-9)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("explain.json", "importance.png", "composition.png", "responses.png"),
        *("response_r.png", "response_lambda.png", "bins_x0_x1.png"),
    }
    assert found.label == ""
    assert "***" not in said
    touched = {(x.parameter, x.sample) for x in found.responses}
    assert touched == {(name, sample) for name in ("r", "lambda") for sample in ("total", "background")}


def test_a_run_on_two_features_of_known_densities(runs: Runs, tmp_path: Path) -> None:
    run = runs("blobs", "inferno", "trainer.max_epochs=8", "model.learning_rate=0.001")
    found, _ = explained(run.path.parent, tmp_path)

    assert {item.feature for item in found.importance} == {"x0", "x1"}
    assert (tmp_path / "bins_x0_x1.png").is_file()


def test_without_plots_the_same_numbers_come_out(runs: Runs, tmp_path: Path) -> None:
    run = runs("synthetic", "bce").path.parent
    first, _ = explained(run, tmp_path / "a", "report.plots=false")
    again, _ = explained(run, tmp_path / "b", "report.plots=false")
    other, _ = explained(run, tmp_path / "c", "report.plots=false", "seed=2")

    assert [path.name for path in (tmp_path / "a").iterdir()] == ["explain.json"]
    assert first == again
    assert {x.feature: x.sigma_mu for x in first.importance} != {x.feature: x.sigma_mu for x in other.importance}


# ------------------------------------------------------------------------------------------------- bad input
def refuse(run: Path, error: str, *says: str) -> None:
    outcome = inferno("explain", f"run={run}")

    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith(f"{error}: ")
    for text in says:
        assert text in outcome.err
    assert not (run / "explain").exists()


def test_what_is_not_a_run_with_a_network_is_refused(runs: Runs, tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", "RunError", "is not a folder", "run=FOLDER")
    workspace = runs("synthetic", "bce").results.workspace
    place = f"hydra.run.dir={tmp_path}/fit"
    succeed("fit", f"workspace={workspace}", "tracking=none", "report.plots=false", "fit.scan_points=null", place)
    refuse(tmp_path / "fit", "RunError", "is a fit without a network", "inferno train")


def test_the_output_cannot_be_written(runs: Runs, tmp_path: Path) -> None:
    """Said before the features are shuffled."""
    (tmp_path / "file").write_text("")
    run = runs("synthetic", "bce").path.parent
    outcome = inferno("explain", f"run={run}", f"output={tmp_path}/file/explain")

    assert outcome.code == 2
    assert outcome.err.startswith("OutputError: ")
    assert "output=..." in outcome.err
    assert "shuffled" not in outcome.out


def test_other_events_and_other_bins_are_refused(runs: Runs, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(runs("synthetic", "bce").path.parent, copy)
    Status("finished").write(copy)  # of an earlier version: without checksums
    settings = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(yaml.safe_dump({**settings, "seed": 9}))
    refuse(copy, "DatasetError", "are not those of the run", "train again")

    (copy / "config.yaml").write_text(yaml.safe_dump(settings))
    record = json.loads((copy / "results.json").read_text())
    first, last = record["bins"][0], record["bins"][-1]
    first["merged_from"], last["merged_from"] = last["merged_from"], first["merged_from"]
    (copy / "results.json").write_text(json.dumps(record))
    refuse(copy, "RunError", "do not come out again")
