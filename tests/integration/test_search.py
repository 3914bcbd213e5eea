"""A search with Optuna: what it asks for, how it goes on, what it prunes, and what is said at the end."""

from __future__ import annotations

import csv
import json
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from handmade import record

from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import ConfigError, FitFailedError, OutputError
from inferno_cli.report.comparison import page as comparison_page
from inferno_cli.runs import search
from inferno_cli.runs.folder import RESULTS_FILE, Status, reused
from inferno_cli.runs.record import Results
from inferno_cli.runs.run_folder import RunFolder
from inferno_cli.steps import train
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, inferno, succeed

optuna = pytest.importorskip("optuna")


class Pipeline:
    """Instead of the real one: a valley in the learning rate, and what ``before`` raises."""

    def __init__(self) -> None:
        self.configs: list[TrainConfig] = []
        self.before: Callable[[TrainConfig], None] = lambda config: None

    def __call__(
        self, config: TrainConfig, folder: Path, version: str, point: str, taken: RunFolder | None = None
    ) -> Results:
        self.configs.append(config)
        self.before(config)
        variance = (0.3 + abs(config.trainer.learning_rate - 0.003) + 0.001 * config.model.summary.bins) ** 2
        values = record(0.3, dataset=config.dataset.name, model=config.model.name)
        values["poi_variance"]["validation_hard"] = variance
        results = Results.model_validate({**values, "code_version": version})
        results.save(folder / RESULTS_FILE)
        return results


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    fake = Pipeline()
    monkeypatch.setattr(search, "STARTUP", 2)
    monkeypatch.setattr(train, "pipeline", fake)
    return fake


def start(folder: Path, n_trials: int, *arguments: str) -> Any:
    point = ("+experiment=top11004", "+sweep=optuna", f"hydra.sweeper.n_trials={n_trials}", f"output_dir={folder}")
    return inferno("train", "-m", *point, "tracking=none", *arguments)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "searches" / "top11004-inferno" / "search.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def asked(pipeline: Pipeline) -> list[tuple[float, int, float, tuple[int, ...]]]:
    return [(x.model.learning_rate, x.model.bins, x.model.temperature, tuple(x.model.hidden)) for x in pipeline.configs]


def test_the_best_trial_is_found_and_said(tmp_path: Path, pipeline: Pipeline) -> None:
    outcome = start(tmp_path, 5)

    assert outcome.code == 0, outcome.err
    points = asked(pipeline)
    assert len(set(points)) == 5
    assert all(1e-4 <= rate <= 1e-2 and 5 <= bins <= 20 and 0.01 <= t <= 1 for rate, bins, t, _ in points)
    assert {hidden for *_, hidden in points} <= {(20, 20), (50, 50), (100, 100), (200, 200)}
    table = rows(tmp_path)
    values = [float(row["sigma_mu_hard"]) for row in table]
    assert values == sorted(values)
    expected = [0.3 + abs(rate - 0.003) + 0.001 * bins for rate, bins, *_ in points]
    assert values[0] == pytest.approx(min(expected))
    best = yaml.safe_load((tmp_path / "searches" / "top11004-inferno" / "best.yaml").read_text())
    assert best["trial"] == expected.index(min(expected))
    assert f"best: trial {best['trial']}: {' '.join(best['overrides'])}" in outcome.out
    assert "sweep: 4 of 5 points done, about" in outcome.out


def test_a_search_that_was_stopped_asks_for_the_same_points(tmp_path: Path, pipeline: Pipeline) -> None:
    start(tmp_path / "a", 5)
    whole = asked(pipeline)
    pipeline.configs.clear()

    def stop(config: TrainConfig) -> None:
        if len(pipeline.configs) == 4:
            raise KeyboardInterrupt

    pipeline.before = stop
    assert start(tmp_path / "b", 5).code == 130
    pipeline.configs.pop()
    pipeline.before = lambda config: None
    assert start(tmp_path / "b", 5).code == 0
    assert asked(pipeline) == whole
    assert [row["sigma_mu_hard"] for row in rows(tmp_path / "b")] == [
        row["sigma_mu_hard"] for row in rows(tmp_path / "a")
    ]

    pipeline.configs.clear()
    outcome = start(tmp_path / "b", 5)  # nothing is left to do: the summary once more
    assert (pipeline.configs, outcome.code) == ([], 0)
    assert "best: trial " in outcome.out
    outcome = start(tmp_path / "b", 6)
    assert len(outcome.out.split("best: trial ")) == 2
    assert f"sweep: 6 of 6 points done; next: inferno compare runs={tmp_path}" in outcome.out
    assert len(pipeline.configs) == 1


