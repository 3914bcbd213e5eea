"""Every command in the README and in docs/: those of the program run (with few epochs), the others
name things that are there.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import compose, write

from inferno_cli.config.load import config_folder, resolve
from inferno_cli.config.steps import UiConfig
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, Runs, inferno, own_analysis, trees
from integration.test_experiments import EXPERIMENTS, OF_OTHER_STEPS

pytestmark = pytest.mark.docs
ROOT = config_folder().parent
README = ROOT / "README.md"
PROGRAM = (["inferno"], ["python", "-m", "inferno_cli"], ["python3", "-m", "inferno_cli"])
PREPARE = ("git clone ", "cd ", "pip install ", "python -m pip install ", "python3 -m venv ", "python -m venv ")
PREPARE += ("source ", ". ", "export ", "mkdir ", "cat ", "ls ")
COMBINE = {"text2workspace.py", "combine"}
FLAGS_THAT_ONLY_PRINT = {"--help", "-h", "--cfg", "-c", "--info", "-i", "--version", "-sc", "--hydra-help"}


def commands(text: str) -> list[str]:
    """The commands in blocks fenced as bash, sh, shell or console; in console blocks those behind a prompt."""
    found = []
    fence = re.compile(r"^ *```(bash|sh|shell|console)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    for language, block in fence.findall(text):
        lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
        prompts = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
        chosen = prompts if prompts or language == "console" else lines
        found += [line.strip() for line in chosen if line.strip() and not line.strip().startswith("#")]
    return found


def arguments_of(command: str) -> list[str] | None:
    """What follows the name of the program; None for the command of another one."""
    words = shlex.split(command, comments=True)
    for name in PROGRAM:
        if words[: len(name)] == name:
            return words[len(name) :]
    return None


def test_commands_are_found_in_every_kind_of_block() -> None:
    text = (
        "```bash\n# a comment\ninferno train \\\n    seed=1  # why\n\nmake run\n```\n"
        "```console\n$ python -m inferno_cli ui\nMLflow on ...\n```\n"
        "```text\ninferno not\n```\n  ```sh\n  inferno fit\n  ```\n"
    )
    assert commands(text) == ["inferno train seed=1  # why", "make run", "python -m inferno_cli ui", "inferno fit"]
    assert arguments_of("inferno train seed=1  # why") == ["train", "seed=1"]
    assert arguments_of("python -m inferno_cli ui") == ["ui"]
    assert arguments_of("make run") is None


# These have tests of their own, with what they are about: test_open_data_guide.py, test_extend.py.
OTHERS = ("open_data", "extend")
PAGES = (README, *(page for page in sorted((ROOT / "docs").glob("**/*.md")) if page.stem not in OTHERS))
FOUND = [command for page in PAGES for command in commands(page.read_text(encoding="utf-8"))]
ALL = list({tuple(shlex.split(command, comments=True)): command for command in reversed(FOUND)}.values())[::-1]
TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_readme_shows_every_step_and_the_two_commands() -> None:
    steps = {(arguments_of(command) or [""])[0] for command in ALL}
    assert {"data", "train", "fit", "predict", "explain", "compare", "prepare", "ui"} <= steps
    assert any("+experiment=top11004" in command for command in ALL)
    assert any("-m" in (arguments_of(command) or []) for command in ALL)


@pytest.mark.parametrize("command", [command for command in ALL if arguments_of(command) is None])
def test_command_of_another_program(command: str, runs: Runs) -> None:
    words = shlex.split(command, comments=True)
    if inner := re.search(r"\$\((inferno [^)]*)\)", command):
        assert inferno(*shlex.split(inner.group(1))[1:]).code == 0
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in words[1:] if "=" not in word]
        assert all(re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) for target in targets), command
    elif words[0] in ("python", "python3") and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), f"{words[1]} is not in the repository"
    elif words[0] in COMBINE:  # not installed; a datacard says the same
        card = runs("top11004", "bce").path.parent / "export" / "datacard.txt"
        assert f"#   {command}\n" in card.read_text(encoding="utf-8")
    elif words[:2] == ["docker", "build"]:  # no image is built here: that needs a network
        given = re.findall(r"--build-arg (\w+)=", command)
        assert set(given) <= set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    elif words[:2] == ["docker", "run"]:  # what stands behind the image is for inferno
        step = next(number for number, word in enumerate(words) if word.startswith("inferno")) + 1
        assert inferno(*words[step:], "--cfg", "job").code == 0
    else:
        assert command.startswith(PREPARE), f"the test does not know what to do with: {command}"


@pytest.fixture
def place(tmp_path: Path, runs: Runs) -> Callable[[str], str]:
    """Put something real where the README has a path of the reader's."""
    run = runs("top11004", "bce")
    workspace = run.results.workspace
    embedded = Path(str(config_folder().parent / "src" / "inferno_cli" / "data" / "top11004_sim.root"))

    def replace(word: str) -> str:
        key, equals, value = word.rpartition("=")
        if key == "workspace":
            return f"workspace={workspace}"
        if key == "runs" and value.startswith("mlflow:"):
            _store(run.path.parent, tmp_path / "outputs", value.removeprefix("mlflow:"))
            return word
        if key == "runs":
            return f"runs={run.path.parent}"
        if key == "run":
            return f"run={run.path.parent}"
        if key == "trained_in":
            return f"trained_in={runs('top11004', 'inferno').path.parent}"
        if key in ("hydra.sweeper.n_trials", "trainer.members"):
            return f"{key}=2"
        if key == "seed":  # more of them are more of the same
            return f"{key}={value.split(',')[0]}"
        if key == "+experiment" and "," in value:  # test_experiments.py runs each that there is
            assert set(value.split(",")) <= set(EXPERIMENTS)
            return f"{key}={','.join(value.split(',')[:2])}"
        if key == "input":
            return f"input={embedded}"
        if key == "output":
            return f"output={tmp_path}/{Path(value).name}"
        if key == "dataset.path" and value not in ("embedded", "") and not Path(value).exists():
            folder = tmp_path / "ntuples"
            folder.mkdir(exist_ok=True)
            shutil.copy(embedded, folder)
            return f"dataset.path={folder}"
        if key == "files":
            return f"files=[{Path(__file__).parents[1] / 'data' / 'nanoAOD_2015_CMS_Open_Data_ttbar.root'}]"
        if key.lstrip("+") == "tracking.uri":
            return f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
        return f"{key}{equals}{value}"

    return replace


