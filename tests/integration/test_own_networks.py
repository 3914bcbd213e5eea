"""Channels with a network of their own beside one that others share: trained together, with bins of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import uproot
import yaml
from channel_ntuples import SELECTIONS, SIMULATED, SYSTEMATICS, Table, channels, inside, tree_of, trees
from conftest import write
from torch import nn

from inferno_cli import open_run
from inferno_cli.runs.explanation import EXPLANATION_FILE
from inferno_cli.training import module
from integration.conftest import Outcome, inferno, succeed
from integration.test_channels import POINT, analysis

OWN = {"kind": "summary", "network": "high"}
BCE = ("model=bce", "model.edges=balanced")


@pytest.fixture(scope="module")
def files() -> dict[str, Table]:
    return trees()


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Table]) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("own")
    path = write(folder / "all.root", files)
    own = analysis(folder, SYSTEMATICS, {"train": 0.4, "validation": 0.3, "template": 0.3}, path=str(path))
    content = channels(SR={"observable": OWN}, CR={"observable": {"kind": "summary"}})
    (folder / "conf" / "channels" / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return (*own, *POINT, *BCE)


@pytest.fixture(scope="module")
def run(point: tuple[str, ...]) -> tuple[Outcome, dict[int, set[float]]]:
    """A run, and the values of ``x`` that went into each of its networks in training, by the network."""
    seen: dict[int, set[float]] = {}
    forward = module.forward_together

    def recorded(network: nn.Module, blocks: list[torch.Tensor]) -> list[torch.Tensor]:
        for block in blocks:
            seen.setdefault(id(network), set()).update(block[..., 0].flatten().tolist())
        return forward(network, blocks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "forward_together", recorded)
        return succeed("train", *point, "model.input_noise=0", "export=true"), seen


def ever_in(files: dict[str, Table], channel: str) -> set[float]:
    """Values of ``x``, of all variations, of the simulated events that are in a channel in any of them."""
    values: set[float] = set()
    for sample in SIMULATED:
        own = [files[tree_of(sample, variation)] for variation in ("nominal", "jes_up", "jes_down")]
        events = set().union(*(rows["event"][inside(rows, channel)].tolist() for rows in own))
        for rows in own:
            values |= set(rows["x"][np.isin(rows["event"], list(events))].tolist())
    return values


def test_a_network_sees_the_events_of_its_channels_alone(
    run: tuple[Outcome, dict[int, set[float]]], files: dict[str, Table]
) -> None:
    for seen, name in zip(run[1].values(), ("SR", "CR"), strict=True):
        assert len(seen) > 100
        assert seen - {0.0} <= ever_in(files, name)


def test_each_has_its_weights_and_its_bins(run: tuple[Outcome, dict[int, set[float]]]) -> None:
    opened = open_run(run[0].path.parent)
    one, other = opened.observables.of("SR"), opened.observables.of("CR")
    assert not torch.equal(next(one.network.parameters()), next(other.network.parameters()))
    learnt = run[0].results.training.learnt  # type: ignore[union-attr]
    assert set(learnt) == {"high", ""}
    assert learnt["high"] == one.summary.state != other.summary.state == learnt[""]


def test_what_they_say_is_what_is_fitted(run: tuple[Outcome, dict[int, set[float]]], files: dict[str, Table]) -> None:
    folder = run[0].path.parent
    succeed("predict", f"run={folder}", "unblind=true")
    with uproot.open(next((folder / "predictions").rglob("*.root"))) as file:
        data = file["Data"].arrays(library="np")
    observations = json.loads((folder / "workspace.json").read_text())["observations"]
    for number, (name, item) in enumerate(zip(SELECTIONS, observations, strict=True)):
        assert item["name"] == name
        rows = data["channel"] == number
        np.testing.assert_array_equal(rows, inside(files["Data"], name))
        assert np.bincount(data["bin"][rows], minlength=len(item["data"])).tolist() == item["data"]


def test_each_is_an_onnx_file(run: tuple[Outcome, dict[int, set[float]]]) -> None:
    opened = open_run(run[0].path.parent)
    x = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    for name in ("SR", "CR"):
        session = onnxruntime.InferenceSession(opened.folder / f"model_{name}.onnx")
        *_, bins = session.run(None, {"features": x})
        np.testing.assert_array_equal(bins, opened.observables.of(name).apply(x).bin)


def test_they_are_taken_together_by_name(
    run: tuple[Outcome, dict[int, set[float]]], point: tuple[str, ...], tmp_path: Path
) -> None:
    folder = run[0].path.parent
    again = succeed("train", *point, f"trained_in={folder}", f"hydra.run.dir={tmp_path}/again")
    for name, parameter in run[0].results.parameters.items():
        assert again.results.parameters[name].bestfit == pytest.approx(parameter.bestfit, abs=1e-6)
    other = ("channels.SR.observable.network=other", f"hydra.run.dir={tmp_path}/other")
    refused = inferno("train", *point, f"trained_in={folder}", *other)
    assert refused.code == 2
    assert "high of SR and one of CR, and here other of SR and one of CR" in refused.err


def test_explain_shows_both(run: tuple[Outcome, dict[int, set[float]]]) -> None:
    folder = run[0].path.parent
    succeed("explain", f"run={folder}", "repeats=1", "pairs=1")
    explained = json.loads(next(folder.rglob(EXPLANATION_FILE)).read_text())
    assert {item["channel"] for item in explained["bins"]} >= {"SR", "CR"}
