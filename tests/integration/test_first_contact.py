"""What a newcomer meets first: the help of a step, and files of one's own to start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inferno_cli.cli.main import step_help
from inferno_cli.config.load import config_folder
from integration.conftest import inferno


@pytest.mark.parametrize("step", step_help())
def test_help_says_what_every_key_is(step: str) -> None:
    outcome = inferno(step, "--help")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"inferno {step}: {step_help()[step]}")
    for line in (config_folder() / f"{step}.yaml").read_text(encoding="utf-8").splitlines():
        key, colon, _ = line.partition(":")
        if colon and key.isidentifier() and key not in ("defaults", "hydra"):
            assert f"\n  {key}" in outcome.out


def test_help_is_of_the_choices_on_the_command_line() -> None:
    text = inferno("train", "--help", "+experiment=top11004", "model=bce", "model.bins=7").out

    assert "\n  model.bins                        [7] Bins of the histogram" in text
    assert "\n  dataset.samples                   [TTJets_signal, TTJets_bkg" in text
    assert "dataset.systematics.NAME.envelope\n                                    weight: One parameter" in text
    assert "dataset.yields" not in text


def test_help_for_a_choice_that_is_not_there_is_an_error() -> None:
    outcome = inferno("train", "--help", "+experiment=top11005")

    assert (outcome.code, outcome.out) == (2, "")
    assert "Could not find 'experiment/top11005'" in outcome.err


def test_init_writes_what_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = inferno("init", "my analysis", "name=dijet")

    assert outcome.code == 0, outcome.err
    assert "inferno train --config-dir 'my analysis' +experiment=dijet" in outcome.out
    dataset = yaml.safe_load((tmp_path / "my analysis/dataset/dijet.yaml").read_text(encoding="utf-8"))
    assert dataset["name"] == "dijet"
    channels = yaml.safe_load((tmp_path / "my analysis/channels/dijet.yaml").read_text(encoding="utf-8"))
    assert channels == {"SR": {"selection": None, "observable": {"kind": "summary"}}}
    listed = inferno("train", "--help", "--config-dir", "my analysis").out
    assert "dataset blobs, dijet, exponential, " in " ".join(listed.split())
    few = ["trainer.max_epochs=2", "tracking=none", "report.plots=false"]
    done = inferno("train", "--config-dir", "my analysis", "+experiment=dijet", *few)
    assert done.code == 0, done.err


def test_init_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    (tmp_path / "my" / "experiment" / "mine.yaml").write_text("seed: 3\n", encoding="utf-8")
    outcome = inferno("init", "my")

    assert outcome.code == 2
    assert "my/experiment/mine.yaml exists" in outcome.err
    assert [path.name for path in (tmp_path / "my").iterdir()] == ["experiment"]


@pytest.mark.parametrize("name", ["a b", "", "1st", "../up", "x=y"])
def test_init_takes_names_that_hydra_can_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = inferno("init", "my", f"name='{name}'")

    assert outcome.code == 2
    assert "expected letters, digits and _" in outcome.err
    assert list(tmp_path.iterdir()) == []
