"""Bad input through the command line: exit code 2, one message with place and remedy, no half-written result."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from integration.conftest import (
    FEW_EVENTS,
    FIT_ONLY_MU,
    QUICK,
    Outcome,
    Runs,
    inferno,
    own_analysis,
    succeed,
    table,
    trees,
)

SYNTHETIC = ("train", "+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "trainer.max_epochs=1")
FIT = ("fit", "tracking=none", "report.plots=false")


def refuse(*arguments: str, output: Path, error: str, says: tuple[str, ...]) -> Outcome:
    """Call the program, which must refuse with one line on stderr: ``error``, and all of ``says`` in it."""
    outcome = inferno(*arguments, f"output_dir={output}")

    assert outcome.code == 2, outcome.out
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"{error}: "), line
    for part in says:
        assert part in line, line
    if output.is_dir():
        assert [path for path in output.rglob("*") if path.name.startswith("results")] == []
    assert "results: " not in outcome.out
    return outcome


# ------------------------------------------------------------------------------------------- configuration
CONFIG = {
    "model.bin=5": ("unknown key model.bin", "closest: 'model.bins'", "--cfg job"),
    "+model.bin=5": ("unknown key model.bin", "closest: 'bins'", "--cfg job"),
    "++model.bin=5": ("unknown key model.bin", "closest: 'bins'", "--cfg job"),
    "++dataset.systematics.r.widht=0.3": ("unknown key dataset.systematics.r.widht", "closest: 'width'"),
    "input=a.root": ("unknown key input; known: binning, channels, coverage, dataset, export, fit, ", "--cfg job"),
    "+modle.bins=5": ("unknown key modle", "closest: 'model'"),
    "model.bins=many": ("model.bins", '"many"', "integer"),
    "model.bins=1": ("model.bins", "1", "greater than or equal to 2"),
    "dataset.downsample_factor=1.5": ("dataset.downsample_factor", "1.5", "less than or equal to 1"),
    "fit.data=observd": ("fit.data", '"observd"', "'asimov' or 'observed'"),
    "dataset=null": ("dataset",),
    "model=infrno": ("model/infrno", "closest: 'inferno'"),
    "+experiment=synthetik": ("experiment/synthetik", "closest: 'synthetic'"),
    "nuisance=jes": ("nuisance.fit", "'synthetic'", "'jes'", "known: b, lambda, r"),
    "nuisance.train=[b]": ("nuisance", "train has b, which fit lacks"),
    "fit.minos=[lamda]": ("fit.minos", "'lamda'", "closest: 'lambda'"),
    "likelihood.samples=[sgnal]": ("likelihood.samples", "'sgnal'", "closest: 'signal'"),
    "model.bins=5,10": ("model.bins=5,10", "-m"),
    "model.bins": ("'model.bins'", "key=value"),
}


@pytest.mark.parametrize("override", list(CONFIG))
def test_configuration(override: str, tmp_path: Path) -> None:
    refuse(*SYNTHETIC[:1], *SYNTHETIC[2:], override, output=tmp_path, error="ConfigError", says=CONFIG[override])


def test_an_unknown_key_is_compared_with_those_of_the_choices(tmp_path: Path) -> None:
    """top11004 has splits, and the default dataset has none."""
    says = ("unknown key dataset.split.folds", "closest: 'dataset.splits'")
    refuse("train", "+experiment=top11004", "dataset.split.folds=5", output=tmp_path, error="ConfigError", says=says)


@pytest.mark.parametrize("step", ["train", "data"])
def test_an_expression_that_is_python(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with the configuration, before a file of the dataset is opened."""
    config = own_analysis(tmp_path)
    path = config / "dataset" / "mine.yaml"
    code = "get.__globals__['__builtins__']['open']('CANARY', 'w')"
    path.write_text(path.read_text().replace("weight: w", f'weight: "{code}"'))
    (tmp_path / "mine.root").unlink()
    monkeypatch.chdir(tmp_path)
    says = ("dataset.weight: the expression", "is not of the language of expressions", "docs/expressions.md")
    point = (step, "--config-dir", str(config), "+experiment=mine", "tracking=none")
    refuse(*point, output=tmp_path / "out", error="ConfigError", says=says)
    assert not list(tmp_path.rglob("CANARY"))