@pytest.mark.parametrize("command", [command for command in ALL if arguments_of(command) is not None])
def test_command_of_the_program(
    command: str, place: Callable[[str], str], runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [place(word) for word in arguments_of(command) or []]
    monkeypatch.chdir(tmp_path)
    for flag in ("--config-dir", "-cd"):
        if flag in arguments:
            arguments[arguments.index(flag) + 1] = str(_own_files(tmp_path, arguments))
    step = arguments[0] if arguments else ""
    if step in ("list", "clean"):
        shutil.copytree(runs("top11004", "bce").path.parent, tmp_path / "outputs" / "sweeps" / "run")
    if step == "ui":
        _ui(arguments[1:])
        return
    extra: list[str] = []
    if step in ("train", "fit") and not FLAGS_THAT_ONLY_PRINT & set(arguments):
        extra = ["report.plots=false", f"output_dir={tmp_path}/outputs", *FIT_ONLY_MU]
        extra += [] if any("tracking" in word for word in arguments) else ["tracking=none"]
        extra += _few(arguments) if step == "train" else []
    if {"+study=cross_training", "+study=range_of_validity"} & set(arguments):
        _train_benchmark2(arguments, extra)
    if step in ("predict", "explain") and not any(word.startswith("output=") for word in arguments):
        arguments.append(f"output={tmp_path}/{step}")
    if step == "explain":
        extra = ["repeats=1"]
    if step == "anomaly":
        extra = ["report.plots=false", f"output_dir={tmp_path}/outputs", "tracking=none", "trainer.max_epochs=2"]
    if step == "interpolate":
        few = ["flow.iterations=2", "flow.members=2", "pulls.flow_events=1000", "dataset.events.train=200"]
        extra = ["report.plots=false", f"output_dir={tmp_path}/outputs", "tracking=none", "trainer.max_epochs=2", *few]
    if step == "nplm":
        few = ["nplm.toys=10", "nplm.toys_tuning=10", "nplm.restarts=1", "nplm.ratio=2", "nplm.shape.events=2000"]
        extra = ["report.plots=false", f"output_dir={tmp_path}/outputs", "tracking=none", *few]
    if step == "data":
        arguments += ["report.plots=false", f"output_dir={tmp_path}/outputs"]

    outcome = inferno(*arguments, *(word for word in extra if not _set_by(arguments, word)))

    assert outcome.code == 0, outcome.err
    if "--workflow" in arguments:  # nothing is run
        assert list(tmp_path.glob("outputs/**/points.csv"))
        return
    if any(word.startswith("hydra/launcher=") for word in arguments):  # points print where they run
        assert list(tmp_path.glob("outputs/**/results.json"))
        return
    assert outcome.out.strip()
    if extra:
        lines = outcome.out.splitlines()
        (*_, found) = (line for line in lines if line.startswith("results: "))
        assert Path(found.removeprefix("results: ")).is_file()
        if "-m" in arguments and not lines[-1].startswith("results: "):  # a sweep ends with how to go on
            said, _, folder = lines[-1].partition("; next: inferno compare runs=")
            assert said.startswith("sweep: ")
            assert Path(folder or "none").is_dir()


def _train_benchmark2(arguments: list[str], extra: list[str]) -> None:
    """Run what has to be finished before: one network of the study whose networks are taken."""
    (scale,) = (word for word in arguments if word.startswith("study.scale="))
    before = ["train", "-m", "+study=benchmarks", scale, "model=inferno", "+experiment=benchmark2"]
    same = [word for word in extra if not word.startswith(("+experiment", "trained_for", "model=", "dataset.nominal"))]
    assert inferno(*before, *same).code == 0


def _store(run: Path, outputs: Path, experiment: str) -> None:
    """A store where the README has it, with a finished run."""
    from inferno_cli.config.schema import Tracking
    from inferno_cli.runs.mlflow.run import tracked

    store = Tracking(backend="mlflow", uri=f"sqlite:///{outputs}/mlflow.db", experiment=experiment)
    params = {"model": {"name": "bce"}}
    with tracked(store, name="a run", params=params, tags={}, sweep_folder=None) as logged:
        logged.artifacts([run / name for name in ("results.json", "config.yaml")])


def python_block(module: str) -> str:
    """The lines of Python in the guide that use a module."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "guide").glob("*.md")))
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if module in block)
    return str(code)


def test_python_in_the_readme_rebuilds_the_workspace(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = python_block("cabinetry")
    run = runs("top11004", "bce")
    shutil.copytree(run.path.parent / "export", tmp_path / "export")
    monkeypatch.chdir(tmp_path / "export")
    found: dict[str, Any] = {}
    exec(code, found)

    rebuilt, original = found["spec"], json.loads(Path(run.results.workspace).read_text(encoding="utf-8"))
    for one, two in zip(rebuilt["channels"][0]["samples"], original["channels"][0]["samples"], strict=True):
        assert one["name"] == two["name"]
        assert one["data"] == pytest.approx(two["data"], rel=1e-12)
        assert [(item["name"], item["type"]) for item in one["modifiers"]] == [
            (item["name"], item["type"]) for item in two["modifiers"]
        ]


def test_the_lines_of_python_run(runs: Runs) -> None:
    code = python_block("onnxruntime")
    embedded = config_folder().parent / "src" / "inferno_cli" / "data" / "top11004_sim.root"
    run = runs("top11004", "inferno").path.parent
    for word, real in (("RUN", str(run)), ("FILE.root", str(embedded)), ("TREE", "TTJets_signal")):
        assert code.count(word) == 1
        code = code.replace(word, real)
    values: dict[str, Any] = {}
    exec(code, values)
    assert values["outputs"].shape == (14004, 10)
    assert values["bins"].max() == len(runs("top11004", "inferno").results.bins or ()) - 1


def _set_by(arguments: list[str], override: str) -> bool:
    key = override.partition("=")[0]
    return any(word.lstrip("+").startswith(f"{key}=") for word in arguments)


def _few(arguments: list[str]) -> list[str]:
    """Few epochs, few generated events, and one value of a ready-made sweep."""
    chosen = dict(word.lstrip("+").split("=", 1) for word in arguments if "=" in word)
    of_study = {"rate": "dijet", "baselines": "top11004", "bins": "top11004", "downsampling": "top11004"}
    of_study |= {"temperature": "top11004"}
    problem = of_study.get(chosen.get("study", ""), chosen.get("dataset", chosen.get("experiment", "synthetic")))
    few = list(FEW_EVENTS) if problem.startswith(("synthetic", "benchmark")) else []
    if "sweep" in chosen:
        text = (config_folder() / "sweep" / f"{chosen['sweep']}.yaml").read_text(encoding="utf-8")
        params = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
        few += [f"{key}={values.split(',')[0]}" for key, values in params.items() if len(params) == 1]
    if "coverage" in chosen:
        few += ["coverage.experiments=4"]
    if "study" in chosen:
        points = {
            "constraint_widths": ["model=bce", "dataset.systematics={r: {width: 0.2}}"],
            "initialisation": ["model=bce", "dataset.systematics={r: {width: 0.2}}"],
            "signal_yield": ["model=bce", "dataset.yields.signal=40"],
            "benchmarks": ["model=optimal", "+experiment=benchmark0"],
            "coverage": ["model=bce", "study.quick.experiments=4", "coverage.workers=1"],
            "cross_training": ["+experiment=benchmark2", "trained_for=benchmark2"],
            "range_of_validity": ["model=inferno", "dataset.nominal={r: 0.15, lambda: 3}"],
            "bins": ["model=bce", "model.bins=5"],
            "downsampling": ["model=bce", "dataset.downsample_factor=0.9"],
            "temperature": ["model.temperature=0.1"],
            "losses": ["objective=cross_entropy", "model.bins=5", *FEW_EVENTS],
            "summaries": ["model=kde", "+experiment=benchmark1", *FEW_EVENTS],
            "baselines": ["model=fisher"],
            "rate": [],
        }
        assert chosen["study"] in points, "say here which points of the study are enough"
        few += ["study.repeats=1", *points[chosen["study"]]]
    epochs = 20 if {"dijet", "rate"} & set(chosen.values()) else 3  # a handful of events in an epoch
    return [f"trainer.max_epochs={epochs}", "model.learning_rate=0.01", *few]


def _own_files(folder: Path, arguments: list[str]) -> Path:
    """A user's config folder, with what the command picks from it under the names that it has there."""
    if {"+experiment=dijet", "+study=rate"} & set(arguments):
        return _tutorial_files(folder)
    config = own_analysis(folder / "analysis")
    for group in ("dataset", "experiment"):
        for word in arguments:
            key, _, name = word.lstrip("+").partition("=")
            shipped = config_folder() / group / f"{name}.yaml"
            if key == group and name and not shipped.exists() and name != "mine":
                text = (config / group / "mine.yaml").read_text()
                (config / group / f"{name}.yaml").write_text(text)
    return config


def _tutorial_files(folder: Path) -> Path:
    """The YAML files that the tutorial shows, and the ntuples that they are about."""
    found = re.findall(r'```yaml title="([^"]+)"\n(.*?)```', TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 3
    for name, content in found:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content.replace("/data/dijet", str(folder / "data")))
    columns = {"x": "mjj", "y": "met", "w": "genWeight"}
    (folder / "data").mkdir()
    named = {tree: {columns.get(x, x): values for x, values in table.items()} for tree, table in trees().items()}
    write(folder / "data" / "all.root", named)
    return folder / "my"


def _ui(overrides: list[str]) -> None:
    """Compose only: the server would run until Ctrl-C."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = resolve(UiConfig, hydra_compose("ui", overrides=["~job", *overrides]))
    assert config.port > 0


def test_experiments_and_sweeps_in_the_readme_compose() -> None:
    """Also those in the text, such as `+experiment=benchmark3`."""
    names: set[str] = set()
    for page in PAGES:
        names |= set(re.findall(r"\+experiment=(\w+)", page.read_text(encoding="utf-8")))
    for name in names - OF_OTHER_STEPS:
        if (config_folder() / "experiment" / f"{name}.yaml").exists():
            assert compose(f"+experiment={name}").dataset.name
    assert names & {path.stem for path in (config_folder() / "experiment").glob("*.yaml")}