KILLED = """
import os, signal
from inferno_cli.cli.main import main
from inferno_cli.steps import train

whole, started = train.pipeline, []

def pipeline(*args):
    started.append(args)
    if len(started) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*args)

train.pipeline = pipeline
main()
"""


def test_a_trial_that_ended_before_its_batch_was_killed_is_kept(tmp_path: Path, pipeline: Pipeline) -> None:
    """A real search of two at a time in a process of its own, killed in the second; here it goes on."""
    point = ("+experiment=benchmark0", "model=bce", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "export=false")
    search_of_two = ("+sweep=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.parallel=2", f"output_dir={tmp_path}")
    arguments = ("train", "-m", *point, *search_of_two, "model.hidden=choice([5],[10])", "model.learning_rate=0.01")
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = tmp_path / "searches" / "synthetic-bce"
    variance = Results.load(folder / "0" / RESULTS_FILE).poi_variance
    assert variance is not None
    assert variance.validation_hard is not None

    outcome = inferno(*arguments)

    assert outcome.code == 0, outcome.err
    assert len(pipeline.configs) == 2, "trial 0 is not run again"
    with (folder / "search.csv").open(encoding="utf-8") as file:
        found = {row["trial"]: (row["state"], row["sigma_mu_hard"]) for row in csv.DictReader(file)}
    assert found.keys() == {"0", "2", "3"}
    assert found["0"] == ("complete", str(math.sqrt(variance.validation_hard)))


def test_what_became_of_a_batch_that_was_killed(tmp_path: Path) -> None:
    """Side by side, jobs end in any order; the next points are those of the trials that were killed."""
    valley = record(0.3)
    valley["poi_variance"]["validation_hard"] = 0.04
    results = Results.model_validate(valley)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    results.save(elsewhere / RESULTS_FILE)
    searched, _ = search.space(["model.temperature=interval(0.01, 1.0)"])
    said = [
        Status("running"),
        Status("finished"),
        Status("pruned", error="worse than the median"),
        Status("stopped", error="KeyboardInterrupt"),
        Status("failed", error="FitFailedError: MINUIT did not converge"),
        reused(tmp_path / "5", elsewhere, "point"),
        reused(tmp_path / "6", tmp_path / "moved_away", "point"),
        Status("finished"),
        None,
    ]
    study = search.open_study(tmp_path, searched, {"seed": 1})
    asked = [search.ask(study, searched, 1, tmp_path) for _ in said]
    for number, status in enumerate(said):
        (tmp_path / str(number)).mkdir()
        if status is not None:
            status.write(tmp_path / str(number))
    asked[2].report(0.7, step=3)
    results.save(tmp_path / "1" / RESULTS_FILE)
    (tmp_path / "7" / RESULTS_FILE).write_text('{"schema": "of another version"}')

    study = search.open_study(tmp_path, searched, {"seed": 1})

    ended = {trial.number: (trial.state, trial.value, trial.error) for trial in search.trials(study)}
    assert ended == {
        **dict.fromkeys((0, 3, 6, 7, 8), ("stopped", None, "")),
        **dict.fromkeys((1, 5), ("complete", 0.2, "")),
        2: ("pruned", 0.7, ""),
        4: ("fail", None, "FitFailedError: MINUIT did not converge"),
    }
    assert search.asked(study) == 4
    again = [search.ask(study, searched, 1, tmp_path).params for _ in range(2)]
    assert again == [asked[0].params, asked[3].params]


def test_a_job_of_another_search_is_not_how_a_trial_ended(tmp_path: Path) -> None:
    """Its storage was deleted, its folders were not."""
    (tmp_path / "0").mkdir()
    Status("finished").write(tmp_path / "0")
    Results.model_validate(record(0.3)).save(tmp_path / "0" / RESULTS_FILE)
    searched, _ = search.space(["model.temperature=interval(0.01, 1.0)"])
    search.ask(search.open_study(tmp_path, searched, {}), searched, 1, tmp_path)

    (trial,) = search.trials(search.open_study(tmp_path, searched, {}))

    assert trial.state == "stopped"