def test_every_mistake_in_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    outcome = inferno(*SYNTHETIC, "model.bins=1", "+trainer.foo=1", "seed=x", f"output_dir={tmp_path}")

    assert outcome.code == 2
    assert [line.split()[0] for line in outcome.err.splitlines()] == ["ConfigError:", "model.bins", "unknown"]


def test_a_sweep_file_without_the_flag_is_refused(tmp_path: Path) -> None:
    refuse(*SYNTHETIC, "+sweep=bins", output=tmp_path, error="ConfigError", says=("sweep", "-m"))


# ------------------------------------------------------------------------------------------ broken configuration files
BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tab": ("model:\n\tbins: 3\n", ("mine.yaml, line 3", "indent with blanks")),
    "tab in a list": ("model: {bins: 3,\n\ttemperature: 1}\n", ("mine.yaml, line 3", "indent with blanks")),
    "duplicate": ("seed: 1\nseed: 2\n", ("mine.yaml, line 3", "'seed' is there twice")),
    "null key": ("model:\n  ~: 3\n", ("mine.yaml, line 3", "takes for null")),
    "interpolation": ("seed: ${seed\n", ("mine.yaml, line 2", "'${seed' is no interpolation")),
    "unknown": ("seed: ${nothing.there}\n", ("seed", "'nothing.there' not found")),
    "circle": ("seed: ${seed}\n", ("seed", "Recursive")),
    "bomb": (BOMB, ("mine.yaml", "aliases")),
    "python": ("seed: !!python/object/apply:os.system ['touch pwned']\n", ("mine.yaml, line 2", "python/object/apply")),
    "bytes": ("seed: !!binary aGVsbG8=\n", ("mine.yaml, line 2", "binary")),
    "list": ("- a\n", ("mine.yaml has a list at its top",)),
    "text": ("hello\n", ("mine.yaml has a text at its top",)),
    "deep": ("seed: " + "[" * 100_000, ("mine.yaml", "nesting")),
    "defaults": ("defaults: foo\n", ("experiment/mine", "must be a list")),
    "section": ("model: [1]\n", ("experiment/mine", "Cannot merge DictConfig with ListConfig")),
    "number": ("model: 3\n", ("model.learning_rate cannot be set: model has another value",)),
    "hydra": ("hydra: 3\n", ("experiment/mine", "ValidationError")),
}


