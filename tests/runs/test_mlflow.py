"""The MLflow store: what lands in it, who is nested under whom, and what happens when it is not there."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from inferno_cli.config.schema import Tracking
from inferno_cli.config.steps import UiConfig
from inferno_cli.errors import Stopped, TrackingError
from inferno_cli.runs import folder as folders
from inferno_cli.runs.cleaning import remove
from inferno_cli.runs.folder import Status
from inferno_cli.runs.listed import listed
from inferno_cli.runs.mlflow.afterwards import RUN_FILE, log_files, read_run, remember
from inferno_cli.runs.mlflow.run import Run, tracked
from inferno_cli.runs.mlflow.store import check, shown
from inferno_cli.runs.mlflow.stored import names_by_key, stored_runs
from inferno_cli.runs.mlflow.sweep import PARENT_FILE, SweepCallback, end_parent
from inferno_cli.signals import listening

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """One store for the module, in a folder with a blank: to create one takes seconds."""
    folder = tmp_path_factory.mktemp("a store") / "outputs"
    return Tracking(backend="mlflow", uri=f"sqlite:///{folder}/mlflow.db", experiment="tests")


@pytest.fixture(scope="module")
def client(tracking: Tracking) -> Any:
    """Look into the store past the code under test."""
    with log(tracking, name="the store is created"):
        pass
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking.uri)


def log(tracking: Tracking, name: str = "a run", sweep: Path | None = None, **arguments: Any) -> Any:
    """Start a run with what a test does not care about filled in."""
    return tracked(tracking, **{"name": name, "params": {}, "tags": {}, "sweep_folder": sweep, **arguments})


def job(sweep: Path, *, failed: bool, backend: str = "mlflow") -> dict[str, Any]:
    """What Hydra hands to ``on_job_end``."""
    from hydra.core.utils import JobStatus

    return {"config": hydra_config(sweep, backend=backend)} | {
        "job_return": SimpleNamespace(status=JobStatus.FAILED if failed else JobStatus.COMPLETED)
    }


def hydra_config(sweep: Path, *, mode: str = "MULTIRUN", backend: str = "mlflow") -> Any:
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    return OmegaConf.create(
        {
            "hydra": {"mode": RunMode[mode], "sweep": {"dir": str(sweep)}},
            "tracking": {"backend": backend},
        }
    )


@contextmanager
def listener() -> Iterator[int]:
    """A port where something listens and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_everything_lands(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text("{}")
    params = {
        "seed": 1,
        "model": {"bins": 10, "hidden": [100, 100]},
        "label": None,
        "empty": {},
        "bad (name)": "x",
        "long": "y" * 7000,
        "many": {f"p{i}": i for i in range(150)},
    }
    history = [{"loss": 1 / (epoch + 1), "hard": math.inf if epoch == 0 else 0.5} for epoch in range(600)]
    with log(tracking, name="bins=10", params=params, tags={"label": "none"}) as logged:
        logged.epochs(history)
        logged.metrics({"mu/hesse": 0.35, "lost": math.nan})
        logged.tags({"late": "yes"})
        logged.artifacts([results])
        logged.artifacts([results], "plots")
    found = client.get_run(logged.run_id)

    assert (found.info.status, found.info.run_name) == ("FINISHED", "bins=10")
    assert len(found.data.params) == len(params) - 2 + 2 + 150
    expected = {"seed": "1", "model.bins": "10", "model.hidden": "[100,100]", "label": "null", "empty": "{}"}
    assert expected.items() <= found.data.params.items()
    assert found.data.params["bad _name_"] == "x"
    assert found.data.params["long"] == "y" * 5997 + "..."
    assert found.data.metrics == {"mu/hesse": 0.35, "loss": 1 / 600, "hard": 0.5}
    losses = client.get_metric_history(logged.run_id, "loss")
    assert [(m.step, m.value) for m in losses] == [(i, epoch["loss"]) for i, epoch in enumerate(history)]
    assert client.get_metric_history(logged.run_id, "hard")[0].step == 1
    assert {"label": "none", "late": "yes"}.items() <= found.data.tags.items()
    assert "mlflow.parentRunId" not in found.data.tags
    assert [item.path for item in client.list_artifacts(logged.run_id)] == ["plots", "results.json"]
    assert [item.path for item in client.list_artifacts(logged.run_id, "plots")] == ["plots/results.json"]


def test_names_that_mlflow_does_not_take_are_logged_all_the_same(tracking: Tracking, client: Any) -> None:
    names = ["pi+", "pi-", "pi*", "tau/", "x//y", "..", "../../x", "a[0]", "a(0)", "Jes", "jes", "é", "z" * 100]
    params = {"dataset": {"systematics": {name: {"size": i, "kind": "normalisation"} for i, name in enumerate(names)}}}
    metrics = {
        f"{name}/{what}": i + 0.5 * (what == "hesse") for i, name in enumerate(names) for what in ("pull", "hesse")
    }
    other = tracking.model_copy(update={"experiment": "names"})
    with log(other, params=params | {"model": {"name": "bce"}}) as logged:
        logged.epochs([{"loss": 2.0}, {"loss": 1.0}])
        logged.metrics(metrics)
    found = client.get_run(logged.run_id)
    assert len(found.data.params) == 2 * len(names) + 1
    assert len({key.casefold() for key in found.data.metrics}) == len(metrics) + 1
    said = json.loads(found.data.tags["names"])
    assert {said.get(key, key): value for key, value in found.data.metrics.items()} == metrics | {"loss": 1.0}
    # All numbers of one parameter stay together, and a name that is fine is not touched.
    (folder,) = {key.rpartition("/")[0] for key, name in said.items() if name in ("pi+/pull", "pi+/hesse")}
    assert folder.startswith("pi__")
    assert found.data.params["dataset.systematics.é.size"] == "11"
    # Read back, the settings have their own names.
    (run_of_it,) = stored_runs(other, "names")[1]
    expected = {f"dataset.systematics.{name}.size": i for i, name in enumerate(names)}
    assert expected.items() <= run_of_it.settings.items()


def test_a_signal_while_the_run_is_begun_ends_it(
    tracking: Tracking, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has the run before this process knows its id: nobody could end it then."""
    from mlflow import MlflowClient

    create = MlflowClient.create_run
    begun = []

    def slow(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun.append(create(self, *args, **kwargs))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        return begun[-1]

    monkeypatch.setattr(MlflowClient, "create_run", slow)

    def work() -> None:
        with listening(), log(tracking):
            pytest.fail("it goes on")

    with pytest.raises(Stopped):
        work()
    assert client.get_run(begun[0].info.run_id).info.status == "KILLED"


def test_many_names_take_several_tags(tracking: Tracking, client: Any) -> None:
    names = {f"values.{i}+{'x' * 90}": i for i in range(150)}
    with log(tracking, params=names) as logged:
        pass
    tags = client.get_run(logged.run_id).data.tags
    assert {"names", "names.2"} <= tags.keys()
    assert names_by_key(tags).keys() == client.get_run(logged.run_id).data.params.keys()
    assert set(names_by_key(tags).values()) == set(names)
    assert names_by_key({"names": '{"a_b": "a+b"}', "names.2": '{"cut', "name": '{"c": "d"}'}) == {"a_b": "a+b"}


def test_artifacts_lie_beside_the_store_whatever_the_working_directory(
    client: Any, tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path(str(tracking.uri).removeprefix("sqlite:///")).parent
    monkeypatch.chdir(store.parent)
    relative = tracking.model_copy(update={"uri": "sqlite:///outputs/mlflow.db", "experiment": "relative"})
    (tmp_path / "a.txt").write_text("a")
    with log(relative) as logged:
        monkeypatch.chdir(tmp_path)
        logged.artifacts([tmp_path / "a.txt"])
    assert (store / "mlartifacts" / logged.run_id / "artifacts" / "a.txt").read_text() == "a"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]
    assert client.get_experiment_by_name("relative") is not None


def test_a_set_name_wins(tracking: Tracking, client: Any) -> None:
    with log(tracking.model_copy(update={"run_name": "mine"}), name="bins=10") as logged:
        pass
    assert client.get_run(logged.run_id).info.run_name == "mine"


def test_an_exception_ends_the_run_as_failed(tracking: Tracking, client: Any) -> None:
    with pytest.raises(ValueError, match="9 bins"), log(tracking) as logged:
        raise ValueError("9 bins")
    found = client.get_run(logged.run_id)
    assert (found.info.status, found.data.tags["error"]) == ("FAILED", "ValueError: 9 bins")


def test_a_missing_artifact_fails_the_run(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"cannot copy .*gone\.png"), log(tracking) as logged:
        logged.artifacts([tmp_path / "gone.png"])
    assert client.get_run(logged.run_id).info.status == "FAILED"


def test_nothing_leaks_from_a_run(tracking: Tracking, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    with log(tracking):
        assert mlflow.active_run() is None
    with pytest.raises(KeyError), log(tracking):
        raise KeyError
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before != tracking.uri
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_jobs_are_nested_under_one_parent(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text(
        "hydra: {overrides: {task: ['model=bce,inferno', 'seed=1', 'output_dir=/x', 'tracking.uri=y']}}"
    )
    callback, parents = SweepCallback(), set()
    callback.on_multirun_start(hydra_config(tmp_path))
    for name in ("model=bce", "model=inferno"):
        with log(tracking, name=name, sweep=tmp_path) as logged:
            parent_id = client.get_run(logged.run_id).data.tags["mlflow.parentRunId"]
            parents.add(parent_id)
        assert client.get_run(logged.run_id).info.run_name == name
        callback.on_job_end(**job(tmp_path, failed=False))
        assert client.get_run(parent_id).info.status == "RUNNING"
    callback.on_multirun_end(hydra_config(tmp_path))
    assert len(parents) == 1
    parent = client.get_run(parent_id)
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "model=bce,inferno seed=1")


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (Stopped, "KILLED")]
)
def test_a_failing_job_ends_the_parent(
    error: type[BaseException], status: str, tracking: Tracking, client: Any, tmp_path: Path
) -> None:
    with pytest.raises(error), log(tracking, sweep=tmp_path) as logged:
        raise error(signal.SIGTERM)
    with log(tracking, sweep=tmp_path):
        pass
    SweepCallback().on_multirun_end(hydra_config(tmp_path))
    found = client.get_run(logged.run_id)
    assert found.info.status == status
    assert client.get_run(found.data.tags["mlflow.parentRunId"]).info.status == status


def test_a_job_that_fails_before_its_run_fails_the_parent(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    callback = SweepCallback()
    callback.on_job_end(**job(tmp_path, failed=True))
    with log(tracking, sweep=tmp_path) as logged:
        pass
    callback.on_multirun_end(hydra_config(tmp_path))
    found = client.get_run(logged.run_id)
    assert found.info.status == "FINISHED"
    assert client.get_run(found.data.tags["mlflow.parentRunId"]).info.status == "FAILED"


def test_a_job_with_another_experiment_has_no_parent(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    with log(tracking, sweep=tmp_path):
        pass
    with log(tracking.model_copy(update={"experiment": "other"}), sweep=tmp_path) as logged:
        pass
    assert "mlflow.parentRunId" not in client.get_run(logged.run_id).data.tags


APP = """
import hydra
from pathlib import Path
from hydra.core.hydra_config import HydraConfig
from inferno_cli.config.schema import Tracking
from inferno_cli.runs.mlflow.run import Run, tracked

@hydra.main(version_base="1.3", config_path=".", config_name="app")
def main(config):
    assert config.seed != 2, "before the run"
    sweep, tracking = Path(HydraConfig.get().sweep.dir), Tracking(**config.tracking)
    with tracked(tracking, name=f"seed={config.seed}", params={}, tags={}, sweep_folder=sweep):
        pass

main()
"""


def test_hydra_calls_the_callback(tracking: Tracking, client: Any, tmp_path: Path) -> None:
    config = {
        "seed": 1,
        "tracking": tracking.model_dump() | {"experiment": "hydra"},
        "hydra": {
            "sweep": {"dir": str(tmp_path / "sweep")},
            "callbacks": {"tracking": {"_target_": "inferno_cli.runs.mlflow.sweep.SweepCallback"}},
        },
    }
    (tmp_path / "app.yaml").write_text(json.dumps(config))
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "app.py", "-m", "seed=2,3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "before the run" in done.stderr) == (1, True)
    assert "UserWarning" not in done.stderr
    experiment = client.get_experiment_by_name("hydra").experiment_id
    runs = {item.info.run_name: item for item in client.search_runs([experiment])}
    assert {name: item.info.status for name, item in runs.items()} == {
        "seed=2,3": "FAILED",
        "seed=3": "FINISHED",
    }
    assert runs["seed=3"].data.tags["mlflow.parentRunId"] == runs["seed=2,3"].info.run_id


def test_a_folder_knows_where_its_run_is_logged_before_anything_is(
    tracking: Tracking, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one that is killed while its configuration is logged can be ended."""

    def stop(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(Run, "params", stop)
    with pytest.raises(RuntimeError, match="killed"), log(tracking, "early", folder=tmp_path):
        raise AssertionError("it goes on")
    assert client.get_run(read_run(tmp_path / RUN_FILE)["run_id"]).info.run_name == "early"


def test_a_killed_run_whose_folder_is_removed_does_not_run_for_ever(
    tracking: Tracking, client: Any, tmp_path: Path
) -> None:
    run = client.create_run(client.create_experiment("killed and removed"))
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    remember(tmp_path / "run", str(tracking.uri), run.info.run_id)
    Status("running", "a").write(tmp_path / "run")

    (found,) = listed([str(tmp_path)])

    assert remove(found, [tmp_path]) == ""
    assert client.get_run(run.info.run_id).info.status == "KILLED"


def test_a_killed_multirun_does_not_run_for_ever_nor_is_one_ended_that_goes_on(
    tracking: Tracking, client: Any, tmp_path: Path
) -> None:
    experiment = client.create_experiment("killed multirun")
    parent, runs = client.create_run(experiment).info.run_id, []
    for name in "01":
        (tmp_path / name / ".hydra").mkdir(parents=True)
        runs.append(client.create_run(experiment).info.run_id)
        remember(tmp_path / name, str(tracking.uri), runs[-1])
        Status("running", "a").write(tmp_path / name)
    (tmp_path / PARENT_FILE).write_text(json.dumps({"uri": tracking.uri, "run_id": parent}))
    shutil.copytree(tmp_path / "1", tmp_path / "copies" / "1")

    with folders.owned(tmp_path / "1"):
        for found in listed([str(tmp_path / "0"), str(tmp_path / "copies")]):
            assert remove(found, [tmp_path]) == ""
        states = [client.get_run(item).info.status for item in (*runs, parent)]
        assert states == ["KILLED", "RUNNING", "RUNNING"]
    (last,) = listed([str(tmp_path / "1")])
    assert remove(last, [tmp_path]) == ""
    assert [client.get_run(item).info.status for item in (runs[1], parent)] == ["KILLED", "KILLED"]


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_run_that_was_killed_does_not_run_for_ever(
    state: Any, tracking: Tracking, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could tell the store; who begins again in its folder does. One that was stopped has said so itself."""
    monkeypatch.setattr(folders, "keep_configuration", lambda *_: None)
    experiment = client.create_experiment(f"killed, {state}")
    run = client.create_run(experiment)
    remember(tmp_path, str(tracking.uri), run.info.run_id)
    Status(state, "a").write(tmp_path)

    composed: Any = None
    assert folders.begin(tmp_path, composed, "a", overwrite=False)

    assert client.get_run(run.info.run_id).info.status == ("KILLED" if state == "running" else "RUNNING")
    assert not (tmp_path / RUN_FILE).exists()


@pytest.mark.parametrize(("before", "after"), [("KILLED", "FINISHED"), ("FAILED", "FAILED")])
def test_a_multirun_that_was_stopped_and_goes_on_has_finished(
    before: str, after: str, tracking: Tracking, client: Any, tmp_path: Path
) -> None:
    """One of whose jobs failed has not."""
    parent = client.create_run(client.create_experiment(f"parent, {before}")).info.run_id
    client.set_terminated(parent, before)
    (tmp_path / PARENT_FILE).write_text(json.dumps({"uri": tracking.uri, "run_id": parent}))

    end_parent(tmp_path, "FINISHED")

    assert client.get_run(parent).info.status == after


def test_nothing_is_registered_where_nothing_is_logged() -> None:
    with pytest.raises(TrackingError, match="register_as: a model is registered in a store, and tracking=none has"):
        check(Tracking(backend="none", register_as="histogram"))


START = """
import sys
from inferno_cli.config.schema import Tracking
from inferno_cli.runs.mlflow.run import Run, tracked

tracking = Tracking(backend="mlflow", uri="sqlite:///mlflow.db", experiment="fresh")
with tracked(tracking, name=sys.argv[1], params={"seed": 1}, tags={}, sweep_folder=None) as logged:
    logged.metrics({"x": 1.0})
"""


def test_two_processes_on_a_fresh_store(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", START, name] for name in ("first", "second")]
    processes = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for command in commands]
    messages = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], messages
    from mlflow import MlflowClient

    found = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = found.search_runs([found.get_experiment_by_name("fresh").experiment_id])
    assert {item.info.run_name: item.info.status for item in runs} == {
        "first": "FINISHED",
        "second": "FINISHED",
    }


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_dead_server_is_found_at_once(scheme: str) -> None:
    with listener() as port:
        pass
    dead = Tracking(backend="mlflow", uri=f"{scheme}://me:secret@127.0.0.1:{port}", experiment="x")
    start = time.monotonic()
    with pytest.raises(TrackingError, match=rf"{scheme}://127\.0\.0\.1:{port} .*refused.*tracking=none") as error:
        check(dead)
    assert time.monotonic() - start < 10
    assert "secret" not in str(error.value)
    with pytest.raises(TrackingError), log(dead):
        pytest.fail("the run must not start")


def test_a_server_that_never_answers_is_found_in_time() -> None:
    with listener() as port:
        start = time.monotonic()
        with pytest.raises(TrackingError, match="timed out"):
            check(Tracking(backend="mlflow", uri=f"http://127.0.0.1:{port}", experiment="x"))
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(("status", "alive"), [(200, True), (404, True), (503, False)])
def test_a_server_that_answers(status: int, alive: bool, caplog: pytest.LogCaptureFixture) -> None:
    from inferno_cli.steps import ui

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path.startswith("/api/2.0/mlflow/") else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep the output of the tests clean."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        address = f"127.0.0.1:{server.server_port}"
        served = Tracking(backend="mlflow", uri=f"http://me:secret@{address}", experiment="x")
        caplog.set_level("INFO")
        try:
            if alive:
                ui.run(ui_config(served), None)
                assert caplog.messages == [f"MLflow runs at http://{address}"]
            else:
                with pytest.raises(TrackingError, match="Service Unavailable"):
                    check(served)
        finally:
            server.shutdown()


def test_a_server_that_answers_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte comes in time, and the answer never ends."""
    from inferno_cli.runs.mlflow import store

    monkeypatch.setattr(store, "_PATIENT", 0.5)
    done = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            while not done.wait(0.1):
                self.wfile.write(b" ")

        def log_message(self, *_: Any) -> None:
            """Keep the output of the tests clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(TrackingError, match=r"does not answer: its answer is not whole after 0.5 s"):
                check(Tracking(backend="mlflow", uri=f"http://127.0.0.1:{server.server_port}", experiment="x"))
        finally:
            done.set()
            server.shutdown()


def test_a_server_that_hangs_later_is_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first answers are good, and what is to be written is never answered."""
    from inferno_cli.runs.mlflow import store

    for name in store._PATIENCE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(store._PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    there = {"experiment_id": "1", "name": "x", "artifact_location": "mlflow-artifacts:/1", "lifecycle_stage": "active"}
    done = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"experiment": there}).encode())

        def do_POST(self) -> None:
            done.wait(30)

        def log_message(self, *_: Any) -> None:
            """Keep the output of the tests clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        served = Tracking(backend="mlflow", uri=f"http://127.0.0.1:{server.server_port}", experiment="x")
        start = time.monotonic()
        try:
            with pytest.raises(TrackingError, match=r"cannot start a run: .*timed out"), log(served):
                pytest.fail("the run must not start")
            assert time.monotonic() - start < 8
        finally:
            done.set()
            server.shutdown()


def test_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch, tracking: Tracking, client: Any) -> None:
    from inferno_cli.runs.mlflow import store

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    store.connect(str(tracking.uri))
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_store_that_is_locked_is_said(
    how: str, tracking: Tracking, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inferno_cli.runs.mlflow import store

    monkeypatch.setattr(store, "_LOCKED", 0.2)
    says = r"is locked: another program \(a stopped one, a backup, a database browser\)"
    file = store.sqlite_file(str(tracking.uri))
    assert file is not None
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        with pytest.raises(TrackingError, match=says):
            check(tracking)
        other.execute("ROLLBACK")

        def work() -> None:
            with log(tracking) as logged:
                other.execute(f"BEGIN {how}")
                logged.metrics({"a": 1.0})

        with pytest.raises(TrackingError, match=says):
            work()
        other.execute("ROLLBACK")
    check(tracking)


def test_a_store_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrackingError, match="pipe is no file"):
        check(Tracking(backend="mlflow", uri=f"sqlite:///{tmp_path}/pipe", experiment="x"))


def test_what_is_logged_twice_is_there_once(tracking: Tracking, client: Any) -> None:
    """As by `inferno log` after a store that failed half-way."""
    begun = []

    def work() -> None:
        with log(tracking, params={"seed": 1}) as first:
            begun.append(first)
            first.epochs([{"loss": 2.0}, {"loss": 1.0}])
            raise TrackingError("gone")

    with pytest.raises(TrackingError):
        work()
    (first,) = begun
    assert client.get_run(first.run_id).data.tags["error"] == "TrackingError: gone"
    with log(tracking, params={"seed": 1}, resume=first.run_id) as again:
        again.epochs([{"loss": 2.0}, {"loss": 1.0}])
        again.metrics({"mu": 1.0})
    found = client.get_run(first.run_id)
    assert again.run_id == first.run_id
    assert (found.info.status, "error" in found.data.tags) == ("FINISHED", False)
    assert [(x.step, x.value) for x in client.get_metric_history(first.run_id, "loss")] == [(0, 2.0), (1, 1.0)]


@pytest.mark.parametrize("text", ["{", "[]", '{"uri": 1, "run_id": "a"}', "[" * 100_000])
def test_a_folder_that_names_no_run(text: str, tmp_path: Path) -> None:
    (tmp_path / "mlflow_run.json").write_text(text)
    with pytest.raises(TrackingError, match="Delete that file to log nothing"):
        log_files(tmp_path / RUN_FILE, [], "explain")


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("this is no folder and no database")
    for path, message in (
        ("file/mlflow.db", "File exists: .*/file"),
        ("file", "no SQLite file"),
        ("a%b.db", "'%'"),
    ):
        with pytest.raises(TrackingError, match=message):
            check(Tracking(backend="mlflow", uri=f"sqlite:///{tmp_path}/{path}", experiment="x"))


def test_without_a_backend_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    none = Tracking(backend="none")
    check(none)
    with log(none, sweep=tmp_path / "sweep") as logged:
        assert logged is None
    SweepCallback().on_job_end(**job(tmp_path, failed=True, backend="none"))
    SweepCallback().on_multirun_end(hydra_config(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """A folder that was copied from elsewhere names it."""
    remember(tmp_path, f"sqlite:///{tmp_path}/gone/mlflow.db", "a1b2")

    with pytest.raises(
        TrackingError, match=r"there is no MLflow store .*gone/mlflow\.db\. .*mlflow_run\.json names it"
    ):
        log_files(tmp_path / RUN_FILE, [], "explain")

    assert not (tmp_path / "gone").exists()


def test_a_pruned_trial_has_no_results(tracking: Tracking) -> None:
    experiment = tracking.model_copy(update={"experiment": "pruned"})
    params = {"model": {"name": "bce"}}
    with log(experiment, name="trial", params=params) as logged:
        logged.tags({"pruned": "after epoch 3"})

    (found,) = stored_runs(experiment, "pruned")[1]

    assert (found.status, found.finished, found.why) == ("FINISHED", False, "pruned: after epoch 3")


def test_a_single_run_has_no_parent_to_end(tmp_path: Path) -> None:
    arguments = job(tmp_path, failed=True) | {"config": hydra_config(tmp_path, mode="RUN")}
    SweepCallback().on_job_end(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_import_is_light() -> None:
    code = """if True:
        import sys, inferno_cli.runs.mlflow, inferno_cli.steps.ui
        print({"mlflow", "torch"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_shown_hides_the_password() -> None:
    assert shown("https://me:p@ss@host:1/a@b") == "https://host:1/a@b"
    assert shown("sqlite:////a/b@c/m.db") == "sqlite:////a/b@c/m.db"


def ui_config(tracking: Tracking, port: int = 5000) -> UiConfig:
    return UiConfig(output_dir="outputs", tracking=tracking, host="127.0.0.1", port=port)


def test_ui_needs_a_store(tmp_path: Path) -> None:
    from inferno_cli.steps import ui

    missing = Tracking(backend="mlflow", uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="x")
    with pytest.raises(TrackingError, match=r"mlflow\.db.*inferno train"):
        ui.run(ui_config(missing), None)
    with pytest.raises(TrackingError, match="tracking=mlflow"):
        ui.run(ui_config(Tracking(backend="none")), None)
    assert list(tmp_path.iterdir()) == []


def test_ui_names_a_port_in_use(tracking: Tracking, client: Any) -> None:
    from inferno_cli.steps import ui

    with listener() as port, pytest.raises(TrackingError, match=rf"port {port} .* port="):
        ui.run(ui_config(tracking, port), None)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_ui_says_that_nobody_is_asked_for_a_password(
    host: str, tracking: Tracking, client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from inferno_cli.steps import ui

    monkeypatch.setattr(ui, "_serve", lambda command: None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    caplog.set_level("INFO")
    ui.run(UiConfig(output_dir="outputs", tracking=tracking, host=host, port=port), None)
    assert ("nobody is asked for a password" in caplog.text) == (host == "0.0.0.0")


def test_ui_ends_its_server_on_ctrl_c(tmp_path: Path) -> None:
    """The server is replaced by a process that says when it was interrupted."""
    server = (
        "import pathlib, signal, time\n"
        "def end(*_): pathlib.Path('interrupted').touch(); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path('started').touch(); time.sleep(60)"
    )
    code = (
        "import sys; from inferno_cli.signals import listening; from inferno_cli.steps import ui\n"
        f"with listening(): ui._serve([sys.executable, '-c', {server!r}])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (143, "")
    assert (tmp_path / "interrupted").exists()