def test_a_trial_that_fails_is_told_and_the_others_go_on(tmp_path: Path, pipeline: Pipeline) -> None:
    def fail(config: TrainConfig) -> None:
        if len(pipeline.configs) == 2:
            raise FitFailedError("MINUIT did not converge")

    pipeline.before = fail
    outcome = start(tmp_path, 3)

    assert outcome.code == 2
    assert len(pipeline.configs) == 3
    failed = rows(tmp_path)[-1]
    assert (failed["trial"], failed["state"]) == ("1", "fail")
    assert failed["error"] == "FitFailedError: MINUIT did not converge"
    assert "search: 2 finished, 1 failed" in outcome.out
    assert start(tmp_path, 3).code == 0  # it counts as tried


def test_a_search_of_something_else_does_not_go_on(tmp_path: Path, pipeline: Pipeline) -> None:
    start(tmp_path, 1)

    for change in ("trainer.max_epochs=7", "model.bins=choice(5,6)"):
        outcome = start(tmp_path, 2, change)
        assert outcome.code == 2
        assert "holds a search of another configuration or over other ranges" in outcome.err
    assert start(tmp_path, 2, f"hydra.sweep.dir={tmp_path}/other", "model.bins=5").code == 0


def test_the_model_may_be_searched_as_well(tmp_path: Path, pipeline: Pipeline) -> None:
    outcome = start(tmp_path, 4, "model=bce,inferno", "model.hidden=[20,20]", "hydra.sweeper.parallel=2", "seed=4")

    assert outcome.code == 0, outcome.err
    (folder,) = (tmp_path / "searches").iterdir()
    assert {path.parent.name for path in folder.rglob("status.json")} == {"0", "1", "2", "3"}
    assert len({config.model.name for config in pipeline.configs}) == 2


@pytest.mark.parametrize("setting", ["n_trials=zero", "n_trials=0", "parallel=0.5", "pruning=maybe", "seed=-1"])
def test_a_setting_that_makes_no_sense_is_one_message(tmp_path: Path, setting: str) -> None:
    outcome = start(tmp_path, 2, f"hydra.sweeper.{setting}")
    assert outcome.code == 2
    assert outcome.err.startswith(f"ConfigError: hydra.sweeper.{setting.partition('=')[0]} is ")
    assert not list(tmp_path.iterdir())


def test_nothing_to_search_is_one_message(tmp_path: Path, pipeline: Pipeline) -> None:
    fixed = [f"model.{key}" for key in ("learning_rate=0.01", "hidden=[20]", "bins=5", "temperature=0.1")]
    assert "nothing is searched" in start(tmp_path, 2, *fixed).err
    assert inferno("train", "+experiment=synthetic", "+sweep=optuna").code == 2  # without -m


def test_workers_share_a_search_and_try_again_what_one_was_killed_at(tmp_path: Path, pipeline: Pipeline) -> None:
    """A second worker holds one of three trials; it is killed, as the end of its lock says, and has left no result."""
    point = ("+experiment=top11004", "+sweep=optuna", f"output_dir={tmp_path}", "tracking=none")
    folder = tmp_path / "searches" / "top11004-inferno"
    start(tmp_path, 1)
    taken: list[int] = []

    def join(config: TrainConfig) -> None:
        if not taken:
            study = search._load(folder)
            (own,) = study.get_trials(states=[optuna.trial.TrialState.RUNNING])
            taken.append(search.ask(study, own.distributions, 1, folder, name).number)

    with search.worker(folder) as name:
        pipeline.before = join
        outcome = inferno("train", "-m", *point, "hydra.sweeper.n_trials=3")
        assert outcome.code == 0, outcome.err
        assert len(pipeline.configs) == 2, "the third is with the other worker"
        assert "1 running" in outcome.out
        assert start(tmp_path, 3).code == 0
        assert len(pipeline.configs) == 2
    assert start(tmp_path, 3).code == 0
    assert len(pipeline.configs) == 3
    tried = search._load(folder).get_trials()
    assert [(trial.state.name, trial.user_attrs[search.DRAW]) for trial in tried] == [
        *(("COMPLETE", 0), ("COMPLETE", 1), ("FAIL", 2), ("COMPLETE", 2)),
    ]


