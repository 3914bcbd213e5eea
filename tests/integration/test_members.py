"""Members: several trainings of one point, of which the validation split chooses one, or whose mean is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inferno_cli import load_events, open_run
from inferno_cli.errors import SingularInformationError
from inferno_cli.runs.record import MemberRecord, Results
from inferno_cli.runs.search import objective
from inferno_cli.training import trainer
from inferno_cli.training.observable import CHECKPOINTS
from integration.conftest import FEW_EVENTS, QUICK, Outcome, inferno, succeed

pytestmark = pytest.mark.slow
N = 3
POINT = ("+experiment=synthetic", "model=inferno", *QUICK, *FEW_EVENTS, "model.warm_up=0", "export=false")


@dataclass(frozen=True)
class Members:
    run: Outcome
    parallel: Outcome

    @property
    def records(self) -> tuple[MemberRecord, ...]:
        return self.run.results.members


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return (*POINT, f"output_dir={tmp_path_factory.mktemp('members')}", "dataset.seed=1")


@pytest.fixture(scope="module")
def members(point: tuple[str, ...]) -> Members:
    several = (*point, f"trainer.members={N}", "trainer.combine=best")
    return Members(succeed("train", *several), succeed("train", *several, "trainer.workers=2"))


def test_each_is_the_run_of_its_seed_alone(members: Members, point: tuple[str, ...], tmp_path: Path) -> None:
    for number, member in enumerate(members.records):
        (seed,) = member.seeds
        alone = succeed("train", *point, f"seed={seed}", f"hydra.run.dir={tmp_path}/{seed}")
        assert alone.results.poi_variance is not None
        assert member.sigma_mu == math.sqrt(alone.results.poi_variance.templates)
        assert member.figure_of_merit == alone.results.figure_of_merit
        assert member.trainings[0].history == alone.results.training.history  # type: ignore[union-attr]
        states = []
        for folder, name in ((members.run.path.parent, f"best_member{number}"), (alone.path.parent, "best")):
            states.append(torch.load(folder / CHECKPOINTS / f"{name}.ckpt", weights_only=True)["state_dict"])
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_validation_split_chooses_and_the_rest_of_the_record_is_of_the_chosen_one(members: Members) -> None:
    (chosen,) = [member for member in members.records if member.chosen_for]
    assert chosen.figure_of_merit == min(member.figure_of_merit for member in members.records)  # type: ignore[type-var]
    results = members.run.results
    assert results.training == chosen.trainings[0]
    assert results.poi_variance is not None
    assert chosen.sigma_mu == math.sqrt(results.poi_variance.templates)
    assert results.optimism == pytest.approx(chosen.optimism, rel=1e-12)
    optimism = [member.optimism for member in members.records]
    assert results.optimism_of_members == pytest.approx(sum(optimism) / N)  # type: ignore[arg-type]
    run = open_run(members.run.path.parent)
    stored = torch.load(
        run.folder / CHECKPOINTS / f"best_member{members.records.index(chosen)}.ckpt", weights_only=True
    )
    assert torch.equal(next(run.observable.network.parameters()), stored["state_dict"]["network.1.weight"])


def test_processes_change_nothing(members: Members) -> None:
    assert members.parallel.results.members == members.run.results.members


def test_it_is_told_and_logged_and_searched_by_the_median(members: Members) -> None:
    assert "members" in members.run.out
    values = members.run.results.metrics()
    sigmas = sorted(member.sigma_mu for member in members.records)  # type: ignore[type-var]
    assert [values[f"members/sigma_mu/{name}"] for name in ("low", "median", "high")] == sigmas
    merits = sorted(member.figure_of_merit for member in members.records)  # type: ignore[type-var]
    assert objective(members.run.results) == merits[1]


@pytest.fixture(scope="module")
def averaged(point: tuple[str, ...], members: Members) -> Members:
    """The mean of the same members."""
    several = (*point, f"trainer.members={N}")
    run = succeed("train", *several)
    return Members(run, members.run)


def test_the_mean_is_made_of_the_same_members_and_chooses_none(averaged: Members, members: Members) -> None:
    results = averaged.run.results
    assert results.is_averaged
    assert not members.run.results.is_averaged
    update = {"chosen_for": ()}
    assert results.members == tuple(member.model_copy(update=update) for member in members.records)
    assert results.poi_variance is not None
    assert math.sqrt(results.poi_variance.templates) < max(member.sigma_mu for member in results.members)  # type: ignore[type-var]
    assert results.optimism == pytest.approx(
        math.sqrt(results.poi_variance.honest / results.poi_variance.validation_honest) - 1  # type: ignore[operator]
    )
    assert "of their mean" in averaged.run.out
    assert objective(results) == results.figure_of_merit


def test_the_network_of_a_mean_is_read_back_and_gives_the_templates(averaged: Members) -> None:
    run = open_run(averaged.run.path.parent)
    events = load_events(run.config)
    for sample in events.template:
        bins = run.observable.apply(sample.features[0]).bin
        filled = np.bincount(bins, sample.weights[0], len(run.results.bins))  # type: ignore[arg-type]
        stored = run.templates.histograms[sample.name, sample.variations[0]].values()
        np.testing.assert_allclose(filled, stored, rtol=1e-9)
    onnxruntime = pytest.importorskip("onnxruntime")
    features = events.template[0].features[0]
    session = onnxruntime.InferenceSession(str(run.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(["bin"], {"features": features})[0], run.observable.apply(features).bin)


def test_the_network_of_a_mean_is_taken_by_another_run_and_explained(
    averaged: Members, point: tuple[str, ...], tmp_path: Path
) -> None:
    folder = averaged.run.path.parent
    again = succeed("train", *point, f"trained_in={folder}", f"hydra.run.dir={tmp_path}/again")
    assert again.results.poi_variance == averaged.run.results.poi_variance
    succeed("explain", f"run={folder}", "report.plots=false", f"hydra.run.dir={tmp_path}/explained")


def test_bins_of_their_own_have_no_mean(point: tuple[str, ...], tmp_path: Path) -> None:
    learnt = (*point, "model=kde", "model.edges=learnt", "trainer.members=2")
    refused = inferno("train", *learnt, f"hydra.run.dir={tmp_path}/learnt")
    assert refused.code == 2
    assert "trainer.combine=best" in refused.err


def test_a_member_that_fails_is_left_out_and_all_of_them_are_an_error(
    point: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, failing = trainer.train, {1}
    calls: list[int] = []

    def sometimes(*arguments: Any, **keys: Any) -> Any:
        calls.append(len(calls))
        if calls[-1] in failing:
            raise SingularInformationError("nothing can be told apart")
        return train(*arguments, **keys)

    monkeypatch.setattr(trainer, "train", sometimes)
    run = succeed("train", *point, "trainer.members=2", f"hydra.run.dir={tmp_path}/one")
    assert len(run.results.members) == 1
    assert run.results.is_averaged
    assert any("1 of 2 members failed" in note for note in run.results.notes)
    failing.update({2, 3})
    refused = inferno("train", *point, "trainer.members=2", f"hydra.run.dir={tmp_path}/none")
    assert refused.code == 2
    assert "nothing can be told apart" in refused.err


def test_records_of_before_have_none(members: Members) -> None:
    content = members.run.results.model_dump(by_alias=True)
    for key in ("members", "optimism", "optimism_of_members"):
        del content[key]
    assert Results.model_validate(content).members == ()
