"""Where the relative paths of a configuration are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import small_trees, write

from inferno_cli.config.load import compose, resolve
from inferno_cli.config.steps import TrainConfig
from inferno_cli.errors import DatasetFileError

DATASET = """
defaults: [top11004, _self_]
path: {path}
"""
EXPERIMENT = """
# @package _global_
defaults: [{{override /dataset: mine}}]
dataset: {{path: {path}}}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of YAML files, and another one in which the command is given."""
    for name in ("my/dataset", "my/experiment", "work", "data"):
        (tmp_path / name).mkdir(parents=True)
    write(tmp_path / "data/a.root", small_trees())
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "my"


def path_of(own: Path, *overrides: str) -> str | tuple[str, ...]:
    return resolve(
        TrainConfig, compose("train", ["~job", "nuisance=none", *overrides], own, absolute=True)
    ).dataset.path


def mine(own: Path, path: str, name: str = "mine") -> None:
    (own / f"dataset/{name}.yaml").write_text(DATASET.format(path=path))


def test_a_relative_path_is_relative_to_the_yaml_that_names_it(own):
    mine(own, "../../data/*.root")
    assert path_of(own, "dataset=mine") == f"{own.parent}/data/*.root"
    mine(own, "[../../data/a.root, '../../{era}', embedded]")
    assert path_of(own, "dataset=mine") == (f"{own.parent}/data/a.root", f"{own.parent}/{{era}}", "embedded")


def test_that_of_a_yaml_that_it_is_built_on(own):
    mine(own, "../../data", "base")
    (own / "dataset/mine.yaml").write_text("defaults: [base, _self_]\nname: other")
    assert path_of(own, "dataset=mine") == f"{own.parent}/data"


def test_that_of_an_experiment(own):
    mine(own, "/nowhere")
    (own / "experiment/mine.yaml").write_text(EXPERIMENT.format(path="../../data"))
    assert path_of(own, "+experiment=mine") == f"{own.parent}/data"


def test_what_is_not_beside_the_yaml_is_in_the_working_directory(own):
    mine(own, "here")
    says = f"dataset.path is 'here' in {own}/dataset/mine.yaml, and there is neither {own}/dataset/here nor, in the "
    with pytest.raises(DatasetFileError, match=says + f"working directory, {own.parent}/work/here"):
        path_of(own, "dataset=mine")
    (own.parent / "work/here").mkdir()
    assert path_of(own, "dataset=mine") == f"{own.parent}/work/here"
    (own / "dataset/here").mkdir()
    assert path_of(own, "dataset=mine") == f"{own}/dataset/here"


@pytest.mark.parametrize("path", ["/nowhere", "embedded", "root://host//store/a.root", "~/nowhere"])
def test_other_paths_are_as_they_are(own, path):
    mine(own, f'"{path}"')
    assert path_of(own, "dataset=mine") == path


def test_a_path_of_the_command_line_is_of_the_working_directory(own):
    mine(own, "../../data")
    assert path_of(own, "dataset=mine", "dataset.path=../data") == f"{own.parent}/data"
    assert path_of(own, "dataset=mine", "dataset.path=nothing") == f"{own.parent}/work/nothing"


def test_an_interpolated_path_is_absolute_too(own, monkeypatch):
    monkeypatch.setenv("NTUPLES", "../../data")
    mine(own, "${oc.env:NTUPLES}")
    assert path_of(own, "dataset=mine") == f"{own.parent}/data"
