"""Every end of a run: signals in each stage, two runs in one folder, tracking that dies, and logging afterwards."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferno_cli import signals
from inferno_cli.errors import TrackingError
from inferno_cli.runs.folder import Status
from inferno_cli.runs.mlflow import run as tracking_runs
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, Runs, inferno, succeed

SYNTHETIC = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "export=false")
FAST = (*SYNTHETIC, "model=optimal")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, heard: None) -> None:
    """Signals to this process are not passed on to others that the tests have started."""
    monkeypatch.setattr(signals, "_pass_on", lambda number: None)


def status(folder: Path) -> Status:
    said = Status.read(folder)
    assert said is not None
    return said


# ------------------------------------------------------------------------------------------------- signals
def stopping(monkeypatch: pytest.MonkeyPatch, where: str, number: int) -> None:
    """Let the process be sent a signal when a function is called."""
    module, _, name = where.rpartition(".")
    try:
        owner: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        module, _, kind = module.rpartition(".")
        owner = getattr(importlib.import_module(module), kind)

    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(owner, name, stop)


STAGES = {
    "events": "inferno_cli.events.sources.synthetic.SyntheticDataset.load",
    "training": "inferno_cli.training.trainer.Validation._smoothed",  # inside of Lightning
    "templates": "inferno_cli.training.final_templates.final_templates",
    "fit": "iminuit.minuit.Minuit.migrad",
    "report": "inferno_cli.report.run.summary.write_tables",
}


@pytest.mark.parametrize("stage", list(STAGES))
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_every_stage_of_train(
    stage: str, number: signal.Signals, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(monkeypatch, STAGES[stage], number)

    outcome = inferno("train", *SYNTHETIC, "model=bce", f"hydra.run.dir={tmp_path}/run", "trainer.max_epochs=2")

    assert outcome.code == code
    assert outcome.err == f"stopped by {number.name}: the run in {tmp_path}/run is not finished\n"
    assert (status(tmp_path / "run").state, status(tmp_path / "run").error) == ("stopped", number.name)
    assert "results: " not in outcome.out
    assert not (tmp_path / "run" / "results.json").exists()
    assert list(tmp_path.rglob("*.partial")) == []
    monkeypatch.undo()
    succeed("train", *FAST, f"hydra.run.dir={tmp_path}/run")  # a run that was stopped may be repeated


OTHER_STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fit": ("iminuit.minuit.Minuit.migrad", ("workspace=RUN/workspace.json", "tracking=none")),
    "data": ("inferno_cli.report.dataset.page.write_data", ("+experiment=synthetic", *FEW_EVENTS)),
    "predict": ("inferno_cli.training.observable.Observable.apply", ("run=RUN",)),
    "explain": ("inferno_cli.training.explanation.Explainer.importance", ("run=RUN",)),
    "compare": ("inferno_cli.report.comparison.page.as_html", ("runs=RUN", "track=false")),
    "log": ("inferno_cli.runs.mlflow.run.log_results", ("run=RUN", "tracking.uri=sqlite:///HERE/mlflow.db")),
    "anomaly": ("inferno_cli.anomaly.analysis.trained", ("+experiment=synthetic", *FEW_EVENTS, "tracking=none")),
    "nplm": ("inferno_cli.nplm.toys.Toys.__call__", ("+experiment=exponential", "nuisance=none", "tracking=none")),
    "interpolate": ("inferno_cli.interpolation.study.train", ("+experiment=means", "tracking=none")),
    "init": ("inferno_cli.steps.init.together", ("folder=HERE/mine",)),
    "list": ("inferno_cli.report.listing.show_runs", ("runs=RUN",)),
    "clean": ("inferno_cli.runs.cleaning.remove", ("runs=RUN", "states=finished", "yes=true")),
}


@pytest.mark.parametrize("step", list(OTHER_STEPS))
def test_a_signal_ends_every_other_step(
    step: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step == "interpolate":
        pytest.importorskip("zuko")
    run = runs("top11004" if step == "predict" else "synthetic", "bce").path.parent
    copy = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(run, copy)
    before = {path for path in copy.rglob("*") if path.is_file()}
    where, arguments = OTHER_STEPS[step]
    stopping(monkeypatch, where, signal.SIGTERM)
    monkeypatch.chdir(tmp_path)

    outcome = inferno(step, *(text.replace("RUN", str(copy)).replace("HERE", str(tmp_path)) for text in arguments))

    assert outcome.code == 143
    (line,) = outcome.err.splitlines()
    assert line.startswith("stopped by SIGTERM: ")
    made = {path for path in copy.rglob("*") if path.is_file()} - before
    assert {path.name for path in made} <= {".lock", "mlflow_run.json"}
    assert before <= {path for path in copy.rglob("*") if path.is_file()}
    if step in ("fit", "data", "anomaly", "nplm", "interpolate"):
        (folder,) = [path.parent for path in tmp_path.rglob("status.json")]
        assert status(folder).state == "stopped"


@pytest.fixture
def ntuples_to_prepare(tmp_path: Path) -> Path:
    real = Path(__file__).parents[1] / "data" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    for number in range(4):
        (tmp_path / f"{number}.root").symlink_to(real)
    return tmp_path


def started(*arguments: str, cwd: Path, until: str) -> subprocess.Popen[str]:
    """Start the program in a process of its own, and wait for a line of its output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inferno_cli", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if until in line:
            return process
    raise AssertionError(process.communicate()[1])


