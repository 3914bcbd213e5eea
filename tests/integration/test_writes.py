"""One rule for the folder of a run: kill, signal and full disk at every write leave a whole result or none.

Each step is run once in a small size while all calls are recorded that change its folder. Then the folder is made as it
was between any two of them, which is how ``kill -9`` leaves it, also with half of the last file, and everybody who
reads runs is asked what it is.
"""

from __future__ import annotations

import itertools
import resource
import shutil
import signal
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from writes import Call, Moment, become, content_of, full_from, record, signalled_at

from inferno_cli import signals
from inferno_cli.cli import main
from inferno_cli.errors import ComparisonError, RunError
from inferno_cli.runs.cleaning import plan
from inferno_cli.runs.find import collect
from inferno_cli.runs.folder import Status, begin, finished_of, holds_finished
from inferno_cli.runs.listed import read_run
from inferno_cli.runs.record import Results
from inferno_cli.runs.run_folder import finished_run
from inferno_cli.steps._logged import run_steps
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, Outcome, Runs, inferno, own_analysis, succeed

SYNTHETIC = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU)
STEPS: dict[str, tuple[str, ...]] = {
    "train": (*SYNTHETIC, "model=bce", "trainer.max_epochs=2"),
    "fit": ("workspace=WORKSPACE", "tracking=none", "report.plots=false", "fit.scan_points=null"),
    "anomaly": (
        *("--config-dir", "CONF", "+experiment=mine", "vae.hidden=[4]", "vae.latent=1", "replicas=10"),
        *(*QUICK, "trainer.max_epochs=2"),
    ),
    "nplm": (
        *("+experiment=exponential", "dataset.yields={signal: 20.0, background: 100.0}", "tracking=none"),
        *("dataset.events.template=2000", "nplm.toys=10", "nplm.toys_tuning=10", "nplm.model.hidden=[2]"),
        *("nplm.ratio=2.0", "nplm.restarts=1", "nplm.model.clip=6.0", "nplm.toys_at_once=5", "report.plots=false"),
        "nuisance=none",
    ),
    "interpolate": (
        *("+experiment=means", "dataset.grid={mean_x: [-1, 0, 1], mean_y: [-1, 0, 1]}", "held_out=[0, 0]"),
        "sizes.quick={train: 400, validation: 200, template: 500, iterations: 2, members: 2, flow_events: 500}",
        *("flow={transforms: 1, hidden: [4], batch_size: 100}", "at=[[0.5, 0.5]]", "model.bins=4", "tracking=none"),
        "report.plots=false",
    ),
}
NEEDS = {"interpolate": ("zuko", "sklearn")}
TWO = ["fit", "interpolate"]
"""Steps in which a full disk and a signal are tried at every write: all have the same glue, and these are quick."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the steps read."""
    folder = tmp_path_factory.mktemp("places")
    shutil.copy(Path(__file__).parents[1] / "data" / "curvature_near_zero.json", folder / "workspace.json")
    return {"WORKSPACE": str(folder / "workspace.json"), "CONF": str(own_analysis(folder))}


@dataclass(frozen=True)
class Recorded:
    """A step, and what its folder held at every moment."""

    folder: Path
    arguments: tuple[str, ...]
    moments: list[Moment]
    calls: list[Call]
    composed: Any
    """Its configuration."""
    hydra: Any
    """That of Hydra."""

    def again(self) -> Outcome:
        """Give the command in its folder once more, without making its configuration, which takes most of the time."""

        def without_composing(**_: Any) -> Any:
            self.folder.mkdir(exist_ok=True)
            return lambda task: lambda: task(deepcopy(self.composed))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hydra, "main", without_composing)
            patch.setattr(HydraConfig.instance(), "cfg", self.hydra)
            return inferno(self.arguments[0])

    def counted(self) -> Iterator[tuple[Call, int]]:
        """Yield the calls in the folder, each with how often it has been made by then."""
        for number, call in enumerate(self.calls, 1):
            if call.name != ".":
                yield call, self.calls[:number].count(call)


