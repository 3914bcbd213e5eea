"""``inferno nplm``: toys, two samples, a calibration and observed data; what is refused; a killed run goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inferno_cli import progress
from inferno_cli.nplm.record import Record
from inferno_cli.runs.folder import Status
from inferno_cli.steps.nplm import RUN
from integration.conftest import Outcome, inferno, succeed

SMALL = (
    "+experiment=exponential",
    "dataset.yields={signal: 20.0, background: 200.0}",
    "dataset.events.template=20000",
    "nplm.toys=12",
    "nplm.toys_tuning=10",
    "nplm.model.hidden=[2]",
    "nplm.ratio=3.0",
    "nplm.restarts=1",
    "tracking=none",
)


def record_of(outcome: Outcome) -> Record:
    return Record.load(outcome.path.parent)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("nplm")
    return succeed("nplm", *SMALL, "nplm.model.clip=6.0", "nplm.inject={sample: signal}", f"hydra.run.dir={folder}/run")


def test_toys_are_compared_with_chi2_and_a_signal_is_injected(toys: Outcome) -> None:
    record = record_of(toys)
    assert record.degrees == record.parameters == 7
    assert record.expected == pytest.approx(200)
    assert record.n_reference == 600
    assert len(record.null.t) == 12
    assert {(item.parameter, item.value) for item in record.validation} == {("norm", -1.0), ("norm", 1.0)}
    assert all(t >= 0 for item in (record.null, *record.validation) for t in item.t)
    assert record.injected is not None
    assert record.injected.events == pytest.approx(20)
    assert record.injected.z > 2 > record.null.median / record.injected.t
    assert RUN.headline(record) == f"Z {record.injected.z:.2f} (injected)"
    odd = replace(record, null=replace(record.null, ks=0.01))
    assert RUN.headline(odd) == f"Z by toys {record.injected.by_toys} (injected)"
    assert "Distribution of t" in toys.out
    page = toys.path.read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 4
    assert not (toys.path.parent / "partial").exists()


def test_a_test_is_logged_afterwards(toys: Outcome, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    folder, uri = tmp_path / "run", f"sqlite:///{tmp_path}/mlflow.db"
    shutil.copytree(toys.path.parent, folder)
    succeed("log", f"run={folder}", f"tracking.uri={uri}")

    run_id = json.loads((folder / "mlflow_run.json").read_text())["run_id"]
    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(run_id)
    assert run.data.metrics["null/median"] == record_of(toys).metrics()["null/median"]
    assert [item.tags[0].value for item in run.inputs.dataset_inputs] == ["test"]
    assert {item.path for item in client.list_artifacts(run_id)} >= {"nplm.json", "nplm.html", "config.yaml"}


def test_the_same_test_is_the_same(toys: Outcome, tmp_path: Path) -> None:
    again = succeed("nplm", *SMALL, "nplm.model.clip=6.0", "nplm.inject={sample: signal}", f"hydra.run.dir={tmp_path}")
    one, two = (json.loads((item.path.parent / "nplm.json").read_text(encoding="utf-8")) for item in (toys, again))
    for item in (one, two):
        item.pop("timing")
    assert one == two


def test_observed_data_are_tested_with_a_calibration_of_the_same_test(toys: Outcome, tmp_path: Path) -> None:
    calibration = f"nplm.calibration={toys.path.parent}"
    arguments = (*SMALL, "nplm.model.clip=6.0", "data=observed", calibration)
    assert "set unblind=true" in inferno("nplm", *arguments).err

    tested = succeed("nplm", *arguments, "unblind=true", f"hydra.run.dir={tmp_path}/observed")
    record = record_of(tested)
    assert record.null == record_of(toys).null
    assert record.tested is not None
    assert record.tested.events > 150
    assert set(record.tested.nuisance) == {"norm"}
    assert "observed" in tested.out

    shutil.copytree(toys.path.parent, tmp_path / "stopped")
    Status("stopped", error="SIGTERM").write(tmp_path / "stopped")
    unfinished = inferno("nplm", *arguments[:-1], "unblind=true", f"nplm.calibration={tmp_path}/stopped")
    assert (unfinished.code, "did not finish: stopped" in unfinished.err) == (2, True)

    other = inferno("nplm", *arguments, "unblind=true", "nplm.ratio=2.0", f"hydra.run.dir={tmp_path}/other")
    assert other.code == 2
    assert "is of another test" in other.err
    assert not (tmp_path / "other" / "nplm.json").exists()


def test_two_samples_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    small = ("dataset.events.template=2000", "nuisance=none", "nplm/model=kernel")
    toys = ("nplm.toys=10", "nplm.toys_tuning=10", "tracking=none", f"hydra.run.dir={tmp_path}/run")
    outcome = succeed("nplm", *SMALL[:2], *small, *toys, "reference=background", "data=signal")
    record = record_of(outcome)
    assert record.tested is not None
    assert record.tested.events == record.expected == 1000
    assert record.tested.z > 5
    assert record.tested.n_above == 0
    assert record.clip is None
    assert record.is_fitted
    assert "degrees of freedom: 10 of 10" in outcome.out
    assert "clip" not in outcome.out


def test_a_killed_run_goes_on_from_its_toys(toys: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.nplm import toys as module

    arguments = (*SMALL, "nplm.model.clip=6.0", "nplm.toys_at_once=4", f"hydra.run.dir={tmp_path}/run")
    thrown: list[str] = []
    throw = module.LearningTest.__call__

    def stopping(self: module.LearningTest, sets: list[module.Data], streams: list[str]) -> module.Statistics:
        if len(thrown) == 8 and stops:
            raise KeyboardInterrupt
        thrown.extend(streams)
        return throw(self, sets, streams)

    stops = True
    monkeypatch.setattr(module.LearningTest, "__call__", stopping)
    assert inferno("nplm", *arguments).code == 130
    assert not (tmp_path / "run" / "nplm.json").exists()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"
    stops = False
    found = record_of(succeed("nplm", *arguments))
    assert len(thrown) == 3 * 12  # none was thrown twice
    shutil.rmtree(tmp_path / "run")
    assert found.null.t == pytest.approx(record_of(toys).null.t, rel=1e-6)


def test_a_run_to_compare_with_must_be_there(tmp_path: Path) -> None:
    outcome = inferno("nplm", *SMALL, f"nplm.compare_with={tmp_path}", "nplm.inject={sample: signal}")
    assert outcome.code == 2
    assert "nplm.compare_with" in outcome.err


KILLED = """
import os, signal
from inferno_cli.cli.main import main
from inferno_cli.nplm import toys

write, kept = toys._write, []

def write_and_die(path, found):
    write(path, found)
    kept.append(path)
    if len(kept) == 4:
        os.kill(os.getpid(), signal.SIGKILL)

toys._write = write_and_die
main()
"""


def test_after_kill_9_in_the_midst_of_the_toys_the_same_command_gives_the_same_bits(tmp_path: Path) -> None:
    arguments = ("nplm", *SMALL, "nplm.model.clip=6.0", "nplm.toys_at_once=4", "report.plots=false")
    there = f"hydra.run.dir={tmp_path}/killed"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments, there], capture_output=True, text=True, timeout=300
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "nplm.json").exists()
    assert "abandoned" in succeed("list", str(tmp_path), "format=json").out

    resumed = record_of(succeed(*arguments, there))
    undisturbed = record_of(succeed(*arguments, f"hydra.run.dir={tmp_path}/whole"))
    assert replace(resumed, timing={}) == replace(undisturbed, timing={})
