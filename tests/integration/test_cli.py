"""The program's own words: steps, flags before and after overrides, other folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferno_cli.cli.main import step_help
from inferno_cli.config.load import config_folder
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, Runs, inferno, own_analysis, succeed

HEAVY = {"torch", "lightning", "hydra", "omegaconf", "mlflow", "pyhf", "cabinetry", "numpy", "pydantic", "matplotlib"}


def program(*arguments: str, cwd: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run ``python -m inferno_cli`` in its own process; return it and the packages that it imported."""
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "inferno_cli", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    times = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    return process, {line.rpartition("|")[2].strip().partition(".")[0] for line in times}


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_without_a_step_the_steps_are_listed_and_nothing_heavy_is_imported(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    process, imported = program(*arguments, cwd=tmp_path)

    assert process.returncode == 0
    lines = process.stdout.splitlines()
    assert len(lines) <= 24, "more than one screen"
    for step in ("fit", "train", "ui"):
        assert any(line.split()[:1] == [step] and len(line.split()) > 3 for line in lines)
    assert "inferno_cli" in imported
    assert not HEAVY & imported


@pytest.mark.parametrize("arguments", ["--help", "train --help", "train --cfg job"])
def test_nobody_has_to_read_what_it_says(arguments: str, tmp_path: Path) -> None:
    """As behind `| head`, which closes the pipe."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inferno_cli", *arguments.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()

    assert (process.wait(timeout=120), process.stderr.read()) == (141, "")
    process.stderr.close()


def test_every_file_in_steps_is_a_step_with_a_line_of_help() -> None:
    from inferno_cli import steps

    files = {path.stem for path in Path(steps.__path__[0]).glob("[!_]*.py")}
    assert set(step_help()) == files
    assert all(step_help().values())


def test_every_step_with_runs_says_what_takes_them() -> None:
    from inferno_cli.choices import STEPS, choices
    from inferno_cli.steps._logged import run_steps

    said = [choices(STEPS)[name].load().TAKEN_BY for name in run_steps()]
    assert len(said) == 5
    assert all("`inferno " in text for text in said)


def test_unknown_step_names_the_closest_one() -> None:
    outcome = inferno("trian", "+experiment=synthetic")

    assert outcome.code == 2
    assert outcome.err == "ConfigError: unknown step 'trian'; closest: 'train'. `inferno --help` lists them\n"
    assert outcome.out == ""


def test_version() -> None:
    from inferno_cli import __version__

    assert succeed("--version").out == f"inferno {__version__}\n"


def test_flags_may_stand_behind_the_overrides() -> None:
    first = succeed("train", "--cfg", "job", "+experiment=synthetic", "seed=7")
    last = succeed("train", "+experiment=synthetic", "seed=7", "--cfg", "job")
    package = succeed("train", "seed=7", "--cfg", "job", "--package", "trainer")

    assert "seed: 7" in first.out
    assert last.out == first.out
    assert "accelerator: cpu" in package.out
    assert "seed" not in package.out


def test_info_shows_where_the_configuration_comes_from() -> None:
    outcome = succeed("train", "+experiment=synthetic", "--info", "defaults")

    assert "experiment/synthetic" in outcome.out


def test_resolved_configuration(tmp_path: Path) -> None:
    outcome = succeed("train", f"output_dir={tmp_path}", "--cfg", "job", "--resolve")

    assert f"uri: sqlite:///{tmp_path}/mlflow.db" in outcome.out


def test_a_multirun_flag_behind_the_overrides_sweeps(tmp_path: Path) -> None:
    """Hydra alone would take -m for an override there."""
    overrides = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, f"output_dir={tmp_path}")
    outcome = succeed("train", *overrides, "trainer.max_epochs=1", "-m", "seed=1,2")

    closing = [line for line in outcome.out.splitlines() if line.startswith("results: ")]
    assert len(closing) == 2
    assert [path.parent.name for path in sorted(tmp_path.rglob("results.json"))] == ["0", "1"]


@pytest.mark.parametrize("absolute", [True, False])
def test_own_dataset_and_experiment_in_another_folder(
    absolute: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_analysis(tmp_path / "analysis")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = str(config) if absolute else os.path.relpath(config, elsewhere)

    outcome = succeed("train", "+experiment=mine", "--config-dir", folder, *QUICK, *FIT_ONLY_MU)

    assert outcome.path.resolve().is_relative_to(elsewhere / "outputs" / "runs")
    assert outcome.results.dataset == "mine"
    assert {"mu", "jes", "QCD_norm"} <= set(outcome.results.parameters)
    assert outcome.results.label == ""
    assert sorted(path.name for path in elsewhere.iterdir()) == ["outputs"]


def test_an_experiment_file_alone_on_a_shipped_dataset(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "fewer.yaml").write_text("# @package _global_\nmodel: {bins: 3}\nseed: 0\n")

    outcome = succeed("train", "--config-dir", str(tmp_path), "+experiment=fewer", "--cfg", "job")

    assert "bins: 3" in outcome.out
    assert "seed: 0" in outcome.out


def test_fit_by_itself_is_clean_and_does_not_import_torch(runs: Runs, tmp_path: Path) -> None:
    """In a process and a folder of its own: nothing on stderr, the report on stdout."""
    path = runs("synthetic", "inferno").results.workspace
    arguments = ("fit", f"workspace={path}", "tracking=none", "report.plots=true")

    process, imported = program(*arguments, cwd=tmp_path)

    assert process.returncode == 0
    assert "pyhf" in imported
    assert not {"torch", "lightning", "mlflow", "uproot"} & imported
    assert [line for line in process.stderr.splitlines() if not line.startswith("import time:")] == []
    last = process.stdout.splitlines()[-1]
    assert Path(last.removeprefix("results: ")).is_relative_to(tmp_path / "outputs")
    assert Path(last.removeprefix("results: ")).is_file()


def test_train_says_on_stderr_nothing(tmp_path: Path) -> None:
    """What the libraries have to say is not the user's: he would search it for errors."""
    arguments = ("train", "+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "trainer.max_epochs=1")

    process, _ = program(*arguments, cwd=tmp_path)

    assert process.returncode == 0
    assert [line for line in process.stderr.splitlines() if not line.startswith("import time:")] == []


def test_ui_without_a_store_refuses_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    outcome = inferno("ui")

    assert outcome.code == 2
    assert outcome.err.startswith(f"TrackingError: there is no MLflow store {tmp_path}/outputs/mlflow.db. Train first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("inferno tr", {"train"}),
        (
            "inferno train model=",
            {f"model={path.stem}" for path in (config_folder() / "model").glob("*.yaml")},
        ),
        ("inferno train model.bi", {"model.bins="}),
        ("inferno fit works", {"workspace="}),
    ],
)
def test_tab_completes(line: str, choices: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As bash calls the console script."""
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))

    outcome = succeed("-sc", "query=bash")

    assert set(outcome.out.split()) == choices


def test_completion_is_installed_for_the_console_script() -> None:
    outcome = succeed("-sc", "install=bash")

    assert "complete -o nospace -o default -F hydra_bash_completion inferno" in outcome.out