@pytest.fixture(scope="module", params=list(STEPS))
def recorded(
    request: pytest.FixtureRequest, places: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Recorded:
    step = request.param
    for module in NEEDS.get(step, ()):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp(step) / "run"
    arguments = (step, *(places.get(text, text).replace("WORKSPACE", places["WORKSPACE"]) for text in STEPS[step]))
    arguments = (*arguments, f"hydra.run.dir={folder}")
    asked = []
    task = main._task

    def keep(module: Any, composed: Any) -> Any:
        asked.append((deepcopy(composed), deepcopy(HydraConfig.instance().cfg)))
        return task(module, composed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "_task", keep)
        return Recorded(folder, arguments, *record(folder, lambda: succeed(*arguments)), *asked[0])


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    """A job of Hydra's, whose configuration is kept."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": {"overrides": {"task": []}}})
    yield
    HydraConfig.instance().cfg = before


def verdicts(folder: Path, point: str) -> dict[str, bool]:
    """Ask everybody who reads runs whether there is a finished one in a folder, by who says it."""
    found = {"begin": holds_finished(folder)}
    listed = read_run(folder)
    assert listed is None or listed.state not in ("running", "damaged"), listed
    found["list"] = listed is not None and listed.state == "finished"
    if listed is not None and listed.step in ("train", "fit"):
        found["reuse"] = finished_of(folder, point) is not None
    steps = run_steps()
    try:
        _, file = finished_run(str(folder), "run", list(steps))
        record = next(step for step in steps.values() if step.file == file).load(folder)
        found["predict, explain, log"] = bool(record)
    except RunError:
        found["predict, explain, log"] = False
    try:
        jobs = collect([str(folder)])
        others = [run for place in jobs.others if (run := read_run(place)) is not None]
        found["compare"] = any(job.results for job in jobs.jobs) or any(run.state == "finished" for run in others)
    except ComparisonError:  # nothing says that it is a run
        found["compare"] = False
    if listed is not None and listed.state == "abandoned":
        assert plan([listed], [listed], even_referred=False).kept == ()  # `clean` takes it
    return found


def test_a_run_that_is_killed_at_any_write_is_whole_or_none(recorded: Recorded, tmp_path: Path) -> None:
    said = Status.read(recorded.folder)
    assert said is not None
    assert len(recorded.moments) > 10
    states = []
    for moment in recorded.moments:
        folder = tmp_path / "run"
        become(folder, moment.content)
        found = verdicts(folder, said.point)
        assert len(set(found.values())) == 1, (moment.said, found)
        states.append(found["list"])
        # The same command begins anew, goes on, or shows what is there.
        assert begin(folder, OmegaConf.create({"seed": 1}), said.point, overwrite=False) != states[-1], moment.said
        if not states[-1]:
            assert not any(verdicts(folder, said.point).values())
    assert states == sorted(states)  # nothing that has finished is lost
    assert states[-1]
    assert states.count(True) < 5


def test_a_description_is_finished_when_all_of_it_is_there(tmp_path: Path) -> None:
    """`data` follows the same rule; what it writes is read by people."""
    folder = tmp_path / "data"
    point = (
        "+experiment=synthetic",
        *FEW_EVENTS,
        "bins=5",
        "systematics=[r]",
        "report.formats=[svg]",
        f"hydra.run.dir={folder}",
    )
    moments, _ = record(folder, lambda: succeed("data", *point))
    assert len(moments) > 10
    after = moments[-1].content
    assert {"data.html", "data.json", "plots"} <= after.keys()
    states = []
    for moment in moments:
        become(folder, moment.content)
        states.append(holds_finished(folder))
        assert moment.content == after or not states[-1], moment.said
        listed = read_run(folder)  # it measures nothing; killed at its first write nobody knows yet of which step it is
        assert listed is None or listed.state == "abandoned", moment.said
        assert all(moment.content[name] == after[name] for name in ("data.html", "data.json") if name in moment.content)
    assert states == sorted(states)
    assert states[-1]
    refused = inferno("data", *point)
    assert (refused.code, "overwrite=true" in refused.err, content_of(folder) == after) == (2, True, True)
    succeed("data", *point, "overwrite=true", "report.plots=false")
    assert "plots" not in content_of(folder)  # nothing of the one before is left


def prepare_in(top: Path) -> tuple[str, ...]:
    """Prepare ntuples in a folder, with the run in another one."""
    real = Path(__file__).parents[1] / "data" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    places = (f"files={real}", "sample=top", f"output={top}/made", f"hydra.run.dir={top}/run")
    return ("prepare", "prepare=open_data_2015", *places)


def test_ntuples_are_whole_when_they_have_their_name(tmp_path: Path) -> None:
    """`prepare` says that it has finished when they are; a kill leaves the input files that are done, and no more."""
    arguments = prepare_in(tmp_path)
    moments, _ = record(tmp_path, lambda: succeed(*arguments))
    after = moments[-1].content
    assert after.keys() >= {"made/top.root", "run/status.json"}
    finished = []
    for moment in moments:
        become(tmp_path, moment.content)
        finished.append(holds_finished(tmp_path / "run"))
        assert moment.content == after or not finished[-1], moment.said
        for name, data in moment.content.items():
            if name.startswith("made/") and data is not None and not name.endswith(".partial"):
                assert data == after[name], (moment.said, name)
    assert finished[-1]

    outcome = full_from("made/top.root.partial", 1, tmp_path, lambda: inferno(*arguments))

    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert content_of(tmp_path)["made/top.root"] == after["made/top.root"]  # that of before
    assert not holds_finished(tmp_path / "run")
    assert "1 files were finished before" in succeed(*arguments).out


def test_prepare_takes_no_folder_of_another_run(runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(runs("synthetic", "bce").path.parent, tmp_path / "run")
    before = content_of(tmp_path / "run")
    refused = inferno(*prepare_in(tmp_path))
    assert (refused.code, "holds a finished run, of another step" in refused.err) == (2, True)
    assert content_of(tmp_path / "run") == before


# ---------------------------------------------------------------------------------------- runs that have finished
def test_a_run_that_is_logged_or_removed_is_whole_or_none(runs: Runs, tmp_path: Path) -> None:
    """`log` adds the name that the store has for it; `clean` takes the word away first."""
    folder = tmp_path / "run"
    shutil.copytree(runs("synthetic", "bce").path.parent, folder)
    said, before = Status.read(folder), content_of(folder)
    assert said is not None
    logging = ("log", f"run={folder}", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    full = full_from("mlflow_run.json.partial", 1, folder, lambda: inferno(*logging))
    assert (full.code, len(full.err.splitlines()), content_of(folder) == before) == (2, 1, True)
    moments, _ = record(folder, lambda: succeed(*logging))
    assert len(moments) > 3
    for moment in moments:
        new = {name: data for name, data in moment.content.items() if name not in before}
        assert {**moment.content, **before} == moment.content
        assert all(name.endswith(".partial") or data == moments[-1].content[name] for name, data in new.items())
    assert "is logged already" in succeed(*logging).out

    moments, _ = record(folder, lambda: succeed("clean", str(folder), "states=finished", "yes=true"))
    assert len(moments) > 10
    for moment in moments[1:]:
        become(folder, moment.content)
        answers = verdicts(folder, said.point)
        assert len(set(answers.values())) == 1, (moment.said, answers)
        is_all = {**moment.content, **before} == moment.content
        assert answers["list"] is is_all, moment.said


# ------------------------------------------------------------------------------------- files in folders of others
def output_of(step: str, run: Path, folder: Path) -> tuple[str, ...]:
    """Return the arguments of a step that writes to a folder which is no run's."""
    few = {
        "explain": ("repeats=1", "track=false", "report.plots=false"),
        "predict": ("tree=TTJets_signal", "overwrite=true"),
    }
    key = {"compare": "runs"}.get(step, "run")
    quiet = () if step == "predict" else ("report.plots=false", "track=false")
    return (step, f"{key}={run}", f"output={folder}", *few.get(step, quiet))


@pytest.mark.parametrize("step", ["predict", "explain", "compare", "init"])
def test_every_file_is_that_of_before_or_the_new_one(step: str, runs: Runs, tmp_path: Path) -> None:
    """Killed at any write the step leaves no file under its name that is not whole."""
    folder = tmp_path / "made"
    arguments = (step, f"folder={folder}")
    if step != "init":
        run = runs("top11004" if step == "predict" else "synthetic", "bce").path.parent
        arguments = output_of(step, run, folder)
        succeed(*arguments)  # whose files are replaced
    before = content_of(folder) if folder.exists() else {}

    moments, _ = record(folder, lambda: succeed(*arguments))

    after = moments[-1].content
    assert before.keys() <= after.keys()
    for moment in moments:
        for name, data in moment.content.items():
            if data is not None and ".partial" not in name:
                assert data in (before.get(name), after[name]), (moment.said, name)


# ------------------------------------------------------------------------------------------ full disks and signals
def fit_in(folder: Path, places: dict[str, str]) -> tuple[str, ...]:
    return ("fit", f"workspace={places['WORKSPACE']}", *STEPS["fit"][1:], f"hydra.run.dir={folder}")


@pytest.fixture
def emptied(recorded: Recorded) -> Iterator[Recorded]:
    """A step whose folder may be used anew."""
    yield recorded
    become(recorded.folder, recorded.moments[-1].content)


@pytest.mark.parametrize("recorded", TWO, indirect=True)
def test_a_full_disk_at_any_write_is_one_error_and_no_result(emptied: Recorded) -> None:
    folder = emptied.folder
    opened = [(call.name, times) for call, times in emptied.counted() if call.what == "open"]
    assert len(opened) > 7
    for name, times in opened:
        shutil.rmtree(folder)
        outcome = full_from(name, times, folder, emptied.again)
        assert outcome.code == 2, name
        (line,) = outcome.err.splitlines()
        assert line.startswith("OutputError: ")
        assert "No space left on device" in line
        assert str(folder) in line or name in line
        assert "results: " not in outcome.out
        assert not any(verdicts(folder, "").values())
    assert emptied.again().code == 0  # with space again the same command goes on
    assert holds_finished(folder)


@pytest.mark.parametrize("largest", [0.9, 0.5, 0.05])
def test_a_file_that_cannot_grow_is_one_error(largest: float, tmp_path: Path) -> None:
    """The limit of the system on the size of files: each library meets it, in whatever language it writes."""
    arguments = ("train", *SYNTHETIC, "model=optimal", "export=false", f"hydra.run.dir={tmp_path}/run")
    succeed(*arguments)
    sizes = [path.stat().st_size for path in (tmp_path / "run").iterdir() if path.is_file()]
    shutil.rmtree(tmp_path / "run")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest * max(sizes)), hard))
    try:
        outcome = inferno(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("OutputError: ")
    assert not any(verdicts(tmp_path / "run", "").values())


@pytest.mark.parametrize("recorded", TWO, indirect=True)
def test_a_signal_at_any_write_leaves_a_whole_run_or_none(
    emptied: Recorded, heard: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_pass_on", lambda number: None)
    folder = emptied.folder
    states = []
    numbers = itertools.cycle((signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
    called = [item for item in emptied.counted() if item[0].what in ("open", "replace")]
    called.append((Call("unlink", "status.json.partial"), 2))  # it has its name: the run has finished
    for (call, times), number in zip(called, numbers, strict=False):
        shutil.rmtree(folder)
        outcome = signalled_at(number, call, times, folder, emptied.again)
        assert outcome.code == 128 + number
        status = Status.read(folder)
        assert status is not None
        states.append(status.state)
        said = "had" if status.state == "finished" else "is not"
        assert outcome.err == f"stopped by {number.name}: the run in {folder} {said} finished\n"
        assert set(verdicts(folder, status.point).values()) == {status.state == "finished"}
    assert set(states) == {"stopped", "finished"}
    assert states == sorted(states, reverse=True)


def test_an_overwrite_that_is_killed_leaves_no_mixture(places: dict[str, str], tmp_path: Path) -> None:
    """The old result is whole until the new run takes its word away; then there is none until the new one is whole."""
    folder = tmp_path / "run"
    arguments = fit_in(folder, places)
    old = Results.load(succeed(*arguments).path)
    moments, _ = record(folder, lambda: succeed(*arguments, "overwrite=true", "fit.significance=false"))
    found = []
    for moment in moments:
        become(folder, moment.content)
        status = Status.read(folder)
        assert status is not None
        answers = verdicts(folder, status.point)
        assert len(set(answers.values())) == 1, (moment.said, answers)
        is_whole = answers["list"]
        found.append("none" if not is_whole else "old" if Results.load(folder / "results.json") == old else "new")
    assert list(dict.fromkeys(found)) == ["old", "none", "new"]


# --------------------------------------------------------------------------------------- a finished run of each step
def test_the_same_command_shows_what_has_finished(recorded: Recorded) -> None:
    step, *_ = recorded.arguments
    before = content_of(recorded.folder)
    outcome = inferno(*recorded.arguments)
    if step == "train":  # it has `reuse`
        assert (outcome.code, "reuse=" in outcome.err) == (2, True)
    else:
        assert outcome.code == 0, outcome.err
        assert "has finished here before" in outcome.out
        assert f"results: {recorded.folder}" in outcome.out
    assert content_of(recorded.folder) == before


@pytest.mark.parametrize("reader", ["predict", "explain", "train"])
def test_a_run_of_another_step_is_named_with_what_takes_it(reader: str, recorded: Recorded, tmp_path: Path) -> None:
    step, *_ = recorded.arguments
    if step == "train" or (reader, step) == ("predict", "anomaly"):
        return
    place = f"run={recorded.folder}"
    point = ("+experiment=synthetic", f"trained_in={recorded.folder}", "tracking=none", f"hydra.run.dir={tmp_path}")
    outcome = inferno(reader, *(point if reader == "train" else (place,)))
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert (f"`inferno {step}`" if step != "fit" else "is a fit without a network") in outcome.err
    assert "`inferno train`" in outcome.err


def test_compare_shows_what_every_step_has_found(recorded: Recorded, tmp_path: Path) -> None:
    step, *_ = recorded.arguments
    out = succeed("compare", f"runs={recorded.folder}", f"output={tmp_path}", "track=false", "report.plots=false").out
    words = {"train": "sigma(mu)", "fit": "HESSE", "anomaly": "AUC", "nplm": "toys, p-value", "interpolate": "held out"}
    assert words[step] in out
    assert out.splitlines()[-1] == f"results: {tmp_path}/compare.html"
    assert (tmp_path / "compare.html").is_file()


def test_runs_of_other_steps_beside_a_comparison_are_named(recorded: Recorded, runs: Runs, tmp_path: Path) -> None:
    """None is left out in silence, one that did not finish neither."""
    step, *_ = recorded.arguments
    if step in ("train", "fit"):
        return
    top = tmp_path / "all"
    shutil.copytree(runs("synthetic", "bce").path.parent, top / "train")
    shutil.copytree(recorded.folder, top / "other")
    shutil.copytree(recorded.folder, top / "stopped")
    Status("stopped", error="SIGTERM").write(top / "stopped")
    quiet = (f"output={tmp_path}/made", "track=false", "report.plots=false")
    out = succeed("compare", f"runs={top}", *quiet).out
    (line,) = [text for text in out.splitlines() if "not in the table" in text]
    assert f"2 runs of `inferno {step}`" in line
    assert "stopped: SIGTERM" in line
    assert line in out
    if step == "anomaly":  # those of one step beside each other
        shutil.rmtree(top / "train")
        assert "stopped: SIGTERM" in succeed("compare", f"runs={top}", *quiet).out