def test_prepare_ends_with_its_workers(ntuples_to_prepare: Path) -> None:
    arguments = ("prepare=open_data_2015", "files=*.root", "sample=top", "output=made", "workers=2", "chunk=100")
    process = started("prepare", *arguments, "progress=lines", cwd=ntuples_to_prepare, until="1/4 ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert len(err.splitlines()) == 1
    assert err.startswith("stopped by SIGINT: ")
    left = [path for path in (ntuples_to_prepare / "made").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".npz"}  # what is finished is kept
    assert not list((ntuples_to_prepare / "made").rglob("*tmp-*"))
    assert not (ntuples_to_prepare / "made" / "top.root").exists()


def test_a_sweep_ends_with_its_processes(tmp_path: Path, empty_store: Path) -> None:
    """In processes of joblib's, which train; their runs in MLflow and the parent are KILLED."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    point = (*SYNTHETIC, "model=bce", "trainer.max_epochs=5000", "model.hidden=[5],[6]", "tracking=mlflow")
    places = ("output_dir=out", "hydra.sweep.dir=sweep", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    (tmp_path / "out").mkdir()
    shutil.copy(empty_store, tmp_path / "out")
    process = started("train", "-m", *point, *places, cwd=tmp_path, until="training: ")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 143
    assert err == f"stopped by SIGTERM: what has finished stays in {tmp_path}/sweep\n"
    assert {path.parent.name for path in tmp_path.glob("sweep/*/status.json")} <= {"0", "1"}
    assert {status(path.parent).state for path in tmp_path.glob("sweep/*/status.json")} == {"stopped"}
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/out/mlflow.db")
    experiment = client.get_experiment_by_name("inferno")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len(found) >= 2
    assert {item.info.status for item in found} == {"KILLED"}


def test_a_signal_after_the_end_leaves_the_run_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping(monkeypatch, "inferno_cli.report.run.summary.show", signal.SIGTERM)
    outcome = inferno("train", *FAST, f"hydra.run.dir={tmp_path}/run")
    assert outcome.code == 143
    assert outcome.err == f"stopped by SIGTERM: the run in {tmp_path}/run had finished\n"
    assert status(tmp_path / "run").state == "finished"


# ------------------------------------------------------------------------------------------- one folder, one run
def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    """The second finds the first at work: it touches nothing."""
    from inferno_cli.runs.folder import owned

    folder = tmp_path / "run"
    folder.mkdir()
    Status("running", "other").write(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with owned(folder):
        outcome = inferno("train", *FAST, f"hydra.run.dir={folder}")

    assert outcome.code == 2
    assert outcome.err.startswith(f"OutputError: another run is writing to {folder}. Wait for it. ")
    assert {path: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"} == before


def test_a_finished_run_is_overwritten_when_that_is_asked_for(tmp_path: Path) -> None:
    place = f"hydra.run.dir={tmp_path}/run"
    first = succeed("train", *FAST, place)
    before = {path: path.read_bytes() for path in first.path.parent.rglob("*") if path.is_file()}

    for again in (("seed=2",), (), ("model.bins=1",)):
        outcome = inferno("train", *FAST, place, *again)
        assert outcome.code == 2
        assert len(outcome.err.splitlines()) == 1
        assert ("overwrite=true" in outcome.err) == (again != ("model.bins=1",))
        assert {path: path.read_bytes() for path in first.path.parent.rglob("*") if path.is_file()} == before

    dead = ("tracking=mlflow", "tracking.uri=http://127.0.0.1:9", "overwrite=true", "seed=2")
    assert inferno("train", *FAST, place, *dead).code == 2
    assert first.results.seed == 1  # found out before anything is removed
    assert succeed("train", *FAST, place, "seed=2", "overwrite=true").results.seed == 2
    reused = succeed("train", *FAST, place, "seed=2", f"reuse={tmp_path}")
    assert "was finished before" in reused.out
    assert status(tmp_path / "run").state == "finished"


def test_a_sweep_goes_on_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.steps import train

    whole: Callable[..., Any] = train.pipeline
    seeds = []

    def pipeline(config: Any, *rest: Any) -> Any:
        seeds.append(config.seed)
        if seeds == [1, 2]:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(config, *rest)

    monkeypatch.setattr(train, "pipeline", pipeline)
    sweep = ("train", "-m", *FAST, "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    assert inferno(*sweep).code == 143
    assert [status(tmp_path / str(i)).state for i in (0, 1)] == ["finished", "stopped"]
    outcome = succeed(*sweep)
    assert seeds == [1, 2, 2]
    assert "sweep: 2 of 2 points done; next: inferno compare" in outcome.out
    other = inferno(*sweep, "trainer.max_epochs=7")
    assert other.code == 2
    assert other.err.count("holds a finished run, of another configuration") == 3  # each, and the reason at the end


def test_a_fit_of_the_same_workspace_has_nothing_to_do(runs: Runs, tmp_path: Path) -> None:
    workspace = tmp_path / "w.json"
    shutil.copy(runs("synthetic", "bce").results.workspace, workspace)
    fit = ("fit", "tracking=none", "report.plots=false", "fit.scan_points=null", f"hydra.run.dir={tmp_path}/fit")
    first = succeed(*fit, f"workspace={workspace}")
    before = first.path.stat().st_mtime_ns
    shutil.move(workspace, tmp_path / "moved.json")
    again = succeed(*fit, f"workspace={tmp_path}/moved.json")
    assert "has finished here before" in again.out
    assert again.path.stat().st_mtime_ns == before
    # Its workspace is elsewhere, so that nothing is lost with a fit of it.
    assert succeed(*fit, f"workspace={tmp_path}/moved.json", "fit.stat_only=false").results["stat_only"] is None
    spec = json.loads((tmp_path / "moved.json").read_text())
    spec["observations"][0]["data"][0] += 1
    (tmp_path / "moved.json").write_text(json.dumps(spec))
    outcome = inferno(*fit, f"workspace={tmp_path}/moved.json")
    assert (outcome.code, "overwrite=true" in outcome.err) == (2, True)
    assert succeed(*fit, f"workspace={tmp_path}/moved.json", "overwrite=true").results.data == "asimov"


def test_a_folder_that_vanishes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.report.run import summary

    folder = tmp_path / "run"
    write: Callable[..., Any] = summary.write_tables

    def vanish(*arguments: Any) -> Any:
        shutil.rmtree(folder)
        folder.mkdir()
        return write(*arguments)

    monkeypatch.setattr(summary, "write_tables", vanish)
    outcome = inferno("train", *FAST, f"hydra.run.dir={folder}")
    assert outcome.code == 2
    assert outcome.err.startswith(f"OutputError: the folder {folder} was deleted or moved while the run wrote to it")
    assert status(folder).state == "failed"
    refused = inferno("explain", f"run={folder}")
    assert (refused.code, "RunError" in refused.err) == (2, True)


# ------------------------------------------------------------------------------------ tracking that dies, and `log`
@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with one run that was logged as it should be."""
    folder = tmp_path_factory.mktemp("store")
    succeed("train", *TRACKED, f"output_dir={folder}")
    return f"sqlite:///{folder}/mlflow.db"


TRACKED = (*SYNTHETIC, "model=bce", "trainer.max_epochs=2", "tracking=mlflow", "report.plots=true", "export=true")


def runs_of(uri: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("inferno")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


def logged(uri: str, run: Any) -> dict[str, Any]:
    """Everything that a store has of a run; not its id, nor how long things took."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    metrics = {
        name: [(item.step, item.value) for item in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if not name.startswith("seconds/")
    }
    files = {
        item.path: sorted(x.path for x in client.list_artifacts(run.info.run_id, item.path))
        for item in client.list_artifacts(run.info.run_id)
    }
    own = ("output_dir", "tracking.uri")
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": {key: value for key, value in run.data.params.items() if key not in own},
        "metrics": metrics,
        "tags": dict(run.data.tags),
        "data": {item.dataset.name: (item.dataset.digest, item.tags[0].value) for item in run.inputs.dataset_inputs},
        "files": files,
    }


def die(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Let the store fail in one of its calls."""

    def fail(*_: object) -> None:
        raise TrackingError("MLflow store: it is gone.")

    monkeypatch.setattr(tracking_runs.Run, method, fail)


@pytest.mark.parametrize("method", ["tags", "artifacts"])
def test_a_result_stays_when_tracking_dies_and_is_logged_afterwards(
    method: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (expected,) = [logged(store, run) for run in runs_of(store)][:1]
    folder = tmp_path / "run"
    from inferno_cli.runs.mlflow import run as tracked

    whole = tracked.log_results

    def log_results(*arguments: Any, **settings: Any) -> None:  # after the fit
        die(monkeypatch, method)
        whole(*arguments, **settings)

    monkeypatch.setattr(tracked, "log_results", log_results)
    outcome = inferno("train", *TRACKED, f"output_dir={tmp_path}", f"tracking.uri={store}", f"hydra.run.dir={folder}")
    monkeypatch.undo()

    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line == (
        "TrackingError: MLflow store: it is gone. But the result in "
        f"{folder} is whole; to log it: inferno log run={folder}"
    )
    assert outcome.path == folder / "results.json"  # shown as ever
    assert status(folder).state == "finished"
    assert runs_of(store)[-1].info.status == "FAILED"
    succeed("compare", f"runs={folder}", "track=false")
    succeed("explain", f"run={folder}", "track=false", "repeats=1", "report.plots=false", f"output={tmp_path}/explain")

    n_runs = len(runs_of(store))
    succeed("log", f"run={folder}")
    found = logged(store, runs_of(store)[-1])
    assert found == expected
    again = succeed("log", f"run={folder}")
    assert "is logged already" in again.out
    assert len(runs_of(store)) == n_runs


def test_a_run_that_was_not_to_be_logged(store: str, tmp_path: Path) -> None:
    (expected,) = [logged(store, run) for run in runs_of(store)][:1]
    folder = tmp_path / "run"
    succeed("train", *TRACKED, "tracking=none", f"output_dir={tmp_path}", f"hydra.run.dir={folder}")
    refused = inferno("log", f"run={folder}")
    assert (refused.code, "tracking.uri=" in refused.err) == (2, True)

    succeed("log", f"run={folder}", f"tracking.uri={store}", "tracking.log_checkpoint=false")

    found = logged(store, runs_of(store)[-1])
    for values in (found, expected):  # what was configured otherwise
        values["params"] = {key: x for key, x in values["params"].items() if not key.startswith("tracking")}
        values["files"].pop("checkpoints", None)
        values["tags"].pop("mlflow.note.content")
    assert found == expected
    assert "is logged already" in succeed("log", f"run={folder}", f"tracking.uri={store}").out


def test_a_fit_is_logged_afterwards(store: str, runs: Runs, tmp_path: Path) -> None:
    workspace = runs("synthetic", "bce").results.workspace
    fit = ("fit", f"workspace={workspace}", "report.plots=false", "fit.scan_points=null", f"tracking.uri={store}")
    succeed(*fit, f"output_dir={tmp_path}/a")
    expected = logged(store, runs_of(store)[-1])
    folder = tmp_path / "b"
    succeed(*[text for text in fit if not text.startswith("tracking")], "tracking=none", f"hydra.run.dir={folder}")

    succeed("log", f"run={folder}", f"tracking.uri={store}")

    found = logged(store, runs_of(store)[-1])
    for values in (found, expected):
        values["params"] = {key: x for key, x in values["params"].items() if not key.startswith("tracking")}
    assert found == expected
    assert found["name"] == "fit workspace"


@pytest.mark.parametrize("broken", ["results.json", "unfinished", "nothing"])
def test_what_is_no_whole_run_is_not_logged(broken: str, runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    if broken != "nothing":
        shutil.copytree(runs("synthetic", "bce").path.parent, folder)
    if broken == "results.json":
        (folder / broken).write_text((folder / broken).read_text().replace("0.", "1.", 1))
    if broken == "unfinished":
        Status("stopped").write(folder)
    outcome = inferno("log", f"run={folder}", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    assert outcome.code == 2
    assert outcome.err.startswith("RunError: ")
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "mlflow.db").exists()
