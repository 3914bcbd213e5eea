"""Studies: what each sweeps, resuming, and points that fail. The pipeline is replaced: nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from handmade import record

from inferno_cli.config.load import config_folder
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import FitFailedError
from inferno_cli.report.comparison import page as comparison_page
from inferno_cli.runs import folder as folders
from inferno_cli.runs import points
from inferno_cli.runs.folder import RESULTS_FILE, Status
from inferno_cli.runs.record import Results
from inferno_cli.runs.run_folder import RunFolder
from inferno_cli.steps import train
from integration.conftest import inferno, succeed

STUDIES = sorted(path.stem for path in (config_folder() / "study").glob("*.yaml"))
POINTS = {
    "constraint_widths": 5,
    "signal_yield": 4,
    "benchmarks": 5,
    "downsampling": 4,
    "downsampling_published": 4,
    "bins": 4,
    "temperature": 6,
    "shift": 3,
    "losses": 12,
    "initialisation": 5,
    "coverage": 1,
    "cross_training": 1,
    "range_of_validity": 9,
    "summaries": 4,
    "baselines": 1,
}
MODELS = {"losses": "kde"}
"""Model of the points of a study that is not INFERNO."""
TAKES = {"cross_training": ("+experiment=benchmark2", "trained_for=benchmark2"), "range_of_validity": ()}
"""Studies that take the networks of `benchmarks`, and which of their points are enough here."""


class Pipeline:
    """Instead of the real one: a record written by hand, or what ``before`` raises."""

    def __init__(self) -> None:
        self.configs: list[TrainConfig] = []
        self.taken: list[RunFolder | None] = []
        self.before: Callable[[TrainConfig], None] = lambda config: None

    def __call__(
        self, config: TrainConfig, folder: Path, version: str, point: str, taken: RunFolder | None = None
    ) -> Results:
        self.before(config)
        self.configs.append(config)
        self.taken.append(taken)
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "best.ckpt").write_text(f"{config.model.name} {config.nuisance} {config.seed}")
        width = 0.3 + 0.01 * config.model.summary.n_bins + 0.001 * config.seed + 0.1 * (config.model.name == "bce")
        values = record(width, seed=config.seed, model=config.model.name, dataset=config.dataset.name)
        if config.dataset.kind == "synthetic":
            values |= {
                "dataset_checksum": f"{config.data_seed}{config.dataset.yields.signal}{config.dataset.nominal}" * 20
            }
        results = Results.model_validate({**values, "code_version": version})
        results.save(folder / RESULTS_FILE)
        return results


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    fake = Pipeline()
    monkeypatch.setattr(train, "pipeline", fake)
    monkeypatch.setattr(comparison_page, "figures", lambda comparison: iter(()))  # the slow part
    return fake


def start(folder: Path, *arguments: str) -> Any:
    return inferno("train", "-m", "tracking=none", f"output_dir={folder}", *arguments)


def statuses(folder: Path) -> list[tuple[str, Status]]:
    found = sorted(folder.rglob(folders.STATUS_FILE), key=lambda path: (str(path.parent.parent), int(path.parent.name)))
    return [(path.parent.name, said) for path in found if (said := Status.read(path.parent)) is not None]


def test_objectives_are_swept_without_their_path(tmp_path: Path, pipeline: Pipeline) -> None:
    kinds = ("cross_entropy", "cross_entropy_augmented", "cls", "p0", "poi_variance")
    objectives = ",".join(kinds)

    outcome = start(tmp_path, "+experiment=blobs", f"objective={objectives}", "model.bins=5", "seed=1,2,3")

    assert outcome.code == 0, outcome.err
    models = [config.model for config in pipeline.configs]
    assert [model.objective.kind for model in models[::3]] == [kinds[0], "augmented_cross_entropy", *kinds[2:]]
    assert {(model.summary.kind, model.summary.n_bins, model.network.kind) for model in models} == {("kde", 5, "mlp")}
    assert [config.seed for config in pipeline.configs] == 5 * [1, 2, 3]


def test_every_study_is_tested() -> None:
    assert set(STUDIES) == set(POINTS)


@pytest.mark.parametrize("study", STUDIES)
def test_study_has_its_points_and_the_published_ones_beside(study: str, tmp_path: Path, pipeline: Pipeline) -> None:
    if study in TAKES:
        start(tmp_path, "+study=benchmarks", "study.repeats=1", "model=inferno", "+experiment=benchmark2")
        pipeline.configs.clear()

    model = f"model={MODELS.get(study, 'inferno')}"
    outcome = start(tmp_path, f"+study={study}", "study.repeats=1", model, *TAKES.get(study, ()))

    assert outcome.code == 0, outcome.err
    assert len(pipeline.configs) == POINTS[study]
    assert {config.seed for config in pipeline.configs} == {0}
    compared = succeed("compare", f"runs={tmp_path}/studies/{study}-quick")
    rows = json.loads((compared.path.parent / "compare.json").read_text())["points"]
    measured = [row["at"] for row in rows if not row["published"]]
    assert len(measured) == len({json.dumps(at) for at in measured}) == len(pipeline.configs)
    # Whatever was published stands beside a point of the study, or is of one that its quick size leaves out.
    published = [row["at"] for row in rows if row["published"]]
    known = (config_folder() / "reference" / f"{study}.yaml").exists()
    assert bool(published) == known
    places = [{k: v for k, v in at.items() if k != "model.name"} for at in measured]
    beside = [at for at in published if {k: v for k, v in at.items() if k != "model.name"} in places]
    assert len(beside) >= (1 if study == "cross_training" else len(published) * 0.6)


def test_a_study_compares_both_models_and_repeats_by_seed(tmp_path: Path, pipeline: Pipeline) -> None:
    start(tmp_path, "+study=shift", "dataset.systematics.toy_shift.size=20")

    points = [(config.model.name, config.seed) for config in pipeline.configs]
    assert points == [("bce", 0), ("bce", 1), ("inferno", 0), ("inferno", 1)]


def test_networks_of_each_benchmark_are_taken_for_others(tmp_path: Path, pipeline: Pipeline) -> None:
    params = yaml.safe_load((config_folder() / "study" / "cross_training.yaml").read_text())["hydra"]["sweeper"][
        "params"
    ]
    benchmarks = ",".join(f"benchmark{i}" for i in range(5))
    assert params == {"model": "inferno", "trained_for": benchmarks, "+experiment": benchmarks}

    some = ("+experiment=benchmark0,benchmark3", "model=inferno", "study.repeats=1")
    crossed = ("+study=cross_training", *some, "trained_for=benchmark0,benchmark3")
    nothing = start(tmp_path, *crossed, "trained_for=benchmark0", "+experiment=benchmark0")
    assert nothing.code == 2
    assert "is not a folder. Run what trains the network first" in nothing.err
    start(tmp_path, "+study=benchmarks", *some, "+experiment=benchmark3")
    half = start(tmp_path, *crossed, "trained_for=benchmark0", "+experiment=benchmark0")
    assert half.code == 2
    assert "no finished run of model inferno, seed 0, experiment benchmark0 is there" in half.err
    start(tmp_path, "+study=benchmarks", *some)
    pipeline.configs.clear()
    pipeline.taken.clear()

    start(tmp_path, *crossed)
    start(tmp_path, *crossed, "trained_for=benchmark0")  # nothing is left to do

    found = []
    for config, taken in zip(pipeline.configs, pipeline.taken, strict=True):
        assert taken is not None
        assert (taken.config.seed, taken.config.trained_in) == (config.seed, None)
        found.append((config.nuisance.fit, taken.config.nuisance.fit))
    assert sorted(found) == [(here, there) for here in ((), ("r", "lambda")) for there in ((), ("r", "lambda"))]


def test_a_network_that_was_trained_again_makes_another_point(tmp_path: Path, pipeline: Pipeline) -> None:
    one = ("model=inferno", "study.repeats=1", "+experiment=benchmark2")
    crossed = ("+study=cross_training", *one, "trained_for=benchmark2")
    start(tmp_path, "+study=benchmarks", *one)
    start(tmp_path, *crossed)
    (checkpoint,) = (tmp_path / "studies" / "benchmarks-quick").rglob("best.ckpt")
    checkpoint.write_text("another")
    damaged = start(tmp_path, *crossed)
    assert damaged.code == 2
    assert f"RunError: {checkpoint} has changed since the run finished" in damaged.err
    assert len(pipeline.configs) == 2

    point = statuses(checkpoint.parents[2])[0][1].point
    Status("running", point).write(checkpoint.parents[1])
    folders.finish(checkpoint.parents[1], point)
    start(tmp_path, *crossed)

    assert len(pipeline.configs) == 3


def test_networks_of_several_trainings_are_not_mixed(tmp_path: Path, pipeline: Pipeline) -> None:
    one = ("model=inferno", "study.repeats=1", "+experiment=benchmark2")
    for epochs in (3, 4):
        start(tmp_path, "+study=benchmarks", *one, f"trainer.max_epochs={epochs}")

    outcome = start(tmp_path, "+study=cross_training", *one, "trained_for=benchmark2")

    assert outcome.code == 2
    assert "2 runs of model inferno, seed 0, experiment benchmark2 are there, with different conf" in outcome.err
    last = max((tmp_path / "studies" / "benchmarks-quick").glob("*/*"))
    assert start(tmp_path, "+study=cross_training", *one, "trained_for=benchmark2", f"trained_in={last}").code == 0
    taken = pipeline.taken[-1]
    assert taken is not None
    assert taken.config.trainer.max_epochs == 4


def test_of_a_fixed_sample_only_the_training_is_repeated(tmp_path: Path, pipeline: Pipeline) -> None:
    start(tmp_path, "+study=initialisation", "model=inferno", "dataset.systematics={r: {width: 0.5}}")

    assert [(config.seed, config.data_seed) for config in pipeline.configs] == [(0, 0), (1, 0), (2, 0)]
    compared = succeed("compare", f"runs={tmp_path}/studies/initialisation-quick")
    (row,) = json.loads((compared.path.parent / "compare.json").read_text())["points"]
    width = row["values"]["width"]
    assert (row["repeats"], width["high"] - width["low"]) == (3, pytest.approx(0.002))
    assert "[0." in compared.out  # the spread, on the terminal as well


def test_scale_and_repeats_are_what_they_say(tmp_path: Path, pipeline: Pipeline) -> None:
    start(tmp_path, "+study=bins", "study.scale=full", "study.repeats=2", "model=inferno", "model.bins=5,8")

    assert {config.trainer.max_epochs for config in pipeline.configs} == {100}
    points = {(config.model.summary.n_bins, config.seed) for config in pipeline.configs}
    assert points == {(5, 0), (5, 1), (8, 0), (8, 1)}
    assert {config.model.name for config in pipeline.configs} == {"inferno"}
    assert {config.nuisance.fit for config in pipeline.configs} == {()}


@pytest.mark.parametrize(
    ("study", "repeats", "epochs"),
    [
        ("constraint_widths", 10, 100),  # thesis, figure 2.3
        ("initialisation", 5, 100),  # figure 2.6
        ("signal_yield", 5, 130),  # figures 2.7 and 2.8
        ("benchmarks", 100, 200),  # arXiv:1806.04743, section 5 and table 1
    ],
)
def test_the_full_size_is_the_published_one(study: str, repeats: int, epochs: int) -> None:
    full = yaml.safe_load((config_folder() / "study" / f"{study}.yaml").read_text(encoding="utf-8"))["study"]["full"]
    assert (full["repeats"], full["epochs"], full["train"]) == (repeats, epochs, 200_000)
    templates = full["template"]
    assert (templates["inferno"] if isinstance(templates, dict) else templates) == 1_000_000


@pytest.mark.parametrize("scale", ["quick", "full"])
def test_there_are_networks_for_every_repeat_of_the_studies_that_take_them(scale: str) -> None:
    def repeats(study: str) -> int:
        text = (config_folder() / "study" / f"{study}.yaml").read_text(encoding="utf-8")
        return int(yaml.safe_load(text)["study"][scale]["repeats"])

    assert repeats("cross_training") == repeats("benchmarks") >= repeats("range_of_validity")


SMALL = ("+study=bins", "study.repeats=2", "model.bins=5,8", "model=inferno")


def table(folder: Path) -> Any:
    compared = succeed("compare", f"runs={folder}/studies/bins-quick", "reference=none", f"output={folder}/compared")
    written = json.loads((compared.path.parent / "compare.json").read_text())
    return written["points"], written["missing"]


def test_a_study_that_was_stopped_goes_on_and_gives_the_same_table(tmp_path: Path, pipeline: Pipeline) -> None:
    def stop(config: TrainConfig) -> None:
        if len(pipeline.configs) == 2:
            raise KeyboardInterrupt

    pipeline.before = stop
    assert start(tmp_path / "a", *SMALL).code == 130
    points, missing = table(tmp_path / "a")
    stopped = {job["error"] for job in missing}
    assert sum(point["repeats"] for point in points) == 2
    assert sorted(Path(job["folder"]).name for job in missing) == ["2", "3"]
    assert any(text == "stopped: SIGINT" for text in stopped)
    assert any(text.startswith("not started: ") and "+study=bins" in text for text in stopped)

    pipeline.before = lambda config: None
    outcome = start(tmp_path / "a", *SMALL)
    assert outcome.code == 0, outcome.err
    assert len(pipeline.configs) == 4  # two of the first start, two now
    assert outcome.out.count("was finished before") == 2
    assert "sweep: 3 of 4 points done, about " in outcome.out

    start(tmp_path / "b", *SMALL)
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_the_second_start_alone_holds_the_whole_table(tmp_path: Path, pipeline: Pipeline) -> None:
    for _ in range(2):
        start(tmp_path, *SMALL)
    assert len(pipeline.configs) == 4
    last = max((tmp_path / "studies" / "bins-quick").glob("*/*"))

    assert [said.state for _, said in statuses(last)] == ["reused"] * 4
    compared = succeed("compare", f"runs={last}", "reference=none")
    rows = json.loads((compared.path.parent / "compare.json").read_text())["points"]
    assert [row["repeats"] for row in rows] == [2, 2]


@pytest.mark.parametrize("change", ["model.learning_rate=0.002", "reuse=null", "code", "results"])
def test_a_point_is_run_again_when_it_is_another_one(
    tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    one = ("+study=bins", "study.repeats=1", "model.bins=5", "model=inferno")
    start(tmp_path, *one)
    if change == "code":
        monkeypatch.setattr(points, "code_digest", lambda: "another")
    if change == "results":
        next(tmp_path.rglob(RESULTS_FILE)).unlink()

    start(tmp_path, *one, *([change] if "=" in change else []))

    assert len(pipeline.configs) == 2


def test_where_it_is_written_and_what_is_drawn_does_not_make_another_point(tmp_path: Path, pipeline: Pipeline) -> None:
    one = ("+study=bins", "study.repeats=1", "model.bins=5", "model=inferno")
    start(tmp_path / "a", *one)
    start(tmp_path / "b", *one, f"reuse={tmp_path}/a", "report.plots=true", "export=true", "trainer.progress=none")

    assert len(pipeline.configs) == 1


def test_a_failing_point_is_recorded_with_its_error_and_the_others_go_on(tmp_path: Path, pipeline: Pipeline) -> None:
    def fail(config: TrainConfig) -> None:
        if config.model.summary.n_bins == 5:
            raise FitFailedError("MINUIT did not converge") if config.seed else ZeroDivisionError("by zero")

    pipeline.before = fail
    outcome = start(tmp_path, *SMALL)
    assert outcome.code == 1  # a mistake of the program is no user's error
    assert outcome.err.splitlines()[-1].startswith("ZeroDivisionError: by zero. This is a mistake in inferno_cli: ")
    assert "Traceback" not in outcome.err
    (logged,) = [text for path in tmp_path.rglob("main.log") if "Traceback" in (text := path.read_text())]
    assert "ZeroDivisionError: by zero" in logged

    assert len(pipeline.configs) == 2
    found = [(said.state, said.error) for _, said in statuses(tmp_path)]
    assert sorted(found) == [
        ("failed", "FitFailedError: MINUIT did not converge"),
        ("failed", "ZeroDivisionError: by zero"),
        ("finished", ""),
        ("finished", ""),
    ]
    points, missing = table(tmp_path)
    assert [point["repeats"] for point in points] == [0, 2]
    assert {job["error"] for job in missing} == {
        "failed: FitFailedError: MINUIT did not converge",
        "failed: ZeroDivisionError: by zero",
    }


def test_a_configuration_that_is_not_valid_is_recorded_as_well(tmp_path: Path, pipeline: Pipeline) -> None:
    outcome = start(tmp_path, *SMALL, "model.bins=1,8")

    assert outcome.code == 2
    assert "sweep: 3 of 4 points done, 2 of them failed, about " in outcome.out
    assert [said.state for _, said in statuses(tmp_path)].count("failed") == 2
    assert any("model.bins is 1" in said.error for _, said in statuses(tmp_path))


def test_a_size_that_does_not_exist_is_one_message_with_the_choices(tmp_path: Path, pipeline: Pipeline) -> None:
    outcome = start(tmp_path, *SMALL, "study.scale=fast")

    assert outcome.code == 2
    assert outcome.err == "ConfigError: study.scale is 'fast'; expected 'quick' or 'full'\n"
    assert pipeline.configs == []
