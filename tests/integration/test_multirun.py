"""A multirun: its points are those that run alone, and lie in MLflow as runs nested under one parent."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from inferno_cli.runs.record import Results
from integration.conftest import POINT, Outcome, Sweep, comparable, four_runs, inferno, succeed


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return four_runs(tmp_path_factory)


@pytest.fixture(scope="module")
def broken(four: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The first of three points has a configuration that is not valid, the second a fit that cannot converge."""
    folder = tmp_path_factory.mktemp("broken")
    places = (f"output_dir={folder}", f"tracking.uri={four.uri}", "tracking.experiment=broken")
    outcome = inferno("train", "-m", *POINT, "model=bce", *places, "fit.max_calls=0,1,100000")
    return Sweep(outcome, folder, four.uri, "broken")


def test_four_jobs_are_nested_under_one_parent_and_all_finished(four: Sweep) -> None:
    (parent,) = four.parents

    assert len(four.jobs) == 4
    assert {run.data.tags["mlflow.parentRunId"] for run in four.jobs} == {parent.info.run_id}
    assert {run.info.status for run in four.runs} == {"FINISHED"}
    assert sorted(four.records) == [0, 1, 2, 3]


def test_jobs_are_named_by_what_differs(four: Sweep) -> None:
    """Behind many overrides that all jobs share."""
    names = [run.info.run_name for run in four.jobs]

    for name, (model, seed) in zip(names, [(m, s) for m in ("bce", "inferno") for s in (1, 2)], strict=True):
        assert name == f"model={model},seed={seed}"


def test_a_job_has_its_parameters_metrics_tags_and_artifacts(four: Sweep) -> None:
    job = four.jobs[2]
    results = Results.load(four.records[2])
    params, metrics, tags = job.data.params, job.data.metrics, job.data.tags

    expected = {"seed": "1", "model.name": "inferno", "model.bins": "10", "trainer.max_epochs": "3"}
    assert expected.items() <= params.items()
    assert params["dataset.systematics.r.width"] == "0.2"
    assert metrics["mu/hesse"] == results.parameters["mu"].hesse
    assert metrics["sigma_s"] == results.sigma_s
    assert metrics["sigma_mu/templates"] ** 2 == pytest.approx(results.poi_variance.templates)
    assert tags["dataset_checksum"] == results.dataset_checksum
    assert (tags["seed"], tags["code_version"]) == ("1", results.code_version)
    assert results.training is not None
    mu = results.parameters["mu"]
    assert mu.minos is not None
    described = tags["mlflow.note.content"].splitlines()
    assert described[0].startswith(f"**mu = {mu.bestfit:.3f}**, {mu.minos[0]:+.3f} / {mu.minos[1]:+.3f} (MINOS), ±")
    assert "INFERNO on synthetic, Asimov data" in described
    curve = four.client.get_metric_history(job.info.run_id, "validation/sigma_mu_hard")
    expected_curve = [(step, x) for step, x in enumerate(results.training.sigma_mu_hard) if x is not None]
    assert [(point.step, point.value) for point in curve] == expected_curve
    assert len(expected_curve) == 2  # the first of three epochs is warm-up
    correlations = {name for name in metrics if name.startswith("validation/correlation/")}
    assert correlations == {f"validation/correlation/{pair}" for pair in ("mu-r", "mu-lambda", "r-lambda")}
    files = {item.path for item in four.client.list_artifacts(job.info.run_id)}
    assert {"results.json", "workspace.json", "templates.root", "model.onnx", "config.yaml"} <= files
    assert {"checkpoints", "export"} <= files
    stored = Path(job.info.artifact_uri.removeprefix("file://")) / "results.json"
    assert stored.read_bytes() == four.records[2].read_bytes()
    assert stored.is_relative_to(four.folder)


def test_third_point_equals_that_point_alone(four: Sweep, tmp_path: Path) -> None:
    """State that leaks from one point of a sweep into the next would show here."""
    alone = succeed("train", *POINT, "tracking=none", "model=inferno", "seed=1", f"output_dir={tmp_path}")
    third = Results.load(four.records[2])

    assert comparable(third) == comparable(alone.results)
    first = Results.load(four.records[0])
    assert comparable(first) != comparable(alone.results)
    workspaces = [json.loads(Path(results.workspace).read_text()) for results in (third, alone.results)]
    assert workspaces[0] == workspaces[1]


