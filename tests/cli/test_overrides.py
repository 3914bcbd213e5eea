"""What a user types, as Hydra reads it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from inferno_cli.choices import STEPS, choices
from inferno_cli.cli.overrides import as_hydra_reads, with_optional
from inferno_cli.errors import ConfigError


def step(name: str) -> SimpleNamespace:
    module = choices(STEPS)[name].load()
    return SimpleNamespace(
        SCHEMA=module.SCHEMA, ARGUMENT=getattr(module, "ARGUMENT", None), SHORT=getattr(module, "SHORT", {})
    )


def read(name: str, *typed: str, sweeps: bool = False) -> list[str]:
    return as_hydra_reads(step(name), list(typed), sweeps=sweeps)


@pytest.mark.parametrize("group", ["experiment", "study", "sweep"])
def test_a_group_that_is_added_needs_no_sign(group: str) -> None:
    assert read("train", f"{group}=x") == read("train", f"+{group}=x") == [f"+{group}=x"]
    assert read("data", f"{group}=a,b", sweeps=True) == [f"+{group}=a,b"]
    with pytest.raises(ConfigError, match=f"{group} is a group of `inferno train` and `inferno data`"):
        read("fit", f"{group}=x")


@pytest.mark.parametrize("group", ["network", "summary", "objective"])
def test_a_part_of_the_model_needs_no_path(group: str) -> None:
    assert read("train", f"{group}=x", "model=kde") == [f"model/{group}=x", "model=kde"]
    assert read("data", f"{group}=a,b", sweeps=True) == [f"model/{group}=a,b"]
    assert read("train", f"model.{group}.kind=x") == [f"model.{group}.kind=x"]
    with pytest.raises(ConfigError, match=f"{group} is a group of `inferno train` and `inferno data`"):
        read("fit", f"{group}=x")


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("where=dataset=htt", "dataset=htt"),
        ("where=dataset=htt,model!=bce", "dataset=htt,model!=bce"),
        ("where='dataset=htt'", "dataset=htt"),
        ("where=[]", []),
        ("runs=outputs/a,outputs/b", "outputs/a,outputs/b"),
        ("runs=[a,b]", ["a", "b"]),
        ("output=/a=b", "/a=b"),
    ],
)
def test_a_value_with_signs_of_hydras_is_one_text(typed: str, value: object) -> None:
    (text,) = read("compare", typed)
    override = OverridesParser.create().parse_override(text)
    assert not override.is_sweep_override()
    assert override.value() == value


def test_points_of_a_sweep_stay_points() -> None:
    assert read("train", "model=bce,inferno", "model.bins=5,8", sweeps=True) == ["model=bce,inferno", "model.bins=5,8"]
    assert read("train", "model=bce,inferno") == ["model=bce,inferno"]
    assert read("train", "model.bins=range(5,11,step=3)") == ["model.bins=range(5,11,step=3)"]
    assert read("compare", "runs=a,b", sweeps=True) == ["runs=a,b"]


def test_the_first_value_needs_no_key_where_the_step_has_an_argument() -> None:
    assert read("list", "some place", "format=json") == ['runs="some place"', "format=json"]
    assert read("list", "format=json") == ["format=json"]


def test_a_folder_may_have_a_sign_of_hydras_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "bins ü=5"
    folder.mkdir()
    assert read("list", str(folder)) == [f'runs="{folder}"']


@pytest.mark.parametrize(
    ("typed", "is_added"),
    [
        ("coverage.experiments=10", True),  # coverage is null
        ("fit.bounds.QCD_norm=[0,1]", True),
        ("dataset.systematics.toy_shift.group=closure", True),  # of the section of its kind
        ("dataset.samples.WZJets.weight=w", True),
        ("dataset.splits={folds: 5, validation: 0.2}", True),
        ("dataset.samples={WZJets: {weight: w}}", True),
        ("dataset.splits={validation: 0.2}", False),
        ("model.bins=5", False),  # it is there
        ("dataset.samples.WZ.weight=w", False),  # no such sample: Hydra says so
        ("dataset.systematics.jes.size=2", False),  # of another kind
        ("trainer.epoch=3", False),
        ("+trainer.epoch=3", False),
        ("hydra.job.name=x", False),
        ("seed=3", False),
    ],
)
def test_a_key_that_no_file_sets_needs_no_sign(typed: str, is_added: bool) -> None:
    typed_too = ["+experiment=top11004", "model.bins=7"]
    expected = [*typed_too, f"++{typed}" if is_added else typed]
    assert with_optional(step("train"), "train", [*typed_too, typed], None) == expected


def test_keys_beside_a_sweep_over_choices() -> None:
    typed = ["model=bce,inferno", "coverage.experiments=5,6"]
    assert with_optional(step("train"), "train", typed, None) == [typed[0], f"++{typed[1]}"]


def test_a_key_of_a_study_needs_one() -> None:
    with pytest.raises(ConfigError, match=r"study\.scale=full: no study is chosen; add study=NAME"):
        with_optional(step("train"), "train", ["study.scale=full"], None)
    typed = ["+study=bins", "study.scale=full"]
    assert with_optional(step("train"), "train", typed, None) == typed


def test_what_cannot_be_composed_is_left_to_hydra() -> None:
    typed = ["+experiment=nothing", "coverage.experiments=5"]
    assert with_optional(step("train"), "train", typed, None) == typed


def test_of_an_override_that_is_there_twice_the_last_counts() -> None:
    typed = ["tracking=none", "tracking=mlflow", "model.bins=7", "tracking=none"]
    assert with_optional(step("train"), "train", typed, None) == typed


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("predict", ("model=A", "run=B")),
        ("init", ("A", "folder=B")),
        ("nplm", ("nplm.reference=A", "seed=2", "reference=B")),
        ("train", ("model/objective=p0", "objective=cls")),
    ],
)
def test_two_names_of_one_key_have_one_value(name: str, typed: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"^{typed[0]} and {typed[-1]}: both are "):
        read(name, *typed)


def test_of_two_values_by_one_name_the_last_counts() -> None:
    assert read("train", "seed=1", "+experiment=a", "seed=2") == ["seed=1", "+experiment=a", "seed=2"]
