"""The network of a finished run under another configuration: nothing is trained, and where it is from is recorded."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import uproot
from conftest import write

from inferno_cli.runs.record import Results
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

FIT = (*QUICK, *FIT_ONLY_MU, "export=false")


def taken(folder: Path, *arguments: str) -> Outcome:
    return inferno("train", *FIT, *FEW_EVENTS, f"output_dir={folder}", *arguments)


@pytest.fixture(scope="session")
def nominal(runs: Runs) -> Outcome:
    return runs("benchmark2", "inferno", *FIT_ONLY_MU, "export=false")


def found(results: Results) -> object:
    """What the network and the fit decide; not where it is, nor how long it took."""
    return results.model_dump(exclude={"timing", "workspace", "code_version", "trained_in"})


def test_under_its_own_configuration_everything_is_as_before(nominal: Outcome, tmp_path: Path) -> None:
    outcome = taken(tmp_path, "+experiment=benchmark2", f"trained_in={nominal.path.parent}")

    assert outcome.code == 0, outcome.err
    assert found(outcome.results) == found(nominal.results)
    assert "training: none, the network of" in outcome.out
    assert "epoch" not in outcome.out
    folder, origin = outcome.path.parent, outcome.results.trained_in
    assert origin is not None
    assert origin.folder == str(nominal.path.parent)
    assert origin.checkpoint == hashlib.sha256((folder / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()
    assert (folder / "trained_in.yaml").read_bytes() == (nominal.path.parent / "config.yaml").read_bytes()


def test_at_another_true_value_templates_fit_and_bound_are_of_that_value(nominal: Outcome, tmp_path: Path) -> None:
    """r is 0.3: the templates are those of background drawn there, and so is the Cramer-Rao bound."""
    point = ("+experiment=benchmark2", "dataset.nominal={r: 0.3, lambda: 3.0}", f"trained_in={nominal.path.parent}")
    results = taken(tmp_path, *point).results
    before = nominal.results

    assert results.dataset_checksum != before.dataset_checksum
    assert results.sigma_s is not None
    assert results.sigma_s != before.sigma_s
    # The larger r, the further the background is from the signal.
    assert results.cramer_rao_bound_s is not None
    assert results.cramer_rao_bound_s < (before.cramer_rao_bound_s or 0) * 0.99
    signal = [[round(sum(item.signal for item in record.bins or ()), 6)] for record in (results, before)]
    assert signal == [[50.0], [50.0]]


def test_with_other_nuisance_parameters(nominal: Outcome, tmp_path: Path) -> None:
    results = taken(tmp_path, "+experiment=benchmark0", f"trained_in={nominal.path.parent}").results

    assert "r" not in results.parameters
    assert results.sigma_s < nominal.results.sigma_s  # type: ignore[operator]
    assert results.training == nominal.results.training  # how it was trained


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("+experiment=benchmark2", "model.bins=5"),
            "model.bins is 5, and the network of RUN has 10. Set model.bins=10",
        ),
        (("+experiment=benchmark2", "model=bce"), "model is bce, and the network of RUN has inferno"),
        (
            ("+experiment=top11004",),
            "the network of RUN is for the features x0, x1, x2; dataset.features is aplanarity",
        ),
        (("+experiment=benchmark2", "trained_for=benchmark2"), "trained_for=benchmark2 chooses among several runs"),
    ],
)
def test_a_network_that_does_not_fit_is_one_message(
    nominal: Outcome, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    few = () if "+experiment=top11004" in arguments else FEW_EVENTS
    run = nominal.path.parent
    outcome = inferno("train", *FIT, *few, f"output_dir={tmp_path}", *arguments, f"trained_in={run}")

    assert outcome.code == 2
    assert outcome.err.startswith(f"RunError: {said.replace('RUN', str(run))}"), outcome.err
    assert not list(tmp_path.rglob("results.json"))


def test_among_several_runs_it_is_that_of_the_model_the_seed_and_the_experiment(
    nominal: Outcome, tmp_path: Path
) -> None:
    point = ("+experiment=benchmark0", f"trained_in={nominal.path.parents[3]}")

    chosen = taken(tmp_path, *point, "trained_for=benchmark2").results.trained_in
    assert chosen is not None
    assert (chosen.folder, chosen.experiment) == (str(nominal.path.parent), "benchmark2")
    for other in (("trained_for=benchmark1",), ("seed=7",), ("model=bce",)):
        outcome = taken(tmp_path, *point, *other)
        assert outcome.code == 2
        assert "no finished run of model " in outcome.err
    assert "trained_in=nowhere is not a folder" in taken(tmp_path, "+experiment=benchmark0", "trained_in=nowhere").err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seed=2",), "the seed of the data is 2, there 1"),
        (
            ("nuisance.fit=[jes,taue,QCD_norm]", "nuisance.train=[jes,QCD_norm]"),
            "the shape systematics in nuisance.fit",
        ),
        (("dataset.splits={train: 0.2, validation: 0.2, template: 0.6}",), "dataset.splits is train=0.2"),
    ],
)
def test_events_that_a_network_was_trained_on_never_fill_templates(
    runs: Runs, tmp_path: Path, change: tuple[str, ...], said: str
) -> None:
    run = runs("top11004", "bce").path.parent
    point = ("+experiment=top11004", "model=bce", f"trained_in={run}", f"output_dir={tmp_path}")
    outcome = inferno("train", *FIT, *point, *change)

    assert outcome.code == 2
    assert outcome.err.startswith(f"RunError: the events would be divided otherwise than in {run}")
    assert said in outcome.err


def test_a_classifier_can_be_binned_and_fitted_otherwise(runs: Runs, tmp_path: Path) -> None:
    run = runs("top11004", "bce")
    point = ("+experiment=top11004", "model=bce", "model.bins=6", "dataset.downsample_factor=0.5")
    results = succeed(
        "train",
        *FIT,
        *point,
        "nuisance=none",
        "nuisance.fit=[jes]",
        f"trained_in={run.path.parent}",
        f"output_dir={tmp_path}",
    ).results

    assert len(results.bins or ()) <= 6
    assert "QCD_norm" not in results.parameters
    assert results.training == run.results.training


@pytest.mark.slow
@pytest.mark.parametrize("folds", [None, 2])
def test_new_ntuples_for_an_old_network(folds: int | None, tmp_path: Path) -> None:
    """The first half of the new signal is the old one: what the network has seen of it is in no template."""
    config = own_analysis(tmp_path / "old")
    divided = () if folds is None else (f"dataset.splits.folds={folds}",)
    point = ("--config-dir", str(config), "+experiment=mine", *FIT, *divided)
    old = succeed("train", *point, f"hydra.run.dir={tmp_path}/a")
    new = write(tmp_path / "new.root", trees(ttbar=table(3000, 1.0), QCD=table(3000, -1.0, first_id=90_000)))
    words = (*point, f"dataset.path={new}", "nuisance.fit=[QCD_norm]", "nuisance.train=[QCD_norm]")
    outcome = succeed("train", *words, f"trained_in={tmp_path}/a", f"hydra.run.dir={tmp_path}/b")

    results = outcome.results
    said = {
        None: "900 of 6000 events were seen by the training of the network and are left out of the templates",
        2: "1500 of 6000 events are known to the training of the networks and keep their split",
    }[folds]
    said += f" (ttbar {said.split()[0]})"
    assert f"events: {said}" in outcome.out
    assert f"{said}; validation says nothing here" in results.notes
    assert results.trained_in is not None
    assert results.trained_in.dataset_checksum == old.results.dataset_checksum != results.dataset_checksum
    assert results.poi_variance is not None
    assert (results.poi_variance.validation_hard, results.figure_of_merit) == (None, None)
    assert math.isfinite(results.mu.hesse)
    # The events of the old network in the new files are predicted as what the training used them for.
    succeed("predict", f"run={tmp_path}/b", f"input={tmp_path}/old/mine.root", f"output={tmp_path}/of_b")
    succeed("predict", f"run={tmp_path}/a", f"output={tmp_path}/of_a")
    branches = ["split"] if folds is None else ["split", "fold", "network_bin"]
    for name in ("ttbar", "QCD"):
        of_a, of_b = (
            uproot.open(f"{tmp_path}/{run}/mine.root")[name].arrays(branches, library="np") for run in ("of_a", "of_b")
        )
        for branch in branches:
            np.testing.assert_array_equal(of_a[branch], of_b[branch])

    other = inferno("train", *point, f"trained_in={tmp_path}/b", f"hydra.run.dir={tmp_path}/c")
    assert other.code == 2
    assert (
        f"was trained on other events, in {tmp_path}/a: that run knows which. Use trained_in={tmp_path}/a" in other.err
    )
    bins = inferno("train", *words, "model.bins=3", f"trained_in={tmp_path}/a", f"hydra.run.dir={tmp_path}/d")
    assert bins.code == 2
