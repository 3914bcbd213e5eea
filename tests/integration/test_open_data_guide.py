"""Every command of docs/open_data.md: those of the program run, on small files in place of the reader's."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import uproot

from integration.conftest import FIT_ONLY_MU, QUICK, inferno
from integration.test_readme import ROOT, arguments_of, commands

sys.path.insert(0, str(ROOT / "scripts"))

import fetch_open_data

GUIDE = ROOT / "docs" / "open_data.md"
COMMANDS = commands(GUIDE.read_text(encoding="utf-8"))
FETCH = ["python", "scripts/fetch_open_data.py"]
REAL = Path(__file__).parents[1] / "data" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"


@pytest.fixture(scope="module")
def ntuples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded sample as the guide describes the published one: a file for each table, without ``source_event``."""
    folder = tmp_path_factory.mktemp("ntuples")
    with uproot.open(ROOT / "src" / "inferno_cli" / "data" / "top11004_sim.root") as file:
        for name in file.keys(cycle=False):
            if file.classname_of(name) != "TTree" or name.endswith(("jer_up", "jer_down", "taue_up", "taue_down")):
                continue
            table = file[name].arrays(library="np")
            table.pop("source_event", None)
            if "QCD" in name:
                table.pop("norm")
            with uproot.recreate(folder / f"{name}.root") as output:
                output.mktree("events", {key: values.dtype for key, values in table.items()}).extend(table)
    return folder


def test_the_guide_shows_how_to_fetch_prepare_describe_and_train() -> None:
    steps = {(arguments_of(command) or ["fetch"])[0] for command in COMMANDS}
    assert steps == {"fetch", "prepare", "data", "train"}


@pytest.mark.parametrize("command", [command for command in COMMANDS if arguments_of(command) is None])
def test_commands_that_fetch_are_understood(command: str) -> None:
    words = shlex.split(command)
    assert words[:2] == FETCH
    assert fetch_open_data.arguments(words[2:]).record.isdigit()


@pytest.mark.parametrize("command", [command for command in COMMANDS if arguments_of(command) is not None])
def test_commands_of_the_program_run(command: str, ntuples: Path, tmp_path: Path) -> None:
    step, *words = arguments_of(command) or []
    words = [f"files=[{REAL}]" if word.startswith("files=") else word for word in words]
    words = [f"dataset.path={ntuples}" if word.startswith("dataset.path=") else word for word in words]
    words.append(f"output_dir={tmp_path}/outputs")
    if step == "prepare":
        words.append(f"output={tmp_path}/ntuples")
    if step == "data":
        words.append("report.plots=false")
    if step == "train":
        words += [*QUICK, *FIT_ONLY_MU]
    outcome = inferno(step, *words)
    assert outcome.code == 0, outcome.err
    if step == "data":
        assert "313.6" in outcome.out