def test_a_search_in_a_database_and_one_of_an_earlier_version(tmp_path: Path, pipeline: Pipeline) -> None:
    folder = tmp_path / "searches" / "top11004-inferno"
    database = f"sqlite:///{folder}/optuna.db"
    assert start(tmp_path, 2, f"hydra.sweeper.storage={database}").code == 0
    outcome = start(tmp_path, 3)
    assert outcome.code == 2
    assert f"Go on with hydra.sweeper.storage={database}" in outcome.err
    assert start(tmp_path, 3, f"hydra.sweeper.storage={database}").code == 0
    assert len(pipeline.configs) == 3


def test_a_search_goes_on_behind_a_line_that_was_cut(tmp_path: Path, pipeline: Pipeline) -> None:
    """A writer was killed, or its disk was full: what it wrote last is as if it had not been written."""
    assert start(tmp_path, 2).code == 0
    path = tmp_path / "searches" / "top11004-inferno" / "optuna.journal"
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for left in (1, len(last) // 2, len(last) - 1):
        path.write_bytes(whole.removesuffix(last) + last[:left])
        outcome = start(tmp_path, 2)
        assert outcome.code == 0, outcome.err
        assert [row["state"] for row in rows(tmp_path)] == ["complete", "complete"]
        assert all(json.loads(line) for line in path.read_text().splitlines())
    assert len(pipeline.configs) == 2  # what the run has found is in its folder


def test_what_another_worker_is_writing_is_not_cut(tmp_path: Path) -> None:
    from inferno_cli.runs.journal import MendingLock, journal

    path = tmp_path / "optuna.journal"
    shared = journal(path)
    other = MendingLock(path)
    other.acquire()
    with path.open("a") as file:
        file.write('{"half": ')
        file.flush()
        waiting = threading.Thread(target=shared.append_logs, args=([{"next": 2}],))
        waiting.start()
        waiting.join(0.02)
        assert waiting.is_alive()
        file.write("1}\n")
    other.release()
    waiting.join()
    assert list(shared.read_logs(0)) == [{"half": 1}, {"next": 2}]


def test_a_journal_that_was_cut_is_named(tmp_path: Path) -> None:
    searched, _ = search.space(["model.temperature=interval(0.01, 1.0)"])
    search.open_study(tmp_path, searched, {})
    with (tmp_path / "optuna.journal").open("a") as file:
        file.write('{"op_code": 5, "worker_id": "x\n{}\n')  # of an earlier version, which went on behind it
    with pytest.raises(OutputError, match=r"optuna\.journal is damaged, .*Remove that line"):
        search.open_study(tmp_path, searched, {})


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'inferno-cli\[optuna\]'"):
        search.require_optuna()


def test_trials_worse_than_the_median_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pipeline, with values of the epochs made up: the second trial is worse than the first."""
    monkeypatch.setattr(comparison_page, "figures", lambda comparison: iter(()))  # the slow part
    monkeypatch.setattr(search, "STARTUP", 1)
    number = -1

    def pretend(self: Any, max_epochs: int | None) -> float:
        nonlocal number
        number += len(self.epochs) == 1
        return 0.3 + 0.1 * number

    from inferno_cli.training.trainer import Validation

    monkeypatch.setattr(Validation, "_smoothed", pretend)
    # Without shapes, one bin is enough: four epochs on few events may leave no more.
    point = ("+experiment=benchmark0", "model=bce", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "trainer.max_epochs=4")
    few = ("+sweep=optuna", "hydra.sweeper.n_trials=2", "model.hidden=choice([5],[10])", "tracking=mlflow")
    outcome = succeed("train", "-m", *point, *few, f"output_dir={tmp_path}", "model.learning_rate=0.01")

    folder = tmp_path / "searches" / "synthetic-bce"
    states = [said and said.state for i in range(2) if (said := Status.read(folder / str(i)))]
    assert states == ["finished", "pruned"]
    assert "epoch   3/4" in outcome.out
    assert "pruned: after epoch 3 its figure of merit is worse than the median" in outcome.out
    assert "search: 1 finished, 1 pruned" in outcome.out
    assert outcome.path == folder / "search.csv"

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [x for x in client.search_experiments() if x.name == "inferno"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len([run for run in runs if "pruned" in run.data.tags]) == 1
    stored = {Path(item.path).name for item in client.list_artifacts(parent.info.run_id, "search")}
    assert stored == {"search.csv", "best.yaml"}
    missing = json.loads(
        (succeed("compare", f"runs={folder}", "track=false").path.parent / "compare.json").read_text()
    )["missing"]
    assert [job["error"].partition(":")[0] for job in missing] == ["pruned"]
