"""A sweep as a workflow: what is written and refused, and Snakemake that runs it, is killed, and goes on."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import yaml
from workspaces import counting
from writes import content_of, record

from inferno_cli.runs.folder import Status
from inferno_cli.runs.workflow import Point, Settings, write
from integration.conftest import FEW_EVENTS, FIT_ONLY_MU, QUICK, inferno, succeed

POINT = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "model=optimal", "export=false")
HARD = "nuisance.fit=['r']"


def points_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "points.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(folder: Path) -> list[dict[str, str]]:
    """The table of a comparison, without the times."""
    with (folder / "compare" / "compare.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def snakemake(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """Start it in a process group of its own, from another folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(folder / "Snakefile"), "--cores", "2", *flags]
    return subprocess.Popen(
        command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=300)
    return said


def test_the_files_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = (
        "cpus_per_task=2",
        "mem_gb=3",
        "timeout_min=30",
        "container=docker://me/inferno:1",
        "setup=[module load x]",
    )
    given = [f"hydra.launcher.{text}" for text in settings]

    outcome = succeed("train", "-m", *POINT, HARD, "seed=1,2", *given, "--workflow", "w f")

    folder = tmp_path / "w f"
    assert f"workflow: 2 points in {folder}; next" in outcome.out
    assert not (folder / "0").exists(), "nothing is run"
    rows = points_of(folder)
    assert [row["number"] for row in rows] == ["0", "1"]
    assert len({row["fingerprint"] for row in rows}) == 2
    assert shlex.split(rows[1]["overrides"])[-2:] == ["nuisance.fit=['r']", "seed=2"]
    script = (folder / "run.sh").read_text()
    assert "\nmodule load x\n" in script
    assert '\nexec inferno train --point "$what"\n' in script
    assert "\n#SBATCH --array=0-1\n#SBATCH --cpus-per-task=2\n#SBATCH --mem=3072M\n#SBATCH --time=30\n" in script
    assert "container_image = docker://me/inferno:1\n" in (folder / "point.sub").read_text()
    assert 'CONTAINER = "docker://me/inferno:1"' in (folder / "Snakefile").read_text()

    profile = folder / "profiles" / "default" / "config.yaml"
    profile.write_text("executor: slurm\n")
    before = points_of(folder)
    succeed("train", "-m", *POINT, HARD, "seed=1,2", "--workflow", "w f", "hydra.launcher.mem_gb=5")
    assert points_of(folder) == before
    assert profile.read_text() == "executor: slurm\n", "it is the user's"
    assert "request_memory = 5120 MB\n" in (folder / "point.sub").read_text()
    assert yaml.safe_load((folder / "multirun.yaml").read_text())["hydra"]["runtime"]["cwd"] == str(tmp_path)


