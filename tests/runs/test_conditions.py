"""Conditions on the configuration of runs, and the runs that `compare` takes with them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml
from handmade import config, put, record

from inferno_cli.errors import ComparisonError, ConfigError
from inferno_cli.runs.conditions import Condition, chosen
from inferno_cli.runs.find import collect

SETTINGS = {
    "dataset.name": "htt",
    "dataset.downsample_factor": 0.9,
    "model.bins": 10,
    "model.hidden": [100, 100],
    "model.network.kind": "mlp",
    "trainer.learning_rate": 0.001,
    "experiment": "mine",
    "reuse": None,
    "export": True,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("dataset=htt", True),
        ("dataset=ht", False),
        ("dataset!=htt", False),
        (" dataset == htt ", True),
        ("dataset.name=htt", True),
        ("model/network=mlp", True),
        ("model.bins=10", True),
        ("model.bins=10.0", True),
        ("model.bins=1", False),
        ("model.hidden=[100,100]", True),
        ("model.hidden=[100, 100.0]", True),
        ("trainer.learning_rate=1e-3", True),
        ("trainer.learning_rate=1e-4", False),
        ("+experiment=mine", True),
        ("reuse=null", True),
        ("export=true", True),
        ("export=1", False),
        ("workspace=a.json", False),
        ("workspace!=a.json", True),
    ],
)
def test_a_condition_is_on_the_value_that_the_text_stands_for(text: str, holds: bool) -> None:
    assert Condition.parse(text).holds(SETTINGS) is holds


@pytest.mark.parametrize("text", ["", "dataset", "=htt", "dataset>3", "1=2"])
def test_what_is_no_condition_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="write key=value or key!=value"):
        chosen([text], [SETTINGS])


def test_a_key_that_no_run_has_is_an_error_and_so_is_a_value() -> None:
    with pytest.raises(ConfigError, match="no run has a key 'datset'; closest: 'dataset'"):
        chosen(["datset=htt"], [SETTINGS])
    with pytest.raises(ComparisonError, match=r"none of 2 runs is so: dataset is htt, ttH; model\.bins is 10"):
        chosen(["dataset=bbH", "model.bins=10"], [SETTINGS, {**SETTINGS, "dataset.name": "ttH"}])


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two models with two seeds; the second seed of inferno was not started, and the record of bce is damaged."""
    for number, (model, seed) in enumerate([("bce", 1), ("bce", 2), ("inferno", 1)]):
        own = (f"model={model}", f"seed={seed}")
        put(tmp_path / str(number), config(model, 5, seed), record(0.4, seed=seed, model=model), *own)
    (tmp_path / "0" / "results.json").write_text("{")
    sweeper = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}
    task = {"sweeper": sweeper, "overrides": {"task": ["model=bce,inferno", "seed=1,2"]}}
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump({"hydra": task}))
    return tmp_path


def test_only_the_runs_that_are_asked_for_are_read(sweep: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ComparisonError, match=r"results\.json is not JSON"):
        collect([str(sweep)])
    with caplog.at_level(logging.INFO):
        found = collect([str(sweep)], where=["model=inferno"])

    assert [Path(run.where).name for run in found.jobs] == ["2", "3"]
    assert [run.error for run in found.jobs] == ["", "not started: model=inferno seed=2"]
    assert "where=model=inferno: 1 of 3 runs" in caplog.text
    assert found.folder == sweep
    assert [Path(run.where).name for run in collect([str(sweep)], where=["seed!=1"]).jobs] == ["1", "3"]


def test_copies_in_the_store_of_mlflow_are_no_runs(sweep: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mlartifacts" / "c0ffee" / "artifacts"
    put(copy, config("inferno", 5, 1), record(0.4, model="inferno"))

    assert len(collect([str(sweep)], where=["model=inferno"]).jobs) == 2
    assert len(collect([str(copy)]).jobs) == 1