@pytest.mark.parametrize("kind", list(FILES))
def test_a_configuration_file_is_broken(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, says = FILES[kind]
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    start = time.perf_counter()
    mine = ("--config-dir", "conf", "+experiment=mine")
    refuse("train", *mine, *QUICK, output=tmp_path / "out", error="ConfigError", says=says)
    assert time.perf_counter() - start < 5
    assert not (tmp_path / "pwned").exists()


def test_a_configuration_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(b"# caf\xe9\n")
    mine = ("--config-dir", str(tmp_path), "+experiment=mine")
    says = ("mine.yaml is not UTF-8 (byte 0xe9 at 5)",)
    refuse("train", *mine, *QUICK, output=tmp_path / "out", error="ConfigError", says=says)


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeffseed: 3\n", "seed: 3\r\n"])
def test_a_configuration_file_that_is_odd_and_good(text: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8", newline="")
    succeed("train", "--config-dir", str(tmp_path), "+experiment=mine", "--cfg", "job")


# ------------------------------------------------------------------------------------------------ signs in a place
SIGNS = ("e=3", "c,d", "josé", "h#1", "don't", "til~", "br[1]", "{x}", 'dq"x', "semi;x", "日本")


@pytest.mark.parametrize("name", SIGNS)
def test_a_place_with_signs_is_quoted(name: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.shell import quoted

    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    workspace = tmp_path / name / "w.json"
    workspace.write_text(Path(runs("synthetic", "bce").results.workspace).read_text())
    plain = inferno(*FIT, f"workspace={name}/w.json")
    assert plain.code == (0 if name == "e=3" else 2)  # which needs no quotes
    if plain.code:
        assert len(plain.err.splitlines()) == 1
        assert "quote" in plain.err

    fast = ("fit.scan_points=null", "fit.minos=[]", "fit.significance=false", "fit.stat_only=false")
    place = tmp_path / name / "out"
    found = succeed(*FIT, *fast, f"workspace={quoted(f'{name}/w.json')}", f"hydra.run.dir={quoted(str(place))}")
    assert found.path == place / "results.json"
    succeed("compare", f"runs=[{quoted(str(place))}]", "track=false", f"output={tmp_path}/compared")


def test_a_name_that_looks_like_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").mkdir()
    assert inferno("predict", "run=2024").err == (
        "ConfigError: run is 2024, which is no text; quote a name that looks like it: \"run='2024'\"\n"
    )
    assert inferno("predict", "run='2024'").err.startswith("RunError: 2024 has no results.json")


# ------------------------------------------------------------------------------------------- the working directory
def test_relative_places_are_of_the_folder_of_the_command(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hydra.job.chdir=true, in every step and key."""
    monkeypatch.chdir(tmp_path)
    point = ("+experiment=synthetic", *QUICK, *FEW_EVENTS, *FIT_ONLY_MU, "model=optimal", "export=false")
    chdir = "hydra.job.chdir=true"
    succeed("train", *point, chdir, "hydra.run.dir=a", "tracking=mlflow", "output_dir=out")
    assert (tmp_path / "out" / "mlflow.db").is_file()
    succeed("train", *point, chdir, "hydra.run.dir=b", "trained_in=a")
    assert "was finished before" in succeed("train", *point, chdir, "hydra.run.dir=c", "reuse=.").out
    succeed("train", "-m", *point, chdir, "seed=1,2", "hydra.sweep.dir=sweep")
    succeed("fit", "tracking=none", "report.plots=false", "workspace=a/workspace.json", chdir, "hydra.run.dir=d")
    succeed("explain", "run=a", "output=explained", "report.plots=false", chdir)
    succeed("compare", "runs=sweep", "output=compared", chdir)
    succeed("log", "run=b", "tracking.uri=sqlite:///out/mlflow.db", chdir)
    mine = own_analysis(tmp_path / "mine")
    data = ("--config-dir", str(mine), "+experiment=mine", "dataset.path=mine/mine.root", "report.plots=false")
    succeed("data", *data, chdir, "hydra.run.dir=e")
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"a", "b", "c", "d", "e", "out", "sweep", "explained", "compared", "mine"}
    assert list(tmp_path.rglob("mlflow.db")) == [tmp_path / "out" / "mlflow.db"]


# ------------------------------------------------------------------------------------- mistakes of the program
def test_a_mistake_of_the_program_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_cli.steps import train

    def broken(*_: object) -> None:
        raise KeyError("gone")

    monkeypatch.setattr(train, "pipeline", broken)
    place = f"hydra.run.dir={tmp_path}"
    outcome = inferno(*SYNTHETIC, place)
    assert outcome.code == 1
    assert outcome.err == (
        "KeyError: 'gone'. This is a mistake in inferno_cli: --debug shows the traceback for a report\n"
    )
    assert "Traceback" in (tmp_path / "main.log").read_text()
    assert json.loads((tmp_path / "status.json").read_text())["error"] == "KeyError: 'gone'"
    with pytest.raises(KeyError):
        inferno(*SYNTHETIC, place, "--debug")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from inferno_cli.errors import ConfigError

    with pytest.raises(ConfigError, match=r"model\.bins is 1"):
        inferno(*SYNTHETIC, "model.bins=1", "--debug", f"output_dir={tmp_path}")


# ------------------------------------------------------------------------------------------------ workspace
def test_workspace_is_not_named(tmp_path: Path) -> None:
    refuse(*FIT, output=tmp_path, error="ConfigError", says=("workspace is missing", "workspace=..."))


def test_workspace_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.json"
    refuse(*FIT, f"workspace={path}", output=tmp_path, error="WorkspaceError", says=(str(path), "Fix workspace=PATH"))


WORKSPACES = {
    "{": "is not JSON",
    "": "is not JSON",
    '{"channels": []}': "is not valid",
    '{"channels": [NaN]}': "it holds NaN",
    '{"channels": [1e999]}': "it holds 1e999",
    "[" * 100_000: "is nested too deeply",
    '{"a":' * 100_000: "is nested too deeply",
}


@pytest.mark.parametrize(("text", "says"), WORKSPACES.items(), ids=range(len(WORKSPACES)))
def test_workspace_is_no_workspace(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    refuse(*FIT, f"workspace={path}", output=tmp_path / "out", error="WorkspaceError", says=(str(path), says))


def test_workspace_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(100_000_000)
    for place, says in {
        tmp_path: "is a folder",
        tmp_path / "pipe": "is a pipe or a device",
        Path("/dev/zero"): "is a pipe or a device",
        tmp_path / "large.json": "has 95 MB; expected at most 50 MB",
        tmp_path / ("x" * 300): "File name too long",
    }.items():
        says = (str(place), says, "Fix workspace=PATH")
        refuse(*FIT, f"workspace={place}", output=tmp_path / "out", error="WorkspaceError", says=says)


@pytest.mark.parametrize("place", ["pipe", "/dev/zero"])
def test_a_run_and_a_dataset_that_are_no_files(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for step, key in (
        ("predict", "run"),
        ("explain", "run"),
        ("compare", "runs"),
        ("log", "run"),
        ("prepare", "files"),
    ):
        outcome = inferno(step, f"{key}={place}", *(["sample=a"] if step == "prepare" else []))
        assert outcome.code == 2
        assert len(outcome.err.splitlines()) == 1
        assert place in outcome.err
    for key in ("dataset.path", "trained_in"):
        outcome = inferno("train", "+experiment=top11004", *QUICK, f"{key}={place}")
        assert (outcome.code, len(outcome.err.splitlines()), place in outcome.err) == (2, 1, True)


def test_workspace_has_no_such_parameter_or_measurement(runs: Runs, tmp_path: Path) -> None:
    path = runs("synthetic", "bce").results.workspace
    workspace = f"workspace={path}"
    says = ("fit.minos", "'lamda'", "closest: 'lambda'")
    refuse(*FIT, workspace, "fit.minos=[lamda]", output=tmp_path, error="WorkspaceError", says=says)
    says = ("measurement 'infern'", "closest: 'inferno'")
    refuse(*FIT, workspace, "measurement=infern", output=tmp_path, error="WorkspaceError", says=says)


def test_parameter_at_its_bound_is_not_a_result(runs: Runs, tmp_path: Path) -> None:
    spec = json.loads(Path(runs("synthetic", "bce").results.workspace).read_text())
    observed = np.array(spec["observations"][0]["data"])
    spec["observations"][0]["data"] = (observed * 0.5).tolist()
    (mu,) = [item for item in spec["measurements"][0]["config"]["parameters"] if item["name"] == "mu"]
    mu["bounds"] = [[0.5, 2.0]]
    path = tmp_path / "bounded.json"
    path.write_text(json.dumps(spec))

    says = (str(path), "mu is at its limit 0.5", "Widen the bounds of mu")
    refuse(*FIT, f"workspace={path}", "fit=data", output=tmp_path / "out", error="FitFailedError", says=says)


# ------------------------------------------------------------------------------------------------- ntuples
def read(
    folder: Path, *overrides: str, error: str, says: tuple[str, ...], **changes: Mapping[str, np.ndarray]
) -> Outcome:
    """Train on ntuples of which some trees are changed."""
    config = own_analysis(folder / "analysis", **changes)
    arguments = ("train", "--config-dir", str(config), "+experiment=mine", *QUICK, *FIT_ONLY_MU)
    return refuse(*arguments, *overrides, output=folder / "out", error=error, says=says)


def test_file_is_missing(tmp_path: Path) -> None:
    says = ("/nowhere/at/all.root", "dataset.path")
    read(tmp_path, "dataset.path=/nowhere/at/all.root", error="DatasetFileError", says=says)


def test_folder_has_no_such_file(tmp_path: Path) -> None:
    says = ("'*.rot'", str(tmp_path), "dataset.file")
    overrides = (f"dataset.path={tmp_path}", "dataset.file='*.rot'")
    read(tmp_path, *overrides, error="DatasetFileError", says=says)


def test_tree_is_missing(tmp_path: Path) -> None:
    says = ("'QCDs'", "sample 'QCD'", "mine.root", "closest: 'QCD'", "Fix dataset.tree")
    read(tmp_path, "+dataset.samples.QCD.tree=QCDs", error="TreeNotFoundError", says=says)


def test_shifted_tree_is_missing(tmp_path: Path) -> None:
    says = ("'ttbar_jes_UP'", "jes_up", "mine.root", "closest: 'ttbar_jes_up'", "dataset.variation")
    read(tmp_path, "dataset.variation='_{systematic}_UP'", error="TreeNotFoundError", says=says)


def test_branch_is_missing(tmp_path: Path) -> None:
    says = ("branch 'X'", "mine.root", "closest: 'x'", "Fix dataset.features")
    read(tmp_path, "dataset.features=[X,y]", error="BranchNotFoundError", says=says)


def test_branch_in_the_weight_is_missing(tmp_path: Path) -> None:
    says = ("'weight_'", "2 * weight_", "mine.root", "Fix dataset.weight")
    read(tmp_path, "dataset.weight='2 * weight_'", error="BranchNotFoundError", says=says)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("branch", ["x", "w"])
def test_value_is_not_finite(branch: str, value: float, tmp_path: Path) -> None:
    changed = table(1500, 1.0)
    changed[branch] = changed[branch].copy()
    changed[branch][7] = value
    says = (f"'{branch}'", "tree 'ttbar'", "mine.root", "1 of 1500", "row 7", str(value), "repair")
    read(tmp_path, error="DatasetError", says=says, ttbar=changed)


def test_sample_has_no_events(tmp_path: Path) -> None:
    says = ("'QCD'", "no events", "dataset.path")
    read(tmp_path, error="DatasetError", says=says, QCD=table(0, 0.0))


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_yield_is_not_positive(weight: float, tmp_path: Path) -> None:
    says = ("'QCD'", "nominal", "positive", "weight expression")
    changed = table(3000, -1.0, first_id=5000, w=np.full(3000, weight))
    read(tmp_path, error="TemplateError", says=says, QCD=changed)


def test_shifted_yield_is_zero(tmp_path: Path) -> None:
    says = ("'ttbar'", "jes_down", "sum to 0")
    changed = table(1500, 1.0, shift=-0.2, w=np.zeros(1500))
    read(tmp_path, error="TemplateError", says=says, ttbar_jes_down=changed)


def test_ids_do_not_match(tmp_path: Path) -> None:
    says = ("'ttbar'", "jes_up", "0% of the event ids (run + event)", "dataset.event_id")
    read(tmp_path, error="DatasetError", says=says, ttbar_jes_up=table(1500, 1.2, first_id=100_000))


def test_ids_repeat(tmp_path: Path) -> None:
    says = ("'ttbar'", "nominal", "1499 of 1500 events repeat an id (run)", "Fix dataset.event_id")
    read(tmp_path, "dataset.event_id=[run]", error="DatasetError", says=says)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_file_is_truncated(share: float, tmp_path: Path) -> None:
    config = own_analysis(tmp_path / "analysis")
    path = tmp_path / "analysis" / "mine.root"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    arguments = ("train", "--config-dir", str(config), "+experiment=mine", *QUICK, *FIT_ONLY_MU)
    says = (str(path), "truncated", "copy it again")
    refuse(*arguments, output=tmp_path / "out", error="DatasetFileError", says=says)


def test_file_is_no_root_file(tmp_path: Path) -> None:
    path = tmp_path / "text.root"
    path.write_text("not ROOT\n" * 100)
    says = (str(path), "cannot be read as a ROOT file")
    read(tmp_path, f"dataset.path={path}", error="DatasetFileError", says=says)


def test_the_unchanged_ntuples_are_good(tmp_path: Path) -> None:
    """The tests above fail for what they change, not for something else."""
    config = own_analysis(tmp_path / "analysis")
    point = ("--config-dir", str(config), "+experiment=mine", *QUICK, *FIT_ONLY_MU, f"output_dir={tmp_path}")
    assert succeed("train", *point).results.parameters["mu"].hesse > 0
    assert set(trees()) == {"ttbar", "ttbar_jes_up", "ttbar_jes_down", "QCD", "Data"}


# --------------------------------------------------------------------------------------- binning and the fit
def test_one_bin_with_a_shape(tmp_path: Path) -> None:
    says = ("one bin is left", "lambda", "r", "binning.min_effective_events")
    refuse(*SYNTHETIC, "binning.min_effective_events=1e6", output=tmp_path, error="TemplateError", says=says)


def test_one_bin_with_a_free_parameter(tmp_path: Path) -> None:
    says = ("hard bins", "mu", "r", "binning.min_effective_events")
    overrides = ("nuisance=r_free", "binning.min_effective_events=1e6")
    refuse(*SYNTHETIC, *overrides, output=tmp_path, error="SingularInformationError", says=says)


def test_bounds_narrower_than_the_error(tmp_path: Path) -> None:
    """The fit is whole, and its MINOS interval ends at the bounds."""
    results = succeed(*SYNTHETIC, "likelihood.poi_bounds=[0.9,1.1]", f"output_dir={tmp_path}").results
    assert results.parameters["mu"].minos is None
    assert results.parameters["mu"].hesse > 0.2
    assert any("no lower side, it ends at the limit 0.9; no upper side" in note for note in results.notes)


def test_fit_does_not_converge(tmp_path: Path) -> None:
    says = ("did not converge", "workspace.json", "EDM", "call limit", "fit.max_calls")
    refuse(*SYNTHETIC, "fit.max_calls=1", output=tmp_path, error="FitFailedError", says=says)


def test_failed_fit_leaves_earlier_results_alone(tmp_path: Path) -> None:
    """Two runs into one folder: the second fails, the record of the first is there as it was."""
    place = (f"hydra.run.dir={tmp_path}/run", f"output_dir={tmp_path}")
    first = succeed(*SYNTHETIC, *place)
    before = first.path.read_bytes()

    second = inferno(*SYNTHETIC, *place, "model.bins=1")

    assert second.code == 2
    assert first.path.read_bytes() == before


# ------------------------------------------------------------------------------------- places that cannot be
def test_output_folder_is_below_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    refuse(*SYNTHETIC, output=file / "outputs", error="OutputError", says=(str(file), "output_dir=..."))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_is_asked_for_where_there_is_none(tmp_path: Path) -> None:
    refuse(*SYNTHETIC, "trainer=gpu", output=tmp_path, error="ConfigError", says=("trainer", "gpu", "trainer=auto"))


@pytest.mark.parametrize("step", ["train", "fit"])
def test_tracking_server_is_dead(step: str, tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found out before any work, within seconds."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
    workspace = runs("synthetic", "bce").results.workspace

    def never(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    from inferno_cli.events.sources.synthetic import SyntheticDataset

    monkeypatch.setattr(SyntheticDataset, "load", never)
    monkeypatch.setattr("inferno_cli.fit.analysis.fit_workspace", never)
    arguments = SYNTHETIC if step == "train" else ("fit", "report.plots=false", f"workspace={workspace}")
    start = time.perf_counter()
    says = (uri, "does not answer", "tracking.uri=...", "tracking=none")
    tracked = ("tracking=mlflow", f"tracking.uri={uri}")
    refuse(*arguments, *tracked, output=tmp_path, error="TrackingError", says=says)

    assert time.perf_counter() - start < 10


def test_a_mapping_in_the_place_of_a_list_is_said_to_be_hydras(tmp_path: Path) -> None:
    message = inferno("data", "+experiment=top11004", "dataset.features={a: ht}").err
    assert message.startswith("ConfigError: Error merging override dataset.features={a: ht}: Hydra puts no mapping")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("defaults: [top11004, _self_]\nfeatures: {a: ht}\n")
    message = inferno("data", "--config-dir", str(tmp_path), "dataset=mine").err
    assert "Cannot merge DictConfig with ListConfig: Hydra puts no mapping" in message


def test_what_a_network_lacks_is_told_before_the_events_are_read(tmp_path: Path) -> None:
    outcome = inferno(
        "train", "model=external", "model.file=nowhere.onnx", "tracking=none", f"hydra.run.dir={tmp_path}/run"
    )
    assert outcome.code == 2
    assert "nowhere.onnx cannot be read" in outcome.err
    assert "events:" not in outcome.err