def test_a_failing_point_does_not_stop_the_others_and_is_told(broken: Sweep) -> None:
    assert broken.outcome.code == 2
    assert sorted(broken.records) == [2]
    assert math.isfinite(Results.load(broken.records[2]).parameters["mu"].hesse)
    told = [line for line in broken.outcome.err.splitlines() if line.startswith("job ")]
    assert len(told) == 2
    assert told[0].startswith("job 0 (")
    assert "fit.max_calls is 0; input should be greater than or equal to 1" in told[0]
    assert "FitFailedError: MINUIT" in told[1]
    # At the end the first error once more, as the reason of the exit code.
    assert broken.outcome.err.splitlines()[-1] == told[0].partition("): ")[2]
    others = [line for line in broken.outcome.err.splitlines() if not line.startswith(("job ", "ConfigError: "))]
    assert len(others) <= 1
    assert all(line.startswith("Error executing job with overrides: ") for line in others)  # Hydra's


def test_a_failing_point_fails_the_parent_and_leaves_the_others_finished(broken: Sweep) -> None:
    (parent,) = broken.parents

    assert parent.info.status == "FAILED"
    # The first point never had a run: its configuration could not be read.
    assert [run.info.status for run in broken.jobs] == ["FAILED", "FINISHED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in broken.jobs} == {parent.info.run_id}
    assert broken.jobs[0].data.tags["error"].startswith("FitFailedError: MINUIT")


def test_comparison_of_a_sweep_goes_to_its_parent_run(four: Sweep) -> None:
    outcome = succeed("compare", f"runs={four.folder}/sweeps", "reference=constraint_widths")
    page = outcome.path
    (parent,) = four.parents

    assert page == four.folder / "sweeps" / "compare" / "compare.html"
    rows = json.loads((page.parent / "compare.json").read_text())["points"]
    assert [(row["at"], row["repeats"]) for row in rows if not row["published"]] == [
        ({"model.name": "bce"}, 2),
        ({"model.name": "inferno"}, 2),
    ]
    hesse = [Results.load(four.records[i]).parameters["mu"].hesse for i in (0, 1)]
    assert rows[0]["values"]["hesse"]["median"] == pytest.approx(sum(hesse) / 2)
    published = [row["values"]["sigma_s"]["median"] for row in rows if row["published"]]
    assert published == [20.48, 17.61, 18.82, 16.55, 15.531]  # of the first pair of widths, that of the runs
    stored = {Path(item.path).name for item in four.client.list_artifacts(parent.info.run_id, "compare")}
    assert stored == {path.name for path in page.parent.iterdir()}
    described = parent.data.tags["mlflow.note.content"].splitlines()
    (bce,) = [line for line in described if line.startswith("| BCE | 2 |")]
    assert f"{(hesse[0] + hesse[1]) / 2:.3f} [{min(hesse):.3f}, {max(hesse):.3f}]" in bce
    assert any(line.startswith("| ") and "20.48" in line for line in described)  # published


def test_comparison_of_nothing_is_one_message(tmp_path: Path) -> None:
    outcome = inferno("compare", f"runs={tmp_path}/nowhere")

    assert outcome.code == 2
    assert outcome.err.startswith("ComparisonError: runs: ")
    assert len(outcome.err.splitlines()) == 1


def compared(outcome: Outcome) -> list[dict[str, Any]]:
    """The points of a comparison."""
    return list(json.loads((outcome.path.parent / "compare.json").read_text())["points"])


def test_comparison_of_an_experiment_is_that_of_its_folders(four: Sweep, tmp_path: Path) -> None:
    store = (f"tracking.uri={four.uri}", f"output_dir={tmp_path}")
    stored = succeed("compare", "runs=mlflow:inferno", *store)
    folders = succeed("compare", f"runs={four.folder}/sweeps", f"output={tmp_path}/folders", "track=false")

    assert stored.path == tmp_path / "compare" / "compare.html"
    assert compared(stored) == compared(folders)
    (first, *_) = json.loads((tmp_path / "compare" / "compare.json").read_text())["runs"]
    assert first["folder"].startswith("mlflow:inferno/")
    both = succeed("compare", f"runs=[mlflow:inferno,{four.folder}/sweeps]", *store, f"output={tmp_path}/both")
    assert compared(both) == compared(folders)  # the same runs
    (parent,) = four.parents
    sweep = succeed("compare", f"runs=mlflow:inferno/{parent.info.run_id}", *store, f"output={tmp_path}/sweep")
    assert compared(sweep) == compared(folders)
    one = succeed("compare", f"runs=mlflow:inferno/{four.jobs[2].info.run_id}", *store, f"output={tmp_path}/one")
    assert [point["at"] for point in compared(one)] == [{"model.name": "inferno"}]


def test_comparison_of_an_experiment_lists_what_failed(broken: Sweep, tmp_path: Path) -> None:
    outcome = succeed("compare", "runs=mlflow:broken", f"tracking.uri={broken.uri}", f"output_dir={tmp_path}")

    assert [point["repeats"] for point in compared(outcome)] == [0, 1]
    (missing,) = [line for line in outcome.out.splitlines() if line.startswith("missing: ")]
    assert missing.startswith("missing: mlflow:broken/")
    assert "FAILED: FitFailedError: MINUIT" in missing
    folders = succeed("compare", f"runs='{broken.folder}/sweeps/*/*/[12]'", f"output={tmp_path}/folders", "track=false")
    assert compared(outcome) == compared(folders)  # the columns too


def test_without_tracking_a_comparison_is_logged_nowhere(four: Sweep, tmp_path: Path) -> None:
    outcome = succeed("compare", f"runs={four.folder}/sweeps", f"output={tmp_path}", "tracking=none")

    assert "tracking:" not in outcome.out


@pytest.mark.parametrize(
    ("place", "store", "error", "says"),
    [
        ("infreno", "", "TrackingError", "has no experiment 'infreno'; closest: 'inferno'"),
        ("inferno/nobody", "", "TrackingError", "has no run 'nobody'"),
        ("Default", "", "ComparisonError", "experiment 'Default' of MLflow has no finished run (no run of"),
        ("inferno", "sqlite:////nowhere/mlflow.db", "TrackingError", "there is no MLflow store /nowhere/mlflow.db"),
        ("inferno", "http://127.0.0.1:9", "TrackingError", "MLflow server http://127.0.0.1:9 does not answer"),
    ],
)
def test_comparison_of_no_experiment_is_one_message(
    place: str, store: str, error: str, says: str, four: Sweep, tmp_path: Path
) -> None:
    start = time.perf_counter()
    outcome = inferno("compare", f"runs=mlflow:{place}", f"tracking.uri={store or four.uri}", f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert outcome.err.startswith(f"{error}: ")
    assert len(outcome.err.splitlines()) == 1
    assert says in outcome.err
    assert list(tmp_path.iterdir()) == []
    assert time.perf_counter() - start < 10


def test_comparison_of_an_experiment_needs_a_store(tmp_path: Path) -> None:
    outcome = inferno("compare", "runs=mlflow:inferno", "tracking=none", f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert "leave out tracking=none" in outcome.err


def test_an_explanation_goes_to_the_run(four: Sweep, tmp_path: Path) -> None:
    few = ("repeats=1", f"output={tmp_path}")
    outcome = succeed("explain", f"run={four.records[0].parent}", *few)
    stored = {Path(item.path).name for item in four.client.list_artifacts(four.jobs[0].info.run_id, "explain")}

    assert "tracking: logged to the run in sqlite:" in outcome.out
    assert stored == {path.name for path in tmp_path.iterdir()}
    assert "explain.json" in stored
    untracked = succeed("explain", f"run={four.records[1].parent}", *few, "track=false", "report.plots=false")
    assert "tracking" not in untracked.out
    assert not four.client.list_artifacts(four.jobs[1].info.run_id, "explain")


def test_a_single_run_has_no_parent_and_is_finished(four: Sweep) -> None:
    """In the same store, after the sweep: nothing of it is left over."""
    plotted = (
        "report.plots=true",
        "report.formats=[svg]",
        "fit.data=observed",
        "unblind=true",
        f"output_dir={four.folder}",
    )
    outcome = succeed("train", *POINT, "model=bce", *plotted)
    run = four.runs[-1]

    assert "mlflow.parentRunId" not in run.data.tags
    assert run.info.status == "FINISHED"
    assert f"tracking: run {run.info.run_id}" in outcome.out
    stored = {Path(item.path).name for item in four.client.list_artifacts(run.info.run_id, "plots")}
    assert stored == {path.name for path in (outcome.path.parent / "plots").iterdir()}
    assert {"templates.svg", "training.svg", "prefit.svg", "postfit.svg"} <= stored
    exported = {Path(item.path).name for item in four.client.list_artifacts(run.info.run_id, "export")}
    assert exported == {"shapes.root", "datacard.txt", "cabinetry.yaml"}


def test_a_sweep_over_a_setting_of_the_fit_is_compared(four: Sweep, tmp_path: Path) -> None:
    """The command that the sweep names at its end works."""
    workspace = four.records[0].parent / "workspace.json"
    quiet = ("tracking=none", "report.plots=false", "fit.scan_points=null", "fit.significance=false")
    sweep = ("fit.tolerance=0.1,0.01", f"hydra.sweep.dir={tmp_path}/sweep")
    outcome = succeed("fit", "-m", f"workspace={workspace}", *quiet, *sweep)
    assert f"next: inferno compare runs={tmp_path}/sweep" in outcome.out
    compared = succeed("compare", f"runs={tmp_path}/sweep", "report.plots=false", "track=false").out
    assert "2 points, 2 runs" in compared