def test_a_first_command_that_a_full_disk_has_cut_is_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "multirun.yaml").write_text("hydra:\n  run:\n")
    succeed("train", "-m", HARD, "seed=1,2", "--workflow", str(folder))
    assert len(points_of(folder)) == 2


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workflow of two points, and a Snakefile of somebody's."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "mine").mkdir()
    (folder / "mine" / "Snakefile").touch()
    succeed("train", "-m", HARD, "seed=3,4", "hydra.launcher.mem_gb=3", "--workflow", str(folder / "other"))
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("seed=1,2", "--workflow", "w"), "ConfigError: --workflow is for the points of a sweep"),
        (("-m", "seed=1,2", "--workflow"), "ConfigError: --workflow needs a folder"),
        (("-m", "seed=1,2", "--workflow="), "ConfigError: --workflow needs a folder"),
        (("-m", "+sweep=optuna", "--workflow", "w"), "ConfigError: a search is no workflow"),
        (("-m", "model.bins=5,0", "--workflow", "w"), "ConfigError: point 1 (model.bins=0): model.bins is 0;"),
        (("-m", "seed=1,2", "hydra.launcher.mem_gb=0", "--workflow", "w"), "ConfigError: hydra.launcher.mem_gb is 0;"),
        (("-m", "seed=1,2", "hydra.sweep.subdir=x", "--workflow", "w"), "ConfigError: hydra.sweep.subdir: the points"),
        (("-m", "seed=1,2", "--workflow=w", "--shard=1/2"), "ConfigError: a workflow runs whole points"),
        (("-m", "model.bins=5,0", "--workflow", "a/w"), "ConfigError: point 1 (model.bins=0): model.bins is 0;"),
        (("-m", "model=bce,nonesuch", "--workflow", "w"), "ConfigError: "),
        (("-m", HARD, "seed=3,4", "report.formats=[x]", "--workflow", "other"), "ConfigError: point 0"),
        (("-m", "seed=1,2", "--workflow", "other"), "OutputError: {tmp}/other holds a sweep of 2 other points"),
        (("-m", "seed=1,2", "--workflow", "mine"), "OutputError: {tmp}/mine holds a Snakefile that is none of ours"),
        (("--point", "other/2"), "RunError: --point other/2: {tmp}/other has points 0 to 1; expected FOLDER/NUMBER"),
        (("--point", "nowhere/0"), "RunError: --point nowhere/0: {tmp}/nowhere has no multirun.yaml"),
        (("--point", "other/0", "seed=3"), "ConfigError: seed=3: a point has the settings of its sweep"),
    ],
)
def test_what_is_no_workflow(
    arguments: tuple[str, ...], said: str, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(written)
    before = content_of(written)
    outcome = inferno("train", *arguments)
    assert outcome.code == 2
    assert outcome.err.startswith(said.format(tmp=written)), outcome.err
    assert content_of(written) == before, "nothing is left of a command that is refused"


@pytest.mark.parametrize("step", ["train", "compare"])
def test_a_sweep_that_is_refused_leaves_nothing(step: str, tmp_path: Path) -> None:
    outcome = inferno(step, "-m", "tracking=none,nonesuch", f"hydra.sweep.dir={tmp_path}/a/b")
    assert outcome.code == 2
    assert list(tmp_path.iterdir()) == []


def test_killed_while_it_is_written_it_can_be_asked_for_again(tmp_path: Path) -> None:
    """Each file is whole, and a Snakefile without points would be taken for somebody's own."""
    settings = Settings(cpus_per_task=1, mem_gb=1, timeout_min=1, setup=(), command=None, container=None)
    points = [Point(number, (f"seed={number}",), "x") for number in range(2)]
    moments, _ = record(tmp_path, lambda: write(tmp_path, "train", points, settings, is_compared=True))
    assert len(moments) > 10
    after = moments[-1].content
    for moment in moments:
        assert "Snakefile" not in moment.content or "points.csv" in moment.content, moment.said
        for name, data in moment.content.items():
            assert name.endswith(".partial") or data == after[name], (moment.said, name)


def test_the_files_for_htcondor_are_read_by_its_own_parser(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no pool is configured here
        htcondor = pytest.importorskip("htcondor2", reason="the htcondor bindings are not installed")
    monkeypatch.chdir(written / "other")

    point = htcondor.Submit(Path("point.sub").read_text())
    point["what"] = "1"
    assert (point.expand("executable"), point.expand("arguments"), point.expand("output")) == (
        "run.sh",
        "1",
        "logs/1.log",
    )
    assert (point.expand("request_memory"), point.expand("request_cpus")) == ("3072 MB", "1")

    dagman = tmp_path / "bin" / "condor_dagman"  # which from_dag only looks for
    dagman.parent.mkdir()
    dagman.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{dagman.parent}:{os.environ['PATH']}")
    assert "-Dag points.dag" in dict(htcondor.Submit.from_dag("points.dag"))["arguments"]
    text = Path("points.dag").read_text()
    wrong = tmp_path / "wrong.dag"
    wrong.write_text(text.replace("PARENT", "PARENTS"))
    with pytest.raises(htcondor.HTCondorException, match="not a valid DAG command"):
        htcondor.Submit.from_dag(str(wrong))
    nodes = [line.split()[1] for line in text.splitlines() if line.startswith("JOB ")]
    assert nodes == ["point0", "point1", "compare"]
    assert "PARENT point0 point1 CHILD compare\n" in text
    assert text.endswith("RETRY ALL_NODES 1\n")  # a full disk has the exit code of a mistake


@pytest.mark.slow
def test_a_point_that_failed_in_a_folder_that_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of workspaces beside the place where the command was given; one of them is not there at first."""
    pytest.importorskip("snakemake")
    monkeypatch.chdir(tmp_path)
    for name, observed in (("a b", 53.0), ("c=[1]", 61.0)):
        Path(f"{name}.json").write_text(json.dumps(counting(observed)))
    Path("c=[1].json").rename("later")
    sweep = (
        "fit",
        "-m",
        "workspace='a b.json','c=[1].json'",
        "fit=data",
        *FIT_ONLY_MU,
        "report.plots=false",
        "tracking=none",
    )
    succeed(*sweep, "--workflow", "first")

    process = snakemake(tmp_path / "first")
    said = finish(process)

    assert process.returncode == 1, said
    found = [Status.read(tmp_path / "first" / str(number)) for number in (0, 1)]
    states = [status and status.state for status in found]
    assert states == ["finished", "failed"]
    assert "c=[1].json" in (tmp_path / "first" / "logs" / "1.log").read_text()
    assert "c=[1].json" in said, "the log of what failed is shown"
    Path("later").rename("c=[1].json")
    when = (tmp_path / "first" / "0" / "results.json").stat().st_mtime_ns
    folder = tmp_path / "moved to" / "here's"
    folder.parent.mkdir()
    shutil.move(tmp_path / "first", folder)
    process = snakemake(folder)
    said = finish(process)
    assert process.returncode == 0, said
    assert (folder / "0" / "results.json").stat().st_mtime_ns == when, "what has finished is not run again"
    succeed(*sweep, "hydra.sweep.dir=plain")
    succeed("compare", "runs=plain", "tracking=none")
    assert table(folder) == table(tmp_path / "plain")


@pytest.mark.slow
def test_killed_and_started_again_it_is_an_uninterrupted_multirun(tmp_path: Path) -> None:
    pytest.importorskip("snakemake")
    sweep = ("train", "-m", *POINT, f"output_dir={tmp_path}", "seed=1,2")
    folder = tmp_path / "workflow"
    succeed(*sweep, "--workflow", str(folder))
    process = snakemake(folder)
    end = time.monotonic() + 200
    while not list(folder.glob("*/status.json")) and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    assert not (folder / "compare").exists()

    process = snakemake(folder)
    said = finish(process)

    assert process.returncode == 0, said
    plain = tmp_path / "plain"
    succeed(*sweep, f"hydra.sweep.dir={plain}")
    succeed("compare", f"runs={plain}", "tracking=none")
    assert table(folder) == table(plain)
    process = snakemake(folder)
    assert "Nothing to be done" in finish(process)
